"""Maps that stay in their file give the data that `load_xpcs` gives."""

import numpy as np
import pytest

from homodyne_data import DataError, TwoTimeData, list_q, load_xpcs, open_xpcs, save_apsu, save_npz


def measured(n_t=20, *, symmetric=True, seed=0):
    rng = np.random.default_rng(seed)
    t = 0.1 * np.arange(n_t)
    noise = rng.normal(0, 0.02, (3, n_t, n_t))
    if symmetric:
        noise = np.tril(noise) + np.swapaxes(np.tril(noise, -1), 1, 2)
    c2 = 1 + 0.3 * np.exp(-np.abs(t[:, None] - t)) + noise
    c2[1, 5, 2] = c2[1, 2, 5] = np.nan
    good = np.ones(n_t, dtype=bool)
    good[7] = False
    return TwoTimeData(
        c2, phi=[0.0, 40.0, 80.0], t=t, q=0.0054, L=2e6, sigma=[0.02, 0.03, 0.04], good_frames=good
    )


def assert_same(one: TwoTimeData, data: TwoTimeData, angle: int):
    np.testing.assert_array_equal(one.c2[0], data.c2[angle])
    np.testing.assert_array_equal(one.angle_mask(0), data.angle_mask(angle))
    np.testing.assert_array_equal(one.weights(0), data.weights(angle))
    assert (one.phi[0], one.q, one.L, one.symmetric) == (data.phi[angle], data.q, data.L, data.symmetric)
    np.testing.assert_array_equal(one.t, data.t)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("selection", [{}, {"start_frame": 4, "bad_frames": [9]}, {"phi_ranges": [(30, 90)]}])
def test_every_angle_is_that_of_the_loaded_data(tmp_path, symmetric, selection):
    path = tmp_path / "maps.npz"
    save_npz(path, measured(symmetric=symmetric))
    data = load_xpcs(path, **selection)
    with open_xpcs(path, **selection) as stream:
        assert (stream.n_phi, stream.n_t, stream.q, stream.L) == (data.n_phi, data.n_t, data.q, data.L)
        np.testing.assert_array_equal(stream.phi, data.phi)
        for _ in range(2):  # maps can be read as often as wanted
            for angle in reversed(range(stream.n_phi)):
                assert_same(stream.angle(angle), data, angle)


def test_sigma_and_mask_of_every_entry(tmp_path):
    path = tmp_path / "maps.npz"
    save_npz(path, measured().with_sigma(None))
    rng = np.random.default_rng(4)
    given = {"sigma": rng.uniform(0.01, 0.1, (3, 20, 20)), "mask": rng.random((3, 20, 20)) < 0.8}
    data = load_xpcs(path, **given)
    with open_xpcs(path, **given) as stream:
        for angle in range(3):
            assert_same(stream.angle(angle), data, angle)


def test_hdf5(tmp_path):
    path = tmp_path / "maps.hdf"
    save_apsu(path, measured())
    with open_xpcs(path) as stream:
        assert_same(stream.angle(2), load_xpcs(path), 2)
        assert stream.provenance.layout == "APS-U"


def test_wrong_selections_are_found_before_anything_is_read(tmp_path):
    path = tmp_path / "maps.npz"
    save_npz(path, measured())
    with pytest.raises(DataError, match="q"):
        open_xpcs(path, q=0.02, q_tolerance=1e-3)
    with pytest.raises(ValueError, match="end_frame"):
        open_xpcs(path, end_frame=21)
    with pytest.raises(FileNotFoundError):
        open_xpcs(tmp_path / "other.npz")


def test_a_map_that_cannot_be_used_is_named_when_it_is_read(tmp_path):
    data = measured()
    c2 = data.c2.copy()
    c2[1] = np.nan
    path = tmp_path / "maps.npz"
    np.savez(path, c2=c2, phi=data.phi, q=data.q, dt=0.1)
    with open_xpcs(path) as stream:
        assert stream.angle(0).n_points == 190
        with pytest.raises(DataError, match=r"no data|no usable point"):
            stream.angle(1)


def test_measured_maps(real_data):
    path = real_data / "skbeam_c2_apsu_layout_results.hdf"
    q = list_q(path)[2]
    data = load_xpcs(path, q=q)
    with open_xpcs(path, q=q) as stream:
        for angle in (0, 10):
            np.testing.assert_array_equal(stream.angle(angle).c2[0], data.c2[angle])
            assert stream.angle(angle).provenance.keys == (data.provenance.keys[angle],)
