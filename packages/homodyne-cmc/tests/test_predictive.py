"""Averages of C2 in windows of age and bins of lag: against loops over pairs, and against simulated data."""

import numpy as np
import pytest
import xarray as xr

from homodyne_cmc import _predictive
from homodyne_cmc._predictive import age_edges, bin_pairs, chosen_frames, lag_edges, predictive_groups
from homodyne_cmc._shards import make_shards
from homodyne_data import TwoTimeData
from homodyne_model.testing import rheometer_flow


def posterior_of(truth, n_draws=3, sigma=None):
    """A posterior group of draws that differ by some percent, about the truth."""
    rng = np.random.default_rng(3)
    about = lambda values: values * (1 + 0.02 * rng.standard_normal((n_draws, len(values))))  # noqa: E731
    names = truth.model.layout.physical_names
    variables = {
        name: (("chain", "draw"), column[None])
        for name, column in zip(names, about(truth.physical).T, strict=True)
    }
    for name in ("contrast", "offset"):
        variables[name] = (("chain", "draw", "angle"), about(getattr(truth, name))[None])
    if sigma is not None:
        variables["sigma"] = (("chain", "draw", "angle"), np.tile(sigma, (1, n_draws, 1)))
    return xr.Dataset(variables, {"chain": [0], "draw": np.arange(n_draws)})


def groups_of(truth, data, n_shards=1, *, posterior=None, known_noise=True, folder=None):
    posterior = posterior_of(truth) if posterior is None else posterior
    shards = make_shards(data, n_shards, known_noise=known_noise, folder=folder)
    groups = predictive_groups(truth.model, shards, data, posterior, known_noise=known_noise)
    return groups["observed_data"], groups.get("posterior_predictive")


def by_loops(data, maps, weights, frames):
    """Weighted means of maps, sums of weights and counts in the bins, pair by pair."""
    edges, ages = lag_edges(data.n_t), age_edges(data.t)
    shape = (data.n_phi, 3, len(edges) - 1)
    total, weight, count = np.zeros((3, *shape))
    for a in range(data.n_phi):
        for i in frames:
            for j in range(i):
                if not np.isfinite(maps[a, i, j]) or weights[a, i, j] == 0:
                    continue
                window = min(sum(data.t[j] >= edge for edge in ages[1:3]), 2)
                at = a, window, int(np.flatnonzero(edges <= i - j)[-1])
                total[at] += weights[a, i, j] * maps[a, i, j]
                weight[at] += weights[a, i, j]
                count[at] += 1
    with np.errstate(invalid="ignore"):
        return total / weight, weight, count


@pytest.fixture(scope="module")
def small_flow():
    return rheometer_flow(3, 22)


@pytest.fixture
def masked(small_flow, data_of):
    """Some pairs missing, a whole frame among them."""
    maps = small_flow.noisy_maps(0.01, seed=4)
    rng = np.random.default_rng(5)
    bad = np.tril(rng.random(maps.shape) < 0.1)
    maps[bad | np.swapaxes(bad, 1, 2)] = np.nan
    maps[1, 7], maps[1, :, 7] = np.nan, np.nan
    return data_of(small_flow, sigma=0.01, maps=maps)


@pytest.mark.parametrize("n_shards", [1, 4])
def test_measured_averages_against_loops(small_flow, masked, n_shards, as_inside_a_fit):
    observed, _ = groups_of(small_flow, masked, n_shards)
    mean, weight, count = by_loops(masked, masked.c2, np.ones(masked.c2.shape), range(1, 22))
    np.testing.assert_allclose(observed["c2"], mean, rtol=1e-12)
    np.testing.assert_array_equal(observed["count"], count)
    expected = np.divide(0.01, np.sqrt(weight), out=np.full_like(weight, np.nan), where=weight > 0)
    np.testing.assert_allclose(observed["standard_error"], expected, rtol=1e-12)
    assert observed["standard_error"].attrs["source"] == "given sigma"
    assert observed.attrs == {"age": "time of the earlier frame of a pair", "later_frames": "all"}
    # No pair of the last third of the ages is further apart than a third of the measurement.
    assert (observed["count"].values[:, 2][:, lag_edges(22)[:-1] > 8] == 0).all()


