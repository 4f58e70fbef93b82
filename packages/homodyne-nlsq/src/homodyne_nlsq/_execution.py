"""The fit of data that are held somehow: start values, descent, robust loss, result."""

from collections.abc import Callable

from homodyne_nlsq._assemble import failed_result, is_seen, result_of
from homodyne_nlsq._attempts import Attempts
from homodyne_nlsq._coarse import CoarseProblem
from homodyne_nlsq._config import NLSQConfig
from homodyne_nlsq._held import HeldMaps
from homodyne_nlsq._input import start_and_box
from homodyne_nlsq._problem import Problem
from homodyne_nlsq._result import OptimizationResult
from homodyne_nlsq._reweighted import HAND_OVER, settle
from homodyne_nlsq._solve import CLOSE, Progress, Solution, solve
from homodyne_nlsq._warm_up import warm_up
from homodyne_nlsq.errors import FitInputError


def fit_held(
    maps: HeldMaps,
    config: NLSQConfig,
    *,
    progress: Progress | None,
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
    local_solver : callable
        `homodyne_nlsq._solve.solve`, or a function with its arguments.
    adapter : str
        What the result calls it.
    warms_up : bool
        Improve start values by L-BFGS on the averages first, and limit the passes, as `HybridStreamingConfig` says.
    """
    given, fixed, bounds = start_and_box(config)
    problem = Problem.of(maps, config)
    dof = maps.data.n_points - _n_fitted_scaling(problem) - int((~fixed).sum())
    if dof < 1:
        raise FitInputError(
            f"data hold {maps.data.n_points} points that count; expected more than the {maps.data.n_points - dof} fitted parameters."
        )
    streaming = config.hybrid_streaming
    options = {
        "n_free_points": dof,
        "max_passes": min(config.max_iterations, streaming.gauss_newton_max_iterations)
        if warms_up
        else config.max_iterations,
        "ftol": config.tolerance,
        "xtol": config.xtol,
        "gtol": config.gtol,
        "progress": progress,
    }
    close = CLOSE if config.loss == "linear" else HAND_OVER
    coarse = CoarseProblem.of(problem)
    outcome = Attempts(
        coarse,
        config,
        fixed,
        bounds,
        descend=lambda *starts: local_solver(problem, starts, bounds, fixed, close=close, **options),
        is_seen=lambda solution: is_seen(problem, solution.at, dof),
        warm_up=lambda start: (
            warm_up(coarse, start, fixed, bounds, streaming, progress=progress) if warms_up else start
        ),
        progress=progress,
    ).run(given)
    if outcome.solution is None:
        return failed_result(problem, outcome, config, fixed, dof, adapter)
    solution = outcome.solution
    if config.loss != "linear":
        problem, solution = settle(
            problem,
            solution,
            local_solver,
            config.loss,
            config.f_scale,
            bounds=bounds,
            fixed=fixed,
            **options,
        )
    return result_of(problem, solution, outcome, config, fixed, dof, adapter)


def _n_fitted_scaling(problem: Problem) -> int:
    """Contrasts and offsets that are not fixed."""
    box = problem.scaling.arrays(problem.model.n_phi)
    free = box[..., 0] < box[..., 1]
    return int(free[0].sum() if problem.common_scaling else free.sum())
