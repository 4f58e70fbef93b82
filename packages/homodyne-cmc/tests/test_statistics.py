"""Whether posteriors are right: against full-data references, over many replicates, for any number of shards.

Minutes to hours, so only on request (``nox -s statistics``).
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from arviz_stats.base import array_stats
from numpyro.infer import MCMC, NUTS, init_to_value
from scipy import stats

from homodyne_cmc import fit_mcmc_jax
from homodyne_model import PARAMETERS, map_c2
from homodyne_model.testing import colloid, rheometer_flow

pytestmark = pytest.mark.statistics

TRUTHS = {"static": (colloid(5, 100), 0.02), "laminar": (rheometer_flow(6, 100), 0.01)}


def posed(name, data_of, warm, seed=1):
    truth, sigma = TRUTHS[name]
    settings = {"analysis_mode": truth.model.analysis_mode.value, "noise": "global"}
    return truth, data_of(truth, sigma=sigma, seed=seed), settings, warm(truth)


def correlations(found):
    sd = np.sqrt(np.diag(found.covariance))
    return found.covariance / np.outer(sd, sd)


@pytest.fixture(scope="module", params=TRUTHS)
def case(request, data_of, warm):
    truth, data, settings, start = posed(request.param, data_of, warm)
    reference = fit_mcmc_jax(
        data, settings | {"method": "laplace", "certificate_draws": 20000, "seed": 9}, start
    )
    assert reference.status == "certified", reference.message
    return truth, data, settings, start, reference


@pytest.mark.parametrize("n_shards", [1, 2, 4, 5, 10])
def test_any_number_of_shards_gives_the_posterior(case, n_shards, away, widths, capsys):
    _, data, settings, start, reference = case
    # A correlation of the usual 2000 draws has an error of 0.02, the largest of 21 one of 0.05, which is the limit below.
    found = fit_mcmc_jax(data, settings | {"num_shards": n_shards, "certificate_draws": 4000}, start)
    ratio = widths(found, reference)
    off = np.abs(correlations(found) - correlations(reference)).max()
    shards = found.tree["shards"]
    with capsys.disabled():
        print(
            f"\n{settings['analysis_mode']}, K = {n_shards}: mean off {away(found, reference):.3f} sd, widths {ratio.min():.2f} to "
            f"{ratio.max():.2f}, correlations off {off:.3f}, k-hat {found.k_hat:.2f}, {found.ess:.0f} effective draws, "
            f"{100 * float(shards['diverging'].mean()):.2g} % divergences, {float(shards['steps'].mean()):.1f} steps a draw, "
            f"Q p = {found.tree['consensus'].attrs['q_p']:.2g}"
        )
    assert found.status == "certified", found.message
    assert away(found, reference) < 0.15
    assert ((ratio > 0.9) & (ratio < 1.1)).all()
    assert off < 0.05
    assert float(shards["divergences"].max()) < 0.01
    assert float(shards["steps"].max()) < 12


@pytest.mark.parametrize("n_shards", [1, 4, 10])
def test_a_tail_to_the_bounds_is_said_and_does_not_spoil_the_rest(n_shards, data_of, warm, away, capsys):
    """Twice the noise: the share of the offset in the shear rate is five errors from 0, and the tail of gamma_dot_t0 decides its sd."""
    truth = TRUTHS["laminar"][0]
    data, start = data_of(truth, sigma=0.02, seed=1), warm(truth)
    settings = {"analysis_mode": "laminar_flow", "noise": "global"}
    reference = fit_mcmc_jax(
        data, settings | {"method": "nuts", "num_samples": 4000, "num_warmup": 300, "seed": 9}, start
    )
    found = fit_mcmc_jax(data, settings | {"num_shards": n_shards}, start)
    half = {
        name: np.diff(found.quantiles(name, (0.16, 0.84)))[0]
        / np.diff(reference.quantiles(name, (0.16, 0.84)))[0]
        for name in found.mean
    }
    with capsys.disabled():
        print(
            f"\nlaminar, sigma 0.02, K = {n_shards}: {found.status}, k-hat {found.k_hat:.2f}, {found.ess:.0f} effective draws; means off "
            f"{away(found, reference):.3f} sd, 68 % intervals {min(half.values()):.2f} to {max(half.values()):.2f} as wide, errors of the sd "
            f"{max(found.sd_error.values()):.2f}"
        )
    assert found.status == reference.status == "certified"
    assert away(found, reference) < 0.15
    assert all(0.9 < ratio < 1.1 for ratio in half.values())


@pytest.mark.parametrize("shift, factor", [(3.0, 1.0), (-3.0, 1.0), (0.0, 0.25), (0.0, 4.0)])
def test_the_anchor_adds_no_information(case, shift, factor, away, monkeypatch, capsys):
    """The centre moved by 3 sd along every whitened axis, or its covariance scaled."""
    from dataclasses import replace

    import homodyne_cmc._fit as fit

    _, data, settings, start, reference = case
    original = fit.find_start

    def moved(*arguments, **keywords):
        begin = original(*arguments, **keywords)
        d = len(begin.mu)
        return replace(
            begin, mu=begin.mu + begin.root @ np.full(d, shift / np.sqrt(d)), root=begin.root * factor**0.5
        )

    monkeypatch.setattr(fit, "find_start", moved)
    found = fit_mcmc_jax(data, settings | {"num_shards": 4}, start)
    with capsys.disabled():
        print(
            f"\n{settings['analysis_mode']}, anchor moved {shift} sd, x{factor}: {found.status}, mean off {away(found, reference):.3f} sd"
        )
    assert away(found, reference) < 0.15


@pytest.mark.parametrize("noise", ["given", "global"])
def test_the_collapsed_posterior_is_the_joint_one(noise, rest, data_of, warm, capsys):
    """NUTS of NumPyro on all parameters: physical, contrast and offset of every angle, and log σ, in natural units."""
    sigma = 0.01
    data = data_of(rest, sigma=sigma, seed=4)
    names, model = rest.model.layout.physical_names, rest.model
    at = np.nonzero(data.mask)
    angle = jnp.asarray(at[0])
    y = jnp.asarray(data.c2[at])
    start = dict(zip(names, rest.physical, strict=True))

    def scattering():
        physical = jnp.stack(
            [numpyro.sample(n, dist.Uniform(PARAMETERS[n].lower, PARAMETERS[n].upper)) for n in names]
        )
        contrast = numpyro.sample("contrast", dist.Uniform(0.0, 1.0).expand([model.n_phi]))
        offset = numpyro.sample("offset", dist.Uniform(0.5, 1.5).expand([model.n_phi]))
        log_sigma = (
            jnp.log(sigma) if noise == "given" else numpyro.sample("log_sigma", dist.Uniform(-8.0, 0.0))
        )
        f = map_c2(model, physical, jnp.ones(model.n_phi), jnp.zeros(model.n_phi))[at]
        numpyro.sample("c2", dist.Normal(offset[angle] + contrast[angle] * f, jnp.exp(log_sigma)), obs=y)

    start |= {"contrast": rest.contrast, "offset": rest.offset}
    start |= {} if noise == "given" else {"log_sigma": np.log(sigma)}
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        kernel = NUTS(
            scattering,
            dense_mass=True,
            target_accept_prob=0.95,
            init_strategy=init_to_value(values={k: jnp.asarray(v) for k, v in start.items()}),
        )
        sampler = MCMC(
            kernel,
            num_warmup=2000,
            num_samples=5000,
            num_chains=4,
            chain_method="sequential",
            progress_bar=False,
        )
        sampler.run(jax.random.key(3))
    joint = {k: np.asarray(v) for k, v in sampler.get_samples(group_by_chain=True).items()}
    found = fit_mcmc_jax(data, {"method": "laplace", "noise": noise, "certificate_draws": 20000}, warm(rest))
    compared = {n: (joint[n], found.values(n)) for n in names}
    for name in ("contrast", "offset"):
        for a in range(model.n_phi):
            compared[f"{name} {a}"] = joint[name][..., a], found.posterior[name].values[0, :, a]
    if noise == "global":
        # Maps with a given σ are weighed by nothing here: the factor is σ itself.
        compared["sigma"] = np.exp(joint["log_sigma"]), found.posterior["sigma"].values[0, :, 0]
    off = {n: abs(a.mean() - b.mean()) / a.std() for n, (a, b) in compared.items()}
    ratio = [b.std() / a.std() for a, b in compared.values()]
    with capsys.disabled():
        print(
            f"\ncollapsed and joint, sigma {noise}: means off at most {max(off.values()):.3f} sd, sd {min(ratio):.3f} to {max(ratio):.3f}; joint R-hat "
            f"{max(float(array_stats.rhat(joint[n])) for n in names):.4f}, at least {min(float(array_stats.ess(joint[n])) for n in names):.0f} effective draws"
        )
    assert max(off.values()) < 0.1
    assert min(ratio) > 0.95
    assert max(ratio) < 1.05


BEYOND = {
    "23 angles": (rheometer_flow(23, 200), 0.02, (10, 30, 100)),
    "alpha = 0": (colloid(5, 100)._replace(physical=np.array([1.2e4, 0.0, 1.7e3])), 0.02, (4, 10, 30)),
    "not normal": (rheometer_flow(5, 40), 0.01, (4, 10, 30)),
}


@pytest.fixture(scope="module", params=BEYOND)
def beyond(request, data_of, warm):
    truth, sigma, numbers = BEYOND[request.param]
    data, start = data_of(truth, sigma=sigma, seed=1), warm(truth)
    settings = {"analysis_mode": truth.model.analysis_mode.value, "noise": "global"}
    sampler = {
        "method": "nuts",
        "num_warmup": 300,
        "num_samples": 2500,
        "target_accept_prob": 0.95,
        "seed": 9,
    }
    return request.param, data, settings, start, numbers, fit_mcmc_jax(data, settings | sampler, start)


def test_certified_means_right(beyond, away, capsys):
    """Many shards, an offset that the data leave open, a posterior that is bent: right, or said to be not certified."""
    name, data, settings, start, numbers, reference = beyond
    lines = [
        f"{name}: NUTS on all the data {reference.status}, R-hat {float(reference.tree['shards']['r_hat'].max()):.3f}, "
        f"{reference.ess:.0f} effective draws, {100 * float(reference.tree['shards']['divergences'].max()):.2g} % divergences"
    ]
    wrong = []
    for method, n_shards in (("laplace", None), *(("cmc", k) for k in numbers)):
        found = fit_mcmc_jax(data, settings | {"method": method, "num_shards": n_shards}, start)
        off = away(found, reference)
        lines.append(
            f"  {method:>8} K = {found.n_shards:>3}: {found.status:>13}, k-hat {found.k_hat:5.2f}, {found.ess:5.0f} effective draws, mean off {off:.3f} sd"
        )
        wrong += [lines[-1]] if found.status == "certified" and not off < 0.15 else []
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    assert not wrong


@pytest.mark.parametrize("method", ["laplace", "cmc"])
def test_calibration(method, data_of, warm, capsys):
    """200 replicates: truths drawn about a centre with a normal prior that is then used as the prior."""
    center = colloid(3, 40)
    rng = np.random.default_rng(11)
    prior_sd = np.array([400.0, 0.02, 150.0])
    names = center.model.layout.physical_names
    priors = {
        n: {"type": "Normal", "mu": float(m), "sigma": float(s)}
        for n, m, s in zip(names, center.physical, prior_sd, strict=True)
    }
    settings = {
        "noise": "global",
        "priors": priors,
        "method": method,
        "num_shards": 4 if method == "cmc" else None,
    }
    z, ranks, certified = [], [], 0
    for replicate in range(200):
        truth = center._replace(physical=rng.normal(center.physical, prior_sd))
        found = fit_mcmc_jax(
            data_of(truth, sigma=0.02, seed=1000 + replicate), settings | {"seed": replicate}, warm(center)
        )
        certified += found.status == "certified"
        z.append([(found.mean[n] - v) / found.sd[n] for n, v in zip(names, truth.physical, strict=True)])
        ranks.append((found.draws[::20] < truth.physical).sum(0))
    z, ranks = np.array(z), np.array(ranks)
    counts = [np.histogram(column, bins=10, range=(0, 101))[0] for column in ranks.T]
    p_values = [stats.chisquare(c).pvalue for c in counts]
    within68, within95 = (np.abs(z) < 0.994).mean(0), (np.abs(z) < 1.96).mean(0)
    with capsys.disabled():
        print(
            f"\n{method}: 200 replicates, {certified} certified; 68 % interval covers {within68}, 95 % {within95}, "
            f"rms z {np.sqrt((z**2).mean(0))}, rank p {p_values}"
        )
    assert certified > 190
    assert ((within68 > 0.58) & (within68 < 0.78)).all()
    assert ((within95 > 0.90) & (within95 < 0.99)).all()
    rms = np.sqrt((z**2).mean(0))
    assert ((rms > 0.85) & (rms < 1.15)).all()
    assert min(p_values) > 0.001
