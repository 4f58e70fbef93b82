import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homodyne_model import SHEAR_KERNELS, ModelError
from homodyne_model._shear_kernel import (
    SERIES_BELOW,
    shear_kernel_named,
    sinc,
    sinc_series,
    sinc_slope_series,
)


def arguments():
    edge = [SERIES_BELOW, np.nextafter(SERIES_BELOW, 0), np.nextafter(SERIES_BELOW, 1)]
    x = np.concatenate([[0.0], 10.0 ** np.arange(-300, 1, 20.0), edge, np.linspace(0.01, 20, 57), [1e4, 1e8]])
    return np.concatenate([-x, x])


def test_sinc_and_its_derivatives_against_50_digits(exact):
    mp, _ = exact
    x = jnp.asarray(arguments())
    value, first, second = jax.jit(
        lambda x: [jax.vmap(f)(x) for f in (sinc, jax.jacfwd(sinc), jax.jacfwd(jax.jacfwd(sinc)))]
    )(x)
    for k, z in enumerate(np.asarray(x)):
        z = mp.mpf(float(z))
        if abs(z) < 1e-15:
            expected = 1, -z / 3, -mp.mpf(1) / 3
        else:
            s, c = mp.sin(z), mp.cos(z)
            expected = s / z, (z * c - s) / z**2, (2 * s - 2 * z * c - z**2 * s) / z**3
        assert abs(value[k] - float(expected[0])) < 3e-16
        assert abs(first[k] - float(expected[1])) < 1e-15 * max(1, abs(float(1 / z)) if abs(z) > 0.4 else 1)
        assert abs(second[k] - float(expected[2])) < 2e-14


def test_series_meet_the_closed_form_where_they_end():
    x = np.linspace(0.3, SERIES_BELOW, 20)
    np.testing.assert_allclose(sinc_series(x**2), np.sin(x) / x, rtol=3e-16, atol=0)
    closed = (x * np.cos(x) - np.sin(x)) / x**3
    np.testing.assert_allclose(sinc_slope_series(x**2), closed, rtol=1e-13, atol=0)


def test_kernels():
    assert SHEAR_KERNELS == ("gap_average", "homodyne2")
    gap, other = (shear_kernel_named(name) for name in SHEAR_KERNELS)
    assert (gap.scale, gap.power) == (0.5, 1)
    # First zeros: x = π. Weak shear: 1 - power · x²/6 in g1.
    assert gap.scale / other.scale == pytest.approx(np.pi)
    weak = np.sqrt(gap.power * gap.scale**2 / (other.power * other.scale**2))
    assert weak == pytest.approx(np.pi / np.sqrt(2))


def test_unknown_kernel():
    with pytest.raises(ModelError, match=r"shear_kernel is 'gap'; expected one of gap_average, homodyne2"):
        shear_kernel_named("gap")


def test_gap_average_is_the_average_over_the_gap():
    """g1 of the flow alone = |average over the gap of exp(i q v t cos)|, by quadrature."""
    from homodyne_model import field_correlation

    nodes, weights = np.polynomial.legendre.leggauss(60)
    height = (nodes + 1) / 2
    q, L, rate, phi = 0.0054, 2e6, 1e-4, 25.0
    t = np.arange(0.0, 12.0)
    g1 = field_correlation(np.array([0.0, 0.0, 0.0, rate, 0.0, 0.0, 0.0]), q, t, [phi], L)[0, :, 0]
    displacement = rate * L * height[:, None] * t * np.cos(np.deg2rad(phi))
    average = np.abs((weights[:, None] / 2 * np.exp(1j * q * displacement)).sum(0))
    np.testing.assert_allclose(np.abs(g1), average, atol=1e-12)
