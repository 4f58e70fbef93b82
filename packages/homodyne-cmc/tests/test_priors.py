from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from homodyne_cmc import CMCInputError, Prior
from homodyne_cmc._priors import PriorArrays

pytestmark = pytest.mark.usefixtures("as_inside_a_fit")

CASES = [
    (Prior(), (-1.0, 3.0), lambda x: stats.uniform(-1, 4).logpdf(x)),
    (Prior("Normal", 1.0, 0.5), (-1.0, 3.0), lambda x: stats.truncnorm(-4, 4, 1, 0.5).logpdf(x)),
    (Prior("TruncatedNormal", 1.0, 0.5), (0.5, 3.0), lambda x: stats.truncnorm(-1, 4, 1, 0.5).logpdf(x)),
    (Prior("HalfNormal", sigma=2.0), (-1.0, 3.0), lambda x: stats.truncnorm(0, 1.5, 0, 2).logpdf(x)),
    (Prior("LogNormal", 0.2, 0.6), (-1.0, 50.0), lambda x: stats.lognorm(0.6, scale=np.exp(0.2)).logpdf(x)),
]


def arrays(prior, bounds, period=0.0):
    return PriorArrays.of([prior], np.array([bounds]), np.array([period]))


@pytest.mark.parametrize("prior, bounds, log_density", CASES)
def test_densities_and_ranges(prior, bounds, log_density):
    found, x = arrays(prior, bounds), np.linspace(-2.01, 4.0, 61)
    expected = log_density(x)
    inside = np.asarray(found.inside(x[:, None]))
    np.testing.assert_array_equal(inside, np.isfinite(expected))
    density = np.asarray(found.log_density(x[:, None]))
    constant = (density - expected)[inside]
    np.testing.assert_allclose(constant, constant[0], atol=1e-9)


@pytest.mark.parametrize("prior, bounds, log_density", CASES)
def test_draws_follow_the_density(prior, bounds, log_density):
    drawn = arrays(prior, bounds).draw(np.random.default_rng(1), 4000)[:, 0]
    grid = np.linspace(*bounds, 20001)
    cumulative = np.cumsum(np.exp(log_density(grid)))
    assert stats.kstest(drawn, lambda x: np.interp(x, grid, cumulative / cumulative[-1])).pvalue > 1e-3


def test_walls_are_zero_inside_and_quadratic_beyond():
    found = replace(arrays(Prior(), (0.0, 1.0)), width=np.array([0.5]))
    np.testing.assert_allclose(found.smooth_walls(np.array([[0.0], [1.0], [2.0], [-1.0]])), [0, 0, -2, -2])


def test_periodic_parameters_are_looked_at_near_their_prior():
    found = arrays(Prior("Normal", 85.0, 5.0), (-np.inf, np.inf), period=180.0)
    near, image = np.asarray(found.log_density(np.array([[88.0], [-92.0]])))
    assert near == pytest.approx(image)
    bounded = arrays(Prior(), (-10.0, 10.0), period=180.0)
    assert np.asarray(bounded.inside(np.array([[183.0], [60.0]]))).tolist() == [True, False]
    assert arrays(Prior(), (-np.inf, np.inf), 180.0).draw(np.random.default_rng(0), 100).std() > 30


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"type": "Gaussian"}, "prior type is 'Gaussian'"),
        ({"type": "Normal", "mu": 1.0}, "sigma of a Normal prior is None"),
        ({"type": "Normal", "mu": 1.0, "sigma": 0.0}, "expected a positive number"),
        ({"type": "Uniform", "mu": 1.0}, "takes no mu"),
        ({"type": "HalfNormal", "mu": 1.0, "sigma": 1.0}, "takes no mu"),
        ({"type": "LogNormal", "mu": np.nan, "sigma": 1.0}, "mu of a LogNormal"),
    ],
)
def test_wrong_priors_are_refused(arguments, message):
    with pytest.raises(CMCInputError, match=message):
        Prior(**arguments)
    with pytest.raises(CMCInputError, match="has 'mean'"):
        Prior.of({"type": "Normal", "mean": 1.0}, "D0")
    with pytest.raises(TypeError, match="expected a Prior"):
        Prior.of(3.0, "D0")
