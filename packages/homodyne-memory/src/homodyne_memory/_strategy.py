"""Which way of fitting suits the number of points, the number of parameters and the memory."""

from dataclasses import dataclass
from enum import StrEnum

from homodyne_memory._counts import whole_number
from homodyne_memory._estimate import BYTES_PER_GB, BYTES_PER_NUMBER, estimate_peak_memory_gb
from homodyne_memory._system import memory_threshold_gb

OUT_OF_CORE_MIN_POINTS = 1_000_000
"""Points from which a fit goes through its data in chunks even where the full Jacobian would fit."""


class NLSQStrategy(StrEnum):
    """Ways of going through the data of a least-squares fit; the answer is the same."""

    STANDARD = "standard"
    """Every row of the Jacobian in memory at once."""

    OUT_OF_CORE = "out_of_core"
    """Normal equations accumulated over chunks of points."""

    HYBRID_STREAMING = "hybrid_streaming"
    """Chunks that are read when they are needed: not even an index of all points is held."""


@dataclass(frozen=True)
class StrategyDecision:
    """A strategy with the numbers that it was chosen by.

    Parameters
    ----------
    strategy : NLSQStrategy
        The strategy to use.
    n_points, n_params : int
        Size of the problem.
    peak_memory_gb : float
        Estimated peak of the full-Jacobian path [10**9 bytes].
    index_memory_gb : float
        Size of one 64-bit index of all points [10**9 bytes].
    threshold_gb : float
        Memory that the fit may use [10**9 bytes].
    reason : str
        The choice in a sentence.
    """

    strategy: NLSQStrategy
    n_points: int
    n_params: int
    peak_memory_gb: float
    index_memory_gb: float
    threshold_gb: float
    reason: str


def select_nlsq_strategy(
    n_points: int,
    n_params: int,
    *,
    threshold_gb: float | None = None,
    memory_fraction: float | None = None,
) -> StrategyDecision:
    """Choose how a least-squares fit goes through its data.

    Where the full Jacobian fits into the threshold: STANDARD below one million points, OUT_OF_CORE from there
    on. Where it does not: HYBRID_STREAMING if the index of the points alone exceeds the threshold, else
    OUT_OF_CORE.

    Parameters
    ----------
    n_points : int
        Length of the residual vector, >= 0.
    n_params : int
        Parameters that the solver varies, >= 1 (the reduced problem's where there is one).
    threshold_gb : float, optional
        Memory that the fit may use [10**9 bytes], > 0. By default `memory_threshold_gb`.
    memory_fraction : float, optional
        Passed to `memory_threshold_gb`; not together with ``threshold_gb``.

    Returns
    -------
    StrategyDecision
        The strategy, the numbers behind it, and the reason as a sentence.

    Raises
    ------
    TypeError
        If a count is not an integer.
    ValueError
        If a count, the threshold or the fraction is out of range, or both of the latter are given.

    Examples
    --------
    >>> decision = select_nlsq_strategy(23_000_000, 53, threshold_gb=48.0)
    >>> decision.strategy
    <NLSQStrategy.OUT_OF_CORE: 'out_of_core'>
    >>> print(decision.reason)
    The full Jacobian of 23000000 points and 53 parameters needs an estimated 63.4 GB, more than the 48 GB
    allowed.
    """
    n_points = whole_number("n_points", n_points, at_least=0)
    n_params = whole_number("n_params", n_params, at_least=1)
    if threshold_gb is None:
        threshold_gb = memory_threshold_gb(memory_fraction)
    elif memory_fraction is not None:
        raise ValueError(
            f"threshold_gb={threshold_gb!r} and memory_fraction={memory_fraction!r}; expected only one of them"
        )
    elif not threshold_gb > 0:
        raise ValueError(f"threshold_gb is {threshold_gb!r}; expected a positive number of gigabytes")

    peak = estimate_peak_memory_gb(n_points, n_params)
    index = n_points * BYTES_PER_NUMBER / BYTES_PER_GB
    size = (
        f"The full Jacobian of {n_points} points and {n_params} parameters needs an estimated {peak:.3g} GB"
    )
    allowed = f"the {threshold_gb:.3g} GB allowed"
    if peak <= threshold_gb:
        if n_points < OUT_OF_CORE_MIN_POINTS:
            strategy, reason = NLSQStrategy.STANDARD, f"{size}, within {allowed}."
        else:
            strategy = NLSQStrategy.OUT_OF_CORE
            reason = (
                f"{size}, within {allowed}, but chunks serve better from {OUT_OF_CORE_MIN_POINTS} points on."
            )
    elif index > threshold_gb:
        strategy = NLSQStrategy.HYBRID_STREAMING
        reason = f"{size}, and an index of the points alone {index:.3g} GB; both are more than {allowed}."
    else:
        strategy, reason = NLSQStrategy.OUT_OF_CORE, f"{size}, more than {allowed}."
    return StrategyDecision(
        strategy=strategy,
        n_points=n_points,
        n_params=n_params,
        peak_memory_gb=peak,
        index_memory_gb=index,
        threshold_gb=float(threshold_gb),
        reason=reason,
    )
