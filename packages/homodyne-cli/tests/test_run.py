"""Runs from file to results, through `main`, and the effect of every key."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from homodyne_cli import _reading, _run
from homodyne_cli._config import Configuration
from homodyne_cli._config_cmc import CMC
from homodyne_cli._config_read import _all_paths
from homodyne_cli._simulate import simulate
from homodyne_cli._simulation import Simulation
from homodyne_data import save_apsu, save_npz
from homodyne_degeneracy import DegeneracyConfig
from homodyne_global import CMAESWrapperConfig, MultiStartConfig
from homodyne_nlsq import HybridStreamingConfig, NLSQConfig, RecoveryConfig


def no_constants(text):
    raise AssertionError(f"{text} is no JSON")


def load_json(path):
    """JSON as the standard has it: no NaN, no Infinity."""
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=no_constants)


def deep(path, value):
    """{"a": {"b": value}} from "a.b"."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


@pytest.fixture(scope="session")
def several_file(tmp_path_factory):
    """Three q of a static sample in the APS-U layout."""
    sets = [
        simulate(Simulation(mode="static_isotropic", angles=5, frames=30, dt=0.5, q=q, sigma=0.01))
        for q in (0.004, 0.005, 0.007)
    ]
    path = tmp_path_factory.mktemp("data") / "several.hdf"
    save_apsu(path, sets)
    return path


# ------------------------------------------------------------------------------------------------- whole runs


def test_a_sheared_sample_from_file_to_results(command, configure, sheared_file, tmp_path):
    path = configure(sheared_file, {"analysis_mode": "laminar_flow"})
    code, out, err = command("--config", path)
    assert code == 0, err
    results = tmp_path / "analysis-results"
    folder = results / "q_0.0054"
    names = {file.name for file in folder.iterdir()}
    assert {
        "result.json",
        "arrays.npz",
        "parameters.csv",
        "lag_cuts.png",
        "curves.png",
        "scaling.png",
    } <= names
    assert sum(name.startswith("map_") for name in names) == 5
    assert not [name for name in names if name.endswith(".tmp")]

    result = load_json(folder / "result.json")
    assert result["convergence_status"] == "converged"
    with open(folder / "parameters.csv", encoding="utf-8", newline="") as file:
        table = {row["name"]: row for row in csv.DictReader(file)}
    truth = Simulation().parameters
    for entry in result["physical_parameters"]:
        assert float(table[entry["name"]]["value"]) == entry["value"]
        assert abs(entry["value"] - truth[entry["name"]]) < 5 * entry["uncertainty"]
    with np.load(folder / "arrays.npz") as arrays:
        assert arrays["covariance"].shape == (17, 17)
        assert np.isfinite(arrays["residuals"]).sum() == result["n_points"]

    manifest = load_json(results / "run.json")
    assert sorted(manifest["files"]) == sorted(
        file.relative_to(results).as_posix()
        for file in results.rglob("*")
        if file.is_file() and file.name != "run.json"
    )
    assert (results / "configuration.yaml").read_text(encoding="utf-8") == path.read_text(encoding="utf-8")
    assert "converged, quality good" in out
    assert "D0" in out
    assert f"written to {results.name}" in out
    assert "q = 0.0054 1/Å: fitting" in err
    assert "Traceback" not in err


def test_a_second_run_is_refused_unless_overwriting(command, configure, still_file, tmp_path):
    path = configure(still_file, {"output": {"plots": False}, "noise": {"sigma": 0.01}})
    assert command("--config", path)[0] == 0
    stamp = (tmp_path / "analysis-results/q_0.0054/result.json").stat().st_mtime_ns
    code, _, err = command("--config", path)
    assert code == 1
    assert "already holds results" in err
    assert (tmp_path / "analysis-results/q_0.0054/result.json").stat().st_mtime_ns == stamp
    assert command("--config", path, "--overwrite")[0] == 0
    assert command("--config", path, "--output", tmp_path / "elsewhere")[0] == 0
    assert (tmp_path / "elsewhere/q_0.0054/result.json").exists()


