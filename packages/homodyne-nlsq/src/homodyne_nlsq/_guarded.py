"""A descent with the anti-degeneracy layers around the local solver: alternating stages before it, a watch on its gradient, and what follows a collapse."""

from dataclasses import replace

import numpy as np

from homodyne_degeneracy import AntiDegeneracyController, DegeneracyError, MonitorAction
from homodyne_model import ModelError, ScalingBasis, ScalingState
from homodyne_nlsq._frozen import counted_on
from homodyne_nlsq._problem import Problem
from homodyne_nlsq._solve import Evaluation, Interruption, Progress, Solution, out_of_passes

# Share of the permitted passes that alternating stages may take.
_STAGES = 0.5


class Collapse(Interruption):
    """The monitor asks for something else than to go on."""

    def __init__(self, sentence: str, action: MonitorAction) -> None:
        super().__init__(sentence[0].lower() + sentence[1:].rstrip("."))
        self.action = action


class Aborted(Exception):
    """The monitor ended the fit."""

    def __init__(self, solution: Solution) -> None:
        super().__init__(solution.message)
        self.solution = solution


class _OutOfStages(Exception):
    """The passes permitted to alternating stages are used up."""


def descend(
    problem: Problem,
    starts,
    bounds,
    fixed,
    *,
    local_solver,
    controller: AntiDegeneracyController,
    max_passes: int,
    progress: Progress | None = None,
    **options,
) -> Solution:
    """Minimise χ² from the best of some starts, with the layers that act.

    Parameters
    ----------
    problem : Problem
        What is minimised.
    starts : sequence of (n_physical,)
        Inside the bounds.
    bounds : (n_physical, 2)
        Lower and upper bounds.
    fixed : (n_physical,) bool
        Parameters that keep their start value.
    local_solver : callable
        `homodyne_nlsq._solve.solve`, or a function with its arguments.
    controller : AntiDegeneracyController
        The layers; it keeps the record of what they did.
    max_passes : int
        Most passes over the data.
    progress : callable, optional
        As for `homodyne_nlsq.fit_nlsq_jax`.
    **options
        Passed on to the local solver.

    Returns
    -------
    Solution
        All passes added up.

    Raises
    ------
    Aborted
        If the monitor's response is to end the fit.
    """
    around = _Around(problem, bounds, fixed, controller, max_passes, progress)
    if controller.hierarchical:
        starts = [*starts, *around.stages(starts[-1])]

    def solve(posed: Problem, candidates, watch=None) -> Solution:
        return local_solver(
            posed,
            candidates,
            bounds,
            fixed,
            max_passes=max_passes - around.passes,
            progress=counted_on(progress, around.passes),
            watch=watch,
            **options,
        )

    first = solve(problem, starts, None if controller.monitor is None else around.watch)
    around.passes += first.passes
    if not isinstance(first.interruption, Collapse) or around.passes >= max_passes:
        return replace(first, passes=around.passes)
    # A response is taken once: the descent after it is not watched, or it would be called back for ever.
    action = first.interruption.action
    if action is MonitorAction.ABORT:
        raise Aborted(replace(first, passes=around.passes))
    if action is MonitorAction.HIERARCHICAL:
        again = [first.at.physical, *around.stages(first.at.physical)]
    else:
        again = [around.reset(starts[0], solve)]
    if around.passes >= max_passes:
        return replace(first, passes=around.passes, message=out_of_passes(max_passes))
    second = solve(problem, again)
    return replace(second, first=first.first, passes=around.passes + second.passes)


class _Around:
    """What happens beside the descent of one problem, and the passes that it takes."""

    def __init__(
        self,
        problem: Problem,
        bounds,
        fixed,
        controller: AntiDegeneracyController,
        max_passes: int,
        progress: Progress | None,
    ) -> None:
        self.problem, self.bounds, self.fixed = problem, np.asarray(bounds), np.asarray(fixed)
        self.controller, self.max_passes, self.progress = controller, max_passes, progress
        self.passes = 0

    def watch(self, at: Evaluation, before: Evaluation) -> None:
        """Show the monitor a new best point with the scaling of the one before."""
        report = self.controller.observe(
            at.gram,
            before.fit.contrast,
            before.fit.offset,
            basis=self.problem.columns,
            free_physical=~self.fixed,
            free_scaling=before.fit.state == ScalingState.FREE,
        )
        if report.action not in (MonitorAction.NONE, MonitorAction.WARN):
            raise Collapse(report.sentence, report.action)

    def stages(self, start) -> list[np.ndarray]:
        """Where alternating stages lead from a start; nothing if they cannot begin."""
        left = max(1, round(_STAGES * (self.max_passes - self.passes)))
        best, used = None, 0

        def evaluate(physical):
            nonlocal best, used
            if used >= left:
                raise _OutOfStages
            used += 1
            gram = self.problem.gram(physical)
            if np.isfinite(gram).all():
                cost = self.problem.compress(gram).cost
                if best is None or cost < best[0]:
                    best = cost, np.array(physical, dtype=float)
                if self.progress is not None:
                    self.progress("alternating stages", self.passes + used, best[0], "")
            return gram

        optimizer = self.controller.hierarchical_optimizer(
            scaling_bounds=self.problem.scaling, basis=self.problem.columns
        )
        try:
            found = optimizer.minimise(evaluate, start, bounds=self.bounds, free=~self.fixed)
        except _OutOfStages:
            end, reached = f"stopped after {left} passes, their share of max_iterations", best[1]
        except DegeneracyError as error:
            self.controller.record(f"Alternating stages could not begin: {error}")
            return []
        else:
            end, reached = found.message, found.physical
        self.passes += used
        self.controller.record(f"Alternating stages took {used} passes: {end}.")
        return [reached]

    def reset(self, start, solve) -> np.ndarray:
        """From the start values to the optimum with one contrast and offset for all angles, which cannot imitate the shear."""
        try:
            found = solve(replace(self.problem, basis=ScalingBasis("constant")), [start])
        except ModelError:
            self.controller.record(
                "The bounds of the angles have no common contrast and offset, so the fit began again with those of the angles."
            )
            return start
        self.passes += found.passes
        return found.at.physical
