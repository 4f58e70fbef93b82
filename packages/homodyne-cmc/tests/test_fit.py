"""Whole runs on small measurements."""

import jax
import numpy as np
import pytest

from homodyne_cmc import CMCConfig, CMCInputError, CMCResult, fit_mcmc_jax
from homodyne_cmc._remarks import heavy_tails
from homodyne_cmc._shards import make_shards
from homodyne_data import TwoTimeData, open_xpcs, save_apsu
from homodyne_model import pair_sums
from homodyne_model.testing import colloid, rheometer_flow


def test_shards_agree_with_the_posterior_of_all_the_data(rest_result, reference, away, widths):
    assert rest_result.status == "certified"
    assert rest_result.n_shards == 4
    assert away(rest_result, reference) < 0.15
    assert ((widths(rest_result, reference) > 0.9) & (widths(rest_result, reference) < 1.1)).all()
    sd = np.sqrt(np.diag(reference.covariance))
    found = np.sqrt(np.diag(rest_result.covariance))
    difference = rest_result.covariance / np.outer(found, found) - reference.covariance / np.outer(sd, sd)
    assert np.abs(difference).max() < 0.05
    assert rest_result.k_hat < 0.7
    assert rest_result.ess > 400
    assert not rest_result.tree["shards"]["diverging"].any()
    assert float(rest_result.tree["shards"]["steps"].max()) < 12


def test_shards_of_two_populations_disagree(rest, data_of, warm):
    """Every other row of the maps diffuses half as fast again: half of the shards see it, and Q says so."""
    faster = rest._replace(physical=rest.physical * [1.5, 1.0, 1.5])
    two = np.where(np.arange(40)[:, None] % 2, faster.maps(), rest.maps())
    two = np.tril(two, -1) + np.swapaxes(np.tril(two), 1, 2)
    noise = rest.noisy_maps(0.005, seed=6) - rest.maps()
    p_values = [
        fit_mcmc_jax(data_of(rest, maps=maps + noise), {"num_shards": 4}, warm(rest))
        .tree["consensus"]
        .attrs["q_p"]
        for maps in (rest.maps(), two)
    ]
    assert p_values[0] > 1e-2
    assert p_values[1] < 1e-3


def test_the_truth_is_within_reach(rest, rest_result):
    for name, value in zip(rest_result.physical_names, rest.physical, strict=True):
        assert abs(rest_result.mean[name] - value) < 4 * rest_result.sd[name]
    for name in ("contrast", "offset"):
        drawn = rest_result.posterior[name].values[0]
        assert (np.abs(drawn.mean(0) - getattr(rest, name)) < 4.5 * drawn.std(0)).all()


@pytest.mark.slow
def test_laminar_flow_without_divergences(data_of, away, warm):
    truth = rheometer_flow(5, 60)
    data, settings = data_of(truth, sigma=0.003), {"analysis_mode": "laminar_flow"}
    shards = fit_mcmc_jax(data, settings | {"num_shards": 3}, warm(truth))
    about_mode = fit_mcmc_jax(
        data, settings | {"method": "laplace", "certificate_draws": 4000, "seed": 1}, warm(truth)
    )
    assert shards.status == about_mode.status == "certified"
    assert away(shards, about_mode) < 0.15
    assert float(shards.tree["shards"]["divergences"].max()) < 0.01
    assert float(shards.tree["shards"]["steps"].max()) < 12
    for name, value in zip(shards.physical_names, truth.physical, strict=True):
        assert abs(shards.mean[name] - value) < 4.5 * shards.sd[name]


def test_all_the_data_at_once(rest, rest_data, reference, away, widths, warm):
    found = fit_mcmc_jax(rest_data, {"method": "nuts", "num_samples": 600}, warm(rest))
    assert found.status == "certified", found.message
    assert found.n_shards == 1
    assert away(found, reference) < 0.15
    assert ((widths(found, reference) > 0.9) & (widths(found, reference) < 1.1)).all()


def test_the_same_call_gives_the_same_and_another_seed_does_not(rest, rest_data, rest_result, away, warm):
    again = fit_mcmc_jax(rest_data, {"num_shards": 4}, warm(rest))
    np.testing.assert_array_equal(again.draws, rest_result.draws)
    other = fit_mcmc_jax(rest_data, CMCConfig(num_shards=4, seed=3), warm(rest))
    assert not np.array_equal(other.draws, rest_result.draws)
    assert away(other, rest_result) < 0.15


