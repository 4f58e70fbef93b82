"""A global search for start values: over the physical parameters alone, contrast and offset eliminated, on averages of the data.

How to search is homodyne-global's; what is searched, where, and what to make of it is here. All the data are passed over only to compare the
start with what was found, and to refine the minima of multistart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import jax
import numpy as np

from homodyne_nlsq._coarse import CoarseProblem
from homodyne_nlsq._config import NLSQConfig
from homodyne_nlsq._problem import Problem
from homodyne_nlsq._search_record import GlobalSearch, SearchMinimum, SearchRun
from homodyne_nlsq._search_space import SearchSpace
from homodyne_nlsq._solve import Evaluation, Evaluator, NotFiniteError, Progress, Solution
from homodyne_nlsq._start import start_from_data, start_from_given
from homodyne_nlsq.errors import FitInputError

# What a solution says that was stopped from outside.
STOPPED = "stopped from outside; this is the best so far"
# Predictions less than this many standard deviations of all points apart are one minimum.
_SAME = 1.0
# Directions of flow this far apart [deg] are different minima even where they predict the same, which two angles allow.
_DIRECTION = 10.0
# Difference of χ², in units of the noise, below which the data do not decide between two minima: two standard deviations.
_UNDECIDED = 4.0
# Share of the measured values below which noise is rounding.
_ROUNDING = 1e-6
# Candidates are evaluated in batches of a few sizes, of which each is compiled once.
_SMALLEST_BATCH = 16
# Relative difference of χ² of the averages below which start and search came to the same optimum.
_SAME_COST = 1e-6
# Arrays of the size of the averages that the evaluation of a candidate holds.
_ARRAYS = 10


@dataclass(frozen=True)
class Found:
    """The best that a search found.

    Attributes
    ----------
    at : Evaluation
        All the data there.
    first : Evaluation
        All the data at the start, or again the best where the model is not finite there.
    passes : int
        Passes over the data.
    record : GlobalSearch
        How it went.
    averages : _Averages
        On which minima are told apart.
    reached : tuple of _Reached
        The minima of multistart with all the data.
    """

    at: Evaluation
    first: Evaluation
    passes: int
    record: GlobalSearch
    averages: _Averages
    reached: tuple[_Reached, ...] = ()


def global_search(
    problem: Problem,
    coarse: CoarseProblem,
    config: NLSQConfig,
    choice,
    given,
    fixed,
    bounds,
    *,
    refine: Callable[[np.ndarray], Solution],
    progress: Progress | None,
    executor: Executor | None,
) -> Found:
    """Search as chosen, from the given start values or, where there are none, those of the data.

    Parameters
    ----------
    problem : Problem
        All the data.
    coarse : CoarseProblem
        Their averages.
    config : NLSQConfig
    choice : homodyne_global.SearchChoice
        CMA-ES or multistart.
    given : (n_physical,)
        Start values, NaN where the data shall give them.
    fixed : (n_physical,) bool
        Parameters that keep their start value.
    bounds : (n_physical, 2)
        Of the fit.
    refine : callable
        ``refine(physical)`` gives the `Solution` on all the data from there.
    progress : callable, optional
        As for `homodyne_nlsq.fit_nlsq_jax`.
    executor : concurrent.futures.Executor, optional
        Where multistart computes its fits.

    Raises
    ------
    FitInputError
        If χ² is finite nowhere or the same everywhere within the bounds.
    """
    from homodyne_global import GlobalSearchError

    space = SearchSpace(problem.model, config, fixed, given)
    start = given
    if not np.isfinite(given).all():
        try:
            begun = start_from_data(coarse, given, fixed, bounds, seed=config.seed, progress=progress)
        except NotFiniteError as error:
            raise FitInputError(f"{choice.method}: {error}, and no start values were given.") from None
        start = begun.physical
    start = space.wrapped(start)
    averages = _Averages(coarse, space, fixed, bounds)
    try:
        if choice.method == "cmaes":
            best, record = _by_cmaes(averages, config, choice, start, progress)
        else:
            best, record = _by_multistart(averages, config, choice, start, progress, executor)
    except GlobalSearchError as error:
        raise FitInputError(f"{choice.method}: {error}") from None
    from_start = False
    stopped = record.stopped
    evaluate = Evaluator(problem, 2, progress, "global search")
    try:
        if not stopped and refines(config, choice):
            # Parameters that the coordinates of the search have no place for are found from the start, if anywhere.
            found, own = (
                start_from_given(coarse, p, fixed, bounds, progress=progress) for p in (best, start)
            )
            from_start = own.cost < found.cost * (1 - _SAME_COST)
            best = (own if from_start else found).physical
    except KeyboardInterrupt:
        stopped = True
    # What was found is worth nothing without all the data, even where it was stopped; a second Ctrl-C ends it for good.
    at_start = evaluate(start)
    at_best = evaluate(best)
    known = [at for at in (at_start, at_best) if at is not None]
    if not known:
        raise FitInputError(
            f"{choice.method}: with all the data the model is finite neither at the start values nor where the search ended; expected bounds "
            "within which it is."
        )
    reached = min(known, key=lambda at: at.fit.cost)
    first = reached if at_start is None else at_start
    record = replace(
        record,
        chi_squared_by_stage={
            "start": np.nan if at_start is None else at_start.fit.cost,
            "search": np.nan if at_best is None else at_best.fit.cost,
        },
        stage="start" if from_start or reached is at_start else record.stage,
        start=space.named(start),
        stopped=stopped,
    )
    found = Found(reached, first, evaluate.passes, record, averages)
    if stopped or not record.minima:
        return found
    return _with_refined_minima(found, problem, config, refine)


def refines(config: NLSQConfig, choice) -> bool:
    """Whether the local solver goes on from what the search found."""
    return choice.method != "cmaes" or config.cmaes.refine_with_nlsq


@dataclass(frozen=True)
class _Averages:
    """Averages of the data as a function on the coordinates of the search; in any process."""

    coarse: CoarseProblem
    space: SearchSpace
    fixed: np.ndarray
    bounds: np.ndarray

    def ranking(self, points) -> np.ndarray:
        """Approximate χ² of points (n, d), fast; a batch is filled up with its last point."""
        n = max(_SMALLEST_BATCH, 1 << (len(points) - 1).bit_length())
        filled = np.concatenate([points, np.repeat(points[-1:], n - len(points), axis=0)])
        return self.coarse.costs(self.space.physical(filled))[: len(points)]

    def chi_squared(self, point) -> float:
        """χ² at a point (d,)."""
        with jax.enable_x64(True):
            gram = self.coarse.gram(self.space.physical(point))
            return self.coarse.compress(gram).cost if np.isfinite(gram).all() else np.inf

    def solve(self, point) -> tuple[np.ndarray, float]:
        """The optimum that a point (d,) leads to, and χ² there."""
        with jax.enable_x64(True):
            found = start_from_given(self.coarse, self.space.physical(point), self.fixed, self.bounds)
        return self.space.point(found.physical), found.cost

    def apart(self, physical, others) -> float:
        """How different two minima are: in what they predict, and in the direction of the flow."""
        distance = self.distance(physical, others)
        if self.coarse.model.sheared:
            turned = abs((physical[6] - others[6] + 90) % 180 - 90)
            distance = max(distance, _SAME * turned / _DIRECTION)
        return distance

    def distance(self, physical, others) -> float:
        """Distance of two predictions, in standard deviations of the noise that the second leaves."""
        coarse = self.coarse
        prediction, best = coarse.predicted(physical), coarse.predicted(others)
        n_free = max(1, coarse.n_bins - 2 * coarse.model.n_phi - len(physical))
        noise = float(np.sum(coarse.weights * (coarse.c2 - best) ** 2)) / n_free
        rounding = _ROUNDING**2 * float(np.sum(coarse.weights * coarse.c2**2)) / n_free
        return float(np.sqrt(np.sum(coarse.weights * (prediction - best) ** 2) / max(noise, rounding)))


def _by_cmaes(
    averages: _Averages, config: NLSQConfig, choice, start, progress
) -> tuple[np.ndarray, GlobalSearch]:
    from homodyne_global import CMAESWrapper

    def told(at):
        if progress is not None and at.stage == "search":
            said = f"CMA-ES run {at.run + 1}, generation {at.done} of at most {at.total}"
            progress("global search", at.evaluations, at.best_cost, said)

    space = averages.space
    # The refinement is a fit of all the data, and comes later.
    found = CMAESWrapper(replace(config.cmaes, refine_with_nlsq=False)).minimize(
        averages.ranking,
        space.bounds,
        start=space.point(start),
        log_scale=space.log_scale,
        batched=True,
        traceable=False,
        callback=told,
        bytes_per_candidate=8 * _ARRAYS * averages.coarse.c2.size,
    )
    went = found.diagnostics
    runs = tuple(
        SearchRun(r.regime, r.population, r.generations, r.evaluations, r.best_cost, r.stop.sentence)
        for r in went.runs
    )
    return space.physical(found.parameters), _record(
        choice,
        stage="start" if found.stage == "start" else "search",
        message=found.message,
        evaluations=went.evaluations,
        generations=went.generations,
        restarts=went.restarts,
        seed=found.seed,
        stopped=found.stopped,
        runs=runs,
    )


def _by_multistart(
    averages: _Averages, config: NLSQConfig, choice, start, progress, executor: Executor | None
) -> tuple[np.ndarray, GlobalSearch]:
    from homodyne_global import fit_multistart

    def told(at):
        if progress is not None:
            progress("global search", at.done, at.best_cost, f"{at.stage} {at.done} of {at.total} starts")

    space = averages.space
    found = fit_multistart(
        averages.chi_squared,
        space.bounds,
        averages.solve,
        start=space.point(start),
        log_scale=space.log_scale,
        # The best minima are refined on all the data instead.
        config=replace(config.multi_start, refine_top_k=0),
        distance=lambda a, b: averages.apart(space.physical(a), space.physical(b)),
        same_below=_SAME,
        executor=executor,
        callback=told,
    )
    minima = tuple(
        SearchMinimum(space.named(space.physical(m.parameters)), np.nan, m.count, m.distance, False)
        for m in found.minima
    )
    solved = sum(m.count for m in minima)
    said = f"{solved} of {len(found.starts)} starts were solved on averages of the data."
    if found.failures:
        said += f" {len(found.failures)} could not be; the first said: {found.failures[0]}."
    return space.physical(found.parameters), _record(
        choice,
        stage="start" if found.stage == "start" else "search",
        message=said,
        evaluations=found.evaluations,
        seed=found.seed,
        stopped=found.stopped,
        minima=minima,
    )


def _record(
    choice,
    *,
    stage: str,
    message: str,
    evaluations: int,
    seed: int | None,
    stopped: bool,
    generations: int = 0,
    restarts: int = 0,
    runs=(),
    minima=(),
) -> GlobalSearch:
    return GlobalSearch(
        method=choice.method,
        choice=choice.sentence,
        message=message,
        stage=stage,
        chi_squared_by_stage={},
        start={},
        evaluations=evaluations,
        generations=generations,
        restarts=restarts,
        seed=seed,
        scale_ratio=choice.scale_ratio,
        stopped=stopped,
        undecided=(),
        runs=runs,
        minima=minima,
    )


def search_record(choice, found: Found | None, solution: Solution | None, n_free_points: int) -> GlobalSearch:
    """The record with what the refinement came to.

    Parameters
    ----------
    choice : homodyne_global.SearchChoice
        What was chosen.
    found : Found or None
        None where that was no search.
    solution : Solution or None
        On all the data, in plain least squares with the scaling that the fit began with; None where nothing was fitted.
    n_free_points : int
        Degrees of freedom.
    """
    if found is None:
        return _record(choice, stage="refinement", message="", evaluations=0, seed=None, stopped=False)
    record = found.record
    if solution is None:
        return record
    cost = solution.at.fit.cost
    record = replace(
        record,
        chi_squared_by_stage=record.chi_squared_by_stage | {"refinement": cost},
        stage="refinement" if cost < found.at.fit.cost else record.stage,
        stopped=record.stopped or solution.message == STOPPED,
    )
    if not found.reached:
        return record
    # Where the fit ended is one of the minima, whether the search had found it or start values from the data did.
    minima = _told_apart((*found.reached, _Reached(solution.at, 0, True)), found.averages)
    best, averages = minima[0].at, found.averages
    listed = tuple(
        SearchMinimum(
            averages.space.named(averages.space.wrapped(m.at.physical)),
            m.at.fit.cost,
            m.count,
            averages.distance(m.at.physical, best.physical),
            m.refined,
        )
        for m in minima
    )
    return replace(record, minima=listed, undecided=_undecided(listed, best.fit.cost / n_free_points))


@dataclass
class _Reached:
    """A minimum with all the data."""

    at: Evaluation
    count: int
    refined: bool


def _with_refined_minima(found: Found, problem: Problem, config: NLSQConfig, refine) -> Found:
    """The minima of multistart with all the data, the best ones refined there; the best of all is what was found."""
    reached, passes, stopped = [], found.passes, False
    try:
        for number, minimum in enumerate(found.record.minima):
            physical = np.array(list(minimum.physical.values()))
            refined = number < config.multi_start.refine_top_k
            if refined:
                solution = refine(physical)
                at, passes = solution.at, passes + solution.passes
            else:
                at, passes = Evaluator(problem, 1, None, "")(physical), passes + 1
            if at is not None:
                reached.append(_Reached(at, minimum.count, refined))
    except KeyboardInterrupt:
        stopped = True
    record = replace(found.record, stopped=stopped)
    best = min((r.at for r in reached), key=lambda at: at.fit.cost, default=found.at)
    if best.fit.cost < found.at.fit.cost:
        cost = record.chi_squared_by_stage | {"search": best.fit.cost}
        record = replace(record, stage="search", chi_squared_by_stage=cost)
    else:
        best = found.at
    return replace(found, at=best, passes=passes, record=record, reached=tuple(reached))


def _told_apart(reached: Iterable[_Reached], averages: _Averages) -> list[_Reached]:
    """Distinct minima, the best first: what all the data lead to the same place is one."""
    distinct: list[_Reached] = []
    for one in sorted(reached, key=lambda r: r.at.fit.cost):
        home = next((d for d in distinct if averages.apart(one.at.physical, d.at.physical) < _SAME), None)
        if home is None:
            distinct.append(replace(one))
        else:
            home.count += one.count
    return distinct


def _undecided(minima: tuple[SearchMinimum, ...], noise: float) -> tuple[str, ...]:
    """Sentences on minima that are as good as the best."""
    best, said = minima[0], []
    for number, other in enumerate(minima[1:], start=2):
        if other.chi_squared - best.chi_squared > _UNDECIDED * noise:
            continue
        values = ", ".join(
            f"{name} {best.physical[name]:.4g} or {value:.4g}"
            for name, value in other.physical.items()
            if abs(value - best.physical[name]) > 0.01 * abs(best.physical[name])
        )
        said.append(
            f"Minimum {number} of the search explains the data as well as the best one (χ² {other.chi_squared:.8g} and "
            f"{best.chi_squared:.8g}): {values}. The data do not decide between them."
        )
    return tuple(said)
