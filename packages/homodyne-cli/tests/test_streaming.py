"""Runs whose maps stay in their file: the same results, an interruption that costs nothing, and what is said."""

import csv
import dataclasses
import json
import sys

import numpy as np
import pytest

from homodyne_cli import _reading
from homodyne_cli._console import ProgressLine
from homodyne_cli._simulate import simulate
from homodyne_cli._simulation import Simulation
from homodyne_data import TwoTimeStream, save_apsu, save_npz
from homodyne_nlsq import _held

STREAM = {"experimental_data": {"stream": True}}
FAR = {"initial_parameters": {"values": [6e3, 0.1, 0.0]}}
# Its weights are renewed several times, so the fit takes many passes from any start.
SLOW = {"optimization": {"nlsq": {"loss": "huber"}}}
NO_PLOTS = {"output": {"plots": False}}


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


@pytest.fixture
def reads(monkeypatch):
    """Angles that were read from files, one by one."""
    seen = []
    read = TwoTimeStream.angle

    def angle(self, index):
        seen.append(index)
        return read(self, index)

    monkeypatch.setattr(TwoTimeStream, "angle", angle)
    return seen


@pytest.fixture
def stages(monkeypatch):
    """Stages that a fit reported; it is interrupted where ``stages.interrupt()`` holds after one."""

    class Stages(list):
        def interrupt(self):
            return False

    seen = Stages()

    def fit(self, stage, number, chi_squared, message):
        seen.append(stage)
        if seen.interrupt():
            raise KeyboardInterrupt

    monkeypatch.setattr(ProgressLine, "fit", fit)
    return seen


@pytest.fixture(scope="module")
def double_file(still, tmp_path_factory):
    """Maps in double precision, which robust losses need where JAX is told to promote no types."""
    path = tmp_path_factory.mktemp("data") / "double.npz"
    save_npz(path, dataclasses.replace(still, c2=np.array(still.c2, dtype=np.float64)))
    return path


def result_of(results, q="q_0.0054"):
    return json.loads((results / q / "result.json").read_text(encoding="utf-8"))


def parameters_of(results, q="q_0.0054"):
    with open(results / q / "parameters.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(row["value"]), float(row["uncertainty"] or "nan")] for row in rows])


def files_of(results):
    return {file.relative_to(results).as_posix() for file in results.rglob("*") if file.is_file()}


def test_the_results_are_those_of_data_in_memory(run, sheared_file):
    laminar = {"analysis_mode": "laminar_flow"}
    code, out, err, streamed = run(sheared_file, laminar, STREAM, name="streamed")
    assert code == 0, err
    assert run(sheared_file, laminar, name="held")[0] == 0
    held = streamed.parent / "held-results"

    assert files_of(streamed) == files_of(held)
    there, here = parameters_of(streamed), parameters_of(held)
    assert np.all(np.abs(there[:, 0] - here[:, 0]) < 1e-3 * here[:, 1])
    np.testing.assert_allclose(there[:, 1], here[:, 1], rtol=1e-3)
    for name in ("lag_cuts.png", "scaling.png", "map_03_phi_+36.00deg.png"):
        sizes = [(folder / "q_0.0054" / name).stat().st_size for folder in (streamed, held)]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.02)
    with np.load(streamed / "q_0.0054/arrays.npz") as few, np.load(held / "q_0.0054/arrays.npz") as all_:
        assert set(few) == set(all_) - {"c2_fitted", "residuals"}
        for name in few:
            assert few[name].dtype == all_[name].dtype
            assert few[name].shape == all_[name].shape

    assert "5 maps of 30 x 30 frames, 1.8e-05 GB, stay in their file" in err
    assert "experimental_data.stream is true" in err
    assert "fitting from the file" in err
    assert "data streamed from their file, 5 chunks a pass" in out
    assert "without fitted maps and residuals (3.6e-05 GB), which output.fitted_maps: true writes" in out
    assert result_of(streamed)["device_info"]["strategy"] == "hybrid"


def test_the_size_decides(run, still_file, monkeypatch):
    asked = []

    def memory_threshold_gb(fraction):
        asked.append(fraction)
        return 3 * 5 * 30 * 30 * 4 / 1e9 * allowed

    monkeypatch.setattr(_reading, "memory_threshold_gb", memory_threshold_gb)
    allowed = 0.99
    fraction = {"optimization": {"nlsq": {"memory_fraction": 0.4}}}
    code, out, err, _ = run(still_file, NO_PLOTS, fraction, name="small")
    assert code == 0
    assert "data streamed from their file" in out
    assert "a fit in memory takes about 5.4e-05 GB, of 5.35e-05 GB that it may" in err
    assert set(asked) == {0.4}
    code, out, err, _ = run(still_file, NO_PLOTS, {"experimental_data": {"stream": False}}, name="forced")
    assert code == 0
    assert "data in memory" in out
    assert "stay in their file" not in err
    allowed = 1.01
    code, out, _, _ = run(still_file, NO_PLOTS, name="large")
    assert code == 0
    assert "data in memory" in out
    assert asked[-1] is None


