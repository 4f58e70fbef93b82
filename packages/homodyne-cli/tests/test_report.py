import dataclasses
import io
import warnings

import numpy as np
import pytest
from rich.console import Console

from homodyne_cli._console import Terminal, warnings_to
from homodyne_cli._report import how_fitted, show_fit, show_series
from homodyne_cli._report_numbers import with_error
from homodyne_degeneracy import Combination, identifiability
from homodyne_nlsq import ProfileInterval


@pytest.fixture
def terminal():
    terminal = Terminal()
    terminal.out = Console(file=io.StringIO(), width=120)
    terminal.err = Console(file=io.StringIO(), width=100)
    return terminal


def text_of(terminal):
    return terminal.out.file.getvalue()


@pytest.mark.parametrize(
    "value, error, expected",
    [
        (68512.3, 123.0, ("68510", "120")),
        (68512.3, 0.996, ("68512.3", "1.0")),
        (68512.3, 9.96, ("68512", "10")),
        (483012.0, 8700.0, ("483000", "8700")),
        (-0.2123, 0.0111, ("-0.212", "0.011")),
        (0.00089612, 0.0000124, ("8.96e-04", "1.2e-05")),
        (4.83e7, 2.2e5, ("4.830e+07", "2.2e+05")),
        (0.01, 3.0, ("0.0", "3.0")),
        (0.0, 0.1, ("0.00", "0.10")),
        (2.0, float("nan"), ("2", "")),
        (2.0, 0.0, ("2", "")),
    ],
)
def test_digits_follow_the_uncertainty(value, error, expected):
    assert with_error(value, error) == expected


def test_a_fit_in_words(terminal, sheared, result_of):
    names = result_of(sheared).names
    errors = np.array(result_of(sheared).uncertainties)
    bounds = [""] * len(names)
    fixed = np.zeros(len(names), dtype=bool)
    fixed[names.index("beta")] = True
    bounds[names.index("D0")] = "upper"
    bounds[names.index("contrast_2")] = "lower"
    for name in ("beta", "D0", "phi0", "contrast_2"):
        errors[names.index(name)] = np.nan
    result = result_of(
        sheared,
        uncertainties=errors,
        at_bound=tuple(bounds),
        fixed=fixed,
        convergence_status="partial",
        quality_flag="marginal",
        message="The most iterations were done.",
        warnings=("D(t) is negative at the end [of the window].",),
        provenance={"dropped": {"diagonal": 150, "repeated": 2000, "bad_frames": 58, "not_finite": 0}},
    )
    show_fit(terminal, result)
    lines = {line.split()[0]: line for line in text_of(terminal).splitlines() if line.strip()}
    assert "held fixed" in lines["beta"]
    assert "at its upper bound" in lines["D0"]
    assert "not determined by these data" in lines["phi0"]
    assert "Å²/s" in lines["D_offset"]
    assert "1 of 5 at a bound" in lines["contrast"]
    assert "1/s" in lines["γ̇(7.25"]
    assert "partial, quality marginal: The most iterations were done." in text_of(terminal)
    assert "58 bad frames" in text_of(terminal)
    assert "diagonal:" in text_of(terminal)
    assert "[of the window]" in text_of(terminal)  # not taken for markup
    assert "gap 200 µm" in text_of(terminal)


WAYS = [
    (
        {},
        False,
        ["fitted by our own solver, data in memory, all at once; 12 passes in 0.5 s, peak memory 0.2 GB"],
    ),
    (
        {"strategy": "hybrid", "n_chunks": 276},
        True,
        [
            "fitted by our own solver, data streamed from their file, 276 chunks a pass; 12 passes in 0.5 s, "
            "peak memory 0.2 GB"
        ],
    ),
    (
        {"strategy": "out_of_core", "n_chunks": 1, "adapter": "nlsq"},
        False,
        [
            "fitted by the library nlsq, data in memory, 1 chunk a pass; 12 passes in 0.5 s, peak memory 0.2 GB"
        ],
    ),
    (
        {"fallback_occurred": True, "recovery_actions": ("out_of_memory_standard", "bounds_reset")},
        False,
        [
            "fitted by our own solver, after nlsq failed, data in memory, all at once; 12 passes in 0.5 s, peak "
            "memory 0.2 GB",
            "tried after the first attempt: chunks instead of all data at once, as memory ran out; a start from "
            "the centre of the bounds",
        ],
    ),
]