def test_all_q_of_a_file(command, configure, several_file, tmp_path):
    sections = deep("analyzer_parameters.scattering.wavevector_q", "all") | {"output": {"plots": ["curves"]}}
    code, out, _ = command("--config", configure(several_file, sections))
    assert code == 0
    results = tmp_path / "analysis-results"
    with open(results / "summary.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["folder"] for row in rows] == ["q_0.004", "q_0.005", "q_0.007"]
    for row in rows:
        assert load_json(results / row["folder"] / "result.json")["q"]["value"] == float(
            row["q_per_angstrom"]
        )
    assert (results / "D0_vs_q.png").stat().st_size > 5000
    assert "0.007" in out.split("q [1/Å]")[1]


def test_several_q_without_a_choice_is_an_error_that_lists_them(command, configure, several_file):
    code, _, err = command("--config", configure(several_file))
    assert code == 1
    assert "holds 3 values of q (0.004, 0.005, 0.007 1/Å)" in err
    assert "analyzer_parameters.scattering.wavevector_q" in err


def test_two_wishes_for_one_q_are_an_error(command, configure, several_file):
    sections = deep("analyzer_parameters.scattering.wavevector_q", [0.0049, 0.0051])
    code, _, err = command("--config", configure(several_file, sections))
    assert code == 1
    assert "both nearest to 0.005" in err


def test_a_fit_that_stops_early_has_exit_code_3(command, configure, sheared_file, tmp_path):
    sections = {"analysis_mode": "laminar_flow", "output": {"plots": False}}
    sections |= deep("optimization.nlsq.max_iterations", 2)
    sections |= {"initial_parameters": {"values": [3e4, -0.3, 0.0, 3e-3, 0.3, 0.0, 40.0]}}
    code, out, _ = command("--config", configure(sheared_file, sections))
    assert code == 3
    result = load_json(tmp_path / "analysis-results/q_0.0054/result.json")
    assert result["convergence_status"] != "converged"
    assert result["convergence_status"] in out


def test_one_bad_q_of_several_does_not_stop_the_others(
    command, configure, several_file, monkeypatch, tmp_path
):
    read = _reading.load_xpcs

    def spoiled(path, **options):
        if options["q"] == pytest.approx(0.005):
            raise ValueError("every pair is masked")
        return read(path, **options)

    monkeypatch.setattr(_reading, "load_xpcs", spoiled)
    sections = deep("analyzer_parameters.scattering.wavevector_q", "all") | {"output": {"plots": False}}
    code, _, err = command("--config", configure(several_file, sections))
    assert code == 1
    assert "q = 0.005 1/Å (2 of 3): every pair is masked" in err
    assert {path.name for path in (tmp_path / "analysis-results").glob("q_*")} == {"q_0.004", "q_0.007"}
    fits = load_json(tmp_path / "analysis-results/run.json")["fits"]
    assert fits["q_0.004"]["convergence_status"] == "converged"
    assert fits["q_0.005"]["error"] == "every pair is masked"


@pytest.mark.parametrize(
    "sections, words",
    [
        (deep("analyzer_parameters.end_frame", 99), "end_frame"),
        (deep("analyzer_parameters.bad_frames", [31]), "bad_frames"),
        (
            {"phi_filtering": {"enabled": True, "target_ranges": [{"min_angle": 1, "max_angle": 2}]}},
            "no angle",
        ),
        ({"initial_parameters": {"values": [-5.0, -0.5, 0.0]}}, "D0"),
        ({"experimental_data": {"file_path": "absent.hdf"}}, "absent.hdf does not exist"),
        ({"experimental_data": {"file_path": "."}}, "is a folder, not a file"),
        (
            deep("analyzer_parameters.scattering.wavevector_q", 0.054),
            "no q within 10% of 0.054 1/Å; still.npz holds 0.0054",
        ),
        ({"experimental_data": {"file_path": "analysis.yaml"}}, "neither an HDF5 nor an .npz file"),
    ],
)
def test_bad_input_is_one_sentence_and_no_results(command, configure, still_file, sections, words, tmp_path):
    code, out, err = command("--config", configure(still_file, sections))
    assert code == 1
    (sentence,) = (line for line in err.splitlines() if line.startswith("error: "))
    assert words in sentence
    assert "Traceback" not in err
    assert out == ""
    assert not (tmp_path / "analysis-results").exists()


def test_a_gap_that_nobody_gives_is_assumed_with_a_warning(command, configure, sheared, tmp_path):
    file = tmp_path / "no_gap.npz"
    save_npz(file, dataclasses.replace(sheared, L=None))
    sections = {"analysis_mode": "laminar_flow", "output": {"plots": False}}
    code, _, err = command("--config", configure(file, sections))
    assert code == 0
    assert "no gap in the configuration or in no_gap.npz: 2e+06 Å (200 µm) is used" in err


def test_a_value_that_replaces_the_files_is_noted(command, configure, still_file):
    sections = {"analyzer_parameters": {"dt": 0.4}, "output": {"plots": False}}
    code, _, err = command("--config", configure(still_file, sections))
    assert code == 0
    assert "note: dt = 0.4 s was given and replaces 0.5 s of the source." in err


def test_data_without_noise_fall_back_to_a_default_that_is_named(command, configure, tmp_path):
    constant = {"D0": 2e4, "alpha": 0.0, "D_offset": 0.0}
    exact = simulate(
        Simulation(mode="static_isotropic", angles=5, frames=30, dt=0.5, sigma=1e-12, parameters=constant)
    )
    file = tmp_path / "exact.npz"
    save_npz(file, dataclasses.replace(exact, sigma=None, sigma_source=None))
    sections = {"initial_parameters": {"fixed_parameters": {"alpha": 0, "D_offset": 0}}}
    code, out, _ = command("--config", configure(file, sections))
    assert code == 0
    assert "σ is a default of 1 %" in out


# -------------------------------------------------------------------------------- every key has an effect


class Captured(Exception):
    """Thrown instead of fitting."""


LAMINAR = {"analysis_mode": "laminar_flow"}

# Key, value, and where it must show: what the reader is asked for, what the fit is told, or both.
EFFECTS = {
    "analysis_mode": ("laminar_flow", lambda load, fit: fit.analysis_mode == "laminar_flow"),
    "shear_kernel": ("homodyne2", lambda load, fit: fit.shear_kernel == "homodyne2"),
    "quadrature": ("exact", lambda load, fit: fit.quadrature == "exact"),
    "analyzer_parameters.dt": ("2 ms", lambda load, fit: load["dt"] == 0.002),
    "analyzer_parameters.start_frame": (3, lambda load, fit: load["start_frame"] == 3),
    "analyzer_parameters.end_frame": (20, lambda load, fit: load["end_frame"] == 20),
    "analyzer_parameters.skip_first_frames": (2, lambda load, fit: load["skip_first_frames"] == 2),
    "analyzer_parameters.bad_frames": (["4-6"], lambda load, fit: load["bad_frames"] == (4, 5, 6)),
    "analyzer_parameters.time_origin": (1.5, lambda load, fit: load["time_origin"] == 1.5),
    "analyzer_parameters.scattering.wavevector_q": (0.0051, lambda load, fit: load["q"] == 0.0051),
    "analyzer_parameters.geometry.stator_rotor_gap": ("1 mm", lambda load, fit: load["L"] == 1e7),
    "analyzer_parameters.geometry.sample_detector_distance": (3e6, lambda load, fit: load["L"] == 3e6),
    "phi_filtering.enabled": (
        True,
        lambda load, fit: load["phi_ranges"] == ((-20.0, 20.0),),
        {"phi_filtering": {"target_ranges": [{"min_angle": -20, "max_angle": 20}]}},
    ),
    "phi_filtering.fallback_to_all_angles": (True, lambda load, fit: load["fallback_to_all_angles"]),
    "initial_parameters.values": (
        [2e4, -0.4, 10],
        lambda load, fit: fit.initial == {"D0": 2e4, "alpha": -0.4, "D_offset": 10},
    ),
    "initial_parameters.parameter_names": (
        ["alpha"],
        lambda load, fit: fit.initial == {"alpha": -0.4},
        {"initial_parameters": {"values": [-0.4]}},
    ),
    "initial_parameters.active_parameters": (
        ["D0"],
        lambda load, fit: fit.fixed == {"alpha": -0.4, "D_offset": 10.0},
        {"initial_parameters": {"values": [2e4, -0.4, 10]}},
    ),
    "initial_parameters.fixed_parameters": (
        {"alpha": 0, "offset": 1},
        lambda load, fit: fit.fixed == {"alpha": 0, "offset": 1},
    ),
    "optimization.nlsq.max_iterations": (7, lambda load, fit: fit.max_iterations == 7),
    "optimization.nlsq.tolerance": (1e-5, lambda load, fit: fit.tolerance == 1e-5),
    "optimization.nlsq.xtol": (1e-5, lambda load, fit: fit.xtol == 1e-5),
    "optimization.nlsq.gtol": (1e-5, lambda load, fit: fit.gtol == 1e-5),
    "initial_parameters.per_angle_scaling": (False, lambda load, fit: not fit.per_angle_scaling),
    "optimization.nlsq.per_angle_scaling": (False, lambda load, fit: not fit.per_angle_scaling),
    "optimization.nlsq.profile": (["alpha", "D0"], lambda load, fit: fit.profile == ("alpha", "D0")),
    "optimization.nlsq.covariance_type": ("hessian", lambda load, fit: fit.covariance_type == "hessian"),
    "optimization.nlsq.loss": ("huber", lambda load, fit: fit.loss == "huber"),
    "optimization.nlsq.f_scale": (1.345, lambda load, fit: fit.f_scale == 1.345),
    "optimization.nlsq.engine": ("nlsq", lambda load, fit: fit.engine == "nlsq"),
    "optimization.nlsq.use_adapter": (True, lambda load, fit: fit.use_adapter),
    "optimization.nlsq.memory_fraction": (0.3, lambda load, fit: fit.memory_fraction == 0.3),
    "optimization.nlsq.chunk_points": (500, lambda load, fit: fit.chunk_points == 500),
    "optimization.nlsq.hybrid_streaming.normalize": (
        False, lambda load, fit: not fit.hybrid_streaming.normalize
    ),
    "optimization.nlsq.hybrid_streaming.warmup_iterations": (
        7, lambda load, fit: fit.hybrid_streaming.warmup_iterations == 7
    ),
    "optimization.nlsq.hybrid_streaming.max_warmup_iterations": (
        107, lambda load, fit: fit.hybrid_streaming.max_warmup_iterations == 107
    ),
    "optimization.nlsq.hybrid_streaming.gauss_newton_max_iterations": (
        7, lambda load, fit: fit.hybrid_streaming.gauss_newton_max_iterations == 7
    ),
    "optimization.nlsq.hybrid_streaming.chunk_size": (
        70000, lambda load, fit: fit.hybrid_streaming.chunk_size == 70000
    ),
    "optimization.nlsq.hybrid_streaming.checkpoint_dir": (
        "kept",
        lambda load, fit: fit.hybrid_streaming.checkpoint_dir.endswith("/kept"),
        {"experimental_data": {"stream": True}},
    ),
    "optimization.recovery.enable": (False, lambda load, fit: not fit.recovery.enable),
    "optimization.recovery.max_attempts": (2, lambda load, fit: fit.recovery.max_attempts == 2),
    "noise.sigma": (0.03, lambda load, fit: load["sigma"] == 0.03),
}  # fmt: skip

# Every value differs from the default.
ANTI_DEGENERACY = {
    "enable": False,
    "per_angle_mode": "constant",
    "fourier_order": 3,
    "fourier_auto_threshold": 9,
    "hierarchical.enable": True,
    "hierarchical.max_outer_iterations": 7,
    "hierarchical.outer_tolerance": 1e-4,
    "hierarchical.physical_max_iterations": 70,
    "hierarchical.per_angle_max_iterations": 30,
    "regularization.enable": True,
    "regularization.mode": "absolute",
    "regularization.lambda": 2.5,
    "regularization.target_cv": 0.2,
    "regularization.target_contribution": 0.3,
    "gradient_monitoring.enable": False,
    "gradient_monitoring.ratio_threshold": 0.05,
    "gradient_monitoring.consecutive_triggers": 2,
    "gradient_monitoring.response": "abort",
    "shear_weighting.enable": True,
    "shear_weighting.min_weight": 0.5,
    "shear_weighting.alpha": 2.0,
    "shear_weighting.normalize": False,
}


def alone(key, value):
    """Whether the settings of the fit are the defaults with this one key of the anti-degeneracy system changed."""
    expected = DegeneracyConfig.from_mapping(deep(key, value))
    assert expected != DegeneracyConfig()
    return lambda load, fit: fit.anti_degeneracy == expected


EFFECTS |= {
    f"optimization.nlsq.anti_degeneracy.{key}": (value, alone(key, value))
    for key, value in ANTI_DEGENERACY.items()
}

# Every value differs from the default.
SEARCHES = {
    "cmaes": {
        "enable": True,
        "preset": "cmaes-fast",
        "max_generations": 30,
        "max_evaluations": 3000,
        "sigma": 0.3,
        "tol_fun": 1e-6,
        "tol_x": 1e-6,
        "restart_strategy": "none",
        "max_restarts": 2,
        "population_batch_size": 4,
        "data_chunk_size": 500,
        "refine_with_nlsq": False,
        "auto_select": False,
        "scale_threshold": 10.0,
        "memory_limit_gb": 2.0,
        "seed": 5,
        "refinement_workflow": "streaming",
        "refinement_ftol": 1e-6,
        "refinement_xtol": 1e-6,
        "refinement_gtol": 1e-6,
        "refinement_max_nfev": 50,
        "refinement_loss": "huber",
    },
    "multi_start": {
        "enable": True,
        "n_starts": 20,
        "seed": 5,
        "screen_keep_fraction": 0.3,
        "refine_top_k": 1,
        "n_workers": 2,
    },
}
SETTINGS_OF_SEARCHES = {"cmaes": CMAESWrapperConfig, "multi_start": MultiStartConfig}


def alone_in(name, key, value):
    """Whether the settings of a search are the defaults with this one key changed."""
    kind = SETTINGS_OF_SEARCHES[name]
    assert kind(**{key: value}) != kind()
    return lambda load, fit: getattr(fit, name) == kind(**{key: value})


EFFECTS |= {
    f"optimization.nlsq.{name}.{key}": (value, alone_in(name, key, value))
    for name, section in SEARCHES.items()
    for key, value in section.items()
}

# Keys whose effect other tests of this file, of test_streaming, test_posterior and test_config_read show.
SHOWN_ELSEWHERE = {f"optimization.cmc.{spec.name}" for spec in dataclasses.fields(CMC)} | {
    "optimization.method",
    "experimental_data.file_path",
    "experimental_data.data_folder_path",
    "experimental_data.data_file_name",
    "experimental_data.stream",
    "phi_filtering.target_ranges",
    "phi_filtering.target_ranges[].min_angle",
    "phi_filtering.target_ranges[].max_angle",
    "parameter_space.bounds",
    "parameter_space.bounds[].name",
    "parameter_space.bounds[].min",
    "parameter_space.bounds[].max",
    "parameter_space.bounds[].type",
    "parameter_space.bounds[].prior_mu",
    "parameter_space.bounds[].prior_sigma",
    "output.directory",
    "output.formats",
    "output.plots",
    "output.fitted_maps",
}

# Settings of the fit that a file cannot have: a list of weights by index means nothing where angles are selected
# by ranges, and the seed chooses between start values that all lead to the same fit.
NOT_IN_A_FILE = {"angle_weights", "seed"}


def test_the_list_of_effects_is_complete():
    paths = _all_paths(Configuration)
    leaves = {path for path in paths if not any(other.startswith(f"{path}.") for other in paths)}
    assert leaves == set(EFFECTS) | SHOWN_ELSEWHERE


def test_every_setting_of_the_fit_has_a_key():
    settings = {spec.name for spec in dataclasses.fields(NLSQConfig)} - {"initial", "fixed", "bounds"}
    ours = [p for p in _all_paths(Configuration) if not any(f".{name}." in p for name in (*SEARCHES, "cmc"))]
    assert settings - {path.rpartition(".")[2] for path in ours} == NOT_IN_A_FILE
    for name, nested in (("hybrid_streaming", HybridStreamingConfig), ("recovery", RecoveryConfig)):
        assert {spec.name for spec in dataclasses.fields(nested)} == {
            path.rpartition(".")[2] for path in _all_paths(Configuration) if f".{name}." in path
        }
    for name, nested in SETTINGS_OF_SEARCHES.items():
        assert {spec.name for spec in dataclasses.fields(nested)} == set(SEARCHES[name])
    system = DegeneracyConfig()
    settings = {
        f"{name}.{spec.name}".removeprefix("anti_degeneracy.").rstrip("_")
        for name in (
            "anti_degeneracy",
            "hierarchical",
            "regularization",
            "gradient_monitoring",
            "shear_weighting",
        )
        for spec in dataclasses.fields(getattr(system, name, system))
    } - {"hierarchical", "regularization", "gradient_monitoring", "shear_weighting"}
    assert settings == set(ANTI_DEGENERACY)


@pytest.mark.parametrize("key", EFFECTS)
def test_every_key_reaches_the_reader_or_the_fit(key, command, configure, still_file, monkeypatch):
    seen = {}
    opened, read = _reading.open_xpcs, _reading.load_xpcs

    def open_(path, **options):
        seen["load"] = options
        return opened(path, L=options["L"])

    def load(path, **options):
        assert options == seen["load"]
        return read(path)

    def fit(data, settings, **options):
        seen["fit"] = settings
        raise Captured

    monkeypatch.setattr(_reading, "open_xpcs", open_)
    monkeypatch.setattr(_reading, "load_xpcs", load)
    monkeypatch.setattr(_run, "fit_nlsq_jax", fit)
    value, shows, *more = EFFECTS[key]
    sections = more[0] if more else {}
    if "experimental_data" in sections:
        sections["experimental_data"]["file_path"] = str(still_file)
    *parents, leaf = key.split(".")
    target = sections = json.loads(json.dumps(sections))
    for parent in parents:
        target = target.setdefault(parent, {})
    target[leaf] = value
    assert command("--config", configure(still_file, sections))[0] == 1
    assert shows(seen["load"], seen["fit"])


def test_the_quoted_error_bars_and_the_profiles_that_are_asked_for(command, configure, still_file, tmp_path):
    quoted = {}
    for kind in ("robust", "hessian"):
        nlsq = {"covariance_type": kind, "profile": ["D0"] if kind == "robust" else []}
        path = configure(
            still_file, {"optimization": {"nlsq": nlsq}, "output": {"plots": False}}, f"{kind}.yaml"
        )
        code, out, err = command("--config", path)
        assert code == 0, err
        assert f"{kind} is quoted*" in out
        assert ("Profile likelihood" in out) == (kind == "robust")
        folder = tmp_path / f"{kind}-results/q_0.0054"
        assert (folder / "profiles.csv").exists() == (kind == "robust")
        with open(folder / "parameters.csv", encoding="utf-8", newline="") as file:
            quoted[kind] = {row["name"]: row for row in csv.DictReader(file)}
    one, other = (quoted[kind]["D0"] for kind in ("robust", "hessian"))
    assert (one["quoted"], other["quoted"]) == ("robust", "hessian")
    assert (
        one["uncertainty"] == one["uncertainty_robust"] != one["uncertainty_hessian"] == other["uncertainty"]
    )
    with open(tmp_path / "robust-results/q_0.0054/profiles.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["level"]) for row in rows] == [("D0", "0.683"), ("D0", "0.95")]
    assert all(float(row["lower"]) < float(one["value"]) < float(row["upper"]) for row in rows)


def test_the_choice_of_the_scaling_and_what_the_data_determine_are_told(
    command, configure, sheared_file, tmp_path
):
    sections = LAMINAR | {"output": {"plots": False}}
    code, out, err = command("--config", configure(sheared_file, sections))
    assert code == 0, err
    told = " ".join(out.split())
    result = load_json(tmp_path / "analysis-results/q_0.0054/result.json")
    assert result["per_angle_mode"] == "constant"
    assert "scaling constant: one contrast and one offset for all angles, 2 parameters" in told
    assert "per_angle_mode auto took constant" in told.split("Anti-degeneracy")[1]
    section = told.split("What the data determine")[1].split("Anti-degeneracy")[0]
    for combination in result["identifiability"]["combinations"]:
        assert combination["words"] in section
    named = {"per_angle_mode": "individual", "gradient_monitoring": {"enable": False}}
    sections |= {"optimization": {"nlsq": {"anti_degeneracy": named}}}
    code, out, err = command("--config", configure(sheared_file, sections, "named.yaml"))
    assert code == 0, err
    assert "scaling individual: a contrast and an offset for every angle, 10 parameters" in out
    assert "GradientCollapseMonitor" not in out


def test_bounds_change_the_fit(command, configure, still_file, tmp_path):
    sections = {"parameter_space": {"bounds": [{"name": "D0", "max": 1.5e4}]}, "output": {"plots": False}}
    _, out, _ = command("--config", configure(still_file, sections))
    result = load_json(tmp_path / "analysis-results/q_0.0054/result.json")
    (d0,) = (entry for entry in result["physical_parameters"] if entry["name"] == "D0")
    assert d0["value"] == pytest.approx(1.5e4)
    assert d0["at_bound"] == "upper"
    assert d0["uncertainty"] is None
    assert "at its upper bound" in out


def test_the_output_section(command, configure, still_file, tmp_path):
    output = {"directory": "made/here", "formats": ["svg"], "plots": ["scaling", "curves"]}
    assert command("--config", configure(still_file, {"output": output}))[0] == 0
    folder = tmp_path / "made/here/q_0.0054"
    assert {path.name for path in folder.iterdir()} == {
        "result.json", "arrays.npz", "parameters.csv", "curves.svg", "scaling.svg"
    }  # fmt: skip


def test_angles_and_data_folder(command, configure, still_file, tmp_path):
    sections = {
        "experimental_data": {"data_folder_path": str(still_file.parent), "data_file_name": still_file.name},
        "phi_filtering": {"enabled": True, "target_ranges": [{"min_angle": -120, "max_angle": -30}]},
        "output": {"plots": False},
    }
    assert command("--config", configure(still_file, sections))[0] == 0
    result = load_json(tmp_path / "analysis-results/q_0.0054/result.json")
    assert [angle["phi"] for angle in result["angles"]] == [-108.0, -36.0]
