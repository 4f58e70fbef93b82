"""The certificate: importance weights of the exact posterior of all the data, and whether they can be trusted.

Draws of a multivariate t with 7 degrees of freedom about the proposed normal distribution get the weights exact posterior / proposal, smoothed by
a generalised Pareto distribution whose shape k-hat tells whether they have a variance (Vehtari et al. 2024, "Pareto smoothed
importance sampling"). Every round proposes from what the rounds before found, and weighs all draws so far by the mixture of the
proposals that made them (Owen & Zhou 2000, doi:10.1080/01621459.2000.10473909). Contrast, offset and σ are drawn with every draw, exactly,
so bounds and priors on them are one more factor of the weight.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from arviz_stats.base import array_stats
from scipy.special import gammaln, logsumexp

K_HAT_LIMIT = 0.7
ESS_LIMIT = 400
MOVED_LIMIT = 0.1
MAX_ROUNDS = 3
_DEGREES = 7.0
_INFLATION = 1.3


def pareto_smoothed(log_weights) -> tuple[np.ndarray, float]:
    """Pareto-smoothed log weights that sum to one, and k-hat.

    ``psislw`` takes log *likelihoods* of left-out points, whose weights are their inverses: the sign is turned here, once. Draws of weight 0 stay
    at 0 and take part in the shape of the tail.
    """
    log_weights = np.asarray(log_weights, dtype=float)
    used = np.isfinite(log_weights)
    if used.sum() < 10:
        return np.full(len(log_weights), -np.inf), np.inf
    lowest = log_weights[used].min()
    if _ends_flat(log_weights[used]):
        # Equal largest weights, such as those of draws of the posterior itself, have no tail to smooth.
        smoothed, k_hat = log_weights, -np.inf
    else:
        smoothed, k_hat = array_stats.psislw(-np.where(used, log_weights, lowest - 100.0))
    smoothed = np.where(used, smoothed, -np.inf)
    return smoothed - logsumexp(smoothed), float(k_hat)


def _ends_flat(log_weights) -> bool:
    """Whether the largest weights are all the same to rounding."""
    n_tail = int(np.ceil(min(0.2 * len(log_weights), 3 * len(log_weights) ** 0.5)))
    tail = np.sort(log_weights)[-n_tail - 1 :]
    return bool(tail[-1] - tail[0] <= 1e-9)


@dataclass(frozen=True)
class Normal:
    """Mean (d,) and covariance (d, d) that a t distribution is drawn about."""

    mean: np.ndarray
    covariance: np.ndarray

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draws of the t distribution, (count, d)."""
        d = len(self.mean)
        # The covariance of a t is ν/(ν-2) times its scale matrix.
        root = np.linalg.cholesky(self.covariance * (_DEGREES - 2) / _DEGREES)
        chi = rng.chisquare(_DEGREES, count) / _DEGREES
        return self.mean + (rng.standard_normal((count, d)) / np.sqrt(chi)[:, None]) @ root.T

    def log_density(self, x) -> np.ndarray:
        """Log density of the t distribution at (n, d)."""
        d = len(self.mean)
        root = np.linalg.cholesky(self.covariance * (_DEGREES - 2) / _DEGREES)
        z = np.linalg.solve(root, (x - self.mean).T)
        constant = gammaln((_DEGREES + d) / 2) - gammaln(_DEGREES / 2) - 0.5 * d * np.log(_DEGREES * np.pi)
        return (
            constant - np.log(np.diag(root)).sum() - 0.5 * (_DEGREES + d) * np.log1p((z**2).sum(0) / _DEGREES)
        )


@dataclass(frozen=True)
class Round:
    """One round: what all draws so far say.

    Attributes
    ----------
    k_hat : float
        Shape of the tail of the weights.
    ess : float
        Effective draws, 1 / Σ w².
    moved : float
        Largest distance of the mean of this round's own draws from that of the round before [standard deviations]; NaN in the first round.
    """

    k_hat: float
    ess: float
    moved: float


