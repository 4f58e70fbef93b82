"""The data type: validation, the one mask, selection."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homodyne_data import DataError, Provenance, TwoTimeData, estimate_sigma

N = 6
T = 0.1 * np.arange(N)


@pytest.fixture
def maps(pattern):
    return pattern(3, N, dtype=np.float64)


def make(c2, **changes):
    arguments = {"phi": 30.0 * np.arange(len(c2)), "t": 0.1 * np.arange(c2.shape[1]), "q": 0.01} | changes
    return TwoTimeData(c2, **arguments)


def test_symmetric_maps_count_each_pair_once(maps):
    data = make(maps)
    assert data.symmetric
    assert data.n_points == 3 * N * (N - 1) // 2
    assert np.array_equal(data.mask, np.broadcast_to(np.tri(N, k=-1, dtype=bool), maps.shape))
    assert data.n_dropped == {
        "diagonal": 18,
        "repeated": 45,
        "bad_frames": 0,
        "masked_pairs": 0,
        "not_finite": 0,
    }


def test_independent_triangles_are_both_used():
    rng = np.random.default_rng(1)
    data = make(1 + rng.random((2, N, N)))
    assert not data.symmetric
    assert data.n_points == 2 * N * (N - 1)
    assert data.n_dropped["repeated"] == 0


def test_symmetry_is_judged_to_rounding(maps):
    rounded = maps * (1 + 1e-7 * np.random.default_rng(0).uniform(-1, 1, maps.shape))
    assert make(rounded).symmetric
    off = maps.copy()
    off[1, 4, 2] += 1e-4
    with pytest.warns(UserWarning, match="2 of 3 maps are symmetric"):
        assert not make(off).symmetric


def test_symmetry_beyond_one_block_of_rows(pattern):
    maps = pattern(1, 600)
    assert make(maps).symmetric
    maps[0, 599, 3] += 0.01
    assert not make(maps).symmetric


def test_given_symmetry_is_trusted():
    rng = np.random.default_rng(1)
    assert make(1 + rng.random((1, N, N)), symmetric=True).n_points == N * (N - 1) // 2


def test_half_stored_maps_are_refused_even_if_called_symmetric():
    with pytest.raises(DataError, match="stored as one triangle"):
        make(np.triu(np.ones((1, N, N))), symmetric=True)


def test_arrays_are_shared_and_read_only(maps):
    data = make(maps)
    assert np.shares_memory(data.c2, maps)
    with pytest.raises(ValueError, match="read-only"):
        data.c2[0, 0, 0] = 1
    assert maps.flags.writeable
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.q = 1.0


def test_float32_stays_and_other_types_convert(pattern):
    assert make(pattern(1, N)).c2.dtype == np.float32
    assert make(pattern(1, N).astype(">f4")).c2.dtype == np.dtype(np.float32).newbyteorder("=")
    assert make(np.arange(1, 17).reshape(1, 4, 4) + 0, q=0.1).c2.dtype == np.float64


@given(st.data())
def test_points_and_dropped_add_up(data):
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    n_phi, n = rng.integers(1, 4), rng.integers(4, 9)
    symmetric = bool(rng.integers(2))
    c2 = 1 + rng.random((n_phi, n, n))
    c2[rng.random(c2.shape) < 0.2] = np.nan
    good_frames = rng.random(n) > 0.15 if rng.integers(2) else None
    good_pairs = rng.random((rng.choice([1, n_phi]), n, n)) > 0.1 if rng.integers(2) else None
    try:
        two_time = make(c2, symmetric=symmetric, good_frames=good_frames, good_pairs=good_pairs)
    except DataError:
        return  # an angle without a usable point
    brute = np.zeros(c2.shape, dtype=bool)
    for a, i, j in np.ndindex(c2.shape):
        brute[a, i, j] = np.isfinite(c2[a, i, j]) and i != j and (i > j or not symmetric)
        if good_frames is not None:
            brute[a, i, j] &= good_frames[i] and good_frames[j]
        if good_pairs is not None:
            pairs = good_pairs[a % len(good_pairs)]
            brute[a, i, j] &= pairs[i, j] and (pairs[j, i] or not symmetric)
    assert np.array_equal(two_time.mask, brute)
    assert two_time.n_points == brute.sum()
    assert two_time.n_points + sum(two_time.n_dropped.values()) == c2.size
    for angle in range(n_phi):
        assert np.array_equal(two_time.angle_mask(angle), brute[angle])


def test_dropped_points_are_counted_under_their_reason(maps):
    maps[0, 4, 2] = maps[0, 2, 4] = np.nan
    maps[1, 5, 0] = maps[1, 0, 5] = np.inf
    good_frames = np.ones(N, bool)
    good_frames[1] = False
    pairs = np.ones((N, N), bool)
    pairs[0, 3] = False  # above the diagonal: the pair is meant
    data = make(maps, good_frames=good_frames, good_pairs=pairs)
    assert data.n_dropped == {
        "diagonal": 18,
        "repeated": 45,
        "bad_frames": 15,
        "masked_pairs": 3,
        "not_finite": 2,
    }
    assert not data.mask[:, 3, 0].any()


def test_shared_mask_costs_one_angle(maps):
    assert make(maps).mask.strides[0] == 0
    maps[2, 3, 1] = maps[2, 1, 3] = np.nan
    mask = make(maps).mask
    assert mask.strides[0] != 0
    assert not mask[2, 3, 1]
    assert mask[1, 3, 1]
    assert not mask.flags.writeable


def test_points_lost_above_the_diagonal_are_announced(maps):
    maps[0, 4, 2] = np.nan
    with pytest.warns(UserWarning, match="1 pairs .* only above the diagonal"):
        assert make(maps).n_dropped["not_finite"] == 1


def test_triangle_of_nan_is_simply_not_there(maps):
    maps[:, *np.tril_indices(N, -1)] = np.nan
    data = make(maps)
    assert not data.symmetric
    assert data.n_points == 3 * N * (N - 1) // 2


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"phi": [0.0]}, ValueError, r"phi must have shape \(3,\)"),
        ({"phi": [0.0, np.nan, 1.0]}, ValueError, "phi must be finite, got nan at index 1"),
        ({"t": T[:-1]}, ValueError, r"t must have shape \(6,\)"),
        ({"t": T[::-1]}, ValueError, "t must increase"),
        ({"t": T - 0.1}, ValueError, "t must not be negative"),
        ({"t": T**1.1}, ValueError, "t must be uniform"),
        ({"t": np.where(T > 0.4, np.nan, T)}, ValueError, "t must be finite"),
        ({"q": 0.0}, ValueError, "q must be positive"),
        ({"q": np.nan}, ValueError, "q must be positive"),
        ({"q": "x"}, TypeError, "q must be one number"),
        ({"L": -2e6}, ValueError, "L must be positive"),
        ({"sigma": 0.0}, ValueError, "sigma must be positive"),
        ({"sigma": [0.1, -0.1, 0.1]}, ValueError, "got -0.1 at angle 1"),
        ({"sigma": [0.1, np.nan, 0.1]}, ValueError, "got nan at angle 1"),
        ({"sigma": [0.1, 0.1]}, ValueError, "sigma must be a number or have shape"),
        ({"sigma": np.zeros((3, N, N))}, ValueError, "positive and finite where a point counts, got 0"),
        ({"sigma": ["a"] * 3}, TypeError, "sigma must be real numbers"),
        ({"sigma_source": "given"}, ValueError, "sigma is None"),
        ({"sigma": 0.1, "sigma_source": "guess"}, ValueError, "sigma_source must be one of"),
        ({"good_frames": np.ones(3, bool)}, ValueError, "good_frames must have shape"),
        ({"good_frames": np.ones(N)}, TypeError, "good_frames must be bool"),
        ({"good_pairs": np.ones((2, N, N), bool)}, ValueError, "good_pairs must have shape"),
        ({"good_frames": np.zeros(N, bool)}, DataError, "angle 0 .* masked by frames or pairs"),
        ({"time_origin": "start"}, ValueError, "time_origin must be one of"),
        ({"time_origin": -1.0}, ValueError, "time_origin must be one of"),
        ({"symmetric": "yes"}, TypeError, "symmetric must be a bool"),
    ],
)
def test_wrong_arguments(maps, changes, error, message):
    with pytest.raises(error, match=message):
        make(maps, **changes)


@pytest.mark.parametrize(
    ("c2", "error", "message"),
    [
        (np.ones((4, 4)), ValueError, r"c2 must have shape \(n_phi, n_t, n_t\), got \(4, 4\)"),
        (np.ones((1, 4, 5)), ValueError, "c2 must have shape"),
        (np.ones((0, 4, 4)), ValueError, "no angle"),
        (np.ones((1, 2, 2)), ValueError, "too few frames: c2 has 2, at least 3"),
        (np.ones((1, 4, 4), complex), TypeError, "real numbers"),
        (np.full((1, 4, 4), np.nan), DataError, r"angle 0 \(phi = 0 degrees\) .* NaN or infinite"),
        (np.zeros((1, 4, 4)), DataError, "only zeros"),
        (np.tril(np.ones((1, 4, 4))), DataError, "stored as one triangle"),
    ],
)
def test_unusable_maps(c2, error, message):
    with pytest.raises(error, match=message):
        make(c2)


def test_angle_of_only_nan_is_named(maps):
    maps[1][~np.eye(N, dtype=bool)] = np.nan
    with pytest.raises(DataError, match=r"angle 1 \(phi = 30 degrees\)"):
        make(maps, symmetric=True)


def test_sigma_where_no_point_counts_may_be_anything(maps):
    sigma = np.full(maps.shape, 0.1)
    sigma[:, *np.diag_indices(N)] = 0
    maps[0, 3, 1] = maps[0, 1, 3] = sigma[0, 3, 1] = np.nan
    data = make(maps, sigma=sigma)
    weights = data.weights(0)
    assert np.all(np.isfinite(weights))
    assert np.array_equal(weights > 0, data.angle_mask(0))
    assert weights[4, 2] == pytest.approx(100)


def test_weights_need_sigma(maps):
    with pytest.raises(ValueError, match="no sigma"):
        make(maps).weights(0)
    assert make(maps, sigma=[0.1, 0.2, 0.5]).weights(2)[2, 1] == pytest.approx(4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"q": 5.4}, "is it in 1/nm. Then q = 0.54"),
        ({"q": 5.4e7}, "is it in 1/m. Then q = 0.0054"),
        ({"q": 1e-6}, "below the usual range"),
        ({"L": 200.0}, "is it in µm. Then L = 2e[+]06 Å"),
        ({"L": 0.2}, "is it in mm"),
        ({"L": 2e-4}, "is it in m. "),
        ({"L": 1e12}, "above the usual range of a gap"),
        ({"t": 1e5 * np.arange(N)}, "is it in µs"),
        ({"t": 1e-12 * np.arange(N)}, "below a nanosecond"),
    ],
)
def test_values_that_look_like_another_unit(maps, changes, message):
    with pytest.warns(UserWarning, match=message):
        make(maps, **changes)


def test_time_vector_of_single_precision_is_uniform():
    n = 2000
    c2 = np.ones((1, n, n), dtype=np.float32)
    t = (0.1 * np.arange(n)).astype(np.float32)
    assert TwoTimeData(c2, phi=[0], t=t, q=0.01).dt == pytest.approx(0.1)


def test_select_angles_frames_and_everything_with_them(maps):
    good_frames = np.array([True, True, False, True, True, True])
    pairs = np.ones((3, N, N), bool)
    pairs[2, 4, 3] = False
    data = make(
        maps,
        sigma=[0.1, 0.2, 0.3],
        good_frames=good_frames,
        good_pairs=pairs,
        provenance=Provenance(keys=("a", "b", "c")),
    )
    part = data.select(angles=[2, 0], frames=(2, 5))
    assert np.array_equal(part.c2, maps[[2, 0], 1:5, 1:5])
    assert part.phi.tolist() == [60.0, 0.0]
    assert part.sigma.tolist() == [0.3, 0.1]
    assert part.good_frames.tolist() == [True, False, True, True]
    assert not part.good_pairs[0, 3, 2]
    assert part.provenance.keys == ("c", "a")
    assert (part.provenance.selection["first_frame"], part.provenance.selection["last_frame"]) == (2, 5)
    assert np.allclose(part.t, 0.1 * np.arange(4))
    again = make(maps).select(frames=(2, 5)).select(frames=(2, -1))
    assert again.provenance.selection["first_frame"] == 3


def test_select_consecutive_is_a_view(maps):
    data = make(maps)
    assert np.shares_memory(data.select(angles=[1, 2], frames=(2, 5)).c2, maps)
    assert np.array_equal(data.select(phi=[(20, 70)]).phi, [30, 60])


def test_select_keeps_the_meaning_of_the_time_origin(maps):
    data = make(maps, t=T + 0.1)  # frame t = 0 was skipped
    assert np.allclose(data.select(frames=(1, -1)).t, T + 0.1)
    assert np.allclose(data.select(frames=(3, -1)).t, T[:4] + 0.1)
    data = make(maps, t=T + 0.5, time_origin="acquisition")
    assert np.allclose(data.select(frames=(3, -1)).t, T[:4] + 0.7)
    data = make(maps, t=T + 0.5, time_origin=0.5)
    part = data.select(frames=(3, -1))
    assert np.allclose(part.t, T[:4] + 0.7)
    assert part.time_origin == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"angles": []}, "non-empty"),
        ({"angles": [3]}, "from 0 to 2"),
        ({"angles": [-1]}, "from 0 to 2"),
        ({"angles": [1, 1]}, "not repeat"),
        ({"angles": [0.0]}, "indices"),
        ({"angles": [0], "phi": [(0, 1)]}, "not both"),
        ({"frames": 3}, r"frames must be \(start, end\)"),
        ({"frames": (1, 7)}, "end_frame must be"),
        ({"frames": (0, 4)}, "start_frame must be 1 to 6"),
        ({"frames": (1, 2)}, "too few frames"),
        ({"phi": [(100, 120)]}, "no angle lies .* there are 0, 30, 60 degrees"),
    ],
)
def test_selections_that_match_nothing(maps, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(maps).select(**arguments)


def test_with_sigma(maps):
    data = make(maps).with_sigma(0.1)
    assert (data.sigma, data.sigma_source) == (0.1, "given")
    assert data.with_sigma(0.01, source="default").sigma_source == "default"
    assert data.with_sigma(None).sigma_source is None


def test_with_estimated_sigma():
    rng = np.random.default_rng(5)
    data = make(rng.normal(1, 0.1, (2, 40, 40))).with_estimated_sigma()
    assert data.sigma_source == "estimated"
    assert np.array_equal(data.sigma, estimate_sigma(data))
    assert np.allclose(data.sigma, 0.1, rtol=0.1)


def test_noise_that_cannot_be_estimated_is_an_error(maps):
    with pytest.raises(DataError, match="noise of angle 0 .* cannot be estimated, nor that of 2 more"):
        make(maps).with_estimated_sigma()


def test_repr_is_one_line(maps):
    text = repr(make(maps))
    assert "n_points=45" in text
    assert "\n" not in text


@pytest.mark.parametrize("nothing", [np.nan, np.inf])
def test_an_angle_without_values_says_nothing_about_symmetry(maps, nothing):
    maps[1] = nothing
    with pytest.raises(DataError, match=r"angle 1 \(phi = 30 degrees\) has no usable point"):
        make(maps)  # and no warning that some maps are symmetric and others are not
