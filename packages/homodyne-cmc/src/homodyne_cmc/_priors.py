"""Priors as arrays, and the smooth stand-in for their walls that shards are sampled with.

A prior is a density times a range. The range is a wall: a sampler that meets it diverges. So shards know the density and, instead of
the walls, a quadratic penalty beyond them; the exact prior enters once, in the weights of the certificate.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import truncnorm

_CODES = {"Uniform": 0, "Normal": 1, "TruncatedNormal": 1, "HalfNormal": 1, "LogNormal": 2}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PriorArrays:
    """Priors of some parameters as numbers, (n,) each.

    Attributes
    ----------
    code : int
        0 flat, 1 normal, 2 log-normal.
    mu, sigma : float
        0 and 1 where there are none.
    lower, upper : float
        Range.
    width : float
        How far beyond the range the smooth stand-in falls to e^-½.
    center, period : float
        A periodic parameter is moved by whole periods to within half a period of the center; a period of 0 is none.
    """

    code: jax.Array
    mu: jax.Array
    sigma: jax.Array
    lower: jax.Array
    upper: jax.Array
    width: jax.Array
    center: jax.Array
    period: jax.Array

    @classmethod
    def of(cls, priors, bounds, periods) -> "PriorArrays":
        """Arrays from priors, bounds (n, 2) and periods (n,); the widths are still infinite."""
        mu, sigma = (
            np.array([getattr(p, name) if getattr(p, name) is not None else absent for p in priors], float)
            for name, absent in (("mu", 0.0), ("sigma", 1.0))
        )
        lower = np.maximum(bounds[:, 0], [p.least for p in priors])
        code = np.array([_CODES[p.type] for p in priors])
        with np.errstate(invalid="ignore"):
            middle = (lower + bounds[:, 1]) / 2
        center = np.where(np.isfinite(middle), middle, np.where(code == 1, mu, 0.0))
        n = len(priors)
        return cls(code, mu, sigma, lower, bounds[:, 1].copy(), np.full(n, np.inf), center, periods)

    def image(self, x):
        """Values with the periodic ones moved to the image that bounds and densities are about."""
        period = jnp.where(self.period > 0, self.period, 1.0)
        moved = x - period * jnp.round((x - self.center) / period)
        return jnp.where(self.period > 0, moved, x)

    def log_density(self, x):
        """Log of the densities without their ranges and constants, summed, (...) of (..., n)."""
        x = self.image(x)
        positive = jnp.where(x > 0, x, 1.0)
        log_x = jnp.log(positive)
        normal = -0.5 * ((x - self.mu) / self.sigma) ** 2
        log_normal = -log_x - 0.5 * ((log_x - self.mu) / self.sigma) ** 2
        return jnp.where(self.code == 1, normal, jnp.where(self.code == 2, log_normal, 0.0)).sum(-1)

    def smooth_walls(self, x):
        """The quadratic penalty beyond the ranges, summed, (...) of (..., n)."""
        x = self.image(x)
        beyond = jnp.maximum(x - self.upper, 0.0) + jnp.maximum(self.lower - x, 0.0)
        return -0.5 * jnp.square(beyond / self.width).sum(-1)

    def inside(self, x):
        """Whether all values are in range, (...) of (..., n)."""
        x = self.image(x)
        return ((x >= self.lower) & (x <= self.upper)).all(-1)

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draws of the prior, (count, n); a periodic parameter without bounds is uniform over its period."""
        columns = []
        for code, mu, sigma, lower, upper, center, period in zip(
            self.code, self.mu, self.sigma, self.lower, self.upper, self.center, self.period, strict=True
        ):
            if code == 0:
                if not np.isfinite(upper - lower):
                    lower, upper = center - period / 2, center + period / 2
                columns.append(rng.uniform(lower, upper, count))
                continue
            with np.errstate(divide="ignore"):
                ends = np.log([max(lower, 0.0), upper]) if code == 2 else np.array([lower, upper])
            normal = truncnorm.rvs(*((ends - mu) / sigma), loc=mu, scale=sigma, size=count, random_state=rng)
            columns.append(np.exp(normal) if code == 2 else normal)
        return np.stack(columns, axis=1)
