"""Dictionaries of arrays, with the historical names."""

import numpy as np
import pytest

from homodyne_data import DataError, from_mapping

N = 7
T = 0.1 * np.arange(N)


@pytest.fixture
def maps(pattern):
    return pattern(3, N, dtype=np.float64)


@pytest.fixture
def historical(maps):
    t1, t2 = np.meshgrid(T, T, indexing="ij")
    return {
        "wavevector_q_list": np.array([0.0054]),
        "phi_angles_list": np.array([0.0, 45.0, 90.0]),
        "t1": t1,
        "t2": t2,
        "c2_exp": maps,
        "sigma": np.full(maps.shape, 0.02),
        "L": 2e6,
    }


@pytest.fixture
def plain(maps):
    return {"c2": maps, "phi": [0.0, 45.0, 90.0], "q": 0.0054, "dt": 0.1}


def test_historical_dictionary(historical, maps):
    data = from_mapping(historical)
    assert np.shares_memory(data.c2, maps)
    assert np.allclose(data.t, T)
    assert (data.q, data.L, data.sigma_source) == (0.0054, 2e6, "given")
    assert data.phi.tolist() == [0.0, 45.0, 90.0]


@pytest.mark.parametrize(
    "times", [{"t1": T, "t2": T}, {"t1": T}, {"t": T}, {"t": T, "dt": 0.1}, {"dt": np.array([0.1])}]
)
def test_ways_to_give_the_times(plain, times):
    del plain["dt"]
    assert np.allclose(from_mapping(plain | times).t, T)


def test_times_that_do_not_start_at_zero(plain):
    del plain["dt"]
    data = from_mapping(plain | {"t": T + 0.5}, start_frame=3, skip_first_frames=1)
    assert data.t[0] == pytest.approx(0.6)
    data = from_mapping(plain | {"t": T + 0.5}, start_frame=3, time_origin="acquisition")
    assert data.t[0] == pytest.approx(0.7)


def test_selection_is_a_view(plain, maps):
    data = from_mapping(plain, phi_ranges=[(40, 100)], start_frame=2, end_frame=6)
    assert np.shares_memory(data.c2, maps)
    assert np.array_equal(data.c2, maps[1:, 1:6, 1:6])
    assert data.provenance.keys == ("c2[1]", "c2[2]")


def test_q_of_each_map_is_never_mixed(plain, maps):
    plain["q"] = [0.01, 0.02, 0.01]
    with pytest.raises(DataError, match="hold 2 values of q"):
        from_mapping(plain)
    data = from_mapping(plain, q=0.01)
    assert data.phi.tolist() == [0.0, 90.0]
    assert np.array_equal(data.c2, maps[[0, 2]])


def test_historical_q_list_of_another_length_counts_by_its_first(historical):
    historical["wavevector_q_list"] = [0.0054, 0.0060]
    with pytest.warns(UserWarning, match=r"2 values for 3 maps; the first, 0.0054"):
        assert from_mapping(historical).q == 0.0054


def test_one_triangle_is_completed(plain, maps):
    plain["c2"] = np.triu(maps)
    with pytest.warns(UserWarning, match="3 of 3 maps hold one triangle only"):
        data = from_mapping(plain, start_frame=2)
    assert np.array_equal(data.c2, maps[:, 1:, 1:])


def test_single_map(plain, maps):
    data = from_mapping(plain | {"c2": maps[0], "phi": 0.0})
    assert data.n_phi == 1


def test_masks_are_combined(plain):
    stored = np.ones((N, N), np.uint8)
    stored[3, 1] = 0
    given = np.ones((N, N), bool)
    given[4, 1] = False
    plain |= {"mask": stored, "good_frames": np.arange(N) != 6}
    data = from_mapping(plain, mask=given, bad_frames=[1])
    assert not data.mask[:, [3, 4, 6, 2], [1, 1, 2, 0]].any()
    assert data.n_dropped["masked_pairs"] == 6
    assert data.n_dropped["bad_frames"] == 3 * (21 - 10)


def test_given_values_replace_those_of_the_mapping(historical):
    data = from_mapping(historical, sigma=0.5, L=1e6, dt=0.2)
    assert (data.sigma, data.L) == (0.5, 1e6)
    assert data.dt == pytest.approx(0.2)
    assert len(data.provenance.notes) == 2


def test_keys_without_meaning_are_noted(plain):
    data = from_mapping(plain | {"comment": "x", "sigma": None})
    assert data.provenance.notes == ("Keys that mean nothing here were ignored: comment.",)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"c2": None}, DataError, "no c2 or c2_exp among the data; there are: dt, phi, q"),
        ({"phi": None}, DataError, "no phi or phi_angles_list"),
        ({"q": None}, DataError, "no q among"),
        ({"dt": None}, DataError, "no time between frames found"),
        ({"c2": np.ones((3, 4, 5))}, ValueError, r"c2 must have shape \(n_phi, n_t, n_t\)"),
        ({"phi": [0.0]}, ValueError, r"phi must have shape \(3,\)"),
        ({"q": [0.01, 0.02]}, ValueError, r"q must be one value or one a map \(3\), got 2"),
        ({"q": "high"}, TypeError, "q must be real numbers"),
        ({"t": T[:3]}, ValueError, "t must have 7 times"),
        ({"t": T**2}, ValueError, "t must be uniform"),
        ({"t": T * 2}, ValueError, "dt = 0.1 s does not fit t, whose step is 0.2"),
        ({"t1": T, "t2": T + 0.1}, ValueError, "t1 and t2 must be the same times"),
        ({"t1": np.meshgrid(T, T)[0]}, ValueError, 't1 is not a mesh grid .*indexing="ij"'),
        ({"dt": -0.1}, ValueError, "dt must be positive"),
        ({"dt": [0.1, 0.1]}, ValueError, "dt must be one number"),
        ({"sigma": np.ones(2)}, ValueError, "sigma must be a number or have shape"),
        ({"sigma": 0.0}, ValueError, "sigma must be positive"),
        ({"mask": np.ones((2, N, N), bool)}, ValueError, "mask must have shape"),
        ({"mask": np.full((N, N), 0.5)}, TypeError, "mask must be bool"),
        ({"c2_exp": np.ones((3, N, N))}, ValueError, "c2 is given twice"),
        ({"wavevector_q_list": [0.1]}, ValueError, "q is given twice"),
        ({"c2": np.zeros((3, N, N))}, DataError, r"c2\[0\] \(phi = 0 degrees\) holds no data"),
    ],
)
def test_wrong_mappings(plain, changes, error, message):
    with pytest.raises(error, match=message):
        from_mapping(plain | changes)


def test_not_a_mapping():
    with pytest.raises(TypeError, match="expected a mapping"):
        from_mapping([1, 2])
