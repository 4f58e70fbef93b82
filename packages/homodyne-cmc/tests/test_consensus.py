import numpy as np
import pytest

from homodyne_cmc._consensus import combine
from homodyne_cmc._nuts import ShardDraws, anchor_strength


def draws_of(mean, covariance, index, rng, n=2000):
    z = rng.multivariate_normal(mean, covariance, (4, n))
    ones = np.ones(z.shape[:2])
    return ShardDraws(index, z, ones < 0, 3 * ones.astype(int), rng.normal(size=ones.shape), 0.9 * ones, 0.0)


def normal_shards(n_shards, d=3, seed=0, n=2000):
    """Shards that are normal, each with the anchor N(0, 1)^(a/K), and the product without it."""
    rng = np.random.default_rng(seed)
    a = anchor_strength(n_shards)
    precisions, means = [], []
    for _ in range(n_shards):
        root = rng.normal(size=(d, d)) * 0.3 + np.eye(d)
        precisions.append(root @ root.T / n_shards)
        means.append(0.3 * rng.normal(size=d))
    total = sum(precisions)
    mean = np.linalg.solve(total, sum(p @ m for p, m in zip(precisions, means, strict=True)))
    shards = []
    for k, (p, m) in enumerate(zip(precisions, means, strict=True)):
        anchored = p + a / n_shards * np.eye(d)
        shards.append(draws_of(np.linalg.solve(anchored, p @ m), np.linalg.inv(anchored), k, rng, n))
    return shards, mean, np.linalg.inv(total)


@pytest.mark.parametrize("n_shards", [1, 4, 10])
def test_the_product_of_normal_shards_is_found(n_shards):
    shards, mean, covariance = normal_shards(n_shards)
    found = combine(shards[::-1])
    sd = np.sqrt(np.diag(covariance))
    assert (np.abs(found.mean - mean) / sd).max() < 0.1
    np.testing.assert_allclose(found.covariance / np.outer(sd, sd), covariance / np.outer(sd, sd), atol=0.08)
    assert found.positive
    assert np.isnan(found.q) == (n_shards == 1)


def test_few_draws_do_not_make_the_product_narrow():
    """The inverse of a covariance of few draws is too large by a factor that the product of many shards would keep."""
    ratios = []
    for seed in range(20):
        shards, _, covariance = normal_shards(20, seed=seed, n=15)
        ratios.append(np.sqrt(np.diag(combine(shards).covariance) / np.diag(covariance)).mean())
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.06)


def test_agreement_of_shards():
    rng = np.random.default_rng(2)
    n_shards, d, p_values = 5, 3, []
    a = anchor_strength(n_shards)
    for _ in range(60):
        truth = rng.normal(size=d)
        anchored = (1 + a) / n_shards
        shards = [
            draws_of(
                (truth + rng.normal(size=d) * np.sqrt(n_shards)) / n_shards / anchored,
                np.eye(d) / anchored,
                k,
                rng,
                400,
            )
            for k in range(n_shards)
        ]
        p_values.append(combine(shards).q_p)
    assert combine(shards).q_dof == 12
    assert 0.35 < np.mean(p_values) < 0.65
    apart = [draws_of(np.full(d, 8.0 * (k == 0)), np.eye(d), k, rng) for k in range(n_shards)]
    assert combine(apart).q_p < 1e-3


def test_shards_that_know_less_than_their_anchor_give_the_anchor():
    rng = np.random.default_rng(0)
    shards = [draws_of(np.zeros(2), 50.0 * np.eye(2), k, rng) for k in range(9)]
    found = combine(shards)
    assert not found.positive
    np.testing.assert_array_equal(found.covariance, np.eye(2))
    assert np.isnan(found.q)


def test_diagnostics_are_those_of_the_draws():
    rng = np.random.default_rng(0)
    good = draws_of(np.zeros(2), np.eye(2), 0, rng)
    z = good.z.copy()
    z[0] += 3.0
    diverging = np.zeros(z.shape[:2], dtype=bool)
    diverging[:, :100] = True
    bad = ShardDraws(
        1, z, diverging, np.full(z.shape[:2], 31), np.cumsum(good.energy, axis=1), good.accept_prob, 1.0
    )
    quality = combine([good, bad]).convergence
    assert quality.r_hat.shape == (2, 2)
    assert (quality.r_hat[0] < 1.01).all()
    assert (quality.r_hat[1] > 1.2).all()
    assert quality.ess_bulk[0].min() > 5000 > 100 > quality.ess_bulk[1].max()
    np.testing.assert_allclose(quality.divergences, [0.0, 0.05])
    np.testing.assert_array_equal(quality.tree_depth, [2, 5])
    said = " ".join(quality.remarks())
    for part in ("chains of shard 1 disagree", "5 % of the draws of shard 1 diverged", "energies of shard 1"):
        assert part in said


def test_one_chain_is_enough_for_the_diagnostics():
    draws = draws_of(np.zeros(2), np.eye(2), 0, np.random.default_rng(0))
    one = ShardDraws(
        0, draws.z[:1], draws.diverging[:1], draws.num_steps[:1], draws.energy[:1], draws.accept_prob[:1], 0.0
    )
    assert (combine([one]).convergence.r_hat < 1.02).all()
