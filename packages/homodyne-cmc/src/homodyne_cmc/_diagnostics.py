"""Whether the draws of the shards can be trusted: R-hat, effective draws, divergences, tree depth, energies."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from arviz_stats.base import array_stats

from homodyne_cmc._nuts import ShardDraws

R_HAT_LIMIT = 1.02
DIVERGENCE_LIMIT = 0.01
BFMI_LIMIT = 0.3


@dataclass(frozen=True)
class Convergence:
    """Diagnostics of every shard, from its own draws.

    Attributes
    ----------
    r_hat : (n_shards, d)
        Rank-normalised split R-hat (Vehtari et al. 2021, doi:10.1214/20-BA1221).
    ess_bulk, ess_tail : (n_shards, d)
        Effective draws.
    divergences : (n_shards,)
        Share of the draws of a shard.
    tree_depth : (n_shards,)
        Largest.
    steps : (n_shards,)
        Gradients a draw, mean.
    bfmi : (n_shards,)
        Smallest Bayesian fraction of missing information of a chain; small means that energies mix slowly.
    seconds : (n_shards,)
        Time of sampling.
    """

    r_hat: np.ndarray
    ess_bulk: np.ndarray
    ess_tail: np.ndarray
    divergences: np.ndarray
    tree_depth: np.ndarray
    steps: np.ndarray
    bfmi: np.ndarray
    seconds: np.ndarray

    def remarks(self) -> list[str]:
        """What is wrong with the draws, in sentences."""
        found = []
        worst = float(np.max(self.r_hat))
        if not worst < R_HAT_LIMIT:
            found.append(
                f"the chains of shard {int(np.argmax(self.r_hat.max(1)))} disagree (R-hat {worst:.3f}): more num_warmup or num_samples."
            )
        if (share := float(self.divergences.max())) > DIVERGENCE_LIMIT:
            found.append(
                f"{100 * share:.2g} % of the draws of shard {int(np.argmax(self.divergences))} diverged: a larger target_accept_prob."
            )
        if (low := float(self.bfmi.min())) < BFMI_LIMIT:
            found.append(f"the energies of shard {int(np.argmin(self.bfmi))} mix slowly (BFMI {low:.2f}).")
        return found


def convergence(draws: Sequence[ShardDraws]) -> Convergence:
    """Diagnostics of the draws of shards."""

    def every(function):
        return np.array([[float(function(z)) for z in np.moveaxis(shard.z, -1, 0)] for shard in draws])

    return Convergence(
        every(lambda z: array_stats.rhat(z if len(z) > 1 else z[:, : z.size // 2 * 2].reshape(2, -1))),
        every(lambda z: array_stats.ess(z, method="bulk")),
        every(lambda z: array_stats.ess(z, method="tail", prob=(0.05, 0.95))),
        np.array([shard.diverging.mean() for shard in draws]),
        np.array([int(np.floor(np.log2(shard.num_steps.max()))) + 1 for shard in draws]),
        np.array([shard.num_steps.mean() for shard in draws]),
        np.array([float(np.min(array_stats.bfmi(shard.energy))) for shard in draws]),
        np.array([shard.seconds for shard in draws]),
    )
