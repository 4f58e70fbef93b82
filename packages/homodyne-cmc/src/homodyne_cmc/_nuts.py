"""Draws of one shard by the No-U-Turn sampler, in whitened coordinates and with an anchor that is taken out afterwards.

With v = μ + L z and L Lᵀ = H⁻¹ (mode and inverse curvature of all the data), shard k is sampled from

    log p_k(z) = log (collapsed likelihood of the shard) + 1/K log (smooth prior) - a/(2K) |z|²,      a = √K - 1.

Without the anchor (a = 0) a shard is √K times as wide as the posterior, where it is far from normal; with it K^¼ times. The metric stays
the unit matrix; only the step size adapts (Hoffman & Gelman 2014).
"""

import time
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer.hmc import hmc

from homodyne_cmc._config import SamplerSettings
from homodyne_cmc._problem import Problem
from homodyne_cmc._shards import ShardData

_MAX_TREE_DEPTH = 10
# Of the step size, in widths of the shard; it is adapted from there.
_FIRST_STEP = 0.7
_WATCHED = ("diverging", "num_steps", "energy", "accept_prob")


@dataclass(frozen=True)
class ShardDraws:
    """What sampling a shard gave.

    Attributes
    ----------
    index : int
        Which shard.
    z : (n_chains, n_samples, d)
        Draws in whitened coordinates.
    diverging : (n_chains, n_samples) bool
    num_steps : (n_chains, n_samples) int
        Gradients a draw took.
    energy, accept_prob : (n_chains, n_samples)
    seconds : float
        Time it took, compilation included.
    """

    index: int
    z: np.ndarray
    diverging: np.ndarray
    num_steps: np.ndarray
    energy: np.ndarray
    accept_prob: np.ndarray
    seconds: float


def anchor_strength(n_shards: int) -> float:
    """A = √K - 1: the anchor's weight, in units of the posterior's information."""
    return n_shards**0.5 - 1.0


@partial(jax.jit, static_argnames="settings")
def _draw(problem: Problem, shard: ShardData, mu, root, share, anchor, keys, start, step_size, settings):
    """Chains one after the other, warm-up and draws in one compiled program that all shards of a shape share.

    The kernel is driven here because the driver that comes with it compiles anew for every shard and took eight times as long.
    """

    def potential(z):
        density = problem.shard_log_density(mu + root @ z, shard, share)
        return -(density - 0.5 * anchor * share * (z @ z))

    begin, move = hmc(potential, algo="NUTS")

    def chain(arguments):
        key, z = arguments
        state = begin(
            z,
            settings.num_warmup,
            step_size=step_size,
            adapt_mass_matrix=False,
            target_accept_prob=settings.target_accept_prob,
            max_tree_depth=_MAX_TREE_DEPTH,
            find_heuristic_step_size=False,
            rng_key=key,
        )
        state, _ = jax.lax.scan(lambda s, _: (move(s), None), state, None, length=settings.num_warmup)

        def keep(state, _):
            state = move(state)
            return state, {"z": state.z, **{name: getattr(state, name) for name in _WATCHED}}

        return jax.lax.scan(keep, state, None, length=settings.num_samples)[1]

    return jax.lax.map(chain, (keys, start))


def draw_shard(
    problem: Problem, shard: ShardData, index: int, n_shards: int, mu, root, settings: SamplerSettings
) -> ShardDraws:
    """Draws of shard ``index`` of ``n_shards``; the same whoever asks, in whatever order.

    Parameters
    ----------
    problem : Problem
    shard : ShardData
    index, n_shards : int
    mu : (d,)
        Centre of the whitened coordinates.
    root : (d, d)
        L with L Lᵀ = H⁻¹.
    settings : SamplerSettings
    """
    began = time.perf_counter()
    # What the host asks of its own array code must not reach into the sampler's.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        width = n_shards**0.25
        start_key, chain_key = jax.random.split(jax.random.fold_in(jax.random.key(settings.seed), index))
        arguments = jax.tree.map(
            jnp.asarray, (problem, shard, mu, root, 1 / n_shards, anchor_strength(n_shards))
        )
        found = _draw(
            *arguments,
            jax.random.split(chain_key, settings.num_chains),
            width * jax.random.normal(start_key, (settings.num_chains, len(mu))),
            jnp.asarray(_FIRST_STEP * width),
            replace(settings, seed=0),  # a number of the random keys, not of the program
        )
        found = {name: np.asarray(value) for name, value in found.items()}
    return ShardDraws(index=index, seconds=time.perf_counter() - began, **found)