@pytest.mark.parametrize("changes, streamed, lines", WAYS)
def test_how_a_fit_was_made_in_words(still, result_of, changes, streamed, lines):
    how = dataclasses.replace(result_of(still).device_info, **changes)
    assert how_fitted(result_of(still, device_info=how), streamed=streamed) == lines


@pytest.mark.parametrize("quoted", ["robust", "hessian"])
def test_both_error_bars_with_their_ratio_and_the_quoted_one_marked(terminal, still, result_of, quoted):
    result = result_of(still)
    errors = {"robust": result.uncertainties, "hessian": result.uncertainties / 2}[quoted]
    show_fit(
        terminal,
        result_of(still, covariance_type=quoted, uncertainties=errors, covariances=result.covariances),
    )
    lines = {line.split()[0]: line for line in text_of(terminal).splitlines() if line.strip()}
    marks = ["robust*", "hessian"] if quoted == "robust" else ["robust", "hessian*"]
    assert lines["parameter"].split() == ["parameter", "value", "±", marks[0], "±", marks[1], "ratio", "unit"]
    assert lines["D0"].split() == ["D0", "20000", "400", "200", "2.00", "Å²/s"]
    # Of the curves only the quoted one is known.
    start = lines["parameter"].index(f"± {quoted}")
    assert lines["D(7.25"][start : start + len(quoted) + 3].strip() != ""
    assert f"in windows of 2 s) and hessian (points taken for independent); {quoted} is quoted*" in " ".join(
        text_of(terminal).split()
    )


def test_the_same_scaling_for_all_angles_has_error_bars_too(terminal, still, result_of):
    one = np.array(result_of(still).parameters)
    one[:5] = 0.3
    show_fit(terminal, result_of(still, parameters=one, per_angle_mode="constant", n_scaling=2))
    (line,) = (line for line in text_of(terminal).splitlines() if line.startswith("contrast"))
    assert line.split()[:5] == ["contrast", "0.3000", "0.0058", "0.0029", "2.00"]
    assert "scaling constant: one contrast and one offset for all angles, 2 parameters" in text_of(terminal)


COMBINATIONS = (
    Combination((("alpha", 1.0),), float("inf"), "δalpha"),
    Combination((("D0", 1.0), ("alpha", -0.6)), 0.71, "δD0/D0 - 0.60 δalpha [a]"),
    Combination((("D_offset", 1.0),), 0.012, "δD_offset/(D0 t^alpha at 2.7 s)"),
)
FOUND = dataclasses.replace(
    identifiability(np.eye(3), ["a", "b", "c"], np.ones(3), np.ones(3, dtype=bool)),
    undetermined=(("alpha",),),
    correlated=(("D0", "alpha", 0.97),),
    poorly_known=(),
    combinations=COMBINATIONS,
    advice=("fix alpha.",),
)


def test_what_the_data_determine_in_words_and_numbers(terminal, still, result_of):
    first, second = FOUND.sentences()
    show_fit(terminal, result_of(still, identifiability=FOUND, warnings=(first, "Something else.")))
    head, _, section = text_of(terminal).partition("What the data determine\n")
    assert first not in head
    section = " ".join(section.split())
    assert f"! {first}" in section
    assert f"- {second}" in section
    assert section.count(first) == section.count(second) == 1  # not among the warnings again
    assert section.endswith("! Something else.")
    table = section.partition("the least known first ")[2]
    assert table.startswith(
        "∞ not determined δalpha 0.71 weak δD0/D0 - 0.60 δalpha [a] 0.012 best known δD_offset"
    )
    assert "- fix alpha." in table