def gaussian_update(reference, name, mu, sigma):
    """Means and variance of a parameter when a normal prior meets a normal posterior."""
    variance = reference.sd[name] ** 2
    new = 1 / (1 / variance + 1 / sigma**2)
    return new * (reference.mean[name] / variance + mu / sigma**2), np.sqrt(new)


@pytest.mark.parametrize("n_shards", [1, 10])
def test_a_narrow_prior_moves_the_posterior_as_the_algebra_says(rest, rest_data, reference, n_shards, warm):
    mu, sigma = reference.mean["alpha"] + 1.5 * reference.sd["alpha"], 0.5 * reference.sd["alpha"]
    prior = {"alpha": {"type": "Normal", "mu": mu, "sigma": sigma}}
    found = fit_mcmc_jax(rest_data, {"num_shards": n_shards, "priors": prior}, warm(rest))
    mean, sd = gaussian_update(reference, "alpha", mu, sigma)
    assert found.status == "certified", found.message
    # The posterior without the prior is not exactly normal.
    assert abs(found.mean["alpha"] - mean) < 0.2 * sd
    assert found.sd["alpha"] == pytest.approx(sd, rel=0.1)


@pytest.mark.parametrize("n_shards", [pytest.param(1, marks=pytest.mark.slow), 10])
def test_bounds_hold_and_are_named_where_they_decide(rest, rest_data, reference, n_shards, warm):
    lower = reference.mean["alpha"] + 0.5 * reference.sd["alpha"]
    found = fit_mcmc_jax(rest_data, {"num_shards": n_shards, "bounds": {"alpha": (lower, 2.0)}}, warm(rest))
    drawn, cut = found.posterior["alpha"].values[0], reference.posterior["alpha"].values[0]
    cut = cut[cut > lower]
    assert drawn.min() >= lower
    assert abs(drawn.mean() - cut.mean()) < 0.2 * cut.std()
    assert found.wall_share("alpha")[0] > 0.05
    assert "draws of alpha are at its lower bound" in found.summary()


def test_bounds_and_priors_of_the_scaling_reach_the_posterior(rest, rest_data, reference, warm):
    offset = reference.posterior["offset"].values[0]
    highest = float(np.quantile(offset[:, 1], 0.4))
    found = fit_mcmc_jax(rest_data, {"method": "laplace", "bounds": {"offset": (0.5, highest)}}, warm(rest))
    assert found.posterior["offset"].max() <= highest
    cut = reference.draws[(offset < highest).all(1)]
    assert len(cut) > 100
    assert np.abs(found.draws.mean(0) - cut.mean(0)).max() < 10 * reference.sd["D0"]
    assert abs(found.mean["alpha"] - cut[:, 1].mean()) < 0.3 * reference.sd["alpha"]


@pytest.mark.parametrize("noise, how", [("global", {"num_shards": 2}), ("per_angle", {"method": "laplace"})])
def test_sigma_is_inferred(rest, data_of, noise, how, warm):
    found = fit_mcmc_jax(data_of(rest), {"noise": noise, **how}, warm(rest))
    assert found.status == "certified"
    sigma = found.posterior["sigma"].values[0]
    assert (np.abs(sigma.mean(0) - 0.005) < 4 * sigma.std(0)).all()
    assert (np.ptp(sigma, axis=1) > 0).any() == (noise == "per_angle")


def test_sigma_that_was_not_given_is_inferred(rest, data_of, warm):
    assert (
        fit_mcmc_jax(data_of(rest, given=False), {"method": "laplace"}, warm(rest)).settings["noise"]
        == "per_angle"
    )
    data = data_of(rest, given=False).with_estimated_sigma()
    assert fit_mcmc_jax(data, {"method": "laplace"}, warm(rest)).settings["noise"] == "per_angle"
    with pytest.raises(CMCInputError, match="data's sigma is estimated"):
        fit_mcmc_jax(data, {"noise": "given"})


@pytest.mark.parametrize("mode, how", [("constant", {"num_shards": 2}), ("fourier", {"method": "laplace"})])
def test_angles_that_share_their_scaling(data_of, mode, how, warm):
    truth = colloid(4, 40)._replace(contrast=np.full(4, 0.3), offset=np.full(4, 1.1))
    settings = {"per_angle_mode": mode, "fourier_order": 1, **how}
    found = fit_mcmc_jax(data_of(truth), settings, warm(truth))
    assert found.status == "certified"
    contrast = found.posterior["contrast"].values[0]
    if mode == "constant":
        assert (np.ptp(contrast, axis=1) < 1e-12).all()
    free = fit_mcmc_jax(data_of(truth), {"method": "laplace"}, warm(truth))
    assert contrast.std(0).mean() < free.posterior["contrast"].values[0].std(0).mean()
    for name, value in zip(found.physical_names, truth.physical, strict=True):
        assert abs(found.mean[name] - value) < 4 * found.sd[name]


