import re

import pytest

from homodyne_cli._console import Terminal
from homodyne_cli._demo import demo, show_comparison
from homodyne_cli._simulation import REFERENCE, Simulation
from homodyne_data import load_xpcs


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A small demo: what it printed, and where."""
    folder = tmp_path_factory.mktemp("demo") / "here"
    terminal = Terminal()
    with terminal.out.capture() as capture:
        done = demo(terminal, output=folder, simulation=Simulation(angles=5, frames=30, dt=0.5, sigma=0.01))
    return folder, done, capture.get()


def test_the_demo_fits_what_it_simulated(shown):
    folder, done, text = shown
    assert done.exit_code == 0
    assert load_xpcs(folder / "sheared_colloid.npz").n_phi == 5
    assert {file.name for file in folder.iterdir()} == {
        "sheared_colloid.npz", "sheared_colloid.truth.json", "sheared_colloid.yaml", "results"
    }  # fmt: skip
    for name in ("sheared_colloid.npz", "sheared_colloid.truth.json", "sheared_colloid.yaml", "result.json"):
        assert name in text


def test_it_compares_fitted_and_true_with_z_scores(shown):
    table = shown[2].split("fitted and true values")[1]
    for name in (*REFERENCE["laminar_flow"], "D(7.25 s)", "γ̇(7.25 s)"):
        (line,) = (line for line in table.splitlines() if line.startswith(f"{name} "))
        (z,) = re.findall(r" ([+-]\d+\.\d\d) ", line + " ")
        assert abs(float(z)) < 5
    assert re.search(r"contrast of all angles, true 0.3: 0\.\d+, z [+-]\d", table)


def test_a_scaling_that_varies_is_compared_angle_by_angle(sheared, result_of):
    terminal = Terminal()
    with terminal.out.capture() as capture:
        show_comparison(terminal, result_of(sheared), Simulation(angles=5, frames=30, dt=0.5, sigma=0.01))
    assert re.search(r"contrast of 5 angles, true 0.3: mean 0\.\d+, z from -\d.* to \d", capture.get())


def test_its_configuration_works_again(shown, command):
    folder = shown[0]
    assert command("--config", folder / "sheared_colloid.yaml", "--output", folder / "again")[0] == 0


def test_an_earlier_demo_is_kept(shown, command, tmp_path, monkeypatch):
    with pytest.raises(FileExistsError, match="--overwrite"):
        demo(Terminal(), output=shown[0])
    assert command("demo", "--output", shown[0])[0] == 1
    from homodyne_cli import _demo

    monkeypatch.chdir(tmp_path)
    assert _demo._free_folder().name == "homodyne-demo"
    (tmp_path / "homodyne-demo").mkdir()
    (tmp_path / "homodyne-demo-2").mkdir()
    assert _demo._free_folder().name == "homodyne-demo-3"
