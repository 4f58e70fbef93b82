"""Runs that sample a posterior, through `main`: files, exit codes, what an interruption leaves, and what reaches the sampler."""

import csv
import dataclasses
import json
import os
import signal

import numpy as np
import pytest
import yaml

import homodyne_cmc
from homodyne_cli import _run, main
from homodyne_cli._console import ProgressLine, Terminal
from homodyne_cli._demo import show_posterior_comparison
from homodyne_cli._simulate import simulate
from homodyne_cli._simulation import Simulation
from homodyne_cli._workers import workers
from homodyne_cmc import CMCInputError, CMCResult
from homodyne_data import save_apsu, save_npz

# One shape for all posteriors of this suite, so that JAX compiles once.
STATIC = {"mode": "static_isotropic", "angles": 3, "frames": 40, "dt": 0.5, "sigma": 0.02, "seed": 3}
TRUTH = Simulation(**STATIC).parameters
LAPLACE = {"optimization": {"cmc": {"method": "laplace"}}, "output": {"plots": False}}
SHARDS = {"num_shards": 2, "num_warmup": 50, "num_samples": 100, "num_chains": 2}
NAMES = ("D0", "alpha", "D_offset")


def no_constants(text):
    raise AssertionError(f"{text} is no JSON")


def load_json(path):
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=no_constants)


def load_csv(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def files_of(folder):
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="session")
def static_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "static.npz"
    save_npz(path, simulate(Simulation(**STATIC)))
    return path


