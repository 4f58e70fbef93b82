import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homodyne_model import (
    Coordinates,
    LinearCoordinate,
    LogCoordinate,
    RateCoordinates,
    diffusion_coefficient,
)

# Offsets on either side of minus the power part: the total may have either sign.
shares = st.floats(-0.9, 10) | st.floats(-10, -1.1)
rates = st.tuples(st.floats(1e-6, 1e9), st.floats(-2, 2), shares)
times = st.floats(0.01, 1e3)


def natural(rate, t_ref):
    """r0, p and an offset that is the given multiple of the power part at t_ref."""
    r0, p, share = rate
    return np.array([r0, p, share * r0 * t_ref**p])


def about(t_ref, values):
    return RateCoordinates(t_ref, np.sign(values[0] * t_ref ** values[1] + values[2]))


def differences(function, u):
    columns = []
    for k in range(len(u)):
        step = np.zeros(len(u))
        step[k] = 1e-6 * max(1.0, abs(u[k]))
        columns.append((function(u + step) - function(u - step)) / (2 * step[k]))
    return np.array(columns).T


@given(rate=rates, t_ref=times)
def test_rate_coordinates_go_there_and_back(rate, t_ref):
    values = natural(rate, t_ref)
    block = about(t_ref, values)
    assert block.represents(values)
    again = block.to_natural(block.from_natural(values))
    np.testing.assert_allclose(again[:2], values[:2], rtol=1e-11, atol=1e-12)
    assert again[2] == pytest.approx(values[2], rel=1e-11, abs=1e-12 * rate[0] * t_ref ** rate[1])


@given(rate=rates, t_ref=times)
def test_rate_coordinates_are_what_they_are_named(rate, t_ref):
    values = natural(rate, t_ref)
    block = about(t_ref, values)
    log_total, slope, share = block.from_natural(values)

    def total(t):
        return float(diffusion_coefficient(values, t, dt=1e-6))

    assert block.sign * np.exp(log_total) == pytest.approx(total(t_ref), rel=1e-10)
    h = 1e-5
    numeric = (total(t_ref * np.exp(h)) - total(t_ref * np.exp(-h))) / (2 * h * total(t_ref))
    assert slope == pytest.approx(numeric, rel=1e-4, abs=1e-6)
    assert np.sinh(share) == pytest.approx(total(t_ref) / (total(t_ref) - values[2]), rel=1e-6)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_rate_is_smooth_where_the_natural_parameters_are_infinite(sign):
    block, t = RateCoordinates(2.0, sign), np.array([0.1, 2.0, 30.0])
    curves = [diffusion_coefficient(block.to_natural([0.3, 0.4, y]), t, dt=1e-6) for y in (-1e-4, 1e-4)]
    logarithm = sign * np.exp(0.3) * (1 + 0.4 * np.log(t / 2.0))
    for curve in curves:
        np.testing.assert_allclose(curve, logarithm, rtol=1e-3)


@given(rate=rates, t_ref=times)
def test_tangent_of_rate_coordinates(rate, t_ref):
    block = about(t_ref, natural(rate, t_ref))
    u = block.from_natural(natural(rate, t_ref))
    found, expected = block.tangent(u), differences(block.to_natural, u)
    size = np.abs(found).max(axis=1, keepdims=True)
    size[2] = max(size[2], rate[0] * t_ref ** rate[1])
    np.testing.assert_allclose(found / size, expected / size, atol=1e-6)


@pytest.mark.parametrize("values", [(0.0, 0.1, 5.0), (1.0, 0.0, -1.0), (1.0, 0.5, -30.0)])
def test_what_rate_coordinates_do_not_represent(values):
    assert not RateCoordinates(2.0).represents(values)


def test_coordinates_of_all_blocks():
    physical = np.array([3e4, -0.6, 400.0, 2e-3, 0.3, -1e-4, 7.0])
    coordinates = Coordinates(
        (((0, 1, 2), RateCoordinates(1.4)), ((3,), LogCoordinate()), ((6,), LinearCoordinate(57.0))), physical
    )
    u = coordinates.from_natural(physical)
    assert coordinates.size == len(u) == 5
    assert u[3] == pytest.approx(np.log(2e-3))
    assert u[4] == pytest.approx(7 / 57)
    np.testing.assert_allclose(coordinates.to_natural(u), physical, rtol=1e-12)
    moved = coordinates.to_natural(u + 0.01)
    np.testing.assert_array_equal(moved[[4, 5]], physical[[4, 5]])
    tangent = coordinates.tangent(u)
    assert tangent.shape == (7, 5)
    assert (tangent[[4, 5]] == 0).all()
    size = np.abs(tangent).max(axis=1, keepdims=True)
    size[size == 0] = 1
    np.testing.assert_allclose(tangent / size, differences(coordinates.to_natural, u) / size, atol=1e-7)


def test_blocks_may_be_in_any_order_and_held_values_are_not_changed():
    held = np.array([1.0, 2.0, 3.0])
    coordinates = Coordinates((((2,), LinearCoordinate(10.0)), ((0,), LogCoordinate())), held)
    np.testing.assert_allclose(coordinates.to_natural([0.5, 0.0]), [1.0, 2.0, 5.0])
    np.testing.assert_array_equal(held, [1.0, 2.0, 3.0])
    np.testing.assert_allclose(coordinates.from_natural([np.e, 9.0, 20.0]), [2.0, 1.0])
