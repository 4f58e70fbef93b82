"""What workers do: two pure functions of a job of a few numbers and a path, that any process may run, once or again."""

from dataclasses import dataclass, fields
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from homodyne_cmc._config import SamplerSettings
from homodyne_cmc._nuts import ChainDraws, draw_chain
from homodyne_cmc._problem import Problem, sums_of_draws
from homodyne_cmc._shards import StoredShard
from homodyne_data import atomic_path


@dataclass(frozen=True)
class SamplingJob:
    """Sample one chain of one shard.

    Attributes
    ----------
    problem : Problem
    shard : StoredShard
    chain : int
    n_shards : int
    mu, root : (d,), (d, d)
        Centre and whitening.
    settings : SamplerSettings
    keep_at : str or None
        File that the draws are kept in, and taken from where it is there.
    timeout : float or None
        Longest time [s].
    """

    problem: Problem
    shard: StoredShard
    chain: int
    n_shards: int
    mu: np.ndarray
    root: np.ndarray
    settings: SamplerSettings
    keep_at: str | None
    timeout: float | None

    @property
    def label(self) -> str:
        """What a sentence calls it."""
        return f"chain {self.chain} of shard {self.shard.index}"


@dataclass(frozen=True)
class SumsJob:
    """Sums of one shard at draws.

    Attributes
    ----------
    problem : Problem
    shard : StoredShard
    physical : (n_draws, n_physical)
    """

    problem: Problem
    shard: StoredShard
    physical: np.ndarray

    @property
    def label(self) -> str:
        """What a sentence calls it."""
        return f"shard {self.shard.index}"


def run_shard(job: SamplingJob) -> ChainDraws:
    """Draws of a chain of a shard."""
    if job.keep_at is not None and Path(job.keep_at).exists():
        with np.load(job.keep_at, allow_pickle=False) as file:
            values = {name: file[name] for name in file.files}
        return ChainDraws(**values | {"seconds": float(values["seconds"])})
    draws = draw_chain(
        job.problem,
        job.shard.load(),
        job.shard.index,
        job.chain,
        job.n_shards,
        job.mu,
        job.root,
        job.settings,
        job.timeout,
    )
    if not np.isfinite(draws.z).all():
        raise FloatingPointError("its draws are not finite")
    if job.keep_at is not None:
        Path(job.keep_at).parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(job.keep_at, overwrite=True) as path, open(path, "wb") as file:
            np.savez(file, **{f.name: getattr(draws, f.name) for f in fields(draws)})
    return draws


def eval_draws(job: SumsJob) -> np.ndarray:
    """Sums (n_draws, n_phi, 3) of a shard."""
    # The host's precision and promotion rules must not reach into the sums.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        arguments = jax.tree.map(jnp.asarray, (job.problem, job.shard.load(), job.physical))
        return np.asarray(sums_of_draws(*arguments))
