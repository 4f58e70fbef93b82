import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homodyne_model import QUADRATURES, diffusion_coefficient, shear_rate
from homodyne_model._transport import rate_integral

integral = jax.jit(rate_integral, static_argnames="quadrature")


def test_diffusion_coefficient_is_the_power_law():
    t = np.array([0.1, 1.0, 10.0])
    found = diffusion_coefficient(np.array([100.0, -0.5, 7.0]), t, dt=0.1)
    np.testing.assert_allclose(found, 100 * t**-0.5 + 7, rtol=1e-14)


def test_power_is_evaluated_at_half_a_frame_at_least():
    found = diffusion_coefficient(np.array([100.0, -2.0, 0.0]), np.array([0.0, 0.01, 0.05, 0.06]), dt=0.1)
    np.testing.assert_allclose(found, 100 * np.array([0.05, 0.05, 0.05, 0.06]) ** -2, rtol=1e-13)


def test_nothing_is_floored():
    found = diffusion_coefficient(np.array([1.0, 0.0, -5.0]), np.array([0.0, 1.0]), dt=0.1)
    np.testing.assert_allclose(found, -4.0)
    slope = jax.jacfwd(lambda p: shear_rate(p, np.array([2.0]), dt=0.1))(jnp.array([1e-6, 0.3, -1e-3]))
    assert (slope != 0).all()


def test_shear_rate_takes_three_or_seven_parameters():
    full = np.array([1e4, 0.1, 0.0, 2e-3, 0.7, -1e-4, 5.0])
    t = np.array([0.0, 0.5, 3.0])
    np.testing.assert_array_equal(shear_rate(full, t, dt=0.1), shear_rate(full[3:6], t, dt=0.1))
    np.testing.assert_allclose(
        shear_rate(full, t, dt=0.1), 2e-3 * np.maximum(t, 0.05) ** 0.7 - 1e-4, rtol=1e-14
    )


def test_whole_numbers_are_numbers():
    found = diffusion_coefficient([100, 0, 5], [0.0, 0.25], dt=0.1)
    np.testing.assert_array_equal(found, [105.0, 105.0])
    np.testing.assert_array_equal(shear_rate([2, 1, 0], [0.25, 0.5], dt=0.1), [0.5, 1.0])


@pytest.mark.parametrize("quadrature", QUADRATURES)
def test_dtype_of_the_parameters_is_kept(quadrature):
    params = jnp.array([1.0, -0.5, 0.1], jnp.float32)
    t = jnp.arange(4, dtype=jnp.float32)
    assert diffusion_coefficient(params, t, dt=1.0).dtype == jnp.float32
    found = integral(params, t, jnp.float32(1.0), quadrature)
    assert found.value.dtype == found.derivatives.dtype == jnp.float32


# At exponent -1 the antiderivative is a logarithm; close to it the closed form (b^e - a^e)/e divides two small numbers.
@pytest.mark.parametrize("first", [0.0, 0.02, 0.35])
@pytest.mark.parametrize("exponent", [-2.0, -1.0, -1.0 + 1e-14, -1.0 - 1e-9, -1.001, 0.0, 1.7])
def test_exact_quadrature_against_numerical_integration(exact, exponent, first):
    mp, _ = exact
    dt, n_t = 0.1, 6
    t = first + dt * np.arange(n_t)
    params = np.array([3.0, exponent, -0.7])
    found = integral(params, t, dt, "exact")
    rate0, p, offset = (mp.mpf(float(x)) for x in params)
    floor = mp.mpf(dt) / 2

    def step(function, k):
        start, stop = mp.mpf(float(t[k])), mp.mpf(float(t[k + 1]))
        corners = [start, floor, stop] if start < floor < stop else [start, stop]
        return mp.quad(function, corners)

    def power(x):
        return mp.power(max(x, floor), p)

    for k in range(n_t - 1):
        value = step(lambda x: rate0 * power(x) + offset, k)
        by_rate, by_exponent = step(power, k), step(lambda x: rate0 * power(x) * mp.log(max(x, floor)), k)
        size = float(step(lambda x: rate0 * power(x), k))
        assert abs(found.value[k + 1] - found.value[k] - float(value)) < 1e-13 * size
        d = found.derivatives[:, k + 1] - found.derivatives[:, k]
        assert abs(d[0] - float(by_rate)) < 1e-13 * size
        assert abs(d[1] - float(by_exponent)) < 1e-12 * size
        assert abs(d[2] - dt) < 1e-14


@pytest.mark.parametrize("exponent", [-2.0, -0.5, 0.0, 1.3])
def test_trapezoid_is_its_definition(exponent):
    dt = 0.2
    t = dt * np.arange(7)
    rate = 3.0 * np.maximum(t, dt / 2) ** exponent - 0.7
    expected = np.concatenate([[0.0], np.cumsum(dt * (rate[1:] + rate[:-1]) / 2)])
    found = np.asarray(integral(np.array([3.0, exponent, -0.7]), t, dt, "trapezoid").value)
    np.testing.assert_allclose(found - found[0], expected, rtol=0, atol=1e-14 * np.abs(expected).max() * 10)


@pytest.mark.parametrize("quadrature", QUADRATURES)
@pytest.mark.parametrize("exponent", [-1.4, 0.8])
def test_derivatives_are_those_of_the_value(quadrature, exponent):
    t = 0.1 * np.arange(5)
    params = jnp.array([3.0, exponent, -0.7])
    found = integral(params, t, 0.1, quadrature)
    slope = jax.jit(jax.jacfwd(lambda p: rate_integral(p, t, 0.1, quadrature).value))(params)
    np.testing.assert_allclose(slope.T, found.derivatives, rtol=1e-12, atol=1e-14)


def test_integral_starts_where_the_power_is_small():
    t = 0.1 * np.arange(5)
    assert integral(np.array([1.0, -0.5, 0.0]), t, 0.1, "trapezoid").value[-1] == 0
    assert integral(np.array([1.0, 0.5, 0.0]), t, 0.1, "trapezoid").value[0] == 0


def test_trapezoid_converges_to_the_exact_integral():
    params, n = np.array([3.0, 0.7, 0.1]), 50

    def over(start, stop, quadrature):
        value = integral(params, np.linspace(start, stop, n + 1), (stop - start) / n, quadrature).value
        return value[-1] - value[0]

    exact_integral = over(1.0, 3.0, "exact")
    coarse = over(1.0, 3.0, "trapezoid") - exact_integral
    fine = over(1.0, 2.0, "trapezoid") + over(2.0, 3.0, "trapezoid") - exact_integral
    assert coarse / fine == pytest.approx(4, rel=0.02)
