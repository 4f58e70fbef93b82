"""The posterior of all the data from the draws of its shards, as a normal distribution with all correlations.

In whitened coordinates (anchor N(0, 1)^(a/K) in every shard), with precisions Λ_k and means m_k of the shards,

    Λ = Σ_k Λ_k - a,        η = Σ_k Λ_k m_k,        C = Λ⁻¹,        m = C η

(Scott et al. 2016, doi:10.1080/17509255.2016.1142191, and the anchor divided out). The inverse of a covariance from n_eff draws is too large by
(n_eff - 1) / (n_eff - d - 2), which is taken back.

Whether the shards agree: with the anchor out of each, Λ'_k = Λ_k - a/K, m'_k = Λ'_k⁻¹ Λ_k m_k,

    Q = Σ_k (m'_k - m)ᵀ Λ'_k (m'_k - m)   is   χ²((K - 1) d)

for points of independent noise. Shards of measured maps share frames, which makes Q larger.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from homodyne_cmc._diagnostics import Convergence, convergence
from homodyne_cmc._nuts import ShardDraws, anchor_strength


@dataclass(frozen=True)
class Consensus:
    """The combined normal distribution in whitened coordinates, and how well the shards agree.

    Attributes
    ----------
    mean : (d,)
    covariance : (d, d)
    positive : bool
        Whether the combined precision was positive definite; where not, mean and covariance are those of the anchor.
    q : float
        Disagreement of the shards; NaN where it cannot be computed (one shard, or one that knows less than its anchor).
    q_dof : int
    q_p : float
        Probability of a larger Q for points of independent noise.
    convergence : Convergence
        Of the draws of every shard.
    """

    mean: np.ndarray
    covariance: np.ndarray
    positive: bool
    q: float
    q_dof: int
    q_p: float
    convergence: Convergence


def combine(draws: Sequence[ShardDraws]) -> Consensus:
    """Combine the draws of all shards, in the order of their index."""
    draws = sorted(draws, key=lambda shard: shard.index)
    n_shards, d = len(draws), draws[0].z.shape[-1]
    anchor = anchor_strength(n_shards)
    quality = convergence(draws)
    precisions, means = [], []
    for shard, ess in zip(draws, quality.ess_bulk, strict=True):
        z = shard.z.reshape(-1, d)
        # Antithetic draws are worth more than their number for a mean, not for a covariance.
        n_eff = max(min(float(ess.mean()), len(z)), d + 3.0)
        covariance = np.atleast_2d(np.cov(z, rowvar=False))
        precisions.append(np.linalg.inv(covariance) * (n_eff - d - 2) / (n_eff - 1))
        means.append(z.mean(0))
    precision = sum(precisions) - anchor * np.eye(d)
    linear = sum(p @ m for p, m in zip(precisions, means, strict=True))
    positive = bool(np.linalg.eigvalsh(precision)[0] > 0)
    if positive:
        covariance = np.linalg.inv(precision)
        mean = covariance @ linear
    else:
        covariance, mean = np.eye(d), np.zeros(d)
    q, dof = np.nan, (n_shards - 1) * d
    if n_shards > 1 and positive:
        without = [p - anchor / n_shards * np.eye(d) for p in precisions]
        if all(np.linalg.eigvalsh(p)[0] > 0 for p in without):
            away = [
                np.linalg.solve(b, p @ m) - mean for b, p, m in zip(without, precisions, means, strict=True)
            ]
            q = float(sum(x @ b @ x for x, b in zip(away, without, strict=True)))
    p_value = float(chi2.sf(q, dof)) if np.isfinite(q) else np.nan
    return Consensus(mean, covariance, positive, q, dof, p_value, quality)