@pytest.fixture(scope="session")
def in_shards(static_file, tmp_path_factory):
    """A run of both methods with two shards and all plots: exit code, what was printed, its folder."""
    folder = tmp_path_factory.mktemp("both")
    content = {"experimental_data": {"file_path": str(static_file)}, "optimization": {"cmc": SHARDS}}
    (folder / "a.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    results = folder / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        printed = (folder / "out").open("w+", encoding="utf-8")
        patch.setattr("sys.stdout", printed)
        code = main(["--method", "both", "--config", str(folder / "a.yaml"), "--output", str(results)])
    printed.seek(0)
    return code, printed.read(), results


@pytest.fixture(scope="session")
def laplace(static_file, tmp_path_factory):
    """A posterior about its mode, as the command writes it, and its folder."""
    folder = tmp_path_factory.mktemp("laplace")
    content = LAPLACE | {"experimental_data": {"file_path": str(static_file)}}
    (folder / "a.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    arguments = ["--method", "cmc", "--config", str(folder / "a.yaml"), "--output", str(folder / "results")]
    assert main(arguments) == 0
    return CMCResult.load(folder / "results/q_0.0054/posterior.nc"), folder / "results"


@pytest.fixture
def sampler(monkeypatch, laplace):
    """In place of the sampler: what it was given, and a posterior whose attributes a test may change."""

    class Sampler:
        calls: list
        attrs: dict
        end: BaseException | None

        def __init__(self):
            self.calls, self.attrs, self.end = [], {}, None

        def __call__(self, data, settings, start, kept, n_workers, progress):
            self.calls.append((settings, start, kept, n_workers))
            if self.end is not None:
                raise self.end
            tree = laplace[0].tree.copy()
            tree.attrs |= self.attrs
            return CMCResult(tree)

    fake = Sampler()
    monkeypatch.setattr(_run, "sample", fake)
    return fake


@pytest.fixture
def changed_fit(monkeypatch):
    """Change what fits find."""

    def change(**changes):
        fit = _run.fit_nlsq_jax
        monkeypatch.setattr(
            _run,
            "fit_nlsq_jax",
            lambda *args, **options: dataclasses.replace(fit(*args, **options), **changes),
        )

    return change


# ------------------------------------------------------------------------------------------------- whole runs


def test_the_files_of_both_methods(in_shards):
    code, _, results = in_shards
    assert code == 0
    folder = results / "q_0.0054"
    names = files_of(folder)
    assert {"result.json", "arrays.npz", "parameters.csv", "curves.png"} <= names
    assert {"posterior.nc", "posterior.json", "posterior.csv"} <= names
    plots = {"forest", "pair", "predictive_cuts", "prior_posterior", "rates", "shard_trace", "shard_rank"}
    assert {f"posterior_{name}.png" for name in plots} <= names
    manifest = load_json(results / "run.json")
    assert sorted(manifest["files"]) == sorted(files_of(results) - {"run.json"})
    assert manifest["fits"]["q_0.0054"]["posterior_status"] == "certified"
    assert manifest["method"] == "both"
    assert "unfinished" not in manifest
    assert not (folder / "shards").exists()


def test_json_and_csv_are_the_draws(in_shards):
    folder = in_shards[2] / "q_0.0054"
    posterior = CMCResult.load(folder / "posterior.nc")
    content = load_json(folder / "posterior.json")
    rows = {row["name"]: row for row in load_csv(folder / "posterior.csv")}
    assert set(rows) == {*NAMES, *(f"{kind}_{a}" for kind in ("contrast", "offset") for a in range(3))}
    fit = {row["name"]: row for row in load_csv(folder / "parameters.csv")}
    for entry in content["parameters"]:
        drawn, row = posterior.posterior[entry["name"]].values.ravel(), rows[entry["name"]]
        assert entry["mean"] == pytest.approx(drawn.mean()) == float(row["mean"])
        assert entry["sd"] == pytest.approx(drawn.std()) == float(row["sd"])
        assert entry["quantiles"]["0.16"] == pytest.approx(np.quantile(drawn, 0.16)) == float(row["16%"])
        robust = float(fit[entry["name"]]["uncertainty_robust"])
        assert entry["robust_sd"] == pytest.approx(robust) == float(row["robust_sd"])
        assert row["state"] == "sampled"
        assert abs(entry["mean"] - TRUTH[entry["name"]]) < 4 * entry["sd"]
    contrast = posterior.posterior["contrast"].values[0]
    assert float(rows["contrast_2"]["97.5%"]) == pytest.approx(np.quantile(contrast[:, 2], 0.975))
    assert content["angles"][1]["contrast"]["mean"] == pytest.approx(contrast[:, 1].mean())
    assert float(rows["contrast_1"]["phi_deg"]) == content["angles"][1]["phi"]
    assert content["status"] == "certified"
    assert content["n_shards"] == len(content["shards"]["r_hat"]) == 2
    assert content["settings"]["num_samples"] == 100
    assert content["nlsq"]["convergence_status"] == "converged"


def test_the_report_of_both_methods(in_shards):
    text = in_shards[1]
    fit, posterior = text.split("\nPosterior\n")
    assert "converged, quality good" in fit
    assert posterior.startswith("Certified: ")
    assert "posterior of 2340 points by cmc, 2 shards" in posterior
    assert "(their weights can be trusted)" in posterior
    assert "chains: R-hat up to 1.0" in posterior
    assert "for 3 degrees of freedom" in posterior
    assert "the shards agree" in posterior
    (row,) = (line.split() for line in posterior.splitlines() if line.startswith("alpha "))
    (fitted,) = (line.split() for line in fit.splitlines() if line.startswith("alpha "))
    assert row[5:7] == fitted[1:3]
    assert float(row[3]) < float(row[1]) < float(row[4])


def test_the_posterior_alone_writes_the_numbers_of_the_fit_and_shows_them_beside(
    command, configure, static_file, sampler, tmp_path
):
    path = configure(static_file, LAPLACE)
    code, out, err = command("--method", "cmc", "--config", path)
    assert code == 0, err
    written = {
        "result.json",
        "arrays.npz",
        "parameters.csv",
        "posterior.nc",
        "posterior.json",
        "posterior.csv",
    }
    folder = tmp_path / "analysis-results/q_0.0054"
    assert files_of(folder) == written
    with np.load(folder / "arrays.npz") as arrays:
        assert "c2_fitted" not in arrays
    assert out.lstrip().startswith(
        "q = 0.0054 1/Å   static_isotropic, 3 angles, 40 frames of 0.5 s\nCertified"
    )
    assert "begun from the fit: converged, quality good, reduced χ² " in out
    assert "What the data determine" not in out
    (row,) = (line.split() for line in out.splitlines() if line.startswith("alpha "))
    fitted = load_json(folder / "result.json")["physical_parameters"][1]
    assert float(row[5]) == pytest.approx(fitted["value"], abs=1e-3)


def test_maps_in_their_file_give_the_same_posterior(command, configure, static_file, laplace, tmp_path):
    sections = LAPLACE | {"experimental_data": {"file_path": str(static_file), "stream": True}}
    code, _, err = command("--method", "cmc", "--config", configure(static_file, sections))
    assert code == 0, err
    rows = load_csv(tmp_path / "analysis-results/q_0.0054/posterior.csv")
    for row in rows[:3]:
        assert float(row["mean"]) == pytest.approx(laplace[0].mean[row["name"]], abs=0.1 * float(row["sd"]))
    assert not (tmp_path / "analysis-results/q_0.0054/shards").exists()


def test_a_prior_of_the_file_moves_the_posterior_as_the_algebra_says(
    command, configure, static_file, laplace, tmp_path
):
    free, mu, sigma = laplace[0], -0.42, 0.02
    bounds = [{"name": "alpha", "min": -2, "max": 1, "type": "Normal", "prior_mu": mu, "prior_sigma": sigma}]
    sections = LAPLACE | {"parameter_space": {"bounds": bounds}}
    code, out, err = command("--method", "cmc", "--config", configure(static_file, sections))
    assert code == 0, err
    # A normal likelihood times a normal prior: precisions add up.
    mean, sd = free.mean["alpha"], free.sd["alpha"]
    width = (sd**-2 + sigma**-2) ** -0.5
    expected = width**2 * (mean / sd**2 + mu / sigma**2)
    assert abs(expected - mean) > sd
    rows = {row["name"]: row for row in load_csv(tmp_path / "analysis-results/q_0.0054/posterior.csv")}
    assert float(rows["alpha"]["mean"]) == pytest.approx(expected, abs=0.1 * width)
    assert float(rows["alpha"]["sd"]) == pytest.approx(width, rel=0.07)
    # The others move with it: draws without the prior, weighed by it.
    weight = np.exp(-((free.posterior["alpha"].values.ravel() - mu) ** 2) / (2 * sigma**2))
    weight /= weight.sum()
    for name in NAMES:
        drawn = free.posterior[name].values.ravel()
        expected = weight @ drawn
        width = np.sqrt(weight @ (drawn - expected) ** 2)
        assert float(rows[name]["mean"]) == pytest.approx(expected, abs=0.15 * width)
        assert float(rows[name]["sd"]) == pytest.approx(width, rel=0.15)
    assert "of alpha is 0.8" in out
    assert "times as wide as its Normal prior: the prior says more about it than the data" in out


def test_draws_widened_to_the_clustered_errors(command, configure, static_file, tmp_path):
    sections = {
        "optimization": {"cmc": {"method": "laplace", "robust_draws": True}},
        "output": {"plots": False},
    }
    code, out, err = command("--method", "cmc", "--config", configure(static_file, sections))
    assert code == 0, err
    folder = tmp_path / "analysis-results/q_0.0054"
    rows = {row["name"]: row for row in load_csv(folder / "posterior.csv")}
    content = load_json(folder / "posterior.json")
    assert "95 % widened" in out
    for entry in content["parameters"]:
        row = rows[entry["name"]]
        assert float(row["widened_2.5%"]) == entry["widened_quantiles"]["0.025"]
        ratio = float(row["robust_sd"]) / float(row["sd"])
        width = float(row["widened_84%"]) - float(row["widened_16%"])
        assert width / (float(row["84%"]) - float(row["16%"])) == pytest.approx(ratio, rel=0.15)
    assert rows["contrast_0"]["widened_2.5%"] == ""


def test_several_q(command, configure, sampler, tmp_path):
    path = tmp_path / "several.hdf"
    save_apsu(path, [simulate(Simulation(**STATIC | {"q": q})) for q in (0.004, 0.006)])
    sections = {
        "analyzer_parameters": {"scattering": {"wavevector_q": "all"}},
        "optimization": {"method": "both"},
        "noise": {"sigma": 0.02},
        "output": {"plots": ["curves"]},
    }
    code, out, err = command("--config", configure(path, sections))
    assert code == 0, err
    results = tmp_path / "analysis-results"
    rows = load_csv(results / "summary.csv")
    assert [row["folder"] for row in rows] == ["q_0.004", "q_0.006"]
    for row in rows:
        content = load_json(results / row["folder"] / "posterior.json")
        alpha = content["parameters"][1]
        assert float(row["alpha_posterior_mean"]) == alpha["mean"]
        assert float(row["alpha_posterior_97.5%"]) == alpha["quantiles"]["0.975"]
        assert (row["posterior_status"], row["convergence_status"]) == ("certified", "converged")
    assert (results / "D0_vs_q.png").stat().st_size > 5000
    table = out.split("Posteriors\n")[1].splitlines()
    assert "D(9.75 s) [Å²/s]" in table[0]
    assert table[1].split()[-1] == "certified"


# ------------------------------------------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    "status, converged, codes",
    [
        ("certified", "converged", {"cmc": 0, "both": 0}),
        ("not certified", "converged", {"cmc": 3, "both": 3}),
        ("failed", "converged", {"cmc": 3}),
        ("certified", "partial", {"cmc": 0, "both": 3}),
        ("certified", "failed", {"cmc": 0, "both": 3}),
    ],
)
def test_exit_codes_and_where_sampling_begins(
    command, configure, static_file, sampler, changed_fit, status, converged, codes
):
    sampler.attrs = {"status": status, "message": "because of this."}
    if converged != "converged":
        changed_fit(convergence_status=converged, success=False, message="Stopped early.")
    for method, expected in codes.items():
        sections = {"output": {"plots": False}, "optimization": {"cmc": {"robust_draws": True}}}
        path = configure(static_file, sections, f"{method}.yaml")
        code, out, err = command("--method", method, "--config", path)
        assert code == expected, err
        words = {"certified": "Certified", "not certified": "NOT CERTIFIED", "failed": "FAILED"}
        assert f"{words[status]}: because of this." in out
        settings, start, *_ = sampler.calls[-1]
        assert (start is None) == (converged == "failed")
        assert settings.robust_draws == (converged != "failed")
        if converged == "failed":
            assert "robust_draws needs the errors of a fit: there are none" in err
            assert "the fit failed (Stopped early.): the posterior is sampled without it" in err
        if converged == "partial":
            assert "the fit did not converge: sampling only begins where it ended" in err


def test_a_posterior_without_draws_has_files_without_numbers(
    command, configure, static_file, monkeypatch, laplace, tmp_path
):
    def nothing(data, settings, start, kept, n_workers, progress):
        (kept.folder / "draws-0").mkdir(parents=True)
        (kept.folder / "draws-0/shard-0000-chain-00.npz").write_bytes(b"kept")
        tree = laplace[0].tree.copy()
        tree.attrs |= {"status": "failed", "message": "chain 1 of shard 0 took too long."}
        for group in ("posterior", "sample_stats"):
            tree[group] = tree[group].dataset.isel(draw=slice(0, 0))
        tree["certificate"]["k_hat"] = tree["certificate"]["k_hat"] + np.inf
        return CMCResult(tree)

    monkeypatch.setattr(_run, "sample", nothing)
    code, out, err = command("--method", "cmc", "--config", configure(static_file))
    assert code == 3, err
    assert "FAILED: chain 1 of shard 0 took too long." in out
    folder = tmp_path / "analysis-results/q_0.0054"
    content = load_json(folder / "posterior.json")
    assert content["parameters"][0]["mean"] is None
    assert content["certificate"]["k_hat"] is None
    rows = load_csv(folder / "posterior.csv")
    assert {row["mean"] for row in rows} == {""}
    assert {row["state"] for row in rows} == {"not sampled"}
    assert not list(folder.glob("posterior_*"))
    assert "finished chains are kept in analysis-results/q_0.0054/shards" in out
    assert (folder / "shards/draws-0/shard-0000-chain-00.npz").exists()


# ----------------------------------------------------------------------------------------------- interruption


def interrupted_after_a_chain(data, settings, start, kept, n_workers, progress):
    (kept.folder / "draws-0").mkdir(parents=True)
    (kept.folder / "draws-0/shard-0000-chain-00.npz").write_bytes(b"kept")
    raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_when_the_same_command_is_given_again(
    command, configure, static_file, sampler, monkeypatch, tmp_path
):
    monkeypatch.setattr(_run, "sample", interrupted_after_a_chain)
    path = configure(static_file, {"output": {"plots": False}})
    code, out, err = command("--method", "both", "--config", path)
    assert code == 3, err
    assert "the sampling of q = 0.0054 1/Å was interrupted by Ctrl-C; finished chains are kept in" in out
    assert "analysis-results/q_0.0054/shards: the same command goes on with them" in out
    assert "converged, quality good" in out
    results = tmp_path / "analysis-results"
    assert {"q_0.0054/result.json", "configuration.yaml"} <= files_of(results)
    assert load_json(results / "run.json")["fits"]["q_0.0054"]["posterior_status"] == "interrupted"

    # Another method or configuration is another run.
    monkeypatch.setattr(_run, "sample", sampler)
    for arguments in (("--method", "nlsq"), ("--method", "cmc")):
        code, _, err = command(*arguments, "--config", path)
        assert code == 1
        assert "goes on where method and configuration are the same" in err
    other = configure(static_file, {"output": {"plots": False}, "noise": {"sigma": 0.02}})
    assert command("--method", "both", "--config", other)[0] == 1
    assert not sampler.calls

    path = configure(static_file, {"output": {"plots": False}})
    code, _, err = command("--method", "both", "--config", path)
    assert code == 0, err
    assert "note: the run that was interrupted in analysis-results goes on" in err
    assert "note: chains of these data that an earlier run finished" in err
    assert not (results / "q_0.0054/shards").exists()
    assert "q_0.0054/posterior.json" in load_json(results / "run.json")["files"]
    assert command("--method", "both", "--config", path)[0] == 1  # finished now


@pytest.mark.parametrize("options", [(), ("--no-nlsq-warmstart",)])
def test_a_run_that_was_killed_goes_on_too(
    command, configure, static_file, sampler, monkeypatch, options, tmp_path
):
    listed = []

    def killed(*_):
        listed.append(load_json(tmp_path / "analysis-results/run.json"))
        raise KeyboardInterrupt

    monkeypatch.setattr(_run, "sample", killed)
    arguments = ("--method", "cmc", *options, "--config", configure(static_file, LAPLACE))
    code, out, _ = command(*arguments)
    assert code == 3
    assert "no chain was finished: the same command begins the sampling again" in out
    # What stood there while it was sampled is what a killed run leaves.
    (state,) = listed
    assert ("q_0.0054/result.json" in state["files"]) == (not options)
    (tmp_path / "analysis-results/run.json").write_text(json.dumps(state), encoding="utf-8")
    monkeypatch.setattr(_run, "sample", sampler)
    assert command(*arguments)[0] == 0


def test_an_interruption_leaves_the_other_q(command, configure, monkeypatch, tmp_path):
    path = tmp_path / "several.hdf"
    save_apsu(path, [simulate(Simulation(**STATIC | {"q": q})) for q in (0.004, 0.006)])
    monkeypatch.setattr(_run, "sample", interrupted_after_a_chain)
    sections = {"analyzer_parameters": {"scattering": {"wavevector_q": "all"}}, "output": {"plots": False}}
    code, out, _ = command("--method", "cmc", "--config", configure(path, sections))
    assert code == 3
    assert "1 more q (0.006 1/Å) was not begun" in out
    assert load_json(tmp_path / "analysis-results/run.json")["fits"]["q_0.006"] == {"q": 0.006, "left": True}


def test_real_chains_are_not_repeated(command, configure, static_file, monkeypatch, tmp_path):
    """Interrupted where the sampler itself reports, and gone on with."""
    told = ProgressLine.posterior
    stages = []

    def stop(self, stage, done, total, seconds_left):
        stages.append((stage, done))
        told(self, stage, done, total, seconds_left)
        if (stage, done) == ("sampling", 3):
            raise KeyboardInterrupt

    sections = {"optimization": {"cmc": SHARDS}, "output": {"plots": False}}
    path = configure(static_file, sections)
    monkeypatch.setattr(ProgressLine, "posterior", stop)
    code, out, err = command("--method", "cmc", "--config", path)
    assert code == 3, err
    assert "finished chains are kept in analysis-results/q_0.0054/shards" in out
    monkeypatch.setattr(ProgressLine, "posterior", told)
    code, out, err = command("--method", "cmc", "--config", path)
    assert code == 0, err
    assert "3 of 4 chains were taken from" in out


# ---------------------------------------------------------------------------------- what reaches the sampler


def test_the_settings_that_the_run_knows(command, configure, static_file, sampler, tmp_path):
    cmc = {"n_workers": 3, "checkpoint_dir": "kept", "seed": 7}
    sections = {"optimization": {"method": "cmc", "cmc": cmc}, "output": {"plots": False}}
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/chain.npz").write_bytes(b"of another run")
    assert command("--config", configure(static_file, sections))[0] == 0
    ((settings, start, kept, n_workers),) = sampler.calls
    assert (settings.seed, n_workers, kept.folder) == (7, 3, tmp_path / "kept")
    assert start.convergence_status == "converged"
    assert (tmp_path / "kept/chain.npz").exists()
    assert command("--config", configure(static_file), "--output", tmp_path / "plain")[0] == 0
    assert len(sampler.calls) == 1  # least squares alone


def test_without_a_fit(command, configure, static_file, sampler, monkeypatch, tmp_path):
    def never(*_, **__):
        raise AssertionError("fitted")

    monkeypatch.setattr(_run, "fit_nlsq_jax", never)
    sections = LAPLACE | {"optimization": {"nlsq": {"per_angle_scaling": False}}}
    path = configure(static_file, sections)
    code, out, err = command("--method", "cmc", "--no-nlsq-warmstart", "--config", path)
    assert code == 0, err
    assert "costs some hundred evaluations, and there are no robust errors to compare with" in err
    settings, start, *_ = sampler.calls[0]
    assert (start, settings.per_angle_mode) == (None, "constant")
    assert "begun without a fit" in out
    assert "nlsq" not in out.split("parameter")[1].splitlines()[0]
    assert files_of(tmp_path / "analysis-results/q_0.0054") == {
        "posterior.nc", "posterior.json", "posterior.csv"
    }  # fmt: skip
    for method in ("both", "nlsq"):
        code, _, err = command("--method", method, "--no-nlsq-warmstart", "--config", path, "--overwrite")
        assert code == 1
        assert f"--no-nlsq-warmstart is for method cmc, got {method}" in err


@pytest.mark.parametrize("options", [(), ("--no-nlsq-warmstart",)])
def test_parameters_that_are_held(command, configure, static_file, options, tmp_path):
    sections = LAPLACE | {"initial_parameters": {"fixed_parameters": {"alpha": -0.5, "D_offset": 1000.0}}}
    path = configure(static_file, sections)
    code, out, err = command("--method", "cmc", *options, "--config", path)
    assert code == 0, err
    folder = tmp_path / "analysis-results/q_0.0054"
    rows = {row["name"]: row for row in load_csv(folder / "posterior.csv")}
    for name, value in (("alpha", -0.5), ("D_offset", 1000.0)):
        assert float(rows[name]["mean"]) == pytest.approx(value)
        assert (rows[name]["sd"], rows[name]["2.5%"], rows[name]["state"]) == ("", "", "held fixed")
    (line,) = (line for line in out.splitlines() if line.startswith("D_offset "))
    assert line.split()[1] == "1000"
    assert line.rstrip().endswith("held fixed")
    mean, sd = float(rows["D0"]["mean"]), float(rows["D0"]["sd"])
    assert abs(mean - TRUTH["D0"]) < 4 * sd
    if not options:
        fit = {row["name"]: row for row in load_csv(folder / "parameters.csv")}["D0"]
        assert mean == pytest.approx(float(fit["value"]), abs=0.2 * sd)
        assert sd == pytest.approx(float(fit["uncertainty_hessian"]), rel=0.1)


@pytest.mark.parametrize(
    "sections, words",
    [
        ({"optimization": {"cmc": {"num_shards": 40}}}, "num_shards is 40; expected at most 39"),
        (
            {"optimization": {"cmc": {"per_angle_mode": "fourier", "fourier_order": 2}}},
            "3 angles",
        ),
    ],
)
def test_what_the_sampler_refuses_is_said_before_anything_is_fitted(
    command, configure, static_file, monkeypatch, sections, words, tmp_path
):
    def never(*_, **__):
        raise AssertionError("fitted")

    monkeypatch.setattr(_run, "fit_nlsq_jax", never)
    code, out, err = command("--method", "both", "--config", configure(static_file, sections))
    assert code == 1
    (sentence,) = (line for line in err.splitlines() if line.startswith("error: "))
    assert words in sentence
    assert out == ""
    assert not (tmp_path / "analysis-results").exists()


def test_the_look_before_needs_a_few_frames_only(command, configure, static_file, monkeypatch, tmp_path):
    seen = {}

    def refuse(data, settings, start, progress):
        seen.update(start, shape=data.c2.shape, sigma=data.sigma_source, fixed=settings.fixed)
        raise CMCInputError("it is too small.")

    monkeypatch.setattr(homodyne_cmc, "fit_mcmc_jax", refuse, raising=False)
    sections = {"initial_parameters": {"fixed_parameters": {"alpha": -0.5}}}
    code, _, err = command("--method", "both", "--config", configure(static_file, sections))
    assert code == 1
    assert "error: it is too small." in err
    assert (seen["shape"], seen["sigma"], seen["fixed"]) == ((3, 4, 4), "given", {"alpha": -0.5})
    assert seen["names"] == NAMES
    assert not (tmp_path / "analysis-results").exists()


def test_an_error_of_the_sampler_after_the_fit_says_where_the_fit_is(
    command, configure, static_file, sampler, tmp_path
):
    sampler.end = CMCInputError("that is too much.")
    code, _, err = command("--method", "both", "--config", configure(static_file, LAPLACE))
    assert code == 1
    assert "error: that is too much. (what the fit found is in analysis-results/q_0.0054)" in err
    assert (tmp_path / "analysis-results/q_0.0054/result.json").exists()


def test_a_plot_that_cannot_be_drawn_costs_no_posterior(
    command, configure, static_file, sampler, monkeypatch, tmp_path
):
    def broken(*_, **__):
        raise TypeError("no axes")

    monkeypatch.setattr(_run, "plot_posterior", broken)
    save_apsu(tmp_path / "two.hdf", [simulate(Simulation(**STATIC | {"q": q})) for q in (0.004, 0.006)])
    sections = {"analyzer_parameters": {"scattering": {"wavevector_q": "all"}}}
    code, out, err = command("--method", "cmc", "--config", configure(tmp_path / "two.hdf", sections))
    assert code == 1
    assert "error: q = 0.006 1/Å (2 of 2): no axes" in err
    assert out.count("Certified: ") == 2
    manifest = load_json(tmp_path / "analysis-results/run.json")
    assert "q_0.006/posterior.nc" in manifest["files"]
    assert manifest["fits"]["q_0.006"]["posterior_status"] == "certified"


# --------------------------------------------------------------------------------------------------- workers


def test_workers_are_spawned_and_end_with_an_interruption():
    seen = {}

    def interrupted():
        with workers(1) as pool:
            assert pool._mp_context.get_start_method() == "spawn"
            seen["worker"] = pool.submit(os.getpid).result()
            os.kill(seen["worker"], signal.SIGINT)  # Ctrl-C reaches all processes of a terminal
            assert pool.submit(os.getpid).result() == seen["worker"]
            (seen["process"],) = pool._processes.values()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert seen["worker"] != os.getpid()
    seen["process"].join(10)
    assert seen["process"].exitcode == -signal.SIGTERM
    with workers(None) as pool:
        assert pool is None


# -------------------------------------------------------------------------------------------------- progress


@pytest.mark.parametrize(
    "at, said",
    [
        (("start", 0, 1, None), "sampling: looking for where to begin"),
        (("sampling", 3, 8, 130.0), "sampling: 3 of 8 chains, about 2 min left"),
        (("certificate", 1, 2, 0.0), "sampling: certificate, 1 of 2 shards"),
        (("certificate, round 2: k-hat 0.3", 2, 2, None), "sampling: certificate, round 2: k-hat 0.3"),
    ],
)
def test_progress_tells_what_is_done_and_how_long_it_takes(monkeypatch, at, said):
    shown = []
    monkeypatch.setattr(ProgressLine, "_show", lambda self, sentence, *, now: shown.append(sentence))
    line = Terminal().progress()
    line.step("sampling")
    line.posterior(*at)
    assert shown[-1] == said


def test_the_demo_compares_a_posterior_with_the_truth(laplace):
    terminal = Terminal()
    with terminal.out.capture() as capture:
        show_posterior_comparison(terminal, laplace[0], Simulation(**STATIC))
    lines = capture.get().splitlines()
    for name, true in TRUTH.items():
        (cells,) = (line.split() for line in lines if line.startswith(f"{name} "))
        mean, sd, shown, z, below = (float(cell.rstrip("%")) for cell in cells[1:6])
        assert shown == true
        assert z == pytest.approx((laplace[0].mean[name] - true) / laplace[0].sd[name], abs=0.01)
        drawn = laplace[0].posterior[name].values
        assert below == pytest.approx(100 * np.mean(drawn < true), abs=0.51)
        assert sd == pytest.approx(laplace[0].sd[name], rel=0.1)
        assert abs(mean - true) < 5 * sd