def test_nothing_to_say_about_what_the_data_determine(terminal, still, result_of):
    only = dataclasses.replace(
        FOUND, undetermined=(), correlated=(), combinations=COMBINATIONS[2:], advice=()
    )
    show_fit(terminal, result_of(still, identifiability=only))
    assert "What the data determine" not in text_of(terminal)
    fine = [dataclasses.replace(c, error=0.1) for c in COMBINATIONS]
    show_fit(terminal, result_of(still, identifiability=dataclasses.replace(only, combinations=tuple(fine))))
    assert "- Every free parameter by itself." in text_of(terminal)


def test_what_the_anti_degeneracy_system_did(terminal, still, result_of):
    done = ("auto took fourier.", "The gradient collapsed.")
    how = {"per_angle_mode": "fourier", "n_scaling": 10, "anti_degeneracy": done, "warnings": done[1:]}
    show_fit(terminal, result_of(still, **how))
    assert "scaling fourier: contrast and offset as Fourier series in the angle, 10 parameters" in text_of(
        terminal
    )
    section = text_of(terminal).partition("Anti-degeneracy\n")[2]
    assert section.splitlines()[:2] == ["- auto took fourier.", "! The gradient collapsed."]
    assert text_of(terminal).count("! The gradient collapsed.") == 1


def test_profile_intervals_in_a_table(terminal, still, result_of):
    profiles = (
        ProfileInterval("D0", "Å²/s", 0.683, 19612.3, 20431.9, ""),
        ProfileInterval("D0", "Å²/s", 0.95, 19200.1, float("inf"), "the data set no limit above"),
        ProfileInterval("alpha", "", 0.95, float("nan"), float("nan"), "alpha was fixed [held]."),
    )
    show_fit(terminal, result_of(still, profiles=profiles))
    section = text_of(terminal).partition("Profile likelihood\n")[2]
    rows = [" ".join(line.split()) for line in section.splitlines()[1:4]]
    assert rows == [
        "D0 68.3 % 19612 20432 Å²/s",
        "D0 95 % 19200 open Å²/s the data set no limit above",
        "alpha 95 % alpha was fixed [held].",
    ]
    assert "nan" not in text_of(terminal)


def test_a_robust_loss_is_told_beside_chi_squared(terminal, still, result_of):
    show_fit(terminal, result_of(still, loss="huber", robust_cost=1234.5))
    assert "huber loss 1234.5, which the fit minimised; χ² is without it" in text_of(terminal)


def test_a_fit_that_could_not_begin_has_no_numbers(terminal, still, result_of):
    nothing = np.full(13, np.nan)
    nothing[10:] = result_of(still).parameters[10:]
    result = result_of(
        still,
        parameters=nothing,
        uncertainties=np.full(13, np.nan),
        cluster_window=np.full(5, np.nan),
        chi_squared=np.nan,
        reduced_chi_squared=np.nan,
        convergence_status="failed",
        quality_flag="poor",
    )
    show_fit(terminal, result)
    assert "no χ² for 2175 points" in text_of(terminal)
    assert text_of(terminal).count("not fitted") == 2
    assert "nan" not in text_of(terminal)


@pytest.mark.parametrize("source, words", [("estimated", "no test of the fit"), ("default", "means nothing")])
def test_a_chi_squared_without_a_known_noise_is_qualified(terminal, still, result_of, source, words):
    show_fit(terminal, result_of(still, sigma_source=source))
    assert words in " ".join(text_of(terminal).split())