def test_the_warm_start_adds_no_information(rest_data, reference, rest_result, away, widths):
    """Moved by 2 sd, four times as wide or half as wide: the same posterior."""
    names = reference.physical_names
    sd = np.array([reference.sd[n] for n in names])
    values = np.array([reference.mean[n] for n in names])
    for shift, factor in ((1.0, 1.0), (0.0, 4.0), (0.0, 0.25)):
        warm = {
            "names": names,
            "values": values + shift * sd * [1, 1, -1],
            "covariance": factor * reference.covariance,
        }
        found = fit_mcmc_jax(rest_data, {"num_shards": 4}, warm)
        assert found.status == "certified"
        assert away(found, reference) < 0.15
        assert ((widths(found, reference) > 0.9) & (widths(found, reference) < 1.1)).all()
        np.testing.assert_allclose(found.tree["warm_start"]["value"], warm["values"])


def test_robust_errors_are_shown_beside_the_posterior(rest_data, reference):
    warm = {
        "names": reference.physical_names,
        "values": list(reference.mean.values()),
        "covariances": {"hessian": reference.covariance, "robust": 9 * reference.covariance},
        "per_angle_mode": "individual",
    }
    found = fit_mcmc_jax(rest_data, {"method": "laplace"}, warm)
    assert found.robust_sd == pytest.approx({k: 3 * v for k, v in reference.sd.items()}, rel=0.01)
    assert "robust sd" in found.summary()
    assert "times the posterior's sd: points of a map share photons and speckles" in found.summary()
    assert "robust_draws widens it" in found.summary()
    assert reference.robust_sd is None


@pytest.fixture(scope="module")
def fitted(rest, rest_data, reference):
    """A fit whose clustered errors are those of independent points times (1.5, 1, 1.2) in the directions where the latter are uncorrelated."""
    value, vector = np.linalg.eigh(reference.covariance / np.outer(*2 * [list(reference.sd.values())]))
    sd = np.array(list(reference.sd.values()))
    wide = np.outer(sd, sd) * ((vector * value * np.array([2.25, 1.0, 1.44])) @ vector.T)
    return {
        "names": list(reference.mean),
        "values": list(reference.mean.values()),
        "covariances": {"hessian": reference.covariance, "robust": wide},
    }


def test_draws_are_widened_to_the_clustered_errors(rest_data, reference, fitted):
    found = fit_mcmc_jax(
        rest_data, {"method": "laplace", "robust_draws": True, "certificate_draws": 8000}, fitted
    )
    assert found.robust_posterior.attrs["status"] == "certified"
    wide = np.stack([found.values(name, robust=True) for name in found.physical_names])
    expected = fitted["covariances"]["robust"]
    sd = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(np.cov(wide) / np.outer(sd, sd), expected / np.outer(sd, sd), atol=0.06)
    assert (np.abs(wide.mean(1) - fitted["values"]) < 0.1 * sd).all()
    # The posterior of independent points stays what it was.
    assert found.sd == pytest.approx(reference.sd, rel=0.05)
    assert "widened to the clustered errors of the fit (Certified" in found.summary()


def test_a_prior_counts_more_where_the_likelihood_is_wider(rest_data, reference, fitted):
    """Precisions of prior and likelihood add up, of the widened one too."""
    name, at = "alpha", 1
    wide = fitted["covariances"]["robust"]
    middle, width = reference.mean[name] + 2 * reference.sd[name], 1.5 * reference.sd[name]
    settings = {"method": "laplace", "robust_draws": True, "certificate_draws": 8000}
    settings["priors"] = {name: {"type": "Normal", "mu": middle, "sigma": width}}
    found = fit_mcmc_jax(rest_data, settings, fitted)
    for values, variance in (
        (found.values(name), reference.covariance[at, at]),
        (found.values(name, robust=True), wide[at, at]),
    ):
        precision = 1 / variance + 1 / width**2
        expected = (reference.mean[name] / variance + middle / width**2) / precision
        assert values.mean() == pytest.approx(expected, abs=0.1 / precision**0.5)
        assert values.std() == pytest.approx(precision**-0.5, rel=0.05)


