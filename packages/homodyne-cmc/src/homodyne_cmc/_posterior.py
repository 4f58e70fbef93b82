"""The exact posterior of all the data at draws, with contrast, offset and σ drawn to each of them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from homodyne_cmc._collapsed import Moments
from homodyne_cmc._priors import PriorArrays
from homodyne_cmc._problem import Problem


@dataclass
class ExactPosterior:
    """Log density of the exact posterior, which remembers what it drew.

    Parameters
    ----------
    problem : Problem
    mu, root : (d,), (d, d)
        Centre and whitening: v = mu + root z.
    moments : Moments
        Of all the data.
    scaling_priors : PriorArrays
        Of contrast and offset.
    sums : callable
        Sums of all the data (n, n_phi, 3) at physical parameters (n, d).
    rng : numpy.random.Generator
        Of contrast, offset and σ.
    """

    problem: Problem
    mu: np.ndarray
    root: np.ndarray
    moments: Moments
    scaling_priors: PriorArrays
    sums: Callable[[np.ndarray], np.ndarray]
    rng: np.random.Generator
    _drawn: list = field(default_factory=list)

    def physical(self, z) -> np.ndarray:
        """Physical parameters (n, d) at draws (n, d)."""
        return np.array(self.problem.coordinates.to_natural(jnp.asarray(self.mu + z @ self.root.T)))

    def log_density(self, z) -> np.ndarray:
        """Log density of the exact posterior in the whitened coordinates, (n,), of draws (n, d) and of what is drawn with them.

        Contrast and offset are drawn from their conditional distribution without bounds, so that the density of the bounds and priors on them is
        what the draw's weight lacks.
        """
        prior = self.log_prior(z)
        likelihood, sums = self.log_likelihood(self.physical(z), np.isfinite(prior))
        density = likelihood + prior
        scaling = np.full((3, len(z), self.problem.model.n_phi), np.nan)
        if np.isfinite(density).any():
            scaling = np.stack(self.problem.collapsed.redraw(sums, self.moments, self.rng))
            both = np.moveaxis(scaling[:2], 0, -1)
            inside = np.asarray(self.scaling_priors.inside(both)).all(1)
            density = density + np.asarray(self.scaling_priors.log_density(both)).sum(1)
            density = np.where(inside & np.isfinite(density), density, -np.inf)
        self._drawn.append((density, scaling))
        return density

    def log_prior(self, z) -> np.ndarray:
        """Log density of the prior of the physical parameters in the whitened coordinates, (n,); -inf beyond the bounds."""
        return np.asarray(self.problem.exact_log_prior(jnp.asarray(self.mu + z @ self.root.T)))

    def log_likelihood(self, physical, usable) -> tuple[np.ndarray, np.ndarray]:
        """Log of the collapsed likelihood (n,) at physical parameters (n, d), -inf where they are not ``usable``, and the sums (n, n_phi, 3)."""
        usable = usable & np.isfinite(physical).all(1)
        likelihood = np.full(len(physical), -np.inf)
        if not usable.any():
            return likelihood, np.full((len(physical), self.problem.model.n_phi, 3), np.nan)
        # Unusable draws take the place of a usable one: the shape, and with it the compiled program, stays the same.
        sums = self.sums(np.where(usable[:, None], physical, physical[np.argmax(usable)]))
        by_sums = jax.vmap(lambda s: self.problem.collapsed.log_likelihood(s, self.moments, 1.0))
        found = np.asarray(by_sums(jnp.asarray(sums)))
        return np.where(usable & np.isfinite(found), found, -np.inf), sums

    def log_smooth(self, z) -> np.ndarray:
        """Log density, up to the same constant, of what a sampler of the smooth posterior aims at; after `log_density` of the same draws."""
        v = jnp.asarray(self.mu + z @ self.root.T)
        exact, scaling = self._drawn[-1]
        smooth = np.asarray(self.problem.smooth_log_prior(v) - self.problem.exact_log_prior(v))
        both = np.moveaxis(scaling[:2], 0, -1)
        own = np.asarray(self.scaling_priors.log_density(both)).sum(1)
        with np.errstate(invalid="ignore"):
            return np.where(np.isfinite(exact), exact + smooth - own, 0.0)

    def drawn(self) -> tuple[np.ndarray, np.ndarray]:
        """Log densities (n,) and contrast, offset and noise (3, n, n_phi) of all draws so far."""
        density = np.concatenate([part for part, _ in self._drawn])
        return density, np.concatenate([part for _, part in self._drawn], axis=1)
