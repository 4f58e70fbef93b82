"""Runs with a global search: tables, files, and Ctrl-C."""

import csv
import gc
import json

import pytest

from homodyne_cli import _run
from homodyne_cli._console import ProgressLine
from homodyne_cli._simulate import simulate
from homodyne_cli._simulation import Simulation
from homodyne_data import TwoTimeStream, save_apsu

NO_PLOTS = {"output": {"plots": False}}
SHORT = {"enable": True, "seed": 1, "preset": "cmaes-fast", "max_restarts": 1}
SEARCHES = {"cmaes": SHORT, "multi_start": {"enable": True, "n_starts": 6}}
ALL_Q = {"analyzer_parameters": {"scattering": {"wavevector_q": "all"}}}


def searching(name, **changes):
    return {"optimization": {"nlsq": {name: SEARCHES[name] | changes}}}


@pytest.fixture
def run(command, configure, tmp_path):
    """Run a data file with some sections: exit code, stdout, stderr, folder of results."""

    def fit(data_file, *sections, options=(), name="analysis"):
        merged = {"experimental_data": {"file_path": str(data_file)}}
        for part in sections:
            for key, value in part.items():
                merged[key] = merged.get(key, {}) | value if isinstance(value, dict) else value
        path = configure(data_file, merged, name=f"{name}.yaml")
        return *command("--config", path, *options), tmp_path / f"{name}-results"

    return fit


@pytest.fixture(scope="module")
def three_file(tmp_path_factory):
    """Three q of a static sample."""
    sets = [
        simulate(Simulation(mode="static_isotropic", angles=5, frames=30, dt=0.5, q=q, sigma=0.01))
        for q in (0.004, 0.005, 0.007)
    ]
    path = tmp_path_factory.mktemp("data") / "three.hdf"
    save_apsu(path, sets)
    return path


@pytest.fixture
def reports(monkeypatch):
    """What fits reported; Ctrl-C where ``reports.interrupt()`` holds after one."""

    class Reports(list):
        def interrupt(self):
            return False

    seen = Reports()

    def fit(self, stage, number, chi_squared, message):
        seen.append((self._step, stage, message))
        if seen.interrupt():
            raise KeyboardInterrupt

    monkeypatch.setattr(ProgressLine, "fit", fit)
    return seen


def result_of(results, q="q_0.0054"):
    return json.loads((results / q / "result.json").read_text(encoding="utf-8"))


def test_a_search_by_cmaes(run, still_file):
    code, out, err, results = run(still_file, NO_PLOTS, searching("cmaes"))
    assert code == 0, err
    search = result_of(results)["search"]
    assert (search["method"], search["seed"]) == ("cmaes", 1)
    section = out.split("Global search")[1]
    assert "CMA-ES: the scale ratio" in section
    assert f"  1  first  {search['runs'][0]['population']:>10}" in section
    assert f"{search['runs'][0]['ended']}" in section
    assert not (results / "q_0.0054/minima.csv").exists()
    assert result_of(results)["settings"]["cmaes"]["preset"] == "cmaes-fast"


