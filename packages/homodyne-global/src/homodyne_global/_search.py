"""The course of a CMA-ES search: a look around, runs and restarts, and an end from outside at any time."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

import numpy as np

from homodyne_global._bipop import RunPlan, default_population, next_run
from homodyne_global._config import CMAESWrapperConfig
from homodyne_global._coordinates import SearchSpace
from homodyne_global._results import CMAESRun, SearchProgress, StopReason
from homodyne_global.errors import GlobalSearchError

# Points at which a cost is tried before it counts as constant or as finite nowhere.
_PROBES = 200
# A compiled loop returns to Python about this often, so that Ctrl-C is heard [s].
_PATIENCE = 0.5


@dataclass
class Search:
    """The best candidate of a search, and how it came about.

    Attributes
    ----------
    best_parameters : ndarray or None
        None before the first finite cost.
    best_cost : float
        NaN before.
    start : ndarray or None
        The given start, if it has a finite cost.
    start_cost : float
        There, else the lowest of the look around; NaN before either.
    best_run : int or None
        Number of the run that found the best; None before, and where it is the start or was met in the look around.
    runs : list of CMAESRun
        Those that have begun.
    stopped : bool
        Whether it was ended from outside.
    """

    cost: Callable
    space: SearchSpace
    callback: Callable[[SearchProgress], object] | None = None
    should_stop: Callable[[], bool] | None = None
    best_parameters: np.ndarray | None = None
    best_cost: float = math.nan
    start: np.ndarray | None = None
    start_cost: float = math.nan
    best_run: int | None = None
    runs: list[CMAESRun] = field(default_factory=list)
    stopped: bool = False

    def offer(self, parameters: np.ndarray, costs: np.ndarray) -> bool:
        """Take over the best of some candidates if it is better than all before."""
        if not np.any(np.isfinite(costs)):
            return False
        k = int(np.nanargmin(np.where(np.isfinite(costs), costs, np.nan)))
        if costs[k] >= self.best_cost:
            return False
        self.best_parameters, self.best_cost = np.array(parameters[k], dtype=float), float(costs[k])
        return True

    def ask_to_stop(self) -> bool:
        """Whether the caller wants an end now."""
        if self.should_stop is not None and self.should_stop():
            self.stopped = True
        return self.stopped

    def report(self, stage: str, done: int, total: int) -> None:
        """Tell the callback how far the search is."""
        if self.callback is not None:
            best = None if self.best_parameters is None else self.best_parameters.copy()
            self.callback(
                SearchProgress(
                    stage,
                    done,
                    total,
                    max(0, len(self.runs) - 1),
                    self.cost.evaluations,
                    self.best_cost,
                    best,
                )
            )

    def look_around(self, start: np.ndarray | None, random: np.random.Generator) -> None:
        """Evaluate the start and some points at random, and refuse a cost that offers nothing to search for."""
        tried = []
        if start is not None:
            tried.append(self.cost(start[None, :]))
            if self.offer(start[None, :], tried[0]):
                self.start, self.start_cost = start, self.best_cost
        sizes = (default_population(self.space.size), _PROBES)
        for size in sizes:
            points = self.space.parameters(random.uniform(-1, 1, (size, self.space.size)))
            tried.append(self.cost(points))
            self.offer(points, tried[-1])
            if math.isnan(self.start_cost):
                self.start_cost = self.best_cost
            known = np.concatenate(tried)
            known = known[np.isfinite(known)]
            if known.size and np.ptp(known) > 0:
                return
        n = self.cost.evaluations
        if not known.size:
            raise GlobalSearchError(
                f"cost is not finite at any of {n} points within the bounds; expected finite values in a part of them large enough to be found. "
                "Narrow the bounds to where the model is defined."
            )
        if known.size > 1:
            raise GlobalSearchError(
                f"cost is constant: it is {known[0]:g} at all {known.size} points where it is finite, of {n} within the bounds. "
                "Expected a function of the parameters."
            )

    def run_all(
        self,
        start: np.ndarray | None,
        config: CMAESWrapperConfig,
        seed: int,
        target: float,
        *,
        local_only: bool = False,
    ) -> None:
        """Run CMA-ES with the restarts and within the evaluations that the settings allow, or find a start for the local solver alone."""
        population = default_population(self.space.size)
        restarts = config.max_restarts if config.restart_strategy == "bipop" else 0
        random = np.random.default_rng(seed)
        try:
            self.look_around(start, random)
            if local_only:
                # A start that has a cost is the one that was asked for, even where a point beside it is better.
                if self.start is not None:
                    self.best_parameters, self.best_cost = self.start, self.start_cost
                return
            usual = self.cost.evaluations + (restarts + 1) * population * config.generations
            budget = config.max_evaluations or usual
            while not self.ask_to_stop():
                plan = next_run(
                    self.runs,
                    population=population,
                    sigma=config.sigma,
                    generations=config.generations,
                    max_restarts=restarts,
                    random=random,
                )
                affordable = (budget - self.cost.evaluations) // (plan.population if plan else 1)
                if plan is None or affordable < 1:
                    return
                # As in the paper, which starts between -4 and 4 within bounds of -5 and 5.
                mean = random.uniform(-0.8, 0.8, self.space.size)
                if not self.runs:
                    # The look around serves where no start is given, or none at which there is a cost.
                    mean = self.space.coordinates(self.best_parameters if self.start is None else self.start)
                self._run(plan, affordable, mean, config, seed, target)
                if self.stopped or self.best_cost <= target:
                    return
        except KeyboardInterrupt:
            self.stopped = True
            if self.cost.unfinished is not None and self.offer(*self.cost.unfinished) and self.runs:
                self.best_run = len(self.runs) - 1
            if self.best_parameters is None:
                raise

    def _run(
        self,
        plan: RunPlan,
        affordable: int,
        mean: np.ndarray,
        config: CMAESWrapperConfig,
        seed: int,
        target: float,
    ) -> None:
        from homodyne_global import _engine

        engine = _engine.algorithm(plan.population, self.space.size)
        limits = _engine.Limits(config.tol_fun, config.tol_x, target)
        make = _engine.compiled if isinstance(self.cost, _engine.TracedCost) else _engine.generation_of
        advance = make(engine, self.space, self.cost, limits)
        most = min(plan.generations, affordable)
        state = _engine.start(engine, seed, len(self.runs), mean, plan.sigma)
        watched = self.callback is not None or self.should_stop is not None
        generation, stop, stride = 0, None, 1
        self.runs.append(self._record(plan, 0, math.inf, StopReason.STOPPED))
        while stop is None and generation < most:
            if self.ask_to_stop():
                return
            began = monotonic()
            state = advance(state, min(generation + stride, most))
            generation, cost = int(state.generation), float(state.best_cost)
            stop = _engine.STOP_REASONS[int(state.stop)]
            ended = stop
            if ended is None and generation == most:
                ended = StopReason.MAX_GENERATIONS if most == plan.generations else StopReason.MAX_EVALUATIONS
            self.runs[-1] = self._record(plan, generation, cost, ended or StopReason.STOPPED)
            if self.offer(np.asarray(state.best_parameters)[None, :], np.array([cost])):
                self.best_run = len(self.runs) - 1
            self.report("search", generation, most)
            # How many generations go between two looks changes nothing in them.
            if not watched and monotonic() - began < _PATIENCE:
                stride *= 2

    @staticmethod
    def _record(plan: RunPlan, generations: int, cost: float, stop: StopReason) -> CMAESRun:
        return CMAESRun(
            plan.regime, plan.population, plan.sigma, generations, generations * plan.population, cost, stop
        )