def test_the_check_of_a_configuration_says_it_too(command, configure, still_file):
    both = {"file_path": str(still_file), "stream": True}
    robust = {"nlsq": {"loss": "huber", "f_scale": 1.345, "use_adapter": True}}
    path = configure(still_file, {"experimental_data": both, "optimization": robust})
    code, out, _ = command("config", "--check", path)
    assert code == 0
    assert "q = 0.0054 1/Å: 5 maps of 30 x 30 frames, 1.8e-05 GB, stay in their file" in out
    assert "huber loss from 1.345 standard deviations on, engine structured, nlsq first" in out


def test_an_interrupted_fit_goes_on_where_it_was(run, double_file, stages, reads):
    sections = (STREAM, SLOW, NO_PLOTS)
    assert run(double_file, *sections, name="whole")[0] == 0
    in_one_go, passes = len(reads), stages.count("fit")
    assert passes > 4

    stages.clear()
    stages.interrupt = lambda: stages.count("fit") == 3
    code, out, err, results = run(double_file, *sections)
    assert (code, out) == (1, "")
    said = "interrupted; the finished passes are kept in analysis-results/passes: the same command goes on"
    assert said in err
    (file,) = files_of(results)
    assert file.startswith("passes/")

    stages.interrupt = lambda: False
    reads.clear()
    code, out, err, _ = run(double_file, *sections)
    assert code == 0, err
    assert "passes over these data that an earlier run finished, in analysis-results/passes, are" in err
    assert len(reads) == in_one_go - 3 * 5
    assert "passes" not in out.split("written to")[1]
    whole = results.parent / "whole-results"
    assert files_of(results) == files_of(whole)
    assert not (results / "passes").exists()
    assert np.array_equal(parameters_of(results), parameters_of(whole), equal_nan=True)


def test_an_interruption_before_the_first_pass_keeps_nothing(run, still_file, stages):
    stages.interrupt = lambda: True
    code, _, err, results = run(still_file, STREAM, NO_PLOTS)
    assert code == 1
    assert "error: interrupted before the first pass over the data was finished" in err
    assert not results.exists()
    code, _, err, _ = run(still_file, NO_PLOTS)
    assert code == 1
    assert "error: interrupted; what was written so far is complete" in err


def test_an_interruption_among_several_q_tells_how_to_go_on(run, stages, tmp_path, monkeypatch):
    sets = [
        simulate(Simulation(mode="static_isotropic", angles=5, frames=30, dt=0.5, q=q)) for q in (4e-3, 6e-3)
    ]
    save_apsu(tmp_path / "two.hdf", sets)
    sections = (STREAM, NO_PLOTS, {"analyzer_parameters": {"scattering": {"wavevector_q": "all"}}})
    begun = []
    step = ProgressLine.step
    monkeypatch.setattr(ProgressLine, "step", lambda self, text: (begun.append(text), step(self, text)))
    stages.interrupt = lambda: "q = 0.006 1/Å (2 of 2): fitting" in begun[-1] and stages[-1] == "fit"
    code, _, err, results = run(tmp_path / "two.hdf", *sections)
    assert code == 1
    assert "the same command goes on with them, with --overwrite" in err
    assert any(name.startswith("passes/") for name in files_of(results))
    stages.interrupt = lambda: False
    assert run(tmp_path / "two.hdf", *sections)[0] == 1
    code, _, err, _ = run(tmp_path / "two.hdf", *sections, options=["--overwrite"])
    assert code == 0, err
    assert not (results / "passes").exists()
    assert result_of(results, "q_0.006")["convergence_status"] == "converged"


def test_passes_of_a_fit_that_did_not_converge_are_kept(run, double_file):
    few = {
        "optimization": {"nlsq": {"loss": "huber", "hybrid_streaming": {"gauss_newton_max_iterations": 2}}}
    }
    code, out, _, results = run(double_file, STREAM, NO_PLOTS, few)
    assert code == 3
    assert "at max_iterations (2 passes over the data)" in out
    assert "finished passes are kept in analysis-results/passes" in out
    code, out, _, _ = run(double_file, STREAM, SLOW, NO_PLOTS, options=["--overwrite"])
    assert code == 0
    assert "kept" not in out
    assert not (results / "passes").exists()


