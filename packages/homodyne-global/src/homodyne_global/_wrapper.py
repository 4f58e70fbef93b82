"""CMA-ES with restarts, and a local solver that finishes what it found."""

import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from homodyne_global._config import CMAESWrapperConfig
from homodyne_global._coordinates import SearchSpace
from homodyne_global._cost import PythonCost
from homodyne_global._curve import ARRAYS, Curve, CurveData, whole_blocks
from homodyne_global._local import LocalSolution
from homodyne_global._results import AT_REST, CMAESDiagnostics, CMAESResult, SearchProgress
from homodyne_global._search import Search
from homodyne_global._selection import choose_search, compute_scale_ratio, should_use_cmaes
from homodyne_global.errors import GlobalSearchError

# The local solver ended at the minimum that the search had found if their costs agree within this share.
_SAME_COST = 1e-9


class CMAESWrapper:
    """Global search by CMA-ES for any cost with bounds.

    Parameters
    ----------
    config : CMAESWrapperConfig or mapping, optional
        Settings.

    Examples
    --------
    >>> import numpy as np
    >>> wrapper = CMAESWrapper({"preset": "cmaes-fast", "restart_strategy": "none", "seed": 1})
    >>> found = wrapper.minimize(lambda p: np.hypot(*(p - [1.0, 300.0])), ([-5.0, 1.0], [5.0, 1e5]))
    >>> bool(found.chi_squared < 1.0), found.diagnostics.generations
    (True, 50)
    """

    def __init__(self, config: CMAESWrapperConfig | Mapping | None = None) -> None:
        self.config = _settings(config)

    @staticmethod
    def compute_scale_ratio(bounds) -> float:
        """Widest over narrowest distance between bounds; see `compute_scale_ratio`."""
        return compute_scale_ratio(bounds)

    def should_use_cmaes(self, bounds, scale_threshold: float | None = None) -> bool:
        """Whether the scale ratio of bounds exceeds a threshold, by default the settings'."""
        return should_use_cmaes(
            bounds, self.config.scale_threshold if scale_threshold is None else scale_threshold
        )

    def minimize(
        self,
        cost: Callable,
        bounds,
        *,
        start: ArrayLike | None = None,
        batched: bool = False,
        traceable: bool | None = None,
        refine: Callable | None = None,
        log_scale: ArrayLike | None = None,
        executor: Executor | None = None,
        callback: Callable[[SearchProgress], object] | None = None,
        should_stop: Callable[[], bool] | None = None,
        target: float | None = None,
        bytes_per_candidate: int | None = None,
    ) -> CMAESResult:
        """Minimise a cost within bounds.

        Ctrl-C, or a KeyboardInterrupt raised by the cost or the callback, ends the search and returns the best so far.

        Parameters
        ----------
        cost : callable
            Of the parameters, (d,), or of many candidates, (n, d), where ``batched``; returns a number, or (n,). What is not finite is worse
            than anything else.
        bounds : (lower, upper)
            Two sequences of d finite numbers.
        start : array_like, (d,), optional
            The centre of the first generation; by default the best of a few points at random. The result is never worse.
        batched : bool
            Whether the cost takes all candidates at once.
        traceable : bool, optional
            Whether the cost is compiled with JAX, in double precision, and whole runs with it, or called from Python with NumPy arrays under the
            host's settings. By default what works: the cost is traced, and called from Python if that fails. A cost with side effects, or with
            much data in its closure, should be given False.
        refine : callable, optional
            Local solver, ``refine(start, *, ftol, xtol, gtol, max_nfev, loss, workflow)``, that returns a `LocalSolution` or (parameters, cost,
            covariance). What it found is evaluated with ``cost`` and taken if it is not worse.
        log_scale : array_like of bool, (d,), optional
            Parameters that are searched on a logarithmic scale; by default those whose bounds are positive and two decades apart.
        executor : concurrent.futures.Executor, optional
            Where a Python cost is evaluated, ``population_batch_size`` candidates to a task (by default one).
        callback : callable, optional
            Called with a `SearchProgress` after every generation.
        should_stop : callable, optional
            Asked before every generation; True ends the search.
        target : float, optional
            A cost at which the search ends.
        bytes_per_candidate : int, optional
            What the evaluation of one candidate holds, for ``memory_limit_gb`` to limit how many are evaluated at a time.

        Returns
        -------
        CMAESResult

        Raises
        ------
        GlobalSearchError
            For an argument that is wrong, a cost that is constant, and one that is finite nowhere.
        """
        space = SearchSpace.within(bounds, log_scale)
        first = None if start is None else space.checked_start(start, "start")
        size = self.config.population_batch_size
        if size is None and bytes_per_candidate is not None:
            size = max(1, int(self.config.memory_limit_gb * 1e9 / bytes_per_candidate))
        evaluator = _traced(lambda p, _: cost(p), (), space, batched, size, traceable, executor)
        if evaluator is None:
            evaluator = PythonCost(cost, batched=batched, batch_size=size, executor=executor)
        return self._find(
            evaluator, space, first, refine, callback=callback, should_stop=should_stop, target=target
        )

    def fit(
        self,
        model_func: Callable,
        xdata: Any,
        ydata: ArrayLike,
        p0: ArrayLike | None,
        bounds,
        sigma: ArrayLike | None = None,
        *,
        traceable: bool | None = None,
        refine: Callable | None = None,
        log_scale: ArrayLike | None = None,
        executor: Executor | None = None,
        callback: Callable[[SearchProgress], object] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> CMAESResult:
        """Fit a curve model by least squares, or with the settings' ``refinement_loss``.

        Parameters
        ----------
        model_func : callable
            ``model_func(x, *parameters)``, a value per point. To be evaluated in chunks it must take any part of ``xdata``.
        xdata : array_like, (n,) or (k, n), or any object
            What the model is given first.
        ydata : array_like, (n,)
            Finite.
        p0 : array_like, (d,), or None
            Start.
        bounds : (lower, upper)
            Two sequences of d finite numbers.
        sigma : array_like, (n,), or float, optional
            Standard deviations of ``ydata``. Without them the covariance is scaled such that the residuals explain themselves.
        refine : callable, optional
            Instead of SciPy's ``least_squares``; see `minimize`.
        traceable, log_scale, executor, callback, should_stop
            See `minimize`.

        Returns
        -------
        CMAESResult
            With ``chi_squared`` the sum of squared residuals over sigma, whatever the loss.

        Examples
        --------
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> x = np.linspace(0.0, 3.0, 50)
        >>> wrapper = CMAESWrapper({"preset": "cmaes-fast", "restart_strategy": "none", "seed": 1})
        >>> found = wrapper.fit(lambda x, a, b: a * jnp.exp(-b * x), x, 2.0 * np.exp(-1.5 * x), [1.0, 1.0], ([0.1, 0.1], [50.0, 50.0]))
        >>> found.parameters.round(6), found.stage
        (array([2. , 1.5]), 'refinement')
        """
        options = {
            "traceable": traceable,
            "refine": refine,
            "log_scale": log_scale,
            "executor": executor,
            "callback": callback,
            "should_stop": should_stop,
        }
        return self._fit(model_func, xdata, ydata, p0, bounds, sigma, options)

    def _fit(
        self, model_func, xdata, ydata, p0, bounds, sigma, options: Mapping, *, local_only: bool = False
    ) -> CMAESResult:
        """`fit`, with CMA-ES left out where only the local solver is wanted."""
        space = SearchSpace.within(bounds, options.get("log_scale"))
        first = None if p0 is None else space.checked_start(p0, "p0")
        curve = self._curve(model_func, CurveData.checked(xdata, ydata, sigma), space)
        limit = int(self.config.memory_limit_gb * 1e9)
        traceable, executor = options.get("traceable"), options.get("executor")
        size = self.config.population_batch_size
        fitting = size or max(1, limit // (ARRAYS * 8 * min(curve.chunk, curve.data.size)))
        cost = _traced(curve.traced_cost, curve.chunked(), space, False, fitting, traceable, executor)
        if cost is None:
            curve = replace(curve, traced=False)
            cost = PythonCost(curve.cost, batched=False, batch_size=size, executor=executor)
        watch = {name: options.get(name) for name in ("callback", "should_stop")}
        result = self._find(
            cost, space, first, options.get("refine") or curve.solve, local_only=local_only, **watch
        )
        if self.config.refinement_loss == "linear":
            return result
        return replace(result, chi_squared=curve.cost(result.parameters, "linear"))

    def _curve(self, model_func: Callable, data: CurveData, space: SearchSpace) -> Curve:
        """The model with its data in chunks as the settings ask for, or as the memory asks for where they do not."""
        config = self.config
        limit = int(config.memory_limit_gb * 1e9)
        wanted = config.data_chunk_size
        for name, value, needed in (
            ("data_chunk_size", wanted, wanted is not None),
            ("refinement_workflow", config.refinement_workflow, config.refinement_workflow == "streaming"),
        ):
            if needed and not data.sliceable:
                raise GlobalSearchError(
                    f"{name} is {value!r}, and xdata of shape {np.shape(data.x)} cannot be cut into chunks; "
                    f"expected {data.size} points along its last axis."
                )
        if wanted is None:
            wanted = min(data.size, limit // (ARRAYS * 8)) if data.sliceable else data.size
        return Curve(
            model_func, data, space, config.refinement_loss, whole_blocks(wanted), limit, traced=True
        )

    def _find(
        self,
        cost: Any,
        space: SearchSpace,
        start: np.ndarray | None,
        refine: Callable | None,
        *,
        callback: Callable | None,
        should_stop: Callable | None,
        target: float | None = None,
        local_only: bool = False,
    ) -> CMAESResult:
        config = self.config
        settings = config.refinement_settings
        refine = refine if config.refine_with_nlsq else None
        if refine is not None:
            _check_signature(refine, settings)
        # The seed is drawn from the system where none is given, and reported.
        seed = int(np.random.SeedSequence().generate_state(1)[0]) if config.seed is None else int(config.seed)
        if not local_only:
            # The first import of flax, which evosax brings, makes JAX forget what it has compiled: better before the cost than after it.
            from homodyne_global import _engine  # noqa: F401
        search = Search(cost, space, callback, should_stop)
        goal = -np.inf if target is None else float(target)
        search.run_all(start, config, seed, goal, local_only=local_only)

        by_stage = {"start": search.start_cost}
        if not local_only:
            by_stage["search"] = search.best_cost
        at_start = search.start is not None and search.best_cost == search.start_cost
        stage = "start" if at_start else "search"
        run = search.runs[search.best_run or 0] if search.runs else None
        success = run is not None and run.stop in AT_REST
        sentences = [] if local_only else [_sentence(search, at_start)]
        covariance = None
        if refine is not None and not search.stopped:
            solution, sentence = _refined(refine, settings, search)
            sentences.append(sentence)
            if solution is not None:
                by_stage["refinement"] = float(np.fmin(search.best_cost, solution.cost))
                if solution.cost - search.best_cost <= _SAME_COST * abs(search.best_cost):
                    covariance = solution.covariance
                # One that is as good as what it started from counts: the local solver came to rest there.
                if solution.cost <= search.best_cost:
                    search.best_parameters, search.best_cost = solution.parameters, solution.cost
                    stage, success = "refinement", solution.success
        if search.stopped:
            sentences.append("It was stopped from outside; this is the best so far.")
        return CMAESResult(
            parameters=search.best_parameters,
            chi_squared=search.best_cost,
            covariance=covariance,
            stage=stage,
            nlsq_refined=stage == "refinement",
            success=success and not search.stopped,
            stopped=search.stopped,
            message=" ".join(filter(None, sentences)),
            seed=seed,
            diagnostics=CMAESDiagnostics(
                generations=sum(run.generations for run in search.runs),
                evaluations=cost.evaluations,
                restarts=max(0, len(search.runs) - 1),
                chi_squared_improvement=search.start_cost - search.best_cost,
                chi_squared_by_stage=by_stage,
                runs=tuple(search.runs),
                scale_ratio=compute_scale_ratio((space.lower, space.upper)),
            ),
        )


def fit_with_cmaes(
    model_func: Callable,
    xdata: Any,
    ydata: ArrayLike,
    p0: ArrayLike,
    bounds,
    sigma: ArrayLike | None = None,
    *,
    config: CMAESWrapperConfig | Mapping | None = None,
    **options: Any,
) -> CMAESResult:
    """Fit a curve model by CMA-ES, or by the local solver alone where ``auto_select`` finds that enough.

    Parameters
    ----------
    model_func, xdata, ydata, p0, bounds, sigma
        As for `CMAESWrapper.fit`.
    config : CMAESWrapperConfig or mapping, optional
        Settings. ``enable`` is for callers that choose among searches (`choose_search`); whoever calls this has chosen.
    **options
        Further arguments of `CMAESWrapper.fit`.

    Returns
    -------
    CMAESResult
        Its message says which way was taken. Without CMA-ES it has no runs.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(0.0, 3.0, 50)
    >>> found = fit_with_cmaes(lambda x, a, b: a * x + b, x, 2 * x + 1, [1.0, 0.0], ([-9, -9], [9, 9]))
    >>> found.diagnostics.scale_ratio, found.diagnostics.restarts, found.parameters.round(6)
    (1.0, 0, array([2., 1.]))
    """
    settings = _settings(config)
    wrapper = CMAESWrapper(settings)
    # Without a refinement there is no local solver to leave it to.
    choice = choose_search(
        bounds, replace(settings, enable=True, auto_select=settings.auto_select and settings.refine_with_nlsq)
    )
    if choice.method == "cmaes":
        return wrapper.fit(model_func, xdata, ydata, p0, bounds, sigma, **options)
    inspect.signature(wrapper.fit).bind(model_func, xdata, ydata, p0, bounds, sigma, **options)
    result = wrapper._fit(model_func, xdata, ydata, p0, bounds, sigma, options, local_only=True)
    return replace(result, message=f"{choice.sentence} {result.message}")


def _settings(config: CMAESWrapperConfig | Mapping | None) -> CMAESWrapperConfig:
    if config is None or isinstance(config, CMAESWrapperConfig):
        return config or CMAESWrapperConfig()
    return CMAESWrapperConfig.from_mapping(config)


def _traced(
    cost: Callable,
    data: Any,
    space: SearchSpace,
    batched: bool,
    size: int | None,
    traceable: bool | None,
    executor: Executor | None,
) -> Any:
    """The cost compiled, where that is wanted and possible."""
    if traceable and executor is not None:
        raise GlobalSearchError(
            "executor is given with traceable=True; expected one of the two, since compiled costs run in this process."
        )
    if traceable is False or executor is not None:
        return None
    # evosax and what it needs take seconds to import, so they are imported where a search begins.
    from homodyne_global._engine import TracedCost

    return TracedCost.attempt(
        cost, data, space.size, batched=batched, batch_size=size, demand=bool(traceable)
    )


def _check_signature(refine: Callable, settings: dict) -> None:
    try:
        signature = inspect.signature(refine)
    except ValueError:  # of functions that are not written in Python
        return
    try:
        signature.bind(None, **settings)
    except TypeError as error:
        raise GlobalSearchError(
            f"refine has the signature {signature}; expected refine(start, *, {', '.join(settings)})."
        ) from error


def _refined(refine: Callable, settings: dict, search: Search) -> tuple[LocalSolution | None, str]:
    """What the local solver found from the best candidate, with the cost that the search gives it, and words."""
    space = search.space
    try:
        search.report("refinement", 0, 1)
        solution = LocalSolution.of(refine(search.best_parameters.copy(), **settings), space.size, "refine")
        slack = 1e-9 * (space.upper - space.lower)
        if not np.all(
            (solution.parameters >= space.lower - slack) & (solution.parameters <= space.upper + slack)
        ):
            return None, "The local solver left the bounds, or ended at no number, and was not followed."
        parameters = np.clip(solution.parameters, space.lower, space.upper)
        value = float(search.cost(parameters[None, :])[0])
        solution = replace(solution, parameters=parameters, cost=value)
        search.report("refinement", 1, 1)
    except KeyboardInterrupt:
        search.stopped = True
        return None, ""
    except Exception as error:
        # The search may have taken hours; what it found is kept.
        return None, f"The local solver failed ({type(error).__name__}: {error})."
    if not value <= search.best_cost:
        return (
            solution,
            f"The local solver ended at a higher cost, {value:.6g}, and was not followed. {solution.message}".strip(),
        )
    return solution, solution.message


def _sentence(search: Search, at_start: bool) -> str:
    """What the search found, in words."""
    n = len(search.runs)
    if at_start:
        return f"None of {search.cost.evaluations} candidates was better than the start (cost {search.best_cost:.6g})."
    if search.best_run is None:
        return f"The best of {search.cost.evaluations} candidates is one of those tried at first (cost {search.best_cost:.6g})."
    run = search.runs[search.best_run]
    return (
        f"Run {search.best_run + 1} of {n}, with {run.population} candidates in a generation, found the cost {search.best_cost:.6g}. "
        f"{run.stop.sentence}"
    )