@pytest.mark.parametrize("n_pairs", [10**6, 1])
def test_predicted_averages_are_those_of_the_model_map_over_the_same_pairs(
    small_flow, masked, n_pairs, monkeypatch, as_inside_a_fit
):
    """Also of an even choice of rows, which the least number makes here."""
    monkeypatch.setattr(_predictive, "_PAIRS", n_pairs)
    monkeypatch.setattr(_predictive, "_LEAST_ROWS", 9)
    posterior = posterior_of(small_flow)
    observed, predicted = groups_of(small_flow, masked, 4, posterior=posterior)
    frames = np.arange(1, 22) if n_pairs > 1 else np.array([1, 4, 6, 8, 11, 14, 16, 18, 21])
    assert observed.attrs["later_frames"] == ("all" if n_pairs > 1 else "9 of 21, evenly")
    for k in range(3):
        draw = posterior.isel(chain=0, draw=k)
        truth = small_flow._replace(
            physical=np.array([float(draw[name]) for name in small_flow.model.layout.physical_names]),
            contrast=draw["contrast"].values,
            offset=draw["offset"].values,
        )
        maps = np.where(np.isfinite(masked.c2), truth.maps(), np.nan)
        mean, _, count = by_loops(masked, maps, np.ones(maps.shape), frames)
        np.testing.assert_allclose(predicted["c2"].values[0, k], mean, rtol=1e-10)
        np.testing.assert_array_equal(observed["count"], count)
    assert predicted["c2"].dims == ("chain", "draw", "angle", "window", "lag_bin")


def test_lags_are_those_of_the_pairs(small_flow, masked, as_inside_a_fit):
    """The mean of the map of lags is the lag, in every window."""
    lags = np.abs(np.subtract.outer(masked.t, masked.t))
    maps = np.where(np.isfinite(masked.c2), lags, np.nan)
    expected, _, count = by_loops(masked, maps, np.ones(maps.shape), range(1, 22))
    expected = np.nansum(expected * count, axis=0) / np.maximum(count.sum(0), 1)
    observed, _ = groups_of(small_flow, masked)
    found = observed["lag"].values
    np.testing.assert_allclose(found[count.sum(0) > 0], expected[count.sum(0) > 0], rtol=1e-12)
    assert np.isfinite(found).all()


def test_points_of_their_own_sigma_are_weighed_by_it(small_flow, as_inside_a_fit):
    rng = np.random.default_rng(6)
    sigma = np.tril(rng.uniform(0.005, 0.05, (3, 22, 22)))
    sigma = np.maximum(sigma, np.swapaxes(sigma, 1, 2))
    model = small_flow.model
    maps = small_flow.noisy_maps(0.01, seed=7)
    data = TwoTimeData(maps, model.phi, model.t, model.q, model.L, sigma=sigma)
    observed, predicted = groups_of(small_flow, data, 3)
    mean, weight, count = by_loops(data, maps, 1 / sigma**2, range(1, 22))
    np.testing.assert_allclose(observed["c2"], mean, rtol=1e-12)
    known = count > 0
    np.testing.assert_allclose(observed["standard_error"].values[known], weight[known] ** -0.5, rtol=1e-12)
    draw = posterior_of(small_flow).isel(chain=0, draw=2)
    truth = small_flow._replace(
        physical=np.array([float(draw[name]) for name in model.layout.physical_names]),
        contrast=draw["contrast"].values,
        offset=draw["offset"].values,
    )
    mean, _, _ = by_loops(data, truth.maps(), 1 / sigma**2, range(1, 22))
    np.testing.assert_allclose(predicted["c2"].values[0, 2], mean, rtol=1e-10)


def test_two_measurements_of_a_pair_count_twice(small_flow, as_inside_a_fit):
    model = small_flow.model
    maps = small_flow.maps() + np.random.default_rng(8).normal(scale=0.01, size=(3, 22, 22))
    data = TwoTimeData(maps, model.phi, model.t, model.q, model.L, sigma=0.01)
    observed, _ = groups_of(small_flow, data)
    both = (maps + np.swapaxes(maps, 1, 2)) / 2
    mean, weight, _ = by_loops(data, both, np.full(maps.shape, 2.0), range(1, 22))
    np.testing.assert_allclose(observed["c2"], mean, rtol=1e-12)
    known = weight > 0
    np.testing.assert_allclose(
        observed["standard_error"].values[known], 0.01 / np.sqrt(weight[known]), rtol=1e-12
    )


