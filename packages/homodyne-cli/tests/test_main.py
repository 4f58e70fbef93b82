import errno
import json
import subprocess
import sys

import pytest

from homodyne_cli import _main
from homodyne_cli._simulation import REFERENCE


def test_help_and_version_answer_without_the_heavy_libraries(tmp_path):
    code = (
        "import sys\nfrom homodyne_cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "assert not {'jax', 'matplotlib', 'h5py'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "exit codes: 0 converged (a posterior: certified), 3 ran but not so far, 1 error" in done.stdout


def test_the_process_itself_ends_with_the_exit_code(tmp_path, still_file):
    (tmp_path / "a.yaml").write_text("analysis_mod: static\n", encoding="utf-8")
    code = "import sys\nfrom homodyne_cli import main\nsys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "--config", "a.yaml"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "error: a.yaml, line 1: unknown key 'analysis_mod'; did you mean 'analysis_mode'?\n"


@pytest.mark.parametrize("arguments", [["config"], ["simulate", "--help"]])
def test_output_survives_an_encoding_without_our_letters(tmp_path, arguments):
    code = "import sys\nfrom homodyne_cli import main\nsys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        cwd=tmp_path,
        env={"PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    assert b"[1/?]" in done.stdout


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--confg", "a.yaml"], "unknown option --confg; did you mean --config?"),
        (["--debug", "--wrong=1", "demo"], "unknown option --wrong"),
        (["--output", "x", "--confg", "a.yaml"], "unknown option --confg; did you mean --config?"),
        (["fit"], "unknown command 'fit'; expected one of demo, inspect, config, simulate"),
        (["simulte"], "did you mean simulate?"),
        (["a.yaml"], "to run a configuration: homodyne --config a.yaml"),
        (["--method", "lsq", "--config", "a.yaml"], "'lsq' is not one of nlsq, cmc, both"),
        (["--method", "nlsq"], "need --config"),
        (["--no-nlsq-warmstart"], "need --config"),
        (["--no-nlsq-warmstart", "demo"], "options of demo stand after it"),
        (["inspect"], "FILE"),
        (["simulate"], "--output"),
        (["simulate", "--output", "a.npz", "--frames", "many"], "not a whole number"),
        (["simulate", "--output", "a.npz", "--gap", "200 ft"], "'ft'"),
        (["--output", "x"], "need --config"),
        (["--overwrite", "demo"], "options of demo stand after it"),
        (["--config", "a.yaml", "inspect", "b.hdf"], "start a fit"),
    ],
)
def test_wrong_usage_is_exit_code_1(command, arguments, words):
    code, _, err = command(*arguments)
    assert code == 1
    assert words in err


def test_no_argument_prints_help(command):
    code, out, _ = command()
    assert code == 0
    assert "usage: homodyne" in out


def test_errors_are_one_sentence_and_debug_shows_where(command):
    code, _, err = command("--config", "absent.yaml")
    assert code == 1
    assert err == "error: the configuration absent.yaml does not exist\n"
    for arguments in (["--debug", "--config", "absent.yaml"], ["inspect", "absent.hdf", "--debug"]):
        assert "Traceback" in command(*arguments)[2]


def test_a_defect_says_that_it_is_one(command, monkeypatch):
    def broken(*_):
        raise KeyError("gone")

    monkeypatch.setattr(_main, "_inspect", broken)
    code, _, err = command("inspect", "x.hdf")
    assert code == 1
    assert "KeyError: 'gone' (a defect of this program; --debug shows where)" in err


def test_an_error_of_the_system_is_told_without_its_number(command, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "x.npz")

    monkeypatch.setattr(_main, "_inspect", full)
    assert command("inspect", "x.hdf")[2] == "error: No space left on device: x.npz\n"


def test_an_interruption_is_an_error(command, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_main, "_inspect", interrupted)
    code, _, err = command("inspect", "x.hdf")
    assert code == 1
    assert "interrupted" in err


def test_inspect(command, sheared_file):
    code, out, _ = command("inspect", sheared_file)
    assert code == 0
    assert "30 x 30 frames" in out
    code, out, _ = command("inspect", sheared_file, "--json")
    assert code == 0
    assert json.loads(out)["n_maps"] == 5
    assert command("inspect", sheared_file.parent / "absent.npz")[0] == 1


def test_config_prints_and_checks(command, configure, still_file, tmp_path):
    code, out, _ = command("config", "--mode", "laminar_flow")
    assert code == 0
    path = tmp_path / "template.yaml"
    path.write_text(out, encoding="utf-8")
    code, out, err = command("config", "--check", path)
    assert code == 0
    assert "laminar_flow" in out
    assert "my_results.hdf does not exist" in err
    good = configure(still_file, {"initial_parameters": {"fixed_parameters": {"alpha": 0}}})
    code, out, err = command("config", "--check", good)
    assert code == 0
    assert "q = 0.0054 1/Å" in out
    assert "alpha 0" in out
    assert "the configuration is valid" in out
    assert err == ""
    assert "scaling   auto, anti-degeneracy off without shear" in out
    assert "errors    robust\n" in out
    assert command("config", "--check", good, "--mode", "static")[0] == 1
    bad = configure(still_file, {"noise": {"sigmma": 1}}, name="bad.yaml")
    assert command("config", "--check", bad)[0] == 1


@pytest.mark.parametrize(
    "nlsq, scaling, errors",
    [
        ({"per_angle_scaling": False}, "constant, as per_angle_scaling is false", "robust"),
        ({"anti_degeneracy": {"enable": False}}, "auto, anti-degeneracy off", "robust"),
        (
            {
                "anti_degeneracy": {
                    "per_angle_mode": "fourier",
                    "gradient_monitoring": {"enable": False},
                },
                "covariance_type": "hessian",
            },
            "fourier, anti-degeneracy layers: none",
            "hessian",
        ),
        (
            {
                "anti_degeneracy": {"hierarchical": {"enable": True}, "shear_weighting": {"enable": True}},
                "profile": ["D0", "alpha"],
            },
            "auto, anti-degeneracy layers: hierarchical, gradient_monitoring, shear_weighting",
            "robust; profile likelihood of D0, alpha",
        ),
    ],
)
def test_the_check_names_scaling_and_error_bars(command, configure, sheared_file, nlsq, scaling, errors):
    sections = {"analysis_mode": "laminar_flow", "optimization": {"nlsq": nlsq}}
    code, out, err = command("config", "--check", configure(sheared_file, sections))
    assert code == 0, err
    assert f"\nscaling   {scaling}\n" in out
    assert f"\nerrors    {errors}\n" in out


def test_simulate_takes_every_option(command, tmp_path):
    options = [
        "--angles",
        4,
        "--frames",
        12,
        "--dt",
        "50 ms",
        "--q",
        "0.06 nm^-1",
        "--gap",
        "100um",
        "--sigma",
        0.05,
    ]
    options += ["--contrast", 0.2, "--offset", 1.02, "--seed", 9, "--mode", "laminar_flow"]
    values = {name: 1.01 * value for name, value in REFERENCE["laminar_flow"].items()}
    for name, value in values.items():
        options += [f"--{name}", value]
    code, out, err = command("simulate", "--output", "s.hdf", *options)
    assert code == 0, err
    assert "written s.hdf and s.truth.json" in out
    truth = json.loads((tmp_path / "s.truth.json").read_text(encoding="utf-8"))
    assert truth["parameters"] == pytest.approx(values)
    assert (truth["q"], truth["L"], truth["dt"]) == pytest.approx((0.006, 1e6, 0.05))
    assert (truth["n_t"], len(truth["phi"]), truth["seed"]) == (12, 4, 9)
    assert (truth["contrast"], truth["offset"], truth["noise"]) == (0.2, 1.02, {"sigma": 0.05})
    assert command("simulate", "--output", "s.hdf", *options)[0] == 1
    assert command("simulate", "--output", "s.hdf", "--overwrite", *options)[0] == 0


def test_simulate_takes_negative_numbers_however_written_and_tells_doubts(command, tmp_path):
    options = [
        "--angles",
        2,
        "--frames",
        5,
        "--gap",
        200,
        "--D_offset",
        "-1e1",
        "--gamma_dot_t_offset",
        "-.5e-4",
    ]
    code, _, err = command("simulate", "--output", "s.npz", *options)
    assert code == 0, err
    parameters = json.loads((tmp_path / "s.truth.json").read_text(encoding="utf-8"))["parameters"]
    assert (parameters["D_offset"], parameters["gamma_dot_t_offset"]) == (-10.0, -5e-5)
    assert "warning: L = 200 Å is below the usual range of a gap" in err


def test_simulate_speckle(command, tmp_path):
    code, _, err = command(
        "simulate",
        "--output",
        "s.npz",
        "--speckle",
        "--pixels",
        200,
        "--counts",
        2,
        "--angles",
        2,
        "--frames",
        10,
    )
    assert code == 0, err
    truth = json.loads((tmp_path / "s.truth.json").read_text(encoding="utf-8"))
    assert truth["noise"] == {"pixels": 200, "counts": 2.0}


@pytest.mark.parametrize(
    "options, words",
    [
        (
            ["--speckle", "--sigma", "0.1"],
            "no effect with --speckle (photons make the noise, the offset is 1): --sigma",
        ),
        (["--pixels", "100"], "no effect without --speckle: --pixels"),
        (["--mode", "static_isotropic", "--gap", "1mm"], "no effect in static_isotropic: --gap"),
        (["--mode", "static_isotropic", "--beta", "0.1"], "no parameter of static_isotropic"),
    ],
)
def test_options_without_effect_are_errors(command, options, words):
    code, _, err = command("simulate", "--output", "s.npz", *options)
    assert code == 1
    assert words in err


def test_compiled_code_is_kept_for_the_next_run(tmp_path, sheared_file, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "fit.yaml").write_text(
        f"analysis_mode: laminar_flow\nexperimental_data: {{file_path: '{sheared_file}'}}\noutput: {{plots: none}}\n"
    )
    kept = []
    for run in range(2):
        code = (
            "import sys; from homodyne_cli import main; "
            f"sys.exit(main(['--config', {str(tmp_path / 'fit.yaml')!r}, '--output', {str(tmp_path / str(run))!r}]))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        (folder,) = (tmp_path / "cache" / "homodyne").iterdir()
        kept.append({path.name for path in folder.iterdir() if path.name.endswith("-cache")})
    assert kept[0]
    assert kept[1] == kept[0]  # the second run compiled nothing that was not kept


def test_a_cache_that_cannot_be_written_is_done_without(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert _main._folder_of_compiled_code() is None
