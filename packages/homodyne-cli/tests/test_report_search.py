import dataclasses
import io

import pytest
from rich.console import Console

from homodyne_cli._console import Terminal
from homodyne_cli._report import show_fit
from homodyne_cli._report_search import how_found
from homodyne_nlsq import SearchRun

ENDS = ("The costs agree [tol_fun].", "The search had all its evaluations.")


@pytest.fixture
def terminal():
    terminal = Terminal()
    terminal.out = Console(file=io.StringIO(), width=80)
    return terminal


def shown(terminal, result):
    """The section, its lines cut into words and joined again."""
    show_fit(terminal, result)
    lines = terminal.out.file.getvalue().partition("Global search\n")[2].splitlines()
    assert all(len(line) <= 80 for line in lines)
    return [" ".join(line.split()) for line in lines]


def cmaes(search_of, data, runs, **changes):
    return search_of(data, method="cmaes", choice="CMA-ES: enabled.", minima=(), runs=runs, **changes)


def test_nothing_without_a_search_and_one_line_where_none_was_needed(terminal, still, result_of, search_of):
    show_fit(terminal, result_of(still))
    assert "lobal search" not in terminal.out.file.getvalue()
    local = search_of(
        still, method="local", choice="Local solver alone: the ratio is 5.", message="", minima=()
    )
    show_fit(terminal, result_of(still, search=local))
    assert terminal.out.file.getvalue().count("lobal search") == 1
    assert "no global search: the ratio is 5." in terminal.out.file.getvalue()


def test_the_minima_of_a_sheared_sample(terminal, sheared, result_of, search_of):
    undecided = "Minimum 2 of the search explains the data as well [or nearly]."
    search = search_of(sheared, undecided=(undecided,))
    lines = shown(terminal, result_of(sheared, search=search, warnings=(undecided, "Something else.")))
    assert lines[0] == "- Multistart: CMA-ES is not enabled. Seed 42."
    assert lines[1] == "- 5 of 10 starts were solved on averages of the data."
    assert "- The fit of all the data refined what was found: χ² 2300.5 at the start," in lines[2]
    assert f"! {undecided}" in lines
    assert sum(undecided in line for line in lines) == 1
    assert lines[-1] == "! Something else."
    first = lines.index("D(7.25 s) γ̇(7.25 s) phi0")
    assert lines[first + 1] == "χ² Δχ² starts distance [Å²/s] [1/s] [deg]"
    assert lines[first + 2].split()[:3] == ["1", "2001.25", "4"]
    assert lines[first + 3].split()[:5] == ["2~", "2100.75", "99.5", "1", "12.3"]
    assert lines[first + 4].startswith("distance: between predicted maps, in standard deviations of all")
    assert "~: a minimum of averages of the data, not refined" in " ".join(lines)


def test_the_minima_of_a_sample_at_rest(terminal, still, result_of, search_of):
    lines = shown(terminal, result_of(still, search=search_of(still)))
    first = lines.index("D(7.25 s)")
    assert lines[first + 1] == "χ² Δχ² starts distance [Å²/s] alpha"
    # D(t) = D0 t^alpha + D_offset
    assert lines[first + 3] == f"2~ 2100.75 99.5 1 12.3 {3e4 * 7.25**-0.25 + 1e3:.4g} -0.2500"


def test_one_minimum_is_not_compared(terminal, still, result_of, search_of):
    search = search_of(still)
    lines = shown(terminal, result_of(still, search=dataclasses.replace(search, minima=search.minima[:1])))
    assert "χ² starts [Å²/s] alpha" in lines
    assert "minima.csv has all their parameters" in lines


def test_the_best_of_many_minima(terminal, still, result_of, search_of):
    (first, other) = search_of(still).minima
    lines = shown(terminal, result_of(still, search=search_of(still, minima=(first, *14 * (other,)))))
    assert "the 12 best of 15; minima.csv has all" in " ".join(lines)
    assert not any(line.startswith("13") for line in lines)


def test_the_runs_of_cmaes(terminal, still, result_of, search_of):
    runs = (
        SearchRun("first", 9, 100, 900, 1346.018, ENDS[0]),
        SearchRun("large", 18, 50, 900, 1297.183, ENDS[1]),
        SearchRun("small", 9, 0, 0, float("inf"), ENDS[1]),
    )
    lines = shown(terminal, result_of(still, search=cmaes(search_of, still, runs)))
    first = lines.index("run kind candidates generations evaluations lowest χ² ended")
    assert lines[first + 1 : first + 4] == [
        "1 first 9 100 900 1346.018 a",
        "2 large 18 50 900 1297.183* b",
        "3 small 9 0 0 none b",
    ]
    assert lines[first + 5 : first + 7] == [f"a: {ENDS[0]}", f"b: {ENDS[1]}"]


def test_the_best_of_many_runs(terminal, still, result_of, search_of):
    runs = tuple(SearchRun("small", 9, 10, 90, 1000.0 - k, ENDS[0]) for k in range(20))
    lines = shown(terminal, result_of(still, search=cmaes(search_of, still, runs)))
    text = " ".join(lines)
    assert "the 12 best of 20 runs, result.json has them all" in text
    assert "9 small 9 10 90 992 a" in lines
    assert "8 small 9 10 90 993 a" not in lines
    assert "20 small 9 10 90 981* a" in lines


def test_a_search_that_was_stopped(terminal, still, result_of, search_of):
    minima = tuple(
        dataclasses.replace(m, refined=False, chi_squared=float("nan")) for m in search_of(still).minima
    )
    search = search_of(still, stopped=True, stage="start", minima=minima)
    lines = shown(terminal, result_of(still, search=search, convergence_status="partial"))
    assert lines[0] == "! Stopped by Ctrl-C: the values above are the best so far."
    assert "no χ²: the search was stopped before all the data were looked at" in " ".join(lines)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({}, "The fit of all the data refined what was found: χ² 2300.5 at the start, 2001.25 after the search, "
             "2000 after the fit."),
        (
            {"stage": "search", "chi_squared_by_stage": {"start": 2300.5, "search": 2000.0, "refinement": 2000.0}},
            "The search found the fitted values: χ² 2300.5 at the start, 2000 after the search.",
        ),
        (
            {"stage": "start", "chi_squared_by_stage": {"start": 2000.0, "search": 2000.0, "refinement": 2000.0}},
            "Nothing better than the start was found: χ² 2000 at the start, no lower after the search.",
        ),
        (
            {"chi_squared_by_stage": {"start": float("nan"), "search": 2001.0, "refinement": 1990.0}},
            "The fit of all the data refined what was found: χ² 2001 after the search, 1990 after the fit, in plain "
            "least squares with the scaling that the fit began with.",
        ),
        ({"chi_squared_by_stage": {}}, "The fit of all the data refined what was found."),
    ],
)  # fmt: skip
def test_what_found_the_fitted_values(still, result_of, search_of, changes, sentence):
    assert how_found(result_of(still, search=search_of(still, **changes))) == sentence


def test_start_values_of_the_data_that_led_lower(still, result_of, search_of):
    how = dataclasses.replace(result_of(still).device_info, recovery_actions=("data_start",))
    said = how_found(result_of(still, search=search_of(still), device_info=how))
    assert said.startswith("Start values from the data led lower than the search: χ² 2300.5")