def log_likelihood(truth, data, physical):
    """Of a given σ, contrast and offset integrated out, (n,) of (n, 3)."""
    with jax.enable_x64(True):
        (shard,) = make_shards(data, 1, known_noise=True).shards
        held = shard.load()
        sums = jax.lax.map(lambda p: pair_sums(truth.model, p, held.c2), physical)
    f1, ff, fy = np.moveaxis(np.asarray(sums) * held.angle_weight[:, None], -1, 0)
    w, y1, _ = np.asarray(held.moments.sums).T
    spread = ff - f1**2 / w
    return (0.5 * (fy - f1 * y1 / w) ** 2 / spread - 0.5 * np.log(spread)).sum(1)


@pytest.mark.parametrize(
    "fixed, how",
    [
        ({"D_offset": 1500.0}, {"method": "laplace"}),
        ({"alpha": -0.46}, {"num_shards": 4}),
        ({"alpha": -0.46, "D_offset": 1500.0}, {"method": "laplace"}),
    ],
)
def test_the_others_have_the_posterior_given_what_is_held(rest, rest_data, warm, fixed, how):
    """Sums over a grid of the natural parameters, where the prior is flat and no coordinates are needed."""
    found = fit_mcmc_jax(rest_data, {"fixed": fixed, **how}, warm(rest))
    assert found.status == "certified"
    names = found.physical_names
    free = [name for name in names if name not in fixed]
    axes = [found.mean[n] + found.sd[n] * np.linspace(-5, 5, 41) for n in free]
    columns = dict(zip(free, (part.ravel() for part in np.meshgrid(*axes)), strict=True))
    size = len(columns[free[0]])
    physical = np.stack([columns.get(n, np.full(size, fixed.get(n))) for n in names], axis=1)
    log_p = log_likelihood(rest, rest_data, physical)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    for name in free:
        mean = p @ columns[name]
        sd = np.sqrt(p @ (columns[name] - mean) ** 2)
        assert found.mean[name] == pytest.approx(mean, abs=0.1 * sd)
        assert found.sd[name] == pytest.approx(sd, rel=0.08)
    for name, value in fixed.items():
        assert (found.values(name) == value).all()
        assert f"{value:g}   held fixed" in found.summary()
    assert found.fixed == fixed


def test_what_a_fit_held_is_held(rest, rest_data, warm):
    fit = warm(rest) | {"fixed": [False, False, True]}
    found = fit_mcmc_jax(rest_data, {"method": "laplace"}, fit)
    assert found.fixed == {"D_offset": pytest.approx(rest.physical[2])}
    with pytest.raises(CMCInputError, match="held D0 fixed"):
        fit_mcmc_jax(rest_data, {"method": "laplace"}, warm(rest) | {"fixed": [True, False, False]})
    with pytest.raises(CMCInputError, match="held D_offset fixed, and priors gives it a density"):
        fit_mcmc_jax(rest_data, {"priors": {"D_offset": {"type": "Normal", "mu": 1e3, "sigma": 1.0}}}, fit)


def test_a_flow_whose_direction_is_held(flow, flow_data, warm):
    """Without a start: the search has one coordinate less."""
    found = fit_mcmc_jax(
        flow_data,
        {
            "analysis_mode": "laminar_flow",
            "method": "laplace",
            "fixed": {"phi0": 2.0, "gamma_dot_t_offset": 0.0},
        },
    )
    assert found.fixed == {"phi0": 2.0, "gamma_dot_t_offset": 0.0}
    assert abs(found.mean["D0"] - flow.physical[0]) < 5 * found.sd["D0"]
    assert found.status == "certified"


def test_widening_needs_clustered_errors(rest, rest_data, warm):
    with pytest.raises(CMCInputError, match="robust_draws needs an nlsq_result with covariances"):
        fit_mcmc_jax(rest_data, {"method": "laplace", "robust_draws": True}, warm(rest))


def test_a_heavy_tail_is_said(rest_result):
    (said,) = heavy_tails(("D0", "alpha", "D_offset"), np.array([0.02, 0.4, np.nan]))
    assert said.startswith("the sd of alpha rests on a few draws far out (its own error is 40 %)")
    assert "far out" not in rest_result.summary()
    # Normal draws: the relative error of a standard deviation is 1 / √(2 n).
    assert rest_result.sd_error["D0"] == pytest.approx((2 * rest_result.ess) ** -0.5, rel=0.25)


