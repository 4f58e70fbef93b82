"""The noise estimate: unbiased on white noise, deaf to smooth models, honest where it cannot tell."""

import numpy as np
import pytest

from homodyne_data import TwoTimeData, estimate_sigma, simulate_two_time


def decay(n, frames, contrast=0.3, ageing=0.0):
    """A decay within `frames` that slows down with age."""
    i = np.arange(n)
    rate = 1 / (frames * (1 + ageing * i / n))
    total = np.cumsum(rate)
    return 1 + contrast * np.exp(-2 * np.abs(total[:, None] - total))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("frames", "ageing"), [(1.0, 0.0), (3.0, 1.0), (40.0, 3.0), (1e9, 0.0)])
def test_white_noise_on_a_smooth_model(symmetric, frames, ageing):
    n, sigma, n_phi = 80, 0.05, 12
    clean = np.broadcast_to(decay(n, frames, ageing=ageing), (n_phi, n, n))
    estimates = estimate_sigma(simulate_two_time(clean, sigma, seed=3, symmetric=symmetric))
    error = estimates.std(ddof=1) / np.sqrt(n_phi)
    assert abs(estimates.mean() - sigma) < 4 * error + 1e-3 * sigma
    assert estimates.std(ddof=1) < 0.05 * sigma


@pytest.mark.parametrize("n", [7, 8, 12, 20])
def test_small_maps_are_unbiased(n):
    noise = np.random.default_rng(n).normal(1, 0.1, (4000, n, n))
    estimates = estimate_sigma(noise)
    # The median of few values is a little biased; 4 % at the smallest map.
    assert estimates.mean() == pytest.approx(0.1, rel=0.06 if n < 12 else 0.02)


@pytest.mark.parametrize("n", [3, 4, 5])
def test_maps_too_small_give_nan(n):
    assert np.isnan(estimate_sigma(np.random.default_rng(0).normal(1, 0.1, (n, n)))).tolist() == [True]


def test_bright_diagonal_does_not_enter():
    maps = simulate_two_time(np.ones((1, 40, 40)), 0.05, seed=1)
    before = estimate_sigma(maps)
    maps[0, *np.diag_indices(40)] = 1e6
    assert estimate_sigma(maps) == before


def test_masked_points_and_their_neighbours_do_not_enter():
    maps = simulate_two_time(np.ones((1, 160, 160)), 0.05, seed=1)
    mask = np.ones((160, 160), bool)
    mask[::4] = mask[:, ::4] = False  # leaves runs of three frames
    spoiled = maps.copy()
    spoiled[0][~mask] = np.random.default_rng(0).normal(0, 1e3, np.count_nonzero(~mask))
    expected = estimate_sigma(maps, mask)
    assert np.array_equal(estimate_sigma(spoiled, mask), expected)
    assert expected[0] == pytest.approx(0.05, rel=0.15)
    spoiled[0][~mask] = np.nan
    assert np.array_equal(estimate_sigma(spoiled, mask), expected)


def test_mask_without_neighbours_gives_nan():
    mask = np.zeros((40, 40), bool)
    mask[::2, ::2] = True
    assert np.isnan(estimate_sigma(np.random.default_rng(0).normal(1, 0.1, (40, 40)), mask))[0]


def test_data_and_their_arrays_agree():
    maps = simulate_two_time(np.ones((3, 30, 30)), [0.1, 0.2, 0.3], seed=2)
    data = TwoTimeData(maps, phi=[0, 1, 2], t=np.arange(30), q=0.01)
    assert np.array_equal(estimate_sigma(data), estimate_sigma(maps))
    assert np.allclose(estimate_sigma(data), [0.1, 0.2, 0.3], rtol=0.2)


def test_noise_free_maps_give_nan():
    for dtype in (np.float32, np.float64):
        assert np.isnan(estimate_sigma(decay(40, 5.0).astype(dtype)))[0]


def test_outliers_hardly_enter():
    maps = simulate_two_time(np.ones((1, 60, 60)), 0.05, seed=4)
    maps[0, 10:50:10, :5] = 50.0
    assert estimate_sigma(maps)[0] == pytest.approx(0.05, rel=0.1)


def test_mostly_equal_values_use_the_mean_square():
    rng = np.random.default_rng(0)
    maps = np.where(rng.random((1, 80, 80)) < 0.02, 10.0, 0.5)
    assert estimate_sigma(maps)[0] == pytest.approx(maps.std(), rel=0.2)


def test_large_maps_use_part_of_the_rows(monkeypatch):
    maps = simulate_two_time(np.ones((1, 200, 200)), 0.05, seed=4)
    monkeypatch.setattr("homodyne_data._noise._ENOUGH_DIFFERENCES", 4000)
    assert estimate_sigma(maps)[0] == pytest.approx(0.05, rel=0.1)


def test_wrong_shapes():
    with pytest.raises(ValueError, match="data must have shape"):
        estimate_sigma(np.ones((4, 5)))
    with pytest.raises(ValueError, match="mask must fit"):
        estimate_sigma(np.ones((2, 8, 8)), np.ones((3, 8, 8), bool))
