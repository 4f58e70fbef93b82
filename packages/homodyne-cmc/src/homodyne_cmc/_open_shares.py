"""Shares of the power law that the data leave open, such as that of a rate which does not change with age.

The posterior is a box there: flat in log u between the values at which a bound of D0, of the offset or of the exponent is met. A box has its mode
at a wall, with the curvature of the wall, and the product of K shards with softened walls is narrower than the box. So the walls of that rate are taken out
of the smooth prior, and a normal density in the coordinate of the share, with the mean and the standard deviation of the box, stands in for them. The exact
prior enters in the certificate, as it does for all walls.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from homodyne_cmc._coordinates import PosteriorCoordinates
from homodyne_cmc._priors import PriorArrays

# Standard deviation of log u that data leave, above which it is open: the share is not known to a factor of two.
_OPEN = 0.8
_LOG_SHARES = np.linspace(-16.0, 16.0, 641)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class OpenShares:
    """Normal densities of the coordinates that are open.

    Attributes
    ----------
    center, spread : (d,)
        Mean and standard deviation; infinitely wide for the others.
    rates : (n,) bool
        Physical parameters whose walls they stand in for.
    """

    center: jax.Array
    spread: jax.Array
    rates: jax.Array

    @classmethod
    def none(cls, coordinates: PosteriorCoordinates) -> "OpenShares":
        """Of a posterior that has none."""
        d = len(coordinates.names)
        return cls(np.zeros(d), np.full(d, np.inf), np.zeros(len(coordinates.held), dtype=bool))

    def log_density(self, v):
        """Log of the densities without their constants, (...) of (..., d)."""
        return -0.5 * jnp.square((v - self.center) / self.spread).sum(-1)


def open_places(coordinates: PosteriorCoordinates, likelihood_precision) -> list[int]:
    """Places of the coordinates of shares that the likelihood leaves open.

    Parameters
    ----------
    coordinates : PosteriorCoordinates
        Logarithmic in the shares.
    likelihood_precision : (d, d)
        Minus the second derivatives of the log likelihood.
    """
    scale = np.sqrt(np.maximum(np.abs(np.diag(likelihood_precision)), 1e-12))
    value, vector = np.linalg.eigh(likelihood_precision / np.outer(scale, scale))
    # What is not determined at all has no variance to be told, but a large one.
    variance = ((vector**2) / np.maximum(value, 1e-12)).sum(1) / scale**2
    shares = [k for k, name in enumerate(coordinates.names) if name.startswith("share")]
    return [k for k in shares if variance[k] > _OPEN**2]


def stand_in(
    coordinates: PosteriorCoordinates, priors: PriorArrays, v, sd, places: list[int]
) -> tuple[PosteriorCoordinates, OpenShares]:
    """Coordinates that are logarithmic in open shares, and the densities in them.

    Parameters
    ----------
    coordinates : PosteriorCoordinates
    priors : PriorArrays
        With the bounds.
    v : (d,)
        Coordinates of the posterior.
    sd : (d,)
        Standard deviations there; a slope of 0 still limits the share by as much as it may be.
    places : list of int
        Of the open shares.
    """
    names = coordinates.names
    which = [("share_D", "share_rate").index(names[k]) for k in places]
    wide = PosteriorCoordinates.about(
        np.asarray(coordinates.to_natural(jnp.asarray(v))), coordinates.t_refs, coordinates.held
    ).widths
    widths = tuple(wide[r] if r in which else c for r, c in enumerate(coordinates.widths))
    logarithmic = replace(coordinates, widths=widths)
    found = OpenShares.none(logarithmic)
    for k, rate in zip(places, which, strict=True):
        grid = np.tile(v, (len(_LOG_SHARES), 1))
        grid[:, k] = _LOG_SHARES - np.log(widths[rate])
        if names[k - 1].startswith("slope"):
            grid[:, k - 1] = abs(v[k - 1]) + sd[k - 1]
        own = slice(3 * rate, 3 * rate + 3)
        physical = np.asarray(logarithmic.to_natural(jnp.asarray(grid)))[:, own]
        magnitude = np.abs(physical[:, 1])
        lower, upper = np.asarray(priors.lower)[own], np.asarray(priors.upper)[own]
        inside = (physical[:, [0, 2]] >= lower[[0, 2]]).all(1) & (physical[:, [0, 2]] <= upper[[0, 2]]).all(1)
        inside &= magnitude <= max(abs(lower[1]), abs(upper[1]))
        if inside.any():
            ends = grid[inside, k][[0, -1]]
            found.center[k] = ends.mean()
            found.spread[k] = max((ends[1] - ends[0]) / 12**0.5, 0.1)
            found.rates[own] = True
    return logarithmic, found