def test_shards_in_files_and_in_memory_give_the_same(small_flow, masked, tmp_path, as_inside_a_fit):
    here = groups_of(small_flow, masked, 5)
    there = groups_of(small_flow, masked, 5, folder=tmp_path)
    for one, other in zip(here, there, strict=True):
        xr.testing.assert_identical(one, other)


def test_noise_that_was_not_given(small_flow, masked, as_inside_a_fit):
    posterior = posterior_of(small_flow, sigma=[0.01, 0.02, 0.03])
    observed, _ = groups_of(small_flow, masked, posterior=posterior, known_noise=False)
    count = observed["count"].values
    expected = np.array([0.01, 0.02, 0.03])[:, None, None] / np.sqrt(np.maximum(count, 1))
    np.testing.assert_allclose(observed["standard_error"].values[count > 0], expected[count > 0], rtol=1e-12)
    assert observed["standard_error"].attrs["source"] == "inferred sigma"
    # A failed result knows no noise: the scatter of the points of a bin stands in, where there are two.
    observed, predicted = groups_of(
        small_flow, masked, posterior=posterior.isel(draw=slice(0, 0)), known_noise=False
    )
    assert predicted is None
    assert observed["standard_error"].attrs["source"] == "scatter in the bin"
    at_lag_1 = np.diagonal(masked.c2[0], -1)[masked.t[:-1] < age_edges(masked.t)[1]]
    at_lag_1 = at_lag_1[np.isfinite(at_lag_1)]
    expected = at_lag_1.std(ddof=1) / np.sqrt(len(at_lag_1))
    assert float(observed["standard_error"][0, 0, 0]) == pytest.approx(expected, rel=1e-10)
    assert np.array_equal(np.isfinite(observed["standard_error"]), observed["count"] > 1)


@pytest.mark.parametrize(
    "n_phi, n_t, few", [(23, 1000, False), (3, 40, True), (1, 2, True), (100, 5000, False)]
)
def test_large_maps_are_thinned_evenly(n_phi, n_t, few):
    frames = chosen_frames(n_phi, n_t)
    assert frames[0] == 1
    assert frames[-1] == n_t - 1
    assert (len(frames) == n_t - 1) == few
    assert np.ptp(np.diff(frames)) <= 1 if n_t > 2 else True
    assert len(frames) >= min(24, n_t - 1)
    assert n_phi * frames.sum() < 1.1e6 or len(frames) == 24


def test_filling_rows_do_not_replace_the_last_frame(small_flow, masked):
    """22 rows in 4 shards: two of them are filled up with rows that repeat the last frame and hold nothing."""
    pairs = [bin_pairs(make_shards(masked, k, known_noise=True), masked.t) for k in (1, 4)]
    np.testing.assert_array_equal(pairs[0].y, pairs[1].y)
    assert len(pairs[1].y) == masked.n_points


@pytest.mark.parametrize("noise", ["given", "inferred"])
def test_residuals_of_the_predictive_median_scatter_as_their_errors_say(
    rest, rest_data, rest_result, data_of, warm, noise
):
    from homodyne_cmc import fit_mcmc_jax

    result = rest_result
    if noise == "inferred":
        result = fit_mcmc_jax(data_of(rest, seed=2, given=False), {"method": "laplace"}, warm(rest))
    observed, predicted = (result.tree[name].dataset for name in ("observed_data", "posterior_predictive"))
    assert predicted.sizes["draw"] == 100
    known = observed["count"].values > 0
    rms = {}
    for shift in (0.0, 0.01):
        median = np.median(predicted["c2"].values[0], axis=0) + shift
        residual = ((observed["c2"].values - median) / observed["standard_error"].values)[known]
        rms[shift] = np.sqrt(np.mean(residual**2))
    # 9 parameters take a few of the 200 degrees of freedom.
    assert known.sum() > 150
    assert 0.83 < rms[0.0] < 1.15
    assert rms[0.01] > 3
    # The draws that were predicted are named.
    kept = result.posterior.sel(draw=predicted["draw"])
    assert kept.sizes["draw"] == 100
