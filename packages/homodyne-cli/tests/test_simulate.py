import json

import numpy as np
import pytest

from homodyne_cli._simulate import physical, simulate, write_simulation
from homodyne_cli._simulation import REFERENCE, Simulation, Speckle
from homodyne_data import load_xpcs
from homodyne_model import AnalysisMode, correlation


def test_the_reference_has_the_parameters_of_each_mode():
    assert set(REFERENCE) == {mode.value for mode in AnalysisMode}
    for mode in AnalysisMode:
        assert tuple(REFERENCE[mode.value]) == mode.physical_names


@pytest.mark.parametrize("suffix", [".npz", ".hdf"])
@pytest.mark.parametrize("mode", ["static_isotropic", "laminar_flow"])
def test_files_read_back_with_their_truth(tmp_path, suffix, mode):
    simulation = Simulation(
        mode=mode, angles=3, frames=20, seed=5, parameters={"D0": 1e4}, contrast=0.2, offset=1.1
    )
    path, truth_path = write_simulation(simulation, tmp_path / f"s{suffix}")
    data = load_xpcs(path)
    truth = json.loads(truth_path.read_text(encoding="utf-8"))
    assert truth_path.name == "s.truth.json"
    assert truth["parameters"] == {**REFERENCE[mode], "D0": 1e4}
    assert np.allclose(data.phi, truth["phi"])
    assert (data.q, data.L, data.dt) == pytest.approx((truth["q"], truth["L"], truth["dt"]))
    assert np.ravel(data.sigma) == pytest.approx(truth["noise"]["sigma"])
    assert data.symmetric
    clean = correlation(physical(simulation), 0.2, 1.1, data.q, data.t, data.phi, data.L)
    z = ((data.c2 - np.asarray(clean)) / truth["noise"]["sigma"])[data.mask]
    # 570 standard normal numbers: mean and standard deviation within 5 standard errors.
    assert abs(z.mean()) < 5 / np.sqrt(z.size)
    assert abs(z.std() - 1) < 5 / np.sqrt(2 * z.size)


def test_the_seed_decides(sheared):
    again = simulate(Simulation(angles=5, frames=30, dt=0.5, sigma=0.01))
    other = simulate(Simulation(angles=5, frames=30, dt=0.5, sigma=0.01, seed=2))
    assert np.array_equal(again.c2, sheared.c2)
    assert not np.array_equal(other.c2, sheared.c2)


def test_speckle_has_shot_noise_on_the_diagonal_and_no_sigma():
    simulation = Simulation(
        mode="static_isotropic", angles=2, frames=12, speckle=Speckle(pixels=20000, counts=0.25), contrast=0.4
    )
    data = simulate(simulation)
    assert data.sigma is None
    assert np.diagonal(data.c2[0]).mean() == pytest.approx(1 + 0.4 + 1 / 0.25, rel=0.05)
    assert np.diagonal(data.c2[0], -1).mean() == pytest.approx(1.39, abs=0.05)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"mode": "turbulent"}, "turbulent"),
        ({"mode": "static_isotropic", "parameters": {"beta": 0.0}}, "beta: no parameter of static_isotropic"),
        ({"frames": 2}, "frames is 2; expected at least 3"),
        ({"angles": 0}, "angles"),
        ({"dt": 0.0}, "dt is 0.0"),
        ({"sigma": -1.0}, "sigma"),
        ({"q": float("nan")}, "q is nan"),
        ({"contrast": 1.5, "speckle": Speckle()}, "contrast is 1.5"),
        ({"offset": float("nan")}, "offset is nan"),
        ({"parameters": {"D0": float("inf")}}, "D0 is inf"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Simulation(**settings)


@pytest.mark.parametrize(
    "settings, message", [({"pixels": 1}, "pixels is 1"), ({"counts": 0.0}, "counts is 0.0")]
)
def test_wrong_settings_of_speckle_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Speckle(**settings)


def test_the_static_mode_has_its_other_names():
    assert Simulation(mode="static").mode == Simulation(mode="static_anisotropic").mode == "static_isotropic"


def test_what_exceeds_the_memory_is_refused_before_the_work():
    with pytest.raises(ValueError, match="23 angles of 1000000 frames need about 4.6e"):
        simulate(Simulation(frames=10**6))


def test_speckle_of_a_negative_diffusion_is_refused():
    with pytest.raises(ValueError, match="negative"):
        simulate(
            Simulation(
                mode="static_isotropic", angles=1, frames=9, parameters={"D_offset": -1e5}, speckle=Speckle()
            )
        )


def test_existing_files_and_wrong_names_are_refused_before_the_work(tmp_path):
    small = Simulation(angles=1, frames=5, mode="static_isotropic")
    with pytest.raises(ValueError, match=".txt"):
        write_simulation(small, tmp_path / "s.txt")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        write_simulation(small, tmp_path / "absent" / "s.npz")
    (tmp_path / "s.truth.json").write_text("{}", encoding="utf-8")
    with pytest.raises(FileExistsError, match="--overwrite"):
        write_simulation(small, tmp_path / "s.npz")
    write_simulation(small, tmp_path / "s.npz", overwrite=True)
    assert load_xpcs(tmp_path / "s.npz").n_phi == 1
