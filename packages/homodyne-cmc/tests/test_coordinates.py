import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homodyne_cmc._coordinates import PosteriorCoordinates, best_known_times, wrapped_direction
from homodyne_model.testing import colloid, rheometer_flow

pytestmark = pytest.mark.usefixtures("as_inside_a_fit")

REVERSING = np.array([1e4, -0.4, 500.0, 1e-3, 0.3, -4e-3, 10.0])


@pytest.mark.parametrize("physical", [colloid().physical, rheometer_flow().physical, REVERSING])
def test_there_and_back(physical):
    coordinates = PosteriorCoordinates.about(physical, (1.3, 0.7)[: len(physical) // 3])
    v = coordinates.from_natural(jnp.asarray(physical))
    np.testing.assert_allclose(coordinates.to_natural(v), physical, rtol=1e-12)
    assert len(coordinates.names) == len(physical)


@pytest.mark.parametrize("physical", [colloid().physical, rheometer_flow().physical, REVERSING])
def test_jacobian_is_the_determinant(physical):
    coordinates = PosteriorCoordinates.about(physical, (1.3, 0.7)[: len(physical) // 3])
    v = coordinates.from_natural(jnp.asarray(physical))
    expected = np.linalg.slogdet(np.asarray(jax.jacfwd(coordinates.to_natural)(v)))[1]
    assert float(coordinates.log_jacobian(v)) == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(coordinates.tangent(v), jax.jacfwd(coordinates.to_natural)(v))


HOLDING = [(1,), (2,), (1, 2), (4,), (5,), (6,), (2, 4, 6), (1, 2, 4, 5, 6)]


@pytest.mark.parametrize("places", HOLDING)
def test_parameters_that_are_held(places):
    """There and back, the determinant of the free ones, and the held ones as they are whatever the coordinates."""
    physical = rheometer_flow().physical
    held = [float(x) if k in places else None for k, x in enumerate(physical)]
    coordinates = PosteriorCoordinates.suited_to(
        physical, np.diag((0.1 * physical) ** 2), np.geomspace(0.1, 10, 50), held
    )
    v = coordinates.from_natural(jnp.asarray(physical))
    assert len(coordinates.names) == len(v) == 7 - len(places)
    np.testing.assert_allclose(coordinates.to_natural(v), physical, rtol=1e-11)
    tangent = np.asarray(coordinates.tangent(v))
    expected = np.linalg.slogdet(tangent[coordinates.free])[1]
    assert float(coordinates.log_jacobian(v)) == pytest.approx(expected, abs=1e-9)
    elsewhere = np.asarray(coordinates.to_natural(v + 0.1))
    np.testing.assert_array_equal(elsewhere[~coordinates.free], physical[~coordinates.free])
    assert (elsewhere[coordinates.free] != physical[coordinates.free]).all()
    assert coordinates.to_natural(jnp.stack([v, v])).shape == (2, 7)
    assert coordinates.log_jacobian(jnp.stack([v, v])).shape == (2,)


def test_many_at_once():
    coordinates = PosteriorCoordinates.about(rheometer_flow().physical, (1.0, 1.0))
    v = coordinates.from_natural(jnp.asarray(rheometer_flow().physical * np.linspace(0.9, 1.1, 4)[:, None]))
    assert coordinates.to_natural(v).shape == (4, 7)
    assert coordinates.log_jacobian(v).shape == (4,)


def test_rate_and_slope_are_uncorrelated_where_the_rate_is_known_best():
    truth = colloid()
    rng = np.random.default_rng(3)
    root = rng.normal(size=(3, 3)) * np.array([[300.0], [0.02], [80.0]])
    covariance = root @ root.T
    times = np.geomspace(0.1, 20, 4000)
    (best,) = best_known_times(truth.physical, covariance, times, (None,) * 3)
    assert times[0] < best < times[-1]
    coordinates = PosteriorCoordinates.about(truth.physical, (best,))
    v = coordinates.from_natural(jnp.asarray(truth.physical))
    inverse = np.linalg.inv(np.asarray(coordinates.tangent(v)))
    there = inverse @ covariance @ inverse.T
    assert abs(there[0, 1]) / np.sqrt(there[0, 0] * there[1, 1]) < 0.02


def test_parameters_without_coordinates_become_nan():
    coordinates = PosteriorCoordinates((1.0,), (1.0,), (1.0,), (None,) * 3)
    assert np.isnan(coordinates.from_natural(jnp.array([-1.0, 0.5, 10.0]))).any()


@given(st.floats(-1e4, 1e4))
def test_direction_is_wrapped(phi0):
    wrapped = float(wrapped_direction(phi0))
    assert -90 <= wrapped < 90
    assert (phi0 - wrapped) / 180 == pytest.approx(round((phi0 - wrapped) / 180), abs=1e-9)