def test_files(rest_result, tmp_path):
    path = rest_result.save(tmp_path / "posterior.nc")
    loaded = CMCResult.load(path)
    np.testing.assert_array_equal(loaded.draws, rest_result.draws)
    assert loaded.summary() == rest_result.summary()
    assert loaded.settings == rest_result.settings
    assert loaded.tree["posterior"]["contrast"].dims == ("chain", "draw", "angle")
    assert loaded.tree["posterior"]["D0"].attrs["units"] == "Å²/s"
    with pytest.raises(FileExistsError, match="overwrite=True"):
        rest_result.save(path)
    rest_result.save(path, overwrite=True)
    with pytest.raises(FileNotFoundError, match="no file"):
        CMCResult.load(tmp_path / "nothing.nc")
    assert [p.name for p in tmp_path.iterdir()] == ["posterior.nc"]


def test_groups_of_the_tree(rest_result, rest_data):
    tree = rest_result.tree
    groups = {
        "posterior",
        "sample_stats",
        "prior",
        "observed_data",
        "posterior_predictive",
        "constant_data",
        "certificate",
        "shards",
        "consensus",
        "warm_start",
    }
    assert set(tree.children) == groups
    assert tree["shards"]["z"].dims == ("shard", "chain", "draw", "coordinate")
    assert float(tree["observed_data"]["count"].sum()) == rest_data.n_points
    # The first third of 40 frames ends after the 13th.
    lag1 = np.mean([np.diagonal(rest_data.c2[a], -1)[:13] for a in range(3)], axis=1)
    np.testing.assert_allclose(tree["observed_data"]["c2"].values[:, 0, 0], lag1)
    # The consensus is what the shards say before the certificate; both are there.
    assert abs(float(tree["consensus"]["median"][1]) - rest_result.mean["alpha"]) < rest_result.sd["alpha"]
    assert tree["consensus"].attrs["q_p"] > 1e-3
    for name in rest_result.physical_names:
        assert np.isfinite(rest_result.quantiles(name)).all()
    with pytest.raises(ValueError, match="name is 'D'"):
        rest_result.quantiles("D")


def test_data_of_two_kinds_disagree(rest, data_of, warm):
    """Half of the rows are of a sample that is twice as fast: Q says so."""
    import homodyne_cmc._shards as shards

    faster = rest._replace(physical=rest.physical * [2.0, 1.0, 2.0])
    maps, other = rest.noisy_maps(0.005, seed=1), faster.noisy_maps(0.005, seed=2)
    odd = shards.frames_of_shard(1, 2, 40)
    maps[:, odd] = other[:, odd]
    lower = np.tril(maps)
    data = data_of(rest, maps=lower + np.swapaxes(np.tril(maps, -1), 1, 2))
    found = fit_mcmc_jax(data, {"num_shards": 2, "noise": "global"}, warm(rest))
    assert found.tree["consensus"].attrs["q_p"] < 1e-3


def test_a_posterior_outside_its_bounds_fails_in_words(rest, rest_data, warm):
    found = fit_mcmc_jax(rest_data, {"method": "laplace", "bounds": {"contrast": (0.9, 1.0)}}, warm(rest))
    assert found.status == "failed"
    assert "no draw of the proposal" in found.message
    assert found.posterior.sizes["draw"] == 0
    assert "FAILED" in found.summary()
    assert np.isnan(found.mean["D0"])


def test_shards_that_cannot_be_sampled_fail_in_words(rest, rest_data, monkeypatch, tmp_path, warm):
    import homodyne_cmc._tasks as tasks

    def broken(*arguments):
        raise FloatingPointError("shard is broken.")

    monkeypatch.setattr(tasks, "draw_chain", broken)
    found = fit_mcmc_jax(rest_data, {"num_shards": 2}, warm(rest))
    assert found.status == "failed"
    assert "chain 0 of shard 0 failed (FloatingPointError: shard is broken.), 3 times" in found.message
    assert CMCResult.load(found.save(tmp_path / "failed.nc")).status == "failed"


def test_maps_in_a_file(rest, rest_data, rest_result, tmp_path, warm):
    save_apsu(tmp_path / "maps.hdf", rest_data)
    with open_xpcs(tmp_path / "maps.hdf", sigma=0.005) as maps:
        found = fit_mcmc_jax(maps, {"num_shards": 4}, warm(rest))
    np.testing.assert_allclose(found.draws, rest_result.draws, rtol=1e-6)