@dataclass(frozen=True)
class Certificate:
    """Weighted draws of the exact posterior.

    Attributes
    ----------
    z : (n, d)
        All draws.
    log_weights : (n,)
        Smoothed, adding up to one.
    rounds : tuple of Round
    mean, covariance : (d,), (d, d)
        Of the weighted draws.
    certified : bool
        Whether the limits are kept.
    message : str
        Which are not.
    """

    z: np.ndarray
    log_weights: np.ndarray
    rounds: tuple[Round, ...]
    mean: np.ndarray
    covariance: np.ndarray
    certified: bool
    message: str

    def resample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Indices of ``count`` draws, each as often as its weight says to within one, in random order."""
        edges = np.cumsum(np.exp(self.log_weights))
        picks = np.searchsorted(edges / edges[-1], (rng.random() + np.arange(count)) / count)
        return rng.permutation(np.minimum(picks, len(edges) - 1))


def weighted_moments(z, log_weights) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of weighted draws."""
    w = np.exp(log_weights)
    mean = w @ z
    away = z - mean
    return mean, (w[:, None] * away).T @ away


def sd_errors(values, log_weights) -> np.ndarray:
    """Relative standard errors (d,) of the standard deviations of weighted draws (n, d): large where they rest on a few draws far out."""
    w = np.exp(log_weights)
    away = values - w @ values
    square = away**2
    variance = w @ square
    with np.errstate(divide="ignore", invalid="ignore"):
        return 0.5 * np.sqrt((w[:, None] ** 2 * (square - variance) ** 2).sum(0)) / variance


def certify(
    proposal: Normal,
    log_posterior: Callable[[np.ndarray], np.ndarray],
    *,
    n_draws: int,
    rng: np.random.Generator,
    after_round: Callable[[int, Round], None] = lambda number, found: None,
) -> Certificate:
    """Importance sampling of the exact posterior from a proposal, in up to three rounds.

    Parameters
    ----------
    proposal : Normal
        In whitened coordinates.
    log_posterior : callable
        Log of the exact posterior up to a constant, (n,) at draws (n, d); what else it draws belongs to the draw.
    n_draws : int
        A round.
    rng : numpy.random.Generator
    after_round : callable
        Told what every round found.
    """
    proposals, draws, targets, rounds = [proposal], [], [], []
    own_mean = None
    while True:
        z = proposals[-1].draw(rng, n_draws)
        draws.append(z)
        targets.append(log_posterior(z))
        own, _ = pareto_smoothed(targets[-1] - proposals[-1].log_density(z))
        every, target = np.concatenate(draws), np.concatenate(targets)
        mixture = logsumexp([p.log_density(every) for p in proposals], axis=0) - np.log(len(proposals))
        log_weights, k_hat = pareto_smoothed(target - mixture)
        if not np.isfinite(log_weights).any():
            message = "no draw of the proposal has a posterior density: the start is far from the posterior, or outside its bounds."
            nothing = np.full(len(proposal.mean), np.nan)
            return Certificate(
                every, log_weights, (Round(np.inf, 0.0, np.nan),), nothing, np.diag(nothing), False, message
            )
        mean, covariance = weighted_moments(every, log_weights)
        previous, own_mean = (
            own_mean,
            weighted_moments(z, own)[0] if np.isfinite(own).any() else np.full_like(mean, np.nan),
        )
        moved = (
            np.nan
            if previous is None
            else float(np.max(np.abs(own_mean - previous) / np.sqrt(np.diag(covariance))))
        )
        rounds.append(Round(k_hat, float(np.exp(-logsumexp(2 * log_weights))), moved))
        after_round(len(rounds), rounds[-1])
        reasons = _missed(rounds[-1])
        if not reasons or len(rounds) == MAX_ROUNDS:
            return Certificate(
                every, log_weights, tuple(rounds), mean, covariance, not reasons, " ".join(reasons)
            )
        proposals.append(_next_proposal(mean, covariance, proposals[-1], rounds[-1]))


def _missed(found: Round) -> list[str]:
    reasons = []
    if not found.k_hat < K_HAT_LIMIT:
        reasons.append(f"the weights have a heavy tail (k-hat {found.k_hat:.2f}, limit {K_HAT_LIMIT}).")
    if not found.ess > ESS_LIMIT:
        reasons.append(f"only {found.ess:.0f} effective draws (limit {ESS_LIMIT}).")
    if not found.moved < MOVED_LIMIT:
        reasons.append(
            f"the mean still moves by {found.moved:.2f} sd from round to round (limit {MOVED_LIMIT})."
        )
    return reasons


def _next_proposal(mean, covariance, last: Normal, found: Round) -> Normal:
    """The weighted moments, wider; few effective draws keep some of the last proposal, so that no direction collapses."""
    d = len(mean)
    share = found.ess / (found.ess + 10 * d)
    return Normal(mean, _INFLATION * (share * covariance + (1 - share) * last.covariance))
