"""The posterior whose likelihood is as wide as clustered errors say.

Points of a map share photons and speckles; a likelihood that takes them for independent has the right maximum and the wrong width. With H⁻¹ the
covariance of the fit for independent points and V the clustered one (the sandwich), the likelihood is evaluated nearer to its maximum v̂,

    log L*(v) = log L(v̂ + C (v - v̂)),        Cᵀ H C = V⁻¹,

the "curvature adjustment" of Ribatet, Cooley & Davison (2012), Statistica Sinica 22, 813, doi:10.5705/ss.2009.248. The prior is that of v, so
that it counts more, as it should where the data know less. Of the roots C the one with symmetric parts in whitened coordinates is taken.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from scipy.linalg import sqrtm

from homodyne_cmc._certificate import Normal
from homodyne_cmc._posterior import ExactPosterior
from homodyne_cmc._warm_start import WarmStart


@dataclass(frozen=True)
class RobustPosterior:
    """The widened posterior in whitened coordinates.

    Parameters
    ----------
    posterior : ExactPosterior
        The one of independent points.
    center : (d,)
        Maximum of the likelihood, as the fit says.
    squeeze : (d, d)
        C in whitened coordinates.
    proposal : Normal
        Where to look for it.
    """

    posterior: ExactPosterior
    center: np.ndarray
    squeeze: np.ndarray
    proposal: Normal

    @classmethod
    def of(cls, posterior: ExactPosterior, warm: WarmStart) -> "RobustPosterior":
        """Widen a posterior to the clustered covariance of a warm start."""
        coordinates = posterior.problem.coordinates
        v = np.array(coordinates.from_natural(jnp.asarray(warm.physical)))
        center = np.linalg.solve(posterior.root, v - posterior.mu)
        # From the free natural parameters to whitened coordinates.
        free = coordinates.free
        inward = np.linalg.inv(np.asarray(coordinates.tangent(v))[free] @ posterior.root)
        independent, clustered = (
            inward @ covariance[np.ix_(free, free)] @ inward.T
            for covariance in (warm.covariance, warm.robust)
        )
        squeeze = np.real(sqrtm(independent)) @ np.linalg.inv(np.real(sqrtm(clustered)))
        return cls(posterior, center, squeeze, Normal(center, (clustered + clustered.T) / 2))

    def log_density(self, z) -> np.ndarray:
        """Log density, (n,) of draws (n, d); bounds and priors of contrast and offset do not take part."""
        prior = self.posterior.log_prior(z)
        nearer = self.posterior.physical(self.center + (z - self.center) @ self.squeeze.T)
        return prior + self.posterior.log_likelihood(nearer, np.isfinite(prior))[0]
