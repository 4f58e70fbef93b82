"""Pooled points back to maps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homodyne_data import DataError, from_points

N = 8
T = 0.1 * np.arange(N)


def pooled(maps, phi, *, keep=None):
    angle, i, j = (index.ravel() for index in np.indices(maps.shape))
    keep = slice(None) if keep is None else keep
    return maps.ravel()[keep], T[i][keep], T[j][keep], np.asarray(phi)[angle][keep]


def test_all_points_give_the_maps_back(pattern):
    maps = pattern(3, N, dtype=np.float64)
    data = from_points(*pooled(maps, [30.0, 0.0, 60.0]), 0.01, 2e6, sigma=0.1)
    assert np.array_equal(data.c2, maps[[1, 0, 2]])
    assert data.phi.tolist() == [0.0, 30.0, 60.0]
    assert np.allclose(data.t, T)
    assert data.symmetric
    assert (data.L, data.sigma_source) == (2e6, "given")


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 1.0), st.floats(1e-6, 1e3), st.floats(0, 100))
def test_a_random_subset_lands_on_the_full_grid(seed, share, dt, start):
    rng = np.random.default_rng(seed)
    lower = np.tril(1 + rng.random((2, N, N)))
    maps = lower + np.tril(lower, -1).transpose(0, 2, 1)
    keep = rng.random(maps.size) < share
    keep[:3] = keep[-3:] = True  # both ends of the grid, and neighbouring frames
    c2, t1, t2, phi = pooled(maps, [0.0, 45.0], keep=keep)
    data = from_points(c2, start + dt * t1 / 0.1, start + dt * t2 / 0.1, phi, 0.01, dt=dt)
    assert data.n_t == N
    kept = keep.reshape(maps.shape)
    for a, i, j in np.argwhere(kept):
        assert data.c2[a, i, j] == maps[a, i, j]
    off = ~np.eye(N, dtype=bool)
    either = (kept | kept.transpose(0, 2, 1)) & off
    pairs = (data.mask | data.mask.transpose(0, 2, 1)) & off
    assert np.array_equal(pairs, either)


def test_step_is_found_from_times_in_single_precision():
    i, j = (index.ravel() for index in np.meshgrid(np.arange(500), [0, 7]))
    times = (0.1 * np.arange(500)).astype(np.float32)
    keep = i > j
    data = from_points(np.ones(keep.sum()), times[i][keep], times[j][keep], 0.0, 0.01)
    assert data.n_t == 500
    assert data.dt == pytest.approx(0.1, rel=1e-6)


def test_one_triangle_is_enough(pattern):
    maps = pattern(1, N, dtype=np.float64)
    keep = np.tri(N, k=-1, dtype=bool).T.ravel()
    data = from_points(*pooled(maps, [0.0], keep=keep), 0.01)
    assert data.symmetric
    assert data.n_points == N * (N - 1) // 2
    assert data.mask[0, 3, 1]


def test_triangles_that_differ_stay_apart():
    maps = 1 + np.random.default_rng(0).random((1, N, N))
    keep = np.ones(N * N, bool)
    keep[N * 3 + 1] = False
    data = from_points(*pooled(maps, [0.0], keep=keep), 0.01, sigma=np.full(N * N - 1, 0.1))
    assert not data.symmetric
    assert not data.mask[0, 3, 1]
    assert data.mask[0, 1, 3]
    assert np.isnan(data.sigma[0, 3, 1])


def test_noise_of_each_point_follows_its_mirror(pattern):
    maps = pattern(1, N, dtype=np.float64)
    keep = np.tri(N, k=-1, dtype=bool).T.ravel()
    points = pooled(maps, [0.0], keep=keep)
    data = from_points(*points, 0.01, sigma=points[0])
    assert np.array_equal(data.sigma[0][data.mask[0]], maps[0][data.mask[0]])


def test_maps_with_mesh_grids(pattern):
    maps = pattern(2, N)
    grids = np.meshgrid(T, T, indexing="ij")
    assert np.shares_memory(from_points(maps, *grids, [0.0, 90.0], 0.01).c2, maps)
    assert from_points(maps[0], T, T, 0.0, 0.01).n_phi == 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"t1": T[:3]}, ValueError, r"t1 must have one value a point \(5\)"),
        ({"phi": np.zeros(3)}, ValueError, "phi must have one value a point"),
        ({"t2": np.array([0, 0, 0, 0.1, np.nan])}, ValueError, "t2 must be finite, got nan"),
        (
            {"q": [0.01, 0.02, 0.01, 0.01, 0.01]},
            ValueError,
            "q must be the same for all points, got 2 values",
        ),
        ({"sigma": np.ones(4)}, ValueError, "sigma must have one value a point"),
        ({"t1": [0.1, 0.2, 0.3, 0.4, 0.55]}, DataError, "uniform grid.*smallest difference.*give dt"),
        ({"dt": 0.07}, DataError, r"uniform grid.*\(dt\); check dt"),
        ({"dt": 0.0}, ValueError, "dt must be positive"),
        ({"t1": [0.1, 0.1, 0.2, 0.3, 0.4]}, DataError, "1 of 5 points repeat"),
        ({"t1": np.zeros(5), "t2": np.zeros(5)}, DataError, "all points have the same two times"),
        ({"t1": [1e-4, 0.1, 0.2, 1.0, 2.0]}, DataError, "would need .* entries: .* give dt"),
        ({"t1": ["a"] * 5}, TypeError, "t1 must be real"),
        ({"c2": np.ones((1, 1, 1, 1))}, ValueError, "c2 must be points"),
        ({"c2": np.ones(0)}, ValueError, "c2 must be points"),
    ],
)
def test_points_that_make_no_map(change, error, message):
    points = {
        "c2": np.ones(5),
        "t1": np.array([0.1, 0.2, 0.3, 0.4, 0.5]),
        "t2": np.zeros(5),
        "phi": 0.0,
        "q": 0.01,
    }
    with pytest.raises(error, match=message):
        from_points(**(points | change))