def test_a_series_shows_what_was_fitted(terminal, still, result_of):
    errors = np.array(result_of(still).uncertainties)
    errors[-2:] = np.nan
    show_series(
        terminal, [result_of(still, uncertainties=errors), result_of(still, q=0.01, uncertainties=errors)]
    )
    header, first, second = (line for line in text_of(terminal).splitlines() if line.strip())
    assert "D0 [Å²/s]" in header
    assert "alpha" not in header
    assert first.split()[0] == "0.0054"
    assert "20000 ± 400" in second


def test_a_series_of_many_parameters_shows_the_curves(terminal, sheared, result_of):
    terminal.out = Console(file=io.StringIO(), width=80)
    show_series(terminal, [result_of(sheared), result_of(sheared, q=0.01)])
    text = " ".join(text_of(terminal).split())
    assert "D(7.25 s)" in text
    assert "γ̇(7.25" in text
    assert "alpha" not in text
    assert "…" not in text


def test_numbers_stay_whole_on_a_narrow_terminal(still, result_of):
    narrow = Terminal()
    narrow.out = Console(file=io.StringIO(), width=30)
    result = result_of(still)
    show_fit(narrow, result)
    show_series(narrow, [result, result])
    shown = narrow.out.file.getvalue()
    assert "…" not in shown
    for text in ("20000", "1/Å", "gap" if result.L else "D0", "in the middle", "converged"):
        assert text in shown
    assert narrow.out.width == 30


def test_progress_without_a_terminal_is_one_line_a_step(terminal):
    with terminal.progress() as progress:
        progress.step("reading")
        for iteration in range(100):
            progress.fit("fit", iteration, 1.0, "")
        progress.step("plotting")
    assert terminal.err.file.getvalue().splitlines() == ["reading", "plotting"]
    assert text_of(terminal) == ""


def test_progress_on_a_terminal_is_redrawn_in_place(terminal):
    terminal.err = Console(file=io.StringIO(), width=100, force_terminal=True)
    with terminal.progress() as progress:
        progress.step("q = 0.0054 1/Å [1]: fitting")
        progress.fit("start values", 3, 1234.5, "")
    shown = terminal.err.file.getvalue()
    assert "q = 0.0054 1/Å [1]: fitting: start values, iteration 3, χ² 1234.5" in shown
    assert "\x1b[2K" in shown  # erased at the end


@pytest.mark.parametrize(
    "stage, chi_squared, message, line",
    [
        ("global search", 1292.63172, "CMA-ES run 3, generation 22 of at most 100", "generation 22 of at most 100, χ² 1292.63"),
        ("global search", float("nan"), "screening 1 of 10 starts", "fitting: screening 1 of 10 starts"),
        ("global search", 1292.5, "", "what the search found, on all data, χ² 1292.5"),
        ("fit", 1292.5, "held", "pass 7, χ² 1292.5, held"),
    ],
)  # fmt: skip
def test_progress_of_a_global_search(terminal, stage, chi_squared, message, line):
    terminal.err = Console(file=io.StringIO(), width=100, force_terminal=True)
    with terminal.progress() as progress:
        progress.step("fitting")
        progress.fit(stage, 7, chi_squared, message)
    assert line in terminal.err.file.getvalue()
    assert "nan" not in terminal.err.file.getvalue()


def test_warnings_of_libraries_become_sentences_that_are_said_once(terminal):
    for _ in range(2):
        with warnings_to(terminal.warn):
            warnings.warn("the gap is assumed", stacklevel=1)
            warnings.warn("old", DeprecationWarning, stacklevel=1)
    terminal.note("the gap is assumed")
    terminal.note("maps were completed")
    assert terminal.err.file.getvalue() == "warning: the gap is assumed\nnote: maps were completed\n"


def test_a_warning_before_an_error_is_not_lost(terminal):
    def warn_and_fail():
        with warnings_to(terminal.warn):
            warnings.warn("a hint", stacklevel=1)
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        warn_and_fail()
    assert "a hint" in terminal.err.file.getvalue()
