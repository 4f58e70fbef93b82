"""What searches report: while they run, and at their end."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class StopReason(StrEnum):
    """Why a run of CMA-ES ended."""

    TOL_FUN = "tol_fun"
    TOL_X = "tol_x"
    TARGET = "target"
    NO_EFFECT = "no_effect"
    CONDITION = "condition"
    WIDE = "wide"
    NOT_FINITE = "not_finite"
    MAX_GENERATIONS = "max_generations"
    MAX_EVALUATIONS = "max_evaluations"
    STOPPED = "stopped"

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return _SENTENCES[self]


_SENTENCES = {
    StopReason.TOL_FUN: "The costs of the last generations agree within tol_fun.",
    StopReason.TOL_X: "The distribution of the candidates is narrower than tol_x.",
    StopReason.TARGET: "The cost reached the target.",
    StopReason.NO_EFFECT: "Steps have become smaller than the rounding of the parameters.",
    StopReason.CONDITION: "The distribution of the candidates has degenerated (condition number above 1e14): some combination of the parameters has no effect.",
    StopReason.WIDE: "The distribution of the candidates has become far wider than the bounds: the cost shows no direction.",
    StopReason.NOT_FINITE: "No candidate of the last generations had a finite cost.",
    StopReason.MAX_GENERATIONS: "The run had all its generations before it came to rest; more generations may find a better minimum.",
    StopReason.MAX_EVALUATIONS: "The search had all its evaluations before the run came to rest; more evaluations may find a better minimum.",
    StopReason.STOPPED: "The search was stopped from outside.",
}
# Ends at which a run had found a minimum.
AT_REST = frozenset({StopReason.TOL_FUN, StopReason.TOL_X, StopReason.TARGET, StopReason.NO_EFFECT})


@dataclass(frozen=True)
class SearchProgress:
    """How far a search is, for a progress callback.

    Attributes
    ----------
    stage : {"search", "screening", "solving", "refinement"}
        What has just advanced. CMA-ES searches and refines; multistart screens, solves and refines.
    done, total : int
        Generations of this run and the most it may have, or points and solutions.
    run : int
        Number of the run of CMA-ES, from 0.
    evaluations : int
        Of the cost, so far.
    best_cost : float
        So far; NaN before the first finite one.
    best_parameters : ndarray, (d,) or None
        Its parameters.
    """

    stage: str
    done: int
    total: int
    run: int
    evaluations: int
    best_cost: float
    best_parameters: np.ndarray | None


@dataclass(frozen=True)
class CMAESRun:
    """One run of CMA-ES.

    Attributes
    ----------
    regime : {"first", "large", "small"}
        Which part of the restart rule asked for it.
    population : int
        Candidates in a generation.
    sigma : float
        Standard deviation of the first generation, in search coordinates.
    generations, evaluations : int
        How many there were.
    best_cost : float
        The lowest of this run; infinite if none was finite.
    stop : StopReason
        Why it ended.
    """

    regime: str
    population: int
    sigma: float
    generations: int
    evaluations: int
    best_cost: float
    stop: StopReason


@dataclass(frozen=True)
class CMAESDiagnostics:
    """How a search went.

    Attributes
    ----------
    generations, evaluations, restarts : int
        Of all runs. The evaluations count every candidate for which the cost was asked, those before and after the runs too, but none that
        the local solver made by itself.
    chi_squared_improvement : float
        Cost at the start less that of the result, never below 0. Where no start is given, or it has no cost, the best of the points that are tried
        at first takes its place.
    chi_squared_by_stage : dict of str to float
        Lowest cost after the stages that took place: ``start``, ``search``, ``refinement``. With a robust loss `CMAESWrapper.fit` compares
        stages, here and in the improvement, by that loss.
    runs : tuple of CMAESRun
        In their order.
    scale_ratio : float
        Of the bounds.
    """

    generations: int
    evaluations: int
    restarts: int
    chi_squared_improvement: float
    chi_squared_by_stage: dict[str, float]
    runs: tuple[CMAESRun, ...]
    scale_ratio: float


@dataclass(frozen=True)
class CMAESResult:
    """The best parameters that a search found.

    Attributes
    ----------
    parameters : ndarray, (d,)
        Never worse than the start.
    chi_squared : float
        Cost there; from `CMAESWrapper.fit` the sum of squared residuals over sigma.
    covariance : ndarray, (d, d) or None
        From the refinement; None if there was none or it ended elsewhere.
    stage : {"start", "search", "refinement"}
        Which stage found them.
    nlsq_refined : bool
        Whether they come from the local solver.
    success : bool
        Whether the stage that found them came to rest.
    stopped : bool
        Whether the search was stopped from outside before its end.
    message : str
        What happened, in words, with what to try where it did not succeed.
    seed : int
        With which the search can be repeated.
    diagnostics : CMAESDiagnostics
        How it went.
    """

    parameters: np.ndarray
    chi_squared: float
    covariance: np.ndarray | None
    stage: str
    nlsq_refined: bool
    success: bool
    stopped: bool
    message: str
    seed: int
    diagnostics: CMAESDiagnostics