def test_pooled_points_and_mappings(rest, rest_data):
    a, i, j = np.nonzero(rest_data.mask)
    settings = {"method": "laplace"}
    pooled = fit_mcmc_jax(
        rest_data.c2[a, i, j],
        cmc_config=settings,
        t1=rest_data.t[i],
        t2=rest_data.t[j],
        phi=rest_data.phi[a],
        q=rest_data.q,
        sigma=0.005,
    )
    mapped = fit_mcmc_jax(
        {"c2": rest_data.c2, "phi": rest_data.phi, "q": rest_data.q, "t": rest_data.t, "sigma": 0.005},
        settings,
    )
    np.testing.assert_allclose(pooled.draws, mapped.draws, rtol=1e-6)


def test_a_share_that_data_leave_open_is_that_of_the_bounds(data_of, warm):
    """alpha = 0: power law and offset are the same. Sums over a grid of the natural parameters, the prior flat between their bounds."""
    truth = colloid(3, 40)._replace(physical=np.array([3e3, 0.0, 1e3]))
    data = data_of(truth, sigma=0.005)
    bounds = {"D0": (100.0, 1e6), "alpha": (-0.2, 0.2), "D_offset": (-1e4, 1e4)}
    found = fit_mcmc_jax(
        data, {"method": "laplace", "bounds": bounds, "certificate_draws": 8000}, warm(truth)
    )
    assert found.status == "certified"
    assert "leave open how D(t) divides" in found.summary()
    t_ref = found.tree["certificate"].attrs["t_ref"]
    t_ref = float(np.atleast_1d(t_ref)[0])
    total = found.values("D0") * t_ref ** found.values("alpha") + found.values("D_offset")
    slope = found.values("alpha") * found.values("D0") * t_ref ** found.values("alpha") / total
    # In total, slope and log of the power law the flat prior is total t_ref^-alpha.
    axes = (
        total.mean() + total.std() * np.linspace(-5, 5, 25),
        slope.mean() + slope.std() * np.linspace(-5, 5, 25),
        np.log(np.geomspace(90.0, 1.5e4, 70)),
    )
    j, s, log_power = (part.ravel() for part in np.meshgrid(*axes, indexing="ij"))
    alpha = s * j / np.exp(log_power)
    physical = np.stack([np.exp(log_power) * t_ref**-alpha, alpha, j - np.exp(log_power)], axis=1)
    inside = np.all(
        [(physical[:, k] >= a) & (physical[:, k] <= b) for k, (a, b) in enumerate(bounds.values())], axis=0
    )
    log_p = np.where(inside, log_likelihood(truth, data, physical) + np.log(j * t_ref**-alpha), -np.inf)
    p = np.exp(log_p - log_p.max())
    order = np.argsort(physical[:, 0])
    expected = np.interp((0.16, 0.5, 0.84), np.cumsum(p[order]) / p.sum(), np.log(physical[order, 0]))
    width = expected[2] - expected[0]
    np.testing.assert_allclose(np.log(found.quantiles("D0", (0.16, 0.5, 0.84))), expected, atol=0.1 * width)


def test_the_hosts_settings_are_left_alone(rest, rest_data, warm):
    with jax.enable_x64(False):
        found = fit_mcmc_jax(rest_data, {"method": "laplace"}, warm(rest))
        assert not jax.config.jax_enable_x64
    assert found.draws.dtype == np.float64
    assert jax.config.jax_numpy_rank_promotion == "raise"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"config": {"num_shards": 40}}, "num_shards is 40; expected at most 39"),
        ({"config": {"noise": "per_angle", "per_angle_mode": "constant"}}, "share the noise too"),
        ({"config": {}, "cmc_config": {}}, "both given"),
        ({"config": {"analysis_mode": "laminar_flow"}}, "data have no L"),
        ({"q": 0.01}, "q belong to pooled points"),
        ({"nlsq_result": {"names": ["D0"]}}, "without names and values"),
        ({"config": {"per_angle_mode": "fourier", "fourier_order": 4}}, "directions"),
    ],
)
def test_what_does_not_fit_together_is_refused(rest_data, change, message):
    data = TwoTimeData(rest_data.c2, rest_data.phi, rest_data.t, rest_data.q, sigma=0.005)
    with pytest.raises(ValueError, match=message):
        fit_mcmc_jax(data, **change)


def test_wrong_kinds_are_refused(rest_data):
    with pytest.raises(TypeError, match="config is a str"):
        fit_mcmc_jax(rest_data, "config.yaml")
    with pytest.raises(CMCInputError, match="t1, t2, phi, q missing"):
        fit_mcmc_jax(rest_data.c2)
