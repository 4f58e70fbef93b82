"""What a sheared gap does to the field correlation: powers of sin(x)/x.

Averaging exp(i q v t cos φ) over a gap of width L with a linear velocity profile gives sin(x)/x with
x = (q L / 2) cos(φ0 - φ) ∫γ̇ dt. It appears once in g1 and squared in C2. The programs homodyne 2.x and xpcsjax 0.1 compute
[sin(x)/x]^4 in C2 with x = q L cos(φ0 - φ) ∫γ̇ dt / (2π) instead; their shear rates are larger by π/√2 (weak shear) to π.
"""

from dataclasses import dataclass
from math import pi

import jax.numpy as jnp

from homodyne_model.errors import ModelError


@dataclass(frozen=True)
class ShearKernel:
    """Argument scale and power of sin(x)/x.

    Attributes
    ----------
    name : str
        As recorded in results.
    scale : float
        x = scale · q · L · cos(φ0 - φ) · ∫γ̇ dt.
    power : int
        Exponent of sin(x)/x in g1; C2 has twice that.
    """

    name: str
    scale: float
    power: int

    def factor(self, x):
        """What the shear multiplies g1 with, at the shear argument x."""
        return sinc(x) ** self.power


_KERNELS = {
    kernel.name: kernel
    for kernel in (ShearKernel("gap_average", 0.5, 1), ShearKernel("homodyne2", 1 / (2 * pi), 2))
}
SHEAR_KERNELS: tuple[str, ...] = tuple(_KERNELS)


def shear_kernel_named(name: str) -> ShearKernel:
    """Kernel of that name.

    Raises
    ------
    ModelError
        If there is none.
    """
    if name not in _KERNELS:
        raise ModelError(f"shear_kernel is {name!r}; expected one of {', '.join(SHEAR_KERNELS)}.")
    return _KERNELS[name]


# Taylor coefficients of sin(x)/x in x², enough for |x| < 0.5 at 1e-17. The derivative of the closed form cancels there.
_SINC_SERIES = (
    1.0,
    -1 / 6,
    1 / 120,
    -1 / 5040,
    1 / 362880,
    -1 / 39916800,
    1 / 6227020800,
    -1 / 1307674368000,
)
SERIES_BELOW = 0.5


def sinc_series(x2):
    """sin(x)/x from x², for |x| < 0.5."""
    value = jnp.full_like(x2, _SINC_SERIES[-1])
    for coefficient in _SINC_SERIES[-2::-1]:
        value = value * x2 + coefficient
    return value


def sinc_slope_series(x2):
    """Derivative of sin(x)/x divided by x, from x², for |x| < 0.5."""
    value = jnp.full_like(x2, 14 * _SINC_SERIES[7])
    for k in range(6, 0, -1):
        value = value * x2 + 2 * k * _SINC_SERIES[k]
    return value


def sinc(x):
    """sin(x)/x, accurate with its derivatives at every x."""
    near = jnp.abs(x) < SERIES_BELOW
    away = jnp.where(near, 1.0, x)
    return jnp.where(near, sinc_series(jnp.where(near, x, 0.0) ** 2), jnp.sin(away) / away)
