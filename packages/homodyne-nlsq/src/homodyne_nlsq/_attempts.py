"""Start values, and the next ones where a fit cannot start or gets nowhere.

1. The given start values, or those of the data. Where given ones end at a bound, in no optimum, without a decay or, with shear, in a
   minimum of the averages that is not the lowest, those of the data are tried too, and the better ones count (``data_start``).
2. The centre of the bounds (``bounds_reset``).
3. The geometric mean of the bounds, the centre where a bound is not positive (``geometric_mean_reset``).

The second and third are for fits that failed: the model is not finite at the start, or no better point than the start was found.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from homodyne_nlsq._coarse import CoarseProblem
from homodyne_nlsq._config import NLSQConfig
from homodyne_nlsq._solve import NotFiniteError, Progress, Solution
from homodyne_nlsq._start import Start, is_better_elsewhere, start_from_data, start_from_given

# Relative difference of χ² that is no improvement but rounding.
_SAME = 1e-9
_RESETS = ("bounds_reset", "geometric_mean_reset")
_WORDS = {
    "bounds_reset": "the centre of the bounds",
    "geometric_mean_reset": "the geometric mean of the bounds",
}


@dataclass(frozen=True)
class Outcome:
    """What the attempts led to.

    Attributes
    ----------
    start : (n_physical,)
        Start values of the attempt that counts.
    solution : Solution or None
        Where it ended; None where no attempt could begin.
    actions : tuple of str
        What was tried after the first attempt, in order.
    sentences : tuple of str
        The same in words, with the reasons.
    """

    start: np.ndarray
    solution: Solution | None
    actions: tuple[str, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Attempts:
    """Attempts at one problem.

    Parameters
    ----------
    coarse : CoarseProblem
        Averages of the data.
    config : NLSQConfig
    fixed : (n_physical,) bool
        Parameters that keep their value.
    bounds : (n_physical, 2)
        Lower and upper bounds.
    descend : callable
        ``descend(*starts)`` gives the `Solution` from the best of them.
    is_seen : callable
        Whether a solution explains more than chance.
    warm_up : callable
        Improves start values on the averages before they are refined.
    progress : callable, optional
    source : str
        Where the start values are from, for sentences.
    """

    coarse: CoarseProblem
    config: NLSQConfig
    fixed: np.ndarray
    bounds: np.ndarray
    descend: Callable[..., Solution]
    is_seen: Callable[[Solution], bool]
    warm_up: Callable[[np.ndarray], np.ndarray]
    progress: Progress | None
    source: str

    def run(self, given) -> Outcome:
        """The first attempt that does not fail; start values that are NaN come from the data."""
        failures, actions = [], []
        for attempt, name in enumerate(("", *_RESETS)[: self._permitted()]):
            start = given if not name else self._reset(name, given)
            if name:
                actions.append(name)
            try:
                outcome = self._first(start) if not name else self._from(start)
            except NotFiniteError as error:
                failures.append(
                    f"Attempt {attempt + 1} ({_WORDS.get(name, 'the start values')}) failed: {error}."
                )
                continue
            solution = outcome.solution
            if (
                solution.converged
                or solution.at.fit.cost < solution.first.fit.cost
                or attempt + 1 == self._permitted()
            ):
                break
            failures.append(
                f"Attempt {attempt + 1} ({_WORDS.get(name, 'the start values')}) failed: {solution.message}."
            )
        else:
            return Outcome(np.where(np.isfinite(given), given, start), None, tuple(actions), tuple(failures))
        return Outcome(
            outcome.start, solution, outcome.actions + tuple(actions), (*failures, *outcome.sentences)
        )

    def _permitted(self) -> int:
        recovery = self.config.recovery
        return recovery.max_attempts if recovery.enable and not self.fixed.all() else 1

    def _reset(self, name: str, given) -> np.ndarray:
        lower, upper = self.bounds.T
        finite = np.isfinite(lower) & np.isfinite(upper)
        # Nothing bounds the flow direction: it keeps its start value.
        centre = np.where(
            finite, (np.where(finite, lower, 0) + np.where(finite, upper, 0)) / 2, np.nan_to_num(given)
        )
        positive = finite & (lower > 0)
        mean = np.sqrt(np.where(positive, lower, 1)) * np.sqrt(np.where(positive, upper, 1))
        reset = np.where(positive, mean, centre) if name == "geometric_mean_reset" else centre
        return np.where(self.fixed, given, reset)

    def _from(self, point) -> Outcome:
        """From a point, by the averages' optimum that it leads to."""
        return Outcome(point, self.descend(point, self._refined(point).physical), (), ())

    def _refined(self, point) -> Start:
        return start_from_given(
            self.coarse, self.warm_up(point), self.fixed, self.bounds, progress=self.progress
        )

    def _data_start(self, known) -> Start:
        return start_from_data(
            self.coarse, known, self.fixed, self.bounds, seed=self.config.seed, progress=self.progress
        )

    def _is_better_elsewhere(self, begin: Start) -> bool:
        return is_better_elsewhere(
            self.coarse, begin, self.fixed, self.bounds, seed=self.config.seed, progress=self.progress
        )

    def _first(self, given) -> Outcome:
        nothing_known = np.where(self.fixed, given, np.nan)
        if not np.isfinite(given).all():
            begin = self._data_start(given)
            first = self.descend(begin.physical)
            given_matter = np.isfinite(given[~self.fixed]).any()
        else:
            begin = self._refined(given)
            given_matter = not self.fixed.all()
            if given_matter and (not begin.inside or self._is_better_elsewhere(begin)):
                own = self._data_start(nothing_known)
                if own.cost < begin.cost:
                    return self._better(own, self.descend(own.physical))
            first = self.descend(given, begin.physical)
        reached = first.converged and not first.held.any() and self.is_seen(first)
        start = np.where(np.isfinite(given), given, begin.physical)
        if reached or not given_matter:
            return Outcome(start, first, (), ())
        own = self._data_start(nothing_known)
        second = self.descend(own.physical)
        if second.at.fit.cost < first.at.fit.cost * (1 - _SAME):
            return self._better(own, second)
        return Outcome(start, first, ("data_start_no_better",), ())

    def _better(self, own: Start, solution: Solution) -> Outcome:
        said = f"{self.source} did not lead to the best optimum inside the bounds; start values from the data led to a better one."
        return Outcome(own.physical, solution, ("data_start",), (said,))