def test_a_search_by_multistart_and_its_minima(run, still_file):
    code, out, err, results = run(still_file, NO_PLOTS, searching("multi_start"))
    assert code == 0, err
    search = result_of(results)["search"]
    assert f"alpha 1 {search['minima'][0]['chi_squared']:.8g} {search['minima'][0]['count']} " in " ".join(
        out.split()
    )
    with open(results / "q_0.0054/minima.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["value"]) for row in rows[:3]] == list(search["minima"][0]["physical"].values())
    assert len(rows) == 3 * len(search["minima"])
    assert "minima.csv" in out.split("written to")[1]
    listed = json.loads((results / "run.json").read_text(encoding="utf-8"))["files"]
    assert "q_0.0054/minima.csv" in listed


def test_bounds_that_ask_for_no_search(run, still_file):
    code, out, err, results = run(still_file, NO_PLOTS, searching("cmaes", scale_threshold=1e30))
    assert code == 0, err
    assert "no global search: the scale ratio" in out
    assert "Global search" not in out
    assert result_of(results)["search"]["method"] == "local"


def test_without_a_search_there_is_none(run, still_file):
    code, out, err, results = run(still_file, NO_PLOTS)
    assert code == 0, err
    assert result_of(results)["search"] is None
    assert "lobal search" not in out


def test_settings_that_only_the_search_can_refuse(run, still_file):
    fixed = {"initial_parameters": {"fixed_parameters": {"D0": 2e4, "alpha": -0.5, "D_offset": 1e3}}}
    code, out, err, _ = run(still_file, NO_PLOTS, searching("cmaes"), fixed)
    assert (code, out) == (1, "")
    assert "cmaes is enabled, but fixed holds every physical parameter; expected one to search for" in err
    stream = {"experimental_data": {"file_path": str(still_file), "stream": True}}
    code, out, err, _ = run(still_file, NO_PLOTS, searching("cmaes", refinement_workflow="standard"), stream)
    assert (code, out) == (1, "")
    assert "error: optimization.nlsq.cmaes.refinement_workflow is standard, which takes maps in memory" in err
    assert "expected auto or streaming, or experimental_data.stream false" in err


@pytest.mark.parametrize(
    "name, where",
    [("cmaes", "generation 5"), ("cmaes", "fit"), ("multi_start", "solving 2"), ("multi_start", "fit")],
)
def test_ctrl_c_in_a_search_or_the_fit_after_it_writes_the_best_so_far(run, still_file, reports, name, where):
    reports.interrupt = lambda: where in reports[-1][1:] or where in reports[-1][2]
    code, out, err, results = run(still_file, NO_PLOTS, searching(name))
    assert code == 3, err
    result = result_of(results)
    assert result["search"]["stopped"]
    assert result["convergence_status"] != "converged"
    assert "q = 0.0054 1/Å: stopped, writing the best so far" in err
    assert "! Stopped by Ctrl-C: the values above are the best so far." in out
    last = out.splitlines()[-1]
    assert last == "stopped by Ctrl-C: the results of q = 0.0054 1/Å are the best so far"
    assert "error:" not in err


def test_ctrl_c_without_a_search_is_as_before(run, still_file, reports):
    reports.interrupt = lambda: reports[-1][1] == "fit"
    for section in ({}, searching("cmaes", scale_threshold=1e30)):
        code, out, err, results = run(still_file, NO_PLOTS, section)
        assert (code, out) == (1, "")
        assert "error: interrupted; what was written so far is complete" in err
        assert not results.exists()


def test_the_other_q_of_a_stopped_run_are_not_fitted(run, three_file, reports):
    sections = (NO_PLOTS, ALL_Q, searching("multi_start"))
    reports.interrupt = lambda: "(2 of 3)" in reports[-1][0] and "solving 1" in reports[-1][2]
    code, out, err, results = run(three_file, *sections)
    assert code == 3
    assert {path.name for path in results.glob("q_*")} == {"q_0.004", "q_0.005"}
    last = out.splitlines()[-1]
    assert last.endswith("q = 0.005 1/Å are the best so far; 1 more q (0.007 1/Å) was not fitted")
    fits = json.loads((results / "run.json").read_text(encoding="utf-8"))["fits"]
    assert fits["q_0.004"]["convergence_status"] == "converged"
    assert fits["q_0.007"] == {"q": 0.007, "left": True}
    assert (results / "summary.csv").exists()
    assert "(3 of 3)" not in err


def test_a_stopped_run_leaves_what_an_earlier_one_found_for_the_other_q(run, three_file, reports):
    sections = (NO_PLOTS, ALL_Q, searching("multi_start"))
    assert run(three_file, *sections)[0] == 0
    reports.interrupt = lambda: "solving 1" in reports[-1][2]
    code, out, _, results = run(three_file, *sections, options=["--overwrite"])
    assert code == 3
    assert "2 more q (0.005, 0.007 1/Å) were not fitted; what an earlier run found there stays" in out
    assert not result_of(results, "q_0.007")["search"]["stopped"]
    reports.interrupt = lambda: False
    code, out, _, _ = run(three_file, *sections, options=["--overwrite"])
    assert code == 0
    assert "stopped" not in out


def test_passes_of_a_stopped_fit_are_kept_for_the_same_search(run, still_file, reports, monkeypatch):
    read, reads = TwoTimeStream.angle, []
    monkeypatch.setattr(
        TwoTimeStream, "angle", lambda self, index: (reads.append(index), read(self, index))[1]
    )
    stream = {"experimental_data": {"file_path": str(still_file), "stream": True}}
    reports.interrupt = lambda: [r[1] for r in reports].count("fit") == 2 and reports[-1][1] == "fit"
    code, out, _, results = run(still_file, NO_PLOTS, stream, searching("cmaes", seed=None))
    assert code == 3
    seed = result_of(results)["search"]["seed"]
    said = "finished passes are kept in analysis-results/passes: the same command with --overwrite and "
    assert f"{said}optimization.nlsq.cmaes.seed: {seed} goes on with them" in out
    kept = list((results / "passes").glob("*.npz"))
    assert len(kept) == 1
    reports.interrupt = lambda: False
    sections = (NO_PLOTS, stream, searching("cmaes", seed=seed))
    reads.clear()
    assert run(still_file, *sections, name="whole")[0] == 0
    in_one_go = len(reads)
    reads.clear()
    code, out, err, _ = run(still_file, *sections, options=["--overwrite"])
    assert code == 0, err
    # At the start, where the search ended and the fit began, and one more of the fit.
    assert len(reads) == in_one_go - 3 * 5
    assert "passes over these data that an earlier run finished" in err
    assert not (results / "passes").exists()


def test_an_interruption_that_a_search_does_not_take_tells_of_the_seed(run, still_file, reports):
    stream = {"experimental_data": {"file_path": str(still_file), "stream": True}}
    reports.interrupt = lambda: reports[-1][1] == "error bars"
    for seed, words in ((3, "the same command goes on with them"), (None, "searches with another seed")):
        code, _, err, _ = run(
            still_file, NO_PLOTS, stream, searching("cmaes", seed=seed), name=f"seed-{seed}"
        )
        assert code == 1
        assert words in err


def test_ctrl_c_that_python_dropped_is_not_lost(run, still_file, monkeypatch):
    fit = _run.fit_nlsq_jax

    def interrupt(phase, about):
        gc.callbacks.remove(interrupt)
        raise KeyboardInterrupt

    def interrupted(data, settings, progress):
        def told(stage, *more):
            if stage == "global search" and interrupt not in gc.callbacks and not begun:
                begun.append(True)
                gc.callbacks.append(interrupt)
                gc.collect()
            progress(stage, *more)

        return fit(data, settings, progress=told)

    begun = []
    monkeypatch.setattr(_run, "fit_nlsq_jax", interrupted)
    code, _, err, results = run(still_file, NO_PLOTS, searching("cmaes"))
    assert code == 3
    assert result_of(results)["search"]["stopped"]
    assert "Traceback" not in err


def test_the_check_of_a_configuration_says_which_search_there_would_be(command, configure, still_file):
    for nlsq, words in (
        (SEARCHES, "search    CMA-ES where bounds are more than 1000 times apart in width, 50 generations a run, "
                   "restarts bipop; else multistart from 6 starts"),
        ({"cmaes": SHORT | {"auto_select": False}}, "search    CMA-ES, 50 generations a run, restarts bipop\n"),
        ({"multi_start": SEARCHES["multi_start"]}, "search    multistart from 6 starts\n"),
    ):  # fmt: skip
        code, out, err = command("config", "--check", configure(still_file, {"optimization": {"nlsq": nlsq}}))
        assert code == 0, err
        assert words in out
    code, out, _ = command("config", "--check", configure(still_file))
    assert "search" not in out
