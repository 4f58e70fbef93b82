"""Small measurements with a known truth, and fits of them that are shared by the tests."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homodyne_cmc import fit_mcmc_jax
from homodyne_cmc._config import CMCConfig
from homodyne_cmc._coordinates import PosteriorCoordinates
from homodyne_cmc._input import Request
from homodyne_cmc._mode import _first_walls
from homodyne_data import TwoTimeData
from homodyne_model.testing import Measurement, colloid, rheometer_flow

NOISE = 0.005


def make_data(truth: Measurement, *, sigma=NOISE, seed=1, maps=None, given=True, **keywords) -> TwoTimeData:
    model = truth.model
    c2 = truth.noisy_maps(sigma, seed=seed) if maps is None else maps
    return TwoTimeData(c2, model.phi, model.t, model.q, model.L, sigma=sigma if given else None, **keywords)


def make_problem(truth: Measurement, data=None, **settings):
    """The problem of a measurement with coordinates about its truth, and the coordinates of the truth."""
    data = make_data(truth) if data is None else data
    config = CMCConfig(analysis_mode=truth.model.analysis_mode.value, **settings)
    problem = Request.of(data, config, None, 1).problem(data)
    coordinates = PosteriorCoordinates.about(truth.physical, (2.0,) * (len(truth.physical) // 3))
    problem = replace(problem, coordinates=coordinates, priors=_first_walls(problem.priors))
    return problem, np.asarray(coordinates.from_natural(jnp.asarray(truth.physical)))


@pytest.fixture
def as_inside_a_fit():
    """The rules of array code that `fit_mcmc_jax` sets for its parts."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="session")
def rest() -> Measurement:
    return colloid(3, 40)


@pytest.fixture(scope="session")
def flow() -> Measurement:
    return rheometer_flow(5, 40)


@pytest.fixture(scope="session")
def rest_data(rest):
    return make_data(rest)


@pytest.fixture(scope="session")
def flow_data(flow):
    return make_data(flow)


@pytest.fixture(scope="session")
def warm():
    """A warm start without a covariance at the truth of a measurement; it saves the search of the mode."""
    return lambda truth: {"names": truth.model.layout.physical_names, "values": truth.physical}


@pytest.fixture(scope="session")
def reference(rest, rest_data, warm):
    """Posterior of the static measurement without shards: many draws about the mode, certified."""
    result = fit_mcmc_jax(rest_data, {"method": "laplace", "certificate_draws": 8000, "seed": 5}, warm(rest))
    assert result.status == "certified"
    return result


@pytest.fixture(scope="session")
def rest_result(rest, rest_data, warm):
    """The static measurement in four shards."""
    return fit_mcmc_jax(rest_data, {"num_shards": 4}, warm(rest))


@pytest.fixture(scope="session")
def data_of():
    """Two-time data of a measurement (keywords: sigma, seed, maps, given)."""
    return make_data


@pytest.fixture(scope="session")
def problem_of():
    """The problem of a measurement with coordinates about its truth, and the coordinates of the truth."""
    return make_problem


@pytest.fixture(scope="session")
def away():
    """Largest distance of posterior means in posterior standard deviations."""
    return lambda found, expected: max(
        abs(found.mean[k] - expected.mean[k]) / expected.sd[k] for k in expected.mean
    )


@pytest.fixture(scope="session")
def widths():
    """Ratios of posterior standard deviations."""
    return lambda found, expected: np.array([found.sd[k] / expected.sd[k] for k in expected.sd])
