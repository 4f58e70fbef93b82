"""Problems that follow their own solution: solved with everything frozen, renewed, and solved again until nothing moves.

Three things follow the solution (`homodyne_nlsq._problem.Problem.renewed`): the weights of a robust loss, those of angles along the flow, and a penalty
that is measured by mean and χ² of the fit.
"""

from dataclasses import replace
from functools import partial

import numpy as np

from homodyne_nlsq._problem import Problem
from homodyne_nlsq._solve import CLOSE, NEAR, Progress, Solution, rounding_of

# Renewals; each takes away half of the distance or more.
_RENEWALS = 60
# Share of the last change of the optimum to which the next problem is solved: it changes again.
_SHARE = 0.1
# Distance [standard errors] at which the solution without any of it hands over.
HAND_OVER = 0.3


def settle(
    problem: Problem,
    solution: Solution,
    local_solver,
    *,
    n_free_points: int,
    max_passes: int,
    progress: Progress | None = None,
    **options,
) -> tuple[Problem, Solution]:
    """Go on from a plain least-squares solution until the problem and its solution belong together.

    Plain least squares comes first because outliers do not hide the way from a poor start; weights that are taken there would.

    Parameters
    ----------
    problem : Problem
        With nothing frozen yet.
    solution : Solution
        Of that problem.
    local_solver : callable
        `homodyne_nlsq._solve.solve`, or a function with its arguments.
    n_free_points : int
        Degrees of freedom.
    max_passes : int
        Most passes over the data, those of the solution included.
    progress : callable, optional
        As for `homodyne_nlsq.fit_nlsq_jax`; passes are counted on.
    **options
        Passed on to the local solver.

    Returns
    -------
    Problem
        As it was renewed last.
    Solution
        Of that problem, all passes added up. Not converged where it did not settle.
    """
    first, passes = solution.first, solution.passes
    moved, gained, close, settled = np.inf, np.inf, HAND_OVER, False
    for _ in range(_RENEWALS):
        if passes >= max_passes:
            break
        at = solution.at
        problem = problem.renewed(at.physical, at.fit)
        solution = local_solver(
            problem,
            [at.physical],
            n_free_points=n_free_points,
            max_passes=max_passes - passes,
            close=close,
            held=solution.held,
            progress=counted_on(progress, passes),
            **options,
        )
        passes += solution.passes
        # How far the renewal moved the optimum, contrast and offset included, in standard errors.
        before = problem.compress_at(solution.first.gram, at.fit).cost
        last, gained = gained, max(before - solution.at.fit.cost, 0.0)
        moved = np.sqrt(gained * n_free_points / solution.at.fit.cost) if solution.at.fit.cost > 0 else 0.0
        # Below rounding the changes neither end nor mean anything.
        still = moved < CLOSE or (gained < rounding_of(solution.at) and gained > last / 2)
        settled = still and close <= CLOSE
        close = CLOSE if still else min(close, max(_SHARE * moved, CLOSE))
        if settled:
            break
    converged = solution.converged and (settled or (moved < NEAR and close <= NEAR))
    message = solution.message
    if solution.converged and not converged:
        message = (
            f"stopped at max_iterations ({max_passes} passes over the data) before {_what(problem)} settled"
        )
    return problem, replace(
        solution,
        first=first,
        passes=passes,
        converged=converged,
        distance=max(solution.distance, moved),
        message=message,
    )


def counted_on(progress: Progress | None, before: int) -> Progress | None:
    """The callback with passes that are counted on from an earlier solution."""
    return None if progress is None else partial(_count_on, progress, before)


def _count_on(
    progress: Progress, before: int, stage: str, passes: int, chi_squared: float, message: str
) -> None:
    progress(stage, before + passes, chi_squared, message)


def _what(problem: Problem) -> str:
    parts = {
        f"the weights of the {problem.loss} loss": problem.loss != "linear",
        "the weights of the angles": problem.weighting is not None,
        "the penalty on the scaling": problem.regularizer is not None,
    }
    return " and ".join(what for what, follows in parts.items() if follows)