def test_a_folder_for_passes_that_is_named(run, double_file, stages, tmp_path):
    named = {"optimization": {"nlsq": {"loss": "huber", "hybrid_streaming": {"checkpoint_dir": "mine"}}}}
    stages.interrupt = lambda: stages.count("fit") == 2
    code, _, err, results = run(double_file, STREAM, NO_PLOTS, named)
    assert code == 1
    assert f"kept in {tmp_path / 'mine'}" in err
    assert not results.exists()
    assert len(list((tmp_path / "mine").glob("*.npz"))) == 1
    (tmp_path / "mine/other.npz").write_text("of another run", encoding="utf-8")
    stages.interrupt = lambda: False
    code, out, _, _ = run(double_file, STREAM, NO_PLOTS, named)
    assert code == 0
    assert "kept" not in out
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["other.npz"]
    code, _, err, _ = run(double_file, NO_PLOTS, named, name="held")
    assert code == 0
    assert "hybrid_streaming.checkpoint_dir has no effect: 5 maps of 30 x 30 frames" in err


def test_the_settings_of_streamed_fits_have_an_effect(run, still_file, stages):
    assert run(still_file, STREAM, FAR, NO_PLOTS, name="plain")[0] == 0
    warm_up = stages.count("warm-up")
    assert warm_up > 3
    for name, settings, holds in (
        ("none", {"warmup_iterations": 0}, lambda n: n == 0),
        ("few", {"warmup_iterations": 2, "max_warmup_iterations": 2}, lambda n: n == 2),
        ("plainly", {"normalize": False}, lambda n: n not in (0, warm_up)),
    ):
        stages.clear()
        section = {"optimization": {"nlsq": {"hybrid_streaming": settings}}}
        assert run(still_file, STREAM, FAR, NO_PLOTS, section, name=name)[0] == 0
        assert holds(stages.count("warm-up"))
    section = {"optimization": {"nlsq": {"hybrid_streaming": {"chunk_size": 300}}}}
    code, out, err, _ = run(still_file, STREAM, NO_PLOTS, section, name="chunks")
    assert code == 0
    assert "15 chunks a pass" in out
    assert "so few points at once, 300, make a streamed fit several times slower" in err


def test_chunks_of_data_in_memory(run, still_file):
    code, out, _, results = run(still_file, NO_PLOTS, {"optimization": {"nlsq": {"chunk_points": 1500}}})
    assert code == 0
    assert "data in memory, 3 chunks a pass" in out
    assert result_of(results)["device_info"]["strategy"] == "out_of_core"


def test_fitted_maps_and_residuals_are_written_where_they_are_wanted(run, still_file):
    wanted = {"output": {"plots": False, "fitted_maps": True}}
    code, out, err, streamed = run(still_file, STREAM, wanted, name="streamed")
    assert code == 0, err
    assert "without fitted maps" not in out
    assert "c2_fitted.npy, residuals.npy" in out
    assert run(still_file, wanted, name="held")[0] == 0
    with np.load(streamed.parent / "held-results/q_0.0054/arrays.npz") as arrays:
        for name in ("c2_fitted", "residuals"):
            written = np.load(streamed / f"q_0.0054/{name}.npy", mmap_mode="r")
            assert written.dtype == np.float32
            np.testing.assert_allclose(written, arrays[name], atol=1e-6)
    listed = json.loads((streamed / "run.json").read_text(encoding="utf-8"))["files"]
    assert "q_0.0054/residuals.npy" in listed

    code, out, _, none = run(still_file, {"output": {"plots": False, "fitted_maps": False}}, name="none")
    assert code == 0
    with np.load(none / "q_0.0054/arrays.npz") as arrays:
        assert not {"c2_fitted", "residuals"} & set(arrays)
    assert "without fitted maps" not in out


def test_noise_and_gap_that_the_file_does_not_have(run, sheared, tmp_path):
    file = tmp_path / "bare.npz"
    save_npz(file, dataclasses.replace(sheared, L=None, sigma=None, sigma_source=None))
    laminar = {"analysis_mode": "laminar_flow", "output": {"plots": ["maps"]}}
    code, out, err, streamed = run(file, laminar, STREAM, name="streamed")
    assert code == 0, err
    assert "no gap in the configuration or in bare.npz: 2e+06 Å" in err
    assert "σ estimated from the data" in out
    assert run(file, laminar, name="held")[0] == 0
    held = streamed.parent / "held-results"
    there, here = parameters_of(streamed), parameters_of(held)
    assert np.all(np.abs(there[:, 0] - here[:, 0]) < 1e-3 * here[:, 1])
    names = sorted(name for name in files_of(streamed) if name.endswith(".png"))
    assert len(names) == 5
    for name in names:  # the residuals are in units of the same σ
        assert (streamed / name).stat().st_size == pytest.approx((held / name).stat().st_size, rel=0.01)


