"""Local fits from many starts: a Latin hypercube, a screening by cost, and minima told apart by what they predict."""

import math
import multiprocessing
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from homodyne_global._config import MultiStartConfig
from homodyne_global._coordinates import SearchSpace
from homodyne_global._cost import PythonCost
from homodyne_global._local import LocalSolution
from homodyne_global._results import SearchProgress
from homodyne_global.errors import GlobalSearchError

# Costs differ by less than this share: for the data the minima are the same.
_EQUAL_COST = 1e-4
# Solutions of one minimum whose parameters lie apart by more than this share of the bounds, in search coordinates, are a valley.
_VALLEY = 0.01
# How often a wait for other processes looks whether it shall stop [s].
_PATIENCE = 0.2


@dataclass(frozen=True)
class Minimum:
    """Solutions that are the same minimum.

    Attributes
    ----------
    parameters : ndarray, (d,)
        Of the best of them.
    chi_squared : float
        Its cost.
    covariance : ndarray, (d, d) or None
        As its local solver gave it.
    count : int
        Starts that led here.
    distance : float
        From the best minimum of all, in the measure that told them apart.
    spread : ndarray, (d,)
        Largest less smallest value of every parameter among the solutions.
    success : bool
        Whether the local solver came to rest.
    """

    parameters: np.ndarray
    chi_squared: float
    covariance: np.ndarray | None
    count: int
    distance: float
    spread: np.ndarray
    success: bool


@dataclass(frozen=True)
class MultiStartResult:
    """What fits from many starts found.

    Attributes
    ----------
    parameters : ndarray, (d,)
        Of the best minimum; never worse than the start.
    chi_squared : float
        Cost there.
    covariance : ndarray, (d, d) or None
        As the local solver gave it.
    stage : {"start", "screening", "solving", "refinement"}
        Which stage found them.
    success : bool
        Whether the local solver came to rest there.
    stopped : bool
        Whether it was stopped from outside before its end.
    degenerate : bool
        Whether other parameters are as good: another minimum with the same cost, or a valley.
    message : str
        What happened and what is degenerate, in words.
    minima : tuple of Minimum
        Distinct ones, the best first.
    starts : ndarray, (n_starts, d)
        The given start first.
    start_costs : ndarray, (n_starts,)
        NaN where they are not finite.
    failures : tuple of str
        What local fits that failed said.
    evaluations : int
        Of the cost, those of the local solver not included.
    seed : int
        With which the starts can be drawn again.
    """

    parameters: np.ndarray
    chi_squared: float
    covariance: np.ndarray | None
    stage: str
    success: bool
    stopped: bool
    degenerate: bool
    message: str
    minima: tuple[Minimum, ...]
    starts: np.ndarray
    start_costs: np.ndarray
    failures: tuple[str, ...]
    evaluations: int
    seed: int


