"""Draws of one shard by the No-U-Turn sampler, in whitened coordinates and with an anchor that is taken out afterwards.

With v = μ + L z and L Lᵀ = H⁻¹ (mode and inverse curvature of all the data), shard k is sampled from

    log p_k(z) = log (collapsed likelihood of the shard) + 1/K log (smooth prior) - a/(2K) |z|²,      a = √K - 1.

Without the anchor (a = 0) a shard is √K times as wide as the posterior, where it is far from normal; with it K^¼ times. The metric stays
the unit matrix; only the step size adapts (Hoffman & Gelman 2014).
"""

import time
from collections.abc import Sequence
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
# Draws between looks at the clock.
_BLOCK = 50
_WATCHED = ("diverging", "num_steps", "energy", "accept_prob")


class ChainTimeout(RuntimeError):
    """A chain took longer than it may; the same chain would again."""


@dataclass(frozen=True)
class ChainDraws:
    """What one chain of a shard gave.

    Attributes
    ----------
    z : (n_samples, d)
        Draws in whitened coordinates.
    diverging : (n_samples,) bool
    num_steps : (n_samples,) int
        Gradients a draw took.
    energy, accept_prob : (n_samples,)
    seconds : float
        Time it took, compilation included.
    """

    z: np.ndarray
    diverging: np.ndarray
    num_steps: np.ndarray
    energy: np.ndarray
    accept_prob: np.ndarray
    seconds: float


@dataclass(frozen=True)
class ShardDraws:
    """What sampling a shard gave: its chains, stacked.

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
        Time of all chains, compilation included.
    """

    index: int
    z: np.ndarray
    diverging: np.ndarray
    num_steps: np.ndarray
    energy: np.ndarray
    accept_prob: np.ndarray
    seconds: float

    @classmethod
    def of(cls, index: int, chains: Sequence[ChainDraws]) -> "ShardDraws":
        """The chains of a shard together."""
        stacked = {name: np.stack([getattr(chain, name) for chain in chains]) for name in ("z", *_WATCHED)}
        return cls(index=index, seconds=sum(chain.seconds for chain in chains), **stacked)


def anchor_strength(n_shards: int) -> float:
    """A = √K - 1: the anchor's weight, in units of the posterior's information."""
    return n_shards**0.5 - 1.0


def _kernel(problem: Problem, shard: ShardData, mu, root, share, anchor):
    """How a chain begins and moves.

    The kernel is driven here because the driver that comes with it compiles anew for every shard and took eight times as long.
    """

    def potential(z):
        density = problem.shard_log_density(mu + root @ z, shard, share)
        return -(density - 0.5 * anchor * share * (z @ z))

    return hmc(potential, algo="NUTS")


@partial(jax.jit, static_argnames=("settings", "length"))
def _advance(target, key, begin_at, is_first, state, settings, length):
    """The next draws of a chain and its state behind them; the first time it begins at ``begin_at``, whatever ``state`` is."""
    begin, move = _kernel(*target)
    fresh = partial(_fresh, begin, key=key, z=begin_at, share=target[4], settings=settings)
    state = jax.lax.cond(is_first, fresh, lambda: state)

    def keep(state, _):
        state = move(state)
        return state, {"z": state.z, **{name: getattr(state, name) for name in _WATCHED}}

    return jax.lax.scan(keep, state, None, length=length)


def _fresh(begin, *, key, z, share, settings: SamplerSettings):
    return begin(
        z,
        settings.num_warmup,
        step_size=_FIRST_STEP * share**-0.25,
        adapt_mass_matrix=False,
        target_accept_prob=settings.target_accept_prob,
        max_tree_depth=_MAX_TREE_DEPTH,
        find_heuristic_step_size=False,
        rng_key=key,
    )


def draw_chain(
    problem: Problem,
    shard: ShardData,
    index: int,
    chain: int,
    n_shards: int,
    mu,
    root,
    settings: SamplerSettings,
    timeout: float | None = None,
) -> ChainDraws:
    """Draws of one chain of shard ``index`` of ``n_shards``; the same whoever asks, in whatever order.

    Parameters
    ----------
    problem : Problem
    shard : ShardData
    index, chain, n_shards : int
    mu : (d,)
        Centre of the whitened coordinates.
    root : (d, d)
        L with L Lᵀ = H⁻¹.
    settings : SamplerSettings
    timeout : float, optional
        Longest time [s]; it is looked at every some draws.

    Raises
    ------
    ChainTimeout
        When it is over.
    """
    began = time.perf_counter()
    total = settings.num_warmup + settings.num_samples
    length = -(-total // -(-total // _BLOCK))
    # What the host asks of its own array code must not reach into the sampler's.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        own_key = jax.random.fold_in(jax.random.fold_in(jax.random.key(settings.seed), index), chain)
        start_key, key = jax.random.split(own_key)
        begin_at = n_shards**0.25 * jax.random.normal(start_key, (len(mu),))
        target = jax.tree.map(
            jnp.asarray, (problem, shard, mu, root, 1 / n_shards, anchor_strength(n_shards))
        )
        settings = replace(settings, seed=0)  # a number of the random keys, not of the program
        shape = jax.eval_shape(
            lambda *t: _fresh(_kernel(*t)[0], key=key, z=begin_at, share=t[4], settings=settings), *target
        )
        is_key = lambda leaf: jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)  # noqa: E731
        state = jax.tree.map(lambda leaf: key if is_key(leaf) else jnp.zeros(leaf.shape, leaf.dtype), shape)
        blocks = []
        for first in range(0, total, length):
            state, block = _advance(target, key, begin_at, first == 0, state, settings, length)
            blocks.append({name: np.asarray(value) for name, value in block.items()})
            taken = time.perf_counter() - began
            if timeout is not None and taken > timeout and first + length < total:
                raise ChainTimeout(
                    f"chain {chain} of shard {index} had {first + length} of {total} draws after {taken:.0f} s (shard_timeout {timeout:g} s), "
                    f"{float(np.mean(blocks[-1]['num_steps'])):.0f} gradients each"
                )
    kept = slice(settings.num_warmup, total)
    found = {name: np.concatenate([block[name] for block in blocks])[kept] for name in blocks[0]}
    return ChainDraws(seconds=time.perf_counter() - began, **found)