def test_a_map_that_cannot_be_used_is_one_sentence(run, still, tmp_path):
    c2 = np.array(still.c2)
    c2[3] = np.nan
    file = tmp_path / "hole.npz"
    np.savez(file, c2=c2, phi=still.phi, q=still.q, dt=0.5)
    code, out, err, results = run(file, STREAM)
    assert (code, out) == (1, "")
    (sentence,) = (line for line in err.splitlines() if line.startswith("error: "))
    assert "map c2[3] (phi = 36 degrees) holds no data" in sentence
    assert not results.exists()


# ----------------------------------------------------------------------------------------- engines and losses


def test_the_library_nlsq_takes_maps_in_memory_only(run, still_file):
    code, _, err, results = run(still_file, STREAM, {"optimization": {"nlsq": {"engine": "nlsq"}}})
    assert code == 1
    assert "error: optimization.nlsq.engine is nlsq, which takes maps in memory" in err
    assert "expected engine structured, or experimental_data.stream false" in err
    assert not results.exists()


def test_the_library_nlsq_that_is_not_installed(run, still_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "nlsq", None)
    code, _, err, _ = run(still_file, NO_PLOTS, {"optimization": {"nlsq": {"engine": "nlsq"}}})
    assert code == 1
    assert 'error: The library nlsq is not installed; pip install "homodyne-nlsq[nlsq]" installs it.\n' in err
    code, out, _, results = run(still_file, NO_PLOTS, {"optimization": {"nlsq": {"use_adapter": True}}})
    assert code == 0
    assert "fitted by our own solver, after nlsq failed, data in memory" in out
    assert "! The fit by nlsq failed, and our own solver took over: The library nlsq is not installed" in out
    assert result_of(results)["device_info"]["fallback_occurred"]


def test_a_robust_loss_keeps_outliers_from_pulling(run, still, tmp_path):
    c2 = np.array(still.c2, dtype=np.float64)
    rng = np.random.default_rng(3)
    low = rng.random((30, 30)) < 0.05
    c2[:, low | low.T] += 0.3
    file = tmp_path / "outliers.npz"
    save_npz(file, dataclasses.replace(still, c2=c2))
    away, fixed = {}, {"initial_parameters": {"fixed_parameters": {"alpha": -0.5, "D_offset": 1e3}}}
    for loss, f_scale in (("linear", 1.0), ("soft_l1", 1.0), ("huber", 1.345), ("huber", 1e6)):
        settings = {"optimization": {"nlsq": {"loss": loss, "f_scale": f_scale}}}
        code, out, err, results = run(file, NO_PLOTS, fixed, settings, name=f"{loss}-{f_scale}")
        assert code == 0, err
        assert (f"{loss} loss " in out) == (loss != "linear")
        (d0, *_) = result_of(results)["physical_parameters"]
        away[loss, f_scale] = abs(d0["value"] - 2e4)
    assert away["soft_l1", 1.0] < 0.2 * away["linear", 1.0]
    assert away["huber", 1.345] < 0.2 * away["linear", 1.0]
    assert away["huber", 1e6] == pytest.approx(away["linear", 1.0], rel=1e-3)


def test_attempts_after_the_first(run, still_file, monkeypatch):
    start = [6e3, 0.1, 0.0]
    original = _held.normal_equations

    def pass_(model, physical, *args, **keywords):
        gram = np.array(original(model, physical, *args, **keywords))
        return np.full_like(gram, np.nan) if np.allclose(physical, start) else gram

    monkeypatch.setattr(_held, "normal_equations", pass_)
    bounds = [{"name": "D0", "min": 1e2, "max": 1e6}, {"name": "alpha", "min": -1, "max": 2}]
    sections = (FAR, NO_PLOTS, {"parameter_space": {"bounds": bounds}})
    code, out, _, results = run(still_file, *sections)
    assert code == 0
    assert "tried after the first attempt: a start from the centre of the bounds" in out
    assert result_of(results)["device_info"]["recovery_actions"] == ["bounds_reset"]
    for recovery in ({"enable": False}, {"max_attempts": 1}):
        section = {"optimization": {"recovery": recovery}}
        code, out, _, _ = run(still_file, *sections, section, options=["--overwrite"])
        assert code == 3
        assert "failed, quality poor" in out
        assert "tried after" not in out