def fit_multistart(
    cost: Callable,
    bounds,
    solve: Callable,
    *,
    start: ArrayLike | None = None,
    config: MultiStartConfig | Mapping | None = None,
    batched: bool = False,
    refine: Callable | None = None,
    predict: Callable | None = None,
    distance: Callable | None = None,
    same_below: float = 1e-3,
    equal_cost: float | None = None,
    names: Sequence[str] | None = None,
    log_scale: ArrayLike | None = None,
    executor: Executor | None = None,
    callback: Callable[[SearchProgress], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> MultiStartResult:
    """Solve from the best of many starts, and tell the minima apart.

    The result does not depend on the executor or on the number of workers. Ctrl-C, or a KeyboardInterrupt raised by a callable, ends the
    search and returns the best so far.

    Parameters
    ----------
    cost : callable
        Of the parameters, (d,), or of many candidates, (n, d), where ``batched``.
    bounds : (lower, upper)
        Two sequences of d finite numbers.
    solve : callable
        Local solver: ``solve(start)`` returns a `LocalSolution` or (parameters, cost, covariance). An exception that it raises makes this start
        a failed one.
    start : array_like, (d,), optional
        One of the starts, solved whatever its rank.
    config : MultiStartConfig or mapping, optional
        Settings.
    batched : bool
        Whether the cost takes all candidates at once.
    refine : callable, optional
        Solves from the best minima for a second time, say with closer tolerances; by default ``solve``.
    predict : callable, optional
        ``predict(parameters)`` gives what the model predicts, an array. The distance of two minima is then the norm of the difference of their
        predictions, over that of the best prediction about its mean.
    distance : callable, optional
        ``distance(parameters, others)`` instead. Without either, the largest difference of search coordinates as a share of the bounds.
    same_below : float
        Solutions at a smaller distance are one minimum.
    equal_cost : float, optional
        Costs that differ by no more are equally good; by default a share of 1e-4.
    names : sequence of str, optional
        Of the parameters, for the message.
    log_scale : array_like of bool, (d,), optional
        Parameters drawn on a logarithmic scale; by default those whose bounds are positive and two decades apart.
    executor : concurrent.futures.Executor, optional
        Where local fits are computed, ``n_workers`` at a time (by default all). Without one and with ``n_workers`` above 1 they run in processes that
        are spawned, which need a picklable ``solve``, and a main module that does nothing on import.
    callback : callable, optional
        Called with a `SearchProgress` after the screening and after every solution.
    should_stop : callable, optional
        Asked between solutions; True ends the search.

    Returns
    -------
    MultiStartResult

    Raises
    ------
    GlobalSearchError
        For an argument that is wrong, and a cost that is the same at all starts or finite at none.

    Examples
    --------
    >>> from scipy.optimize import minimize
    >>> def cost(p):
    ...     return (p[0] ** 2 - 1.0) ** 2 + 0.1 * p[0]
    >>> def solve(p):
    ...     found = minimize(cost, p)
    ...     return found.x, found.fun
    >>> found = fit_multistart(cost, ([-2.0], [2.0]), solve, config={"screen_keep_fraction": 1.0})
    >>> [(round(float(m.parameters[0]), 2), round(m.chi_squared, 3)) for m in found.minima]
    [(-1.01, -0.101), (0.99, 0.099)]
    """
    if not isinstance(config, MultiStartConfig):
        config = MultiStartConfig.from_mapping(config or {})
    space = SearchSpace.within(bounds, log_scale)
    first = None if start is None else space.checked_start(start, "start")
    names = [f"parameter {k}" for k in range(space.size)] if names is None else list(names)
    if len(names) != space.size:
        raise GlobalSearchError(f"names has {len(names)} entries; expected {space.size}, one per parameter.")
    for name, function in (("solve", solve), ("refine", refine)):
        if function is not None and not callable(function):
            raise GlobalSearchError(f"{name} is {function!r}; expected a callable.")
    if not same_below > 0:
        raise GlobalSearchError(f"same_below is {same_below!r}; expected a number above 0.")
    seed = int(np.random.SeedSequence().generate_state(1)[0]) if config.seed is None else int(config.seed)

    search = _MultiStart(space, PythonCost(cost, batched=batched), callback, should_stop)
    starts = _starts(space, first, config.n_starts, seed)
    costs = search.screen(starts)
    kept = _screened(costs, config, first is not None)
    measure = _Measure(space, predict, distance)
    failures: list[str] = []
    minima: list[list[_Solution]] = []
    try:
        with _workers(executor, config.n_workers, (solve, refine)) as (pool, at_once):
            solved = search.solve_all("solving", solve, starts[kept], pool, at_once)
            failures += [words for words in solved if isinstance(words, str)]
            minima = measure.grouped([[s] for s in solved if isinstance(s, _Solution)], same_below)
            best = minima[: config.refine_top_k]
            points = [group[0].parameters for group in best]
            again = search.solve_all("refinement", refine or solve, points, pool, at_once)
            for group, solution in zip(best, again, strict=False):
                if isinstance(solution, _Solution) and solution.cost <= group[0].cost:
                    group[0] = solution
            minima = measure.grouped(minima, same_below)
    except KeyboardInterrupt:
        search.stopped = True
    return _result(
        search,
        measure,
        minima,
        starts,
        costs,
        failures,
        seed,
        names,
        has_start=first is not None,
        equal_cost=equal_cost,
    )


def _starts(space: SearchSpace, start: np.ndarray | None, n: int, seed: int) -> np.ndarray:
    from scipy.stats.qmc import LatinHypercube

    given = np.empty((0, space.size)) if start is None else start[None, :]
    cube = LatinHypercube(space.size, rng=np.random.default_rng(seed))
    drawn = cube.random(n - len(given)) if n > len(given) else np.empty((0, space.size))
    return np.concatenate([given, space.parameters(2 * drawn - 1)])


def _screened(costs: np.ndarray, config: MultiStartConfig, has_start: bool) -> np.ndarray:
    """Numbers of the starts that are solved, the best first."""
    # Stable, so that equal costs keep their order on every machine; NaN comes last.
    order = np.argsort(costs, kind="stable")
    kept = order[: math.ceil(config.screen_keep_fraction * len(costs))]
    if has_start and 0 not in kept:
        kept = np.append(kept, 0)
    return kept[np.isfinite(costs[kept])]


@dataclass(frozen=True)
class _Solution:
    """A `LocalSolution` within the bounds, with the cost that the search gives it."""

    parameters: np.ndarray
    cost: float
    covariance: np.ndarray | None
    success: bool
    stage: str


def _attempt(solve: Callable, start: np.ndarray) -> LocalSolution | str:
    """One local fit, at home in any process; what went wrong in words."""
    try:
        return LocalSolution.of(solve(start.copy()), len(start), "solve")
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@contextmanager
def _workers(
    executor: Executor | None, n_workers: int | None, functions: tuple
) -> Iterator[tuple[Executor | None, int | None]]:
    """An executor and how many tasks it is given at a time."""
    if executor is not None or n_workers is None or n_workers == 1:
        yield executor, n_workers
        return
    try:
        pickle.dumps(functions)
    except Exception as error:
        raise GlobalSearchError(
            f"n_workers is {n_workers}, and the local solver cannot be sent to other processes ({error}). "
            "Define it at the top of a module, or pass executor=ThreadPoolExecutor(...)."
        ) from error
    # Forking a process in which JAX has started its threads deadlocks.
    pool = ProcessPoolExecutor(n_workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool, n_workers
    finally:
        # After Ctrl-C nobody waits for fits whose results are not wanted.
        pool.shutdown(wait=False, cancel_futures=True)


@dataclass
class _MultiStart:
    """The best so far, and the ways to get further."""

    space: SearchSpace
    cost: PythonCost
    callback: Callable | None
    should_stop: Callable | None
    best_parameters: np.ndarray | None = None
    best_cost: float = math.nan
    stopped: bool = False

    def _report(self, stage: str, done: int, total: int) -> None:
        if self.callback is not None:
            best = None if self.best_parameters is None else self.best_parameters.copy()
            self.callback(SearchProgress(stage, done, total, 0, self.cost.evaluations, self.best_cost, best))

    def _offer(self, parameters: np.ndarray, cost: float) -> None:
        if not cost >= self.best_cost:
            self.best_parameters, self.best_cost = parameters, cost

    def screen(self, starts: np.ndarray) -> np.ndarray:
        """Costs of all starts."""
        try:
            costs = self.cost(starts)
        except KeyboardInterrupt:
            self.stopped = True
            costs = np.full(len(starts), np.nan)
            done, found = self.cost.unfinished or (starts[:0], costs[:0])
            costs[: len(done)] = found
            if not np.any(np.isfinite(costs)):
                raise
        finite = costs[np.isfinite(costs)]
        if not finite.size:
            raise GlobalSearchError(
                f"cost is not finite at any of {len(costs)} starts within the bounds; expected finite values at some. "
                "Narrow the bounds to where the model is defined, or raise n_starts."
            )
        if finite.size > 1 and np.ptp(finite) == 0:
            raise GlobalSearchError(
                f"cost is constant: it is {finite[0]:g} at all {finite.size} starts where it is finite. Expected a function of the parameters."
            )
        best = int(np.nanargmin(costs))
        self._offer(starts[best], float(costs[best]))
        return costs

    def solve_all(
        self,
        stage: str,
        solve: Callable,
        starts: Sequence[np.ndarray],
        pool: Executor | None,
        at_once: int | None,
    ) -> list[_Solution | str | None]:
        """Local fits from starts, in their order; None where one was not reached before a stop."""
        found: list[_Solution | str | None] = [None] * len(starts)
        if self.stopped:
            return found
        results = (
            _here(solve, starts) if pool is None else _elsewhere(solve, starts, pool, at_once, self._asked)
        )
        done = 0
        try:
            if stage == "solving":
                self._report("screening", self.cost.evaluations, self.cost.evaluations)
            while not self._asked():
                k, outcome = next(results, (None, None))
                if k is None:
                    break
                found[k] = self._accepted(outcome, stage)
                if isinstance(found[k], _Solution):
                    self._offer(found[k].parameters, found[k].cost)
                done += 1
                self._report(stage, done, len(starts))
        except KeyboardInterrupt:
            # What has been solved is kept, and told apart by the caller.
            self.stopped = True
        finally:
            results.close()
        return found

    def _asked(self) -> bool:
        if self.should_stop is not None and self.should_stop():
            self.stopped = True
        return self.stopped

    def _accepted(self, outcome: LocalSolution | str, stage: str) -> _Solution | str:
        """A solution that the cost confirms, or why it is none."""
        if isinstance(outcome, str):
            return outcome
        slack = 1e-9 * (self.space.upper - self.space.lower)
        inside = (outcome.parameters >= self.space.lower - slack) & (
            outcome.parameters <= self.space.upper + slack
        )
        if not np.all(inside):
            return f"left the bounds, at {outcome.parameters}"
        parameters = np.clip(outcome.parameters, self.space.lower, self.space.upper)
        cost = float(self.cost(parameters[None, :])[0])
        if math.isnan(cost):
            return f"ended where the cost is not finite, at {parameters}"
        return _Solution(parameters, cost, outcome.covariance, outcome.success, stage)


def _here(solve: Callable, starts: Sequence[np.ndarray]) -> Iterator[tuple[int, LocalSolution | str]]:
    for k, start in enumerate(starts):
        yield k, _attempt(solve, start)


def _elsewhere(
    solve: Callable,
    starts: Sequence[np.ndarray],
    pool: Executor,
    at_once: int | None,
    asked: Callable[[], bool],
) -> Iterator[tuple[int, LocalSolution | str]]:
    """Outcomes as they come, with a look from time to time at whether they are still wanted."""
    running: dict[Future, int] = {}
    waiting = list(enumerate(starts))
    try:
        while (running or waiting) and not asked():
            while waiting and (at_once is None or len(running) < at_once):
                k, start = waiting.pop(0)
                running[pool.submit(_attempt, solve, start)] = k
            finished, _ = wait(running, timeout=_PATIENCE, return_when=FIRST_COMPLETED)
            for future in finished:
                yield running.pop(future), future.result()
    finally:
        for future in running:
            future.cancel()


class _Measure:
    """The distance of solutions."""

    def __init__(self, space: SearchSpace, predict: Callable | None, distance: Callable | None) -> None:
        if predict is not None and distance is not None:
            raise GlobalSearchError("predict and distance are both given; expected one of the two.")
        self._space, self._predict, self._distance = space, predict, distance
        self._predictions: dict[bytes, np.ndarray] = {}
        self.of_predictions = predict is not None or distance is not None

    def _prediction(self, parameters: np.ndarray) -> np.ndarray:
        key = parameters.tobytes()
        if key not in self._predictions:
            self._predictions[key] = np.asarray(self._predict(parameters.copy()), dtype=float).ravel()
        return self._predictions[key]

    def between(self, parameters: np.ndarray, others: np.ndarray) -> float:
        """How far parameters are from others, in terms of the others' prediction; infinite where that is not a number."""
        if self._distance is not None:
            value = float(self._distance(parameters.copy(), others.copy()))
        elif self._predict is not None:
            a, b = self._prediction(parameters), self._prediction(others)
            spread = np.linalg.norm(b - b.mean())
            value = np.linalg.norm(a - b) / (spread if spread > 0 else 1.0)
        else:
            value = np.max(np.abs(self.coordinates(parameters) - self.coordinates(others))) / 2
        return float(value) if np.isfinite(value) else math.inf

    def coordinates(self, parameters: np.ndarray) -> np.ndarray:
        """Search coordinates."""
        return self._space.coordinates(parameters)

    def grouped(self, groups: list[list[_Solution]], same_below: float) -> list[list[_Solution]]:
        """Groups joined where their best solutions are the same; each with its best first, and the best group first."""
        ordered = sorted(groups, key=lambda group: group[0].cost)
        joined: list[list[_Solution]] = []
        for group in ordered:
            home = next(
                (j for j in joined if self.between(group[0].parameters, j[0].parameters) < same_below), None
            )
            if home is None:
                joined.append(list(group))
            else:
                home.extend(group)
        return joined


def _result(
    search: _MultiStart,
    measure: _Measure,
    groups: list[list[_Solution]],
    starts: np.ndarray,
    costs: np.ndarray,
    failures: list[str],
    seed: int,
    names: list[str],
    *,
    has_start: bool,
    equal_cost: float | None,
) -> MultiStartResult:
    minima = tuple(
        Minimum(
            parameters=group[0].parameters,
            chi_squared=group[0].cost,
            covariance=group[0].covariance,
            count=len(group),
            distance=measure.between(group[0].parameters, groups[0][0].parameters),
            spread=np.ptp([solution.parameters for solution in group], axis=0),
            success=group[0].success,
        )
        for group in groups
    )
    best = groups[0][0] if groups and groups[0][0].cost <= search.best_cost else None
    if best is not None:
        stage = best.stage
    else:
        stage = "start" if has_start and costs[0] == search.best_cost else "screening"
    if equal_cost is None:
        # The second part is for fits without residuals, where all that is left is rounding.
        equal_cost = _EQUAL_COST * abs(search.best_cost) + 1e-12 * float(np.nanmax(np.abs(costs)))
    words = _degeneracies(minima, groups, measure, names, equal_cost)
    solved = sum(minimum.count for minimum in minima)
    sentences = [f"{solved} of {len(starts)} starts were solved and led to {len(minima)} distinct minima."]
    if failures:
        sentences.append(f"{len(failures)} local fits failed; the first said: {failures[0]}.")
    if best is None:
        sentences.append("The local solver found nothing better than the best start.")
    if search.stopped:
        sentences.append("It was stopped from outside; this is the best so far.")
    return MultiStartResult(
        # Of solutions that are equally good, the first to arrive depends on the executor; the first in the order of the starts does not.
        parameters=np.array(search.best_parameters if best is None else best.parameters),
        chi_squared=search.best_cost if best is None else best.cost,
        covariance=None if best is None else best.covariance,
        stage=stage,
        success=best is not None and best.success and not search.stopped,
        stopped=search.stopped,
        degenerate=bool(words),
        message=" ".join([*sentences, *words]),
        minima=minima,
        starts=starts,
        start_costs=costs,
        failures=tuple(failures),
        evaluations=search.cost.evaluations,
        seed=seed,
    )


def _degeneracies(
    minima: Sequence[Minimum],
    groups: list[list[_Solution]],
    measure: _Measure,
    names: list[str],
    equal_cost: float,
) -> list[str]:
    """Sentences on parameters that are as good as the best."""
    if not minima:
        return []
    best, words = minima[0], []
    for number, other in enumerate(minima[1:], start=2):
        if other.chi_squared - best.chi_squared <= equal_cost:
            apart = np.abs(measure.coordinates(other.parameters) - measure.coordinates(best.parameters)) / 2
            moved = [k for k in np.argsort(-apart, kind="stable") if apart[k] > _VALLEY] or [
                int(np.argmax(apart))
            ]
            values = ", ".join(
                f"{names[k]} {best.parameters[k]:.4g} or {other.parameters[k]:.4g}" for k in moved
            )
            words.append(
                f"Degenerate: minimum {number} is as good as the best (chi_squared {other.chi_squared:.6g} and {best.chi_squared:.6g}) "
                f"at a distance of {other.distance:.3g}: {values}. The data do not decide between them."
            )
    good = [s for s in groups[0] if s.cost - best.chi_squared <= equal_cost]
    spread = np.ptp([measure.coordinates(s.parameters) for s in good], axis=0) / 2
    loose = np.flatnonzero(spread > _VALLEY)
    if measure.of_predictions and loose.size:
        values = ", ".join(
            f"{names[k]} from {min(s.parameters[k] for s in good):.4g} to {max(s.parameters[k] for s in good):.4g}"
            for k in loose
        )
        words.append(
            f"Degenerate: {len(good)} solutions of the best minimum predict the same with different parameters: {values}. "
            "The data do not determine them separately."
        )
    return words
