"""The fit of data that are held somehow: start values, descent, choice of the scaling, what follows the solution, result."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial

import numpy as np

from homodyne_degeneracy import AntiDegeneracyController
from homodyne_nlsq._assemble import failed_result, is_seen, result_of
from homodyne_nlsq._attempts import Attempts, Outcome
from homodyne_nlsq._coarse import CoarseProblem
from homodyne_nlsq._config import NLSQConfig
from homodyne_nlsq._frozen import HAND_OVER, counted_on, settle
from homodyne_nlsq._guarded import Aborted, descend
from homodyne_nlsq._held import HeldMaps
from homodyne_nlsq._input import start_and_box
from homodyne_nlsq._problem import Problem
from homodyne_nlsq._profile import profile_intervals
from homodyne_nlsq._result import OptimizationResult
from homodyne_nlsq._search import STOPPED, Found, global_search, refines, search_record
from homodyne_nlsq._search_settings import search_choice
from homodyne_nlsq._solve import CLOSE, Interruption, Progress, Solution, Stopped, ended_at, solve
from homodyne_nlsq._warm_up import warm_up
from homodyne_nlsq.errors import FitInputError


def fit_held(
    maps: HeldMaps,
    config: NLSQConfig,
    *,
    progress: Progress | None,
    executor: Executor | None = None,
    local_solver: Callable[..., Solution] = solve,
    adapter: str = "structured",
    warms_up: bool = False,
) -> OptimizationResult:
    """Fit data that are held as they are.

    Parameters
    ----------
    maps : HeldMaps
        The data with σ.
    config : NLSQConfig
        Checked together with them.
    progress : callable, optional
        As for `fit_nlsq_jax`.
    executor : concurrent.futures.Executor, optional
        As for `fit_nlsq_jax`.
    local_solver : callable
        `homodyne_nlsq._solve.solve`, or a function with its arguments.
    adapter : str
        What the result calls it.
    warms_up : bool
        Improve start values by L-BFGS on the averages first, and limit the passes, as `HybridStreamingConfig` says.
    """
    given, fixed, bounds = start_and_box(config)
    controller = controller_of(config, maps.data.phi)
    problem = Problem.of(maps, config, controller)
    streaming = config.hybrid_streaming
    most = config.max_iterations
    options = {
        "n_free_points": _degrees_of_freedom(problem, fixed),
        "max_passes": min(most, streaming.gauss_newton_max_iterations) if warms_up else most,
        "ftol": config.tolerance,
        "xtol": config.xtol,
        "gtol": config.gtol,
        "progress": progress,
    }
    guarded = partial(descend, local_solver=local_solver, controller=controller)
    coarse = CoarseProblem.of(problem)
    close = HAND_OVER if problem.renews else CLOSE
    choice = search_choice(config)
    found = None
    if choice is not None and choice.method != "local":
        found = global_search(
            problem,
            coarse,
            config,
            choice,
            given,
            fixed,
            bounds,
            refine=lambda start: local_solver(problem, [start], bounds, fixed, close=close, **options),
            progress=progress,
            executor=executor,
        )
        given = found.at.physical
    attempts = Attempts(
        coarse,
        config,
        fixed,
        bounds,
        descend=lambda *starts: guarded(problem, starts, bounds, fixed, close=close, **options),
        is_seen=lambda solution: is_seen(problem, solution.at, options["n_free_points"]),
        warm_up=lambda start: (
            warm_up(coarse, start, fixed, bounds, streaming, progress=progress) if warms_up else start
        ),
        progress=progress,
        source="The given start values" if found is None else "What the search found",
    )
    try:
        if found is None:
            outcome = attempts.run(given)
        else:
            outcome = _refined(found, attempts, config, problem, bounds, fixed, options["n_free_points"])
    except Aborted as stop:
        start = np.where(np.isfinite(given), given, stop.solution.first.physical)
        outcome = Outcome(start, stop.solution, ("monitor_abort",), ())
    solution, dof = outcome.solution, options["n_free_points"]
    search = None if choice is None else search_record(choice, found, solution, dof)
    if solution is None:
        return failed_result(problem, controller, outcome, config, fixed, dof, adapter, search)
    if solution.interruption is None:
        try:
            if problem.renews:
                problem, solution = settle(
                    problem, solution, local_solver, bounds=bounds, fixed=fixed, **options
                )
            if controller.chooses:
                problem, solution = _with_chosen_scaling(
                    problem, solution, local_solver, controller, bounds, fixed, options
                )
                options["n_free_points"] = _degrees_of_freedom(problem, fixed)
        except KeyboardInterrupt:
            if search is None:
                raise
            search = replace(search, stopped=True)
            interrupted = replace(solution, converged=False, message=STOPPED)
            solution = replace(interrupted, interruption=Interruption(STOPPED))
    if progress is not None:
        # Scores by frames take as long as a few passes.
        progress("error bars", solution.passes, solution.at.fit.cost, "")
    result = result_of(
        problem, controller, solution, outcome, config, fixed, options["n_free_points"], adapter, search
    )
    if config.profile and not result.success:
        said = "No profile-likelihood intervals were computed, as the fit did not converge."
        return replace(result, warnings=(*result.warnings, said))
    if config.profile:
        intervals = profile_intervals(
            result, problem, solution, config.profile, local_solver, bounds, fixed, options
        )
        result = replace(result, profiles=intervals)
    return result


def _refined(
    found: Found, attempts: Attempts, config: NLSQConfig, problem: Problem, bounds, fixed, n_free_points: int
) -> Outcome:
    """The fit from where a search ended; the best so far where it is not to go on, or was stopped."""
    best, passes, message = found.at, found.passes, STOPPED
    if not found.record.stopped and not refines(config, found.record):
        message = "the search's best point was not refined (cmaes.refine_with_nlsq is false)"
    elif not found.record.stopped:
        try:
            outcome = attempts.run(best.physical)
            if outcome.solution is None:
                return outcome
            passed = passes + outcome.solution.passes
            solution = replace(outcome.solution, first=found.first, passes=passed)
            return replace(outcome, start=found.first.physical, solution=solution)
        except KeyboardInterrupt as stop:
            if isinstance(stop, Stopped) and stop.problem is problem:
                best = min(best, stop.best, key=lambda at: at.fit.cost)
                passes += stop.passes
    ended = ended_at(
        problem,
        best,
        bounds,
        fixed,
        n_free_points=n_free_points,
        first=found.first,
        passes=passes,
        message=message,
    )
    return Outcome(found.first.physical, ended, (), ())


def controller_of(config: NLSQConfig, phi) -> AntiDegeneracyController:
    """The anti-degeneracy system for a fit of maps at some angles [deg]."""
    layers = config.anti_degeneracy
    if config.engine == "nlsq":
        # Coefficients of a series have no box of their own, which is what the full Jacobian's solver takes.
        layers = replace(layers, fourier_auto_threshold=2**31)
    return AntiDegeneracyController(
        layers, analysis_mode=config.analysis_mode, phi=phi, per_angle_scaling=config.per_angle_scaling
    )


def _degrees_of_freedom(problem: Problem, fixed) -> int:
    """Points that count minus fitted parameters; at least 1.

    Raises
    ------
    FitInputError
        If there are no more points than parameters.
    """
    n_points = problem.maps.data.n_points
    dof = n_points - problem.n_scaling - int((~fixed).sum())
    if dof < 1:
        raise FitInputError(
            f"data hold {n_points} points that count; expected more than the {n_points - dof} fitted parameters."
        )
    return dof


def _with_chosen_scaling(
    problem: Problem,
    solution: Solution,
    local_solver,
    controller: AntiDegeneracyController,
    bounds,
    fixed,
    options,
) -> tuple[Problem, Solution]:
    """The basis of contrast and offset that the data ask for, and the solution with it."""
    at = solution.at
    left = options["max_passes"] - solution.passes
    if left < 1:
        controller.record(
            f"per_angle_mode auto kept {problem.basis.mode}: the permitted passes were used up before it could decide."
        )
        return problem, solution
    # Points are taken for independent here: what frames in common do to the contrast and offset of a map as a whole is a difference between
    # angles like any other, and scaling that leaves it out is less precise (measured: README of homodyne-degeneracy).
    basis = controller.choose_scaling(
        at.gram,
        problem.maps.data.n_points,
        bounds=problem.scaling,
        free_physical=~fixed & (solution.held == 0),
    )
    if basis.mode == problem.basis.mode:
        return problem, solution
    problem = replace(problem, basis=basis)
    options = {**options, "n_free_points": _degrees_of_freedom(problem, fixed)}
    if problem.renews:
        return settle(problem, solution, local_solver, bounds=bounds, fixed=fixed, **options)
    again = local_solver(
        problem,
        [at.physical],
        bounds,
        fixed,
        held=solution.held,
        **{**options, "max_passes": left, "progress": counted_on(options["progress"], solution.passes)},
    )
    return problem, replace(again, first=solution.first, passes=solution.passes + again.passes)
