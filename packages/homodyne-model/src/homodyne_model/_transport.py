"""Transport coefficients that follow a power law in time, and their time integrals.

A rate r(t) = r0 (t / 1 s)^p + r_offset - the diffusion coefficient D(t) or the shear rate - enters the correlation only
through its integral between two frames, so through differences of one cumulative integral on the frame grid. The integral is

    R = r0 P(p) + r_offset T,        P = integral of t^p,   T = integral of 1,

which is linear in r0 and r_offset. With P, dP/dp and T at hand, value and all three derivatives are known without
differentiating anything through the grid.

Only differences of R matter, so the frame where it is zero is free. It is put at the end of the grid where the power is
small: a difference of two large sums would lose the digits of the slow part (with p = -2 the first step is 1e5 times the
last), and where the power is large the correlation has decayed anyway.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

Quadrature = Literal["trapezoid", "exact"]
QUADRATURES: tuple[str, ...] = ("trapezoid", "exact")


class RateIntegral(NamedTuple):
    """Cumulative time integral of a rate on the frame grid, and its derivatives.

    Attributes
    ----------
    value : Array, (n_t,)
        Integral of the rate up to each frame, from a frame that is either the first or the last one.
    derivatives : Array, (3, n_t)
        With respect to the rate at 1 s, the exponent and the offset.
    """

    value: jax.Array
    derivatives: jax.Array


def real_array(values):
    """The values as an array of real numbers: whole numbers become floating point, others keep their dtype."""
    values = jnp.asarray(values)
    return values if jnp.issubdtype(values.dtype, jnp.inexact) else values.astype(float)


def _rate(params, t, dt):
    params = real_array(params)
    t = jnp.asarray(t, dtype=params.dtype)
    return params[0] * jnp.exp(params[1] * jnp.log(jnp.maximum(t, dt / 2))) + params[2]


def diffusion_coefficient(params, t, *, dt):
    """Diffusion coefficient D(t) = D0 (t / 1 s)^alpha + D_offset.

    Parameters
    ----------
    params : array_like, (3,) or (7,)
        ``D0`` [Å²/s], ``alpha`` [1], ``D_offset`` [Å²/s]; further entries are ignored.
    t : array_like, (n_t,)
        Times [s], not negative.
    dt : float
        Frame spacing [s]. The power is evaluated at ``max(t, dt / 2)``, for every exponent.

    Returns
    -------
    Array, (n_t,)
        D(t) [Å²/s]. May be negative where ``D_offset`` is: nothing is floored.

    Notes
    -----
    He et al., PNAS 121 (2024), doi:10.1073/pnas.2401162121. In this convention C2 - offset decays with
    exp(-q² ∫D), so that Brownian motion has D = 2 D_StokesEinstein.

    Examples
    --------
    >>> [float(d) for d in diffusion_coefficient([100.0, 0.0, 5.0], [0.0, 1.0], dt=0.1)]
    [105.0, 105.0]
    """
    return _rate(params, t, dt)


def shear_rate(params, t, *, dt):
    """Shear rate γ̇(t) = gamma_dot_t0 (t / 1 s)^beta + gamma_dot_t_offset.

    Parameters
    ----------
    params : array_like, (3,) or (7,)
        ``gamma_dot_t0`` [1/s], ``beta`` [1], ``gamma_dot_t_offset`` [1/s], or the 7 parameters of laminar flow.
    t : array_like, (n_t,)
        Times [s], not negative.
    dt : float
        Frame spacing [s]. The power is evaluated at ``max(t, dt / 2)``, for every exponent.

    Returns
    -------
    Array, (n_t,)
        γ̇(t) [1/s], signed.

    Notes
    -----
    He et al., PNAS 122 (2025), doi:10.1073/pnas.2514216122.
    """
    params = real_array(params)
    return _rate(params[3:6] if params.shape[0] == 7 else params, t, dt)


def _expm1_ratio(z):
    """(exp(z) - 1) / z, by its series near 0 where the derivative of the closed form cancels."""
    near = jnp.abs(z) < 0.5
    series = jnp.ones_like(z)
    for k in range(16, 1, -1):
        series = 1 + z / k * series
    away = jnp.where(near, 1.0, z)
    return jnp.where(near, series, jnp.expm1(away) / away)


def _power_steps(exponent, t, dt, quadrature):
    """Integral of max(t, dt/2)^exponent over each frame interval, (n_t - 1,)."""
    floor = dt / 2
    if quadrature == "trapezoid":
        power = jnp.exp(exponent * jnp.log(jnp.maximum(t, floor)))
        return dt * (power[:-1] + power[1:]) / 2
    start, stop = t[:-1], t[1:]
    flat = jnp.maximum(jnp.minimum(stop, floor) - start, 0.0) * jnp.exp(exponent * jnp.log(floor))
    start = jnp.maximum(start, floor)
    ratio = jnp.log(stop / start)
    # Integral of t^p from a to b = a^(p+1) log(b/a) phi((p+1) log(b/a)) with phi(z) = (e^z - 1)/z: smooth at p = -1.
    return flat + jnp.exp((exponent + 1) * jnp.log(start)) * ratio * _expm1_ratio((exponent + 1) * ratio)


def rate_integral(params, t, dt, quadrature: Quadrature = "trapezoid") -> RateIntegral:
    """Cumulative integral of a power-law rate over the frame grid, with its derivatives.

    Parameters
    ----------
    params : Array, (3,)
        Rate at 1 s, exponent, offset.
    t : Array, (n_t,)
        Frame times [s], uniform, not negative.
    dt : float
        Frame spacing [s].
    quadrature : {"trapezoid", "exact"}
        Trapezoids between frames, or the closed form of the integral of the floored power.

    Returns
    -------
    RateIntegral
        Value (n_t,) and derivatives (3, n_t).
    """
    rate0, exponent, offset = params[0], params[1], params[2]
    steps, steps_derivative = jax.jvp(
        lambda p: _power_steps(p, t, dt, quadrature), (exponent,), (jnp.ones_like(exponent),)
    )
    zero = jnp.zeros(1, dtype=steps.dtype)

    def cumulate(step):
        from_start = jnp.concatenate([zero, jnp.cumsum(step)])
        from_end = jnp.concatenate([-jnp.cumsum(step[::-1])[::-1], zero])
        return jnp.where(exponent < 0, from_end, from_start)

    power, power_derivative = cumulate(steps), cumulate(steps_derivative)
    elapsed = t - jnp.where(exponent < 0, t[-1], t[0])
    value = rate0 * power + offset * elapsed
    return RateIntegral(value, jnp.stack([power, rate0 * power_derivative, elapsed]))
