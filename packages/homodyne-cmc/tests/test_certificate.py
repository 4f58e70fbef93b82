import numpy as np
import pytest
from scipy import stats

from homodyne_cmc._certificate import Normal, certify, pareto_smoothed

MEAN, COVARIANCE = np.array([0.4, -0.3, 0.2]), np.array([[1.0, 0.5, 0.0], [0.5, 2.0, -0.3], [0.0, -0.3, 0.5]])


def target(z):
    return stats.multivariate_normal(MEAN, COVARIANCE).logpdf(z)


def test_smoothing_keeps_the_sign():
    """A draw that weighs much keeps weighing much; the library's function takes log likelihoods and turns them over."""
    log_weights = np.random.default_rng(0).normal(size=1000)
    smoothed, k_hat = pareto_smoothed(log_weights)
    assert np.argmax(smoothed) == np.argmax(log_weights)
    np.testing.assert_array_equal(np.argsort(smoothed), np.argsort(log_weights))
    assert np.exp(smoothed).sum() == pytest.approx(1.0)
    assert k_hat < 0.7


@pytest.mark.parametrize("shape", [0.2, 0.9])
def test_k_hat_is_the_shape_of_the_tail(shape):
    found = [
        pareto_smoothed(np.log(stats.genpareto(shape).rvs(4000, random_state=s) + 1e-3))[1] for s in range(20)
    ]
    assert np.mean(found) == pytest.approx(shape, abs=0.12)


def test_draws_without_density_keep_weight_zero():
    log_weights = np.random.default_rng(0).normal(size=1000)
    log_weights[:300] = -np.inf
    smoothed, _ = pareto_smoothed(log_weights)
    assert (smoothed[:300] == -np.inf).all()
    assert np.exp(smoothed).sum() == pytest.approx(1.0)


def test_equal_weights_have_no_tail():
    smoothed, k_hat = pareto_smoothed(np.full(500, 3.0))
    assert k_hat == -np.inf
    np.testing.assert_allclose(np.exp(smoothed), 1 / 500)


def test_hardly_any_density_is_no_answer():
    log_weights = np.full(1000, -np.inf)
    log_weights[0] = 0.0
    smoothed, k_hat = pareto_smoothed(log_weights)
    assert k_hat == np.inf
    assert not np.isfinite(smoothed).any()


def test_proposals_have_their_moments_and_their_density():
    normal = Normal(MEAN, COVARIANCE)
    z = normal.draw(np.random.default_rng(0), 100_000)
    np.testing.assert_allclose(z.mean(0), MEAN, atol=0.03)
    np.testing.assert_allclose(np.cov(z, rowvar=False), COVARIANCE, atol=0.06)
    expected = stats.multivariate_t(MEAN, COVARIANCE * 5 / 7, df=7).logpdf(z[:50])
    np.testing.assert_allclose(normal.log_density(z[:50]), expected)


@pytest.mark.parametrize("shift, factor", [(0.0, 1.0), (1.0, 1.0), (0.0, 0.3), (0.5, 4.0)])
def test_the_target_is_found_from_a_wrong_proposal(shift, factor):
    start = Normal(MEAN + shift, factor * COVARIANCE)
    found = certify(start, target, n_draws=2000, rng=np.random.default_rng(1))
    assert found.certified, found.message
    sd = np.sqrt(np.diag(COVARIANCE))
    assert (np.abs(found.mean - MEAN) / sd).max() < 0.1
    np.testing.assert_allclose(found.covariance / np.outer(sd, sd), COVARIANCE / np.outer(sd, sd), atol=0.12)
    z = found.z[found.resample(np.random.default_rng(2), 4000)]
    np.testing.assert_allclose(z.std(0), sd, rtol=0.08)


def test_a_target_that_the_proposal_misses_is_not_certified():
    def funnel(z):
        return -0.5 * z[:, 0] ** 2 / 9 - 0.5 * z[:, 1] ** 2 * np.exp(-2 * z[:, 0]) - z[:, 0]

    found = certify(Normal(np.zeros(2), 0.05 * np.eye(2)), funnel, n_draws=1000, rng=np.random.default_rng(0))
    assert not found.certified
    assert len(found.rounds) == 3
    assert any(word in found.message for word in ("k-hat", "effective draws", "moves"))


def test_no_density_anywhere_is_said():
    found = certify(
        Normal(np.zeros(2), np.eye(2)),
        lambda z: np.full(len(z), -np.inf),
        n_draws=200,
        rng=np.random.default_rng(0),
    )
    assert not found.certified
    assert "no draw of the proposal" in found.message


def test_every_round_is_told():
    told = []
    certify(
        Normal(MEAN, COVARIANCE),
        target,
        n_draws=500,
        rng=np.random.default_rng(0),
        after_round=lambda number, found: told.append((number, found.ess)),
    )
    assert [number for number, _ in told] == list(range(1, len(told) + 1))
    assert len(told) >= 2
