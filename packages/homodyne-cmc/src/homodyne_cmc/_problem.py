"""The posterior of a measurement, and what is asked of its shards: sums, values, gradients."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from homodyne_cmc._collapsed import Collapsed
from homodyne_cmc._coordinates import PosteriorCoordinates
from homodyne_cmc._open_shares import OpenShares
from homodyne_cmc._priors import PriorArrays
from homodyne_cmc._shards import ShardData, ShardSet
from homodyne_model import TwoTimeModel, pair_sums


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Problem:
    """Model, likelihood and prior.

    Parameters
    ----------
    model : TwoTimeModel
        Geometry and choices.
    collapsed : Collapsed
        How contrast, offset and σ are integrated out.
    coordinates : PosteriorCoordinates
        In which the physical parameters are sampled.
    priors : PriorArrays
        Of the physical parameters.
    open_shares : OpenShares
        What stands in for the walls of rates whose share the data leave open.
    """

    model: TwoTimeModel
    collapsed: Collapsed
    coordinates: PosteriorCoordinates
    priors: PriorArrays
    open_shares: OpenShares

    def smooth_log_prior(self, v):
        """Log density of the prior in the coordinates, its walls replaced by penalties; (...) of (..., d)."""
        physical = self.coordinates.to_natural(v)
        density = self.priors.log_density(physical) + self.priors.smooth_walls(physical)
        return density + self.coordinates.log_jacobian(v) + self.open_shares.log_density(v)

    def exact_log_prior(self, v):
        """Log density of the prior in the coordinates; -inf beyond the bounds."""
        physical = self.coordinates.to_natural(v)
        density = self.priors.log_density(physical) + self.coordinates.log_jacobian(v)
        return jnp.where(self.priors.inside(physical), density, -jnp.inf)

    def sums(self, physical, shard: ShardData):
        """Sums of a shard, (n_phi, 3), weights of the angles included."""
        sums = pair_sums(self.model, physical, shard.c2, shard.weights, frames=shard.frames)
        return sums * jnp.asarray(shard.angle_weight)[:, None]

    def shard_log_density(self, v, shard: ShardData, share):
        """Log of the shard's collapsed likelihood times its share of the smooth prior."""
        sums = self.sums(self.coordinates.to_natural(v), shard)
        return self.collapsed.log_likelihood(sums, shard.moments, share) + share * self.smooth_log_prior(v)


@jax.jit
def sums_of_draws(problem: Problem, shard: ShardData, physical):
    """Sums of a shard at many parameter vectors (n_draws, d), one after the other: (n_draws, n_phi, 3)."""
    return jax.lax.map(lambda p: problem.sums(p, shard), physical)


@jax.jit
def _sums_at(problem: Problem, v, shard: ShardData):
    return problem.sums(problem.coordinates.to_natural(v), shard)


@jax.jit
def _pull_back(problem: Problem, v, shard: ShardData, cotangent):
    _, back = jax.vjp(lambda v: problem.sums(problem.coordinates.to_natural(v), shard), v)
    return back(cotangent)[0]


@jax.jit
def _top(problem: Problem, v, sums, moments):
    log_likelihood = partial(problem.collapsed.log_likelihood, moments=moments, share=1.0)
    value, by_sums = jax.value_and_grad(log_likelihood)(sums)
    prior, by_prior = jax.value_and_grad(problem.smooth_log_prior)(v)
    return value + prior, by_sums, by_prior


@dataclass(frozen=True)
class FullPosterior:
    """The smooth posterior of all the data: sums are added over the shards before anything is made of them.

    Parameters
    ----------
    problem : Problem
    shards : ShardSet
    """

    problem: Problem
    shards: ShardSet

    def value_and_gradient(self, v) -> tuple[float, np.ndarray]:
        """Log density and its gradient at coordinates (d,); minus infinity where it has no value."""
        v = jnp.asarray(v, dtype=float)
        sums = sum(np.asarray(_sums_at(self.problem, v, shard.load())) for shard in self.shards.shards)
        value, by_sums, gradient = _top(self.problem, v, jnp.asarray(sums), self.shards.moments)
        if not np.isfinite(value):
            return -np.inf, np.zeros(len(v))
        gradient = np.asarray(gradient)
        for shard in self.shards.shards:
            gradient = gradient + np.asarray(_pull_back(self.problem, v, shard.load(), by_sums))
        return float(value), gradient

    def curvature(self, v, steps) -> np.ndarray:
        """Minus the second derivatives, (d, d), from differences of gradients over ``steps`` (d,)."""
        columns = []
        for k, step in enumerate(steps):
            move = step * np.eye(len(v))[k]
            columns.append(
                (self.value_and_gradient(v - move)[1] - self.value_and_gradient(v + move)[1]) / (2 * step)
            )
        curvature = np.stack(columns)
        return (curvature + curvature.T) / 2
