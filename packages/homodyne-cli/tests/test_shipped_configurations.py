"""The ready files in configs/ at the root of the repository."""

import csv
import shutil
from pathlib import Path

import pytest

from homodyne_cli import _run_files
from homodyne_cli._config_read import load_configuration

CONFIGS = Path(__file__).resolve().parents[3] / "configs"

pytestmark = pytest.mark.skipif(not CONFIGS.is_dir(), reason="only in the repository")


def test_every_file_loads_without_a_warning():
    files = sorted(CONFIGS.glob("*.yaml"))
    assert {file.name for file in files} >= {"colloid_at_rest.yaml", "sheared_colloid.yaml"}
    for file in files:
        assert load_configuration(file).warnings == ()


def test_the_sheared_colloid_fits_its_simulation(command, tmp_path):
    shutil.copy(CONFIGS / "sheared_colloid.yaml", tmp_path)
    small = ["--angles", 5, "--frames", 30, "--dt", 0.5, "--sigma", 0.01]
    assert command("simulate", "--output", tmp_path / "sheared_colloid.npz", *small)[0] == 0
    assert command("--config", tmp_path / "sheared_colloid.yaml")[0] == 0


def test_the_colloid_at_rest_gives_the_known_diffusion(command, real_data, monkeypatch, tmp_path):
    monkeypatch.setattr(_run_files, "plot_fit", lambda *_, **__: [])  # 50 figures that the other tests show
    monkeypatch.setenv("HOMODYNE_REAL_DATA", str(real_data))
    code, _, err = command("--config", CONFIGS / "colloid_at_rest.yaml", "--output", tmp_path / "real")
    assert code == 0, err
    with open(tmp_path / "real/summary.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    # Known from an independent constant-diffusion fit of the same maps; C2 decays as exp(-q² D0 lag).
    assert [float(row["D0"]) for row in rows] == pytest.approx([4.83e5, 3.41e5, 2.40e5, 2.23e5], rel=0.05)
    assert [float(row["q_per_angstrom"]) for row in rows] == pytest.approx(
        [0.0063, 0.0087, 0.0110, 0.0134], rel=0.01
    )
    assert all(0.085 < float(row["mean_contrast"]) < 0.145 for row in rows)
    assert all(int(row["n_phi"]) == 11 for row in rows)
