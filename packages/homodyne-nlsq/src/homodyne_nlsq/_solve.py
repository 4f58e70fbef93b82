"""The local fit: SciPy's trust region on the compressed problem, in well-conditioned coordinates, with an active set at bounds.

1. Where the bounds are not in the way the problem is solved in rate coordinates (`homodyne_model.RateCoordinates`).
2. If the optimum violates a bound there, it is solved again in natural parameters (log where positive by their bounds), which
   keep a box a box. Parameters that are pushed against a bound are put on it exactly, and the rest is solved without them; one that
   is then pulled inwards is released.
3. The fit ends where the optimum is less than `CLOSE` standard errors away, whatever the relative changes that the trust region
   would stop on: the distance is estimated from the gradient and the curvature (Newton's decrement), which also decides what is called converged.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares

from homodyne_model import (
    Compression,
    Coordinates,
    LinearCoordinate,
    LogCoordinate,
    RateCoordinates,
    determined_directions,
    in_coordinates,
)
from homodyne_nlsq._bounds import is_inside

CLOSE = 1e-4
# Farther from the optimum a fit is not called converged: one per cent of an error bar.
NEAR = 1e-2
# A share of a bound's range (or, on a log scale, of the range of the logarithm) within which a parameter is taken to be pushed against it.
_AT_BOUND = 1e-3
_ROUNDING = 1e-13
# The same for the slope of χ² along a direction of unit norm in scaled columns, relative to the root of that size.
_SLOPE_ROUNDING = 1e-13
# Least curvature along such a direction that is not rounding (`homodyne_model.determined_directions`).
_SMALLEST_CURVATURE = 1e-12
# Sums this large, squared in the elimination of the scaling, leave the range of floating point.
_OVERFLOW = 1e150
# Changes between coordinates, and of the set of parameters on a bound, before the fit gives up.
ROUNDS = 12
# Share of the permitted passes for a descent that may turn out to lead the wrong way.
_EXPLORE = 0.3
# What a solution says that is an optimum.
REACHED = "the optimum was reached"

Progress = Callable[[str, int, float, str], None]
Watch = Callable[["Evaluation", "Evaluation"], None]


@dataclass(frozen=True)
class Evaluation:
    """The problem at one set of physical parameters."""

    physical: np.ndarray
    gram: np.ndarray
    fit: Compression


@dataclass(frozen=True)
class Solution:
    """Where the local fit ended.

    Attributes
    ----------
    at : Evaluation
        The best point.
    held : (n_physical,) int
        -1 or 1 for a parameter on its lower or upper bound, 0 otherwise.
    distance : float
        Estimated distance to the optimum, in standard errors; infinite where χ² does not depend on the free parameters.
    converged : bool
        Whether that is small, or no smaller χ² can be told from rounding.
    passes : int
        Passes over the data.
    first : Evaluation
        The start.
    message : str
        Why it stopped.
    interruption : Interruption or None
        What ended it before it was done.
    """

    at: Evaluation
    held: np.ndarray
    distance: float
    converged: bool
    passes: int
    first: Evaluation
    message: str
    interruption: "Interruption | None" = None


class Interruption(Exception):
    """Raised by a watch to end a descent; its text says why."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C during a descent: the interrupt as it was, with what it interrupted.

    Attributes
    ----------
    problem : object
        What was being solved.
    best : Evaluation
        The best point so far.
    passes : int
        Passes so far.
    """

    def __init__(self, problem, best: Evaluation, passes: int) -> None:
        super().__init__()
        self.problem, self.best, self.passes = problem, best, passes


class NotFiniteError(Exception):
    """The model is not finite at the start values."""


class _Close(Exception):
    """The optimum is as close as it has to be."""


class OutOfPasses(Exception):
    """The permitted number of passes is used up."""


class Evaluator:
    """Evaluates the problem, remembers the last and the best point, and counts passes."""

    def __init__(
        self,
        problem,
        max_passes: int,
        progress: Progress | None,
        stage: str,
        close: float = CLOSE,
        watch: Watch | None = None,
    ) -> None:
        self.problem, self.max_passes, self.progress, self.stage = problem, max_passes, progress, stage
        self.close, self.watch = close, watch
        self.passes = 0
        self.last: Evaluation | None = None
        self.best: Evaluation | None = None

    def __call__(self, physical) -> Evaluation | None:
        """Evaluation at physical parameters, None where the model overflows; a new best one is shown to the watch."""
        before = self.best
        found = self._evaluated(physical)
        if self.watch is not None and before is not None and found is self.best is not before:
            self.watch(found, before)
        return found

    def _evaluated(self, physical) -> Evaluation | None:
        if self.last is not None and np.array_equal(self.last.physical, physical):
            self._remember_best()
            return self.last
        if self.passes >= self.max_passes:
            raise OutOfPasses
        self.passes += 1
        gram = self.problem.gram(physical)
        if not (np.abs(gram) < _OVERFLOW).all():
            return None
        self.last = Evaluation(np.array(physical, dtype=float), gram, self.problem.compress(gram))
        self._remember_best()
        if self.progress is not None:
            self.progress(self.stage, self.passes, self.best.fit.cost, "")
        return self.last

    def _remember_best(self) -> None:
        if self.best is None or self.last.fit.cost <= self.best.fit.cost:
            self.best = self.last

    def restart(self, *candidates) -> Evaluation:
        """Forget the best point for the best of the given ones (where the model is finite, which it must be at the first)."""
        found = []
        for candidate in candidates:
            try:
                evaluation = self._evaluated(candidate)
            except OutOfPasses:
                if self.best is not None and not found:
                    raise
                break
            if evaluation is not None:
                found.append(evaluation)
            elif not found:
                values = ", ".join(f"{value:.4g}" for value in candidate)
                raise NotFiniteError(f"the model is not finite at the start values {values}")
        self.best = min(found, key=lambda e: e.fit.cost)
        return self.best


def solve(
    problem,
    starts,
    bounds,
    fixed,
    *,
    n_free_points: int,
    max_passes: int,
    ftol: float = 1e-8,
    xtol: float = 1e-8,
    gtol: float = 1e-8,
    close: float = CLOSE,
    held=None,
    progress: Progress | None = None,
    stage: str = "fit",
    watch: Watch | None = None,
) -> Solution:
    """Minimise χ² over the physical parameters from a start.

    Parameters
    ----------
    problem : object with ``gram(physical)``, ``compress(gram)`` and ``model``
        What is minimised.
    starts : sequence of (n_physical,)
        Inside the bounds; the one with the smallest χ² is taken.
    bounds : (n_physical, 2)
        Lower and upper bounds, infinite where there are none.
    fixed : (n_physical,) bool
        Parameters that keep their start value.
    n_free_points : int
        Degrees of freedom, which turn χ² into the scale of the noise.
    max_passes : int
        Most evaluations.
    ftol, xtol, gtol : float
        First tolerances of the trust region.
    close : float
        Distance from the optimum [standard errors] at which the fit ends.
    held : (n_physical,) int, optional
        Parameters that are on a bound at the start, as in `Solution`: the fit looks for the optimum there first.
    progress : callable, optional
        Called as ``progress(stage, passes, chi_squared, message)`` after every pass.
    stage : str
        Name given to ``progress``.
    watch : callable, optional
        Called as ``watch(evaluation, before)`` with every new best point and the one before it; it may raise `Interruption`.

    Returns
    -------
    Solution
        Also when nothing was gained or it was interrupted; it says so.

    Raises
    ------
    NotFiniteError
        If the model cannot be computed at the first start.
    """
    bounds, fixed = np.asarray(bounds, dtype=float), np.asarray(fixed, dtype=bool)
    evaluate = Evaluator(problem, max_passes, progress, stage, close, watch)
    tolerances = {"ftol": ftol, "xtol": xtol, "gtol": gtol}
    held = np.zeros(len(bounds), dtype=int) if held is None else np.asarray(held)
    first = evaluate.restart(*starts)
    message, interruption = REACHED, None
    try:
        held = _descend_in_box(evaluate, bounds, fixed, held, n_free_points, tolerances)
    except KeyboardInterrupt as stop:
        raise Stopped(problem, evaluate.best, evaluate.passes) from stop
    except (OutOfPasses, Interruption) as stop:
        interruption = stop if isinstance(stop, Interruption) else None
        message = out_of_passes(max_passes) if interruption is None else str(interruption)
        if not is_inside(evaluate.best.physical[~fixed], bounds[~fixed]):
            evaluate.best = first
        held = on_bounds(evaluate.best, bounds, fixed, held)
    found = judged(evaluate, held, fixed, n_free_points, first, message)
    if interruption is None:
        return found
    return replace(found, converged=False, message=message, interruption=interruption)


def out_of_passes(max_passes: int) -> str:
    """What a solution says that used up its passes."""
    return f"stopped at max_iterations ({max_passes} passes over the data) before the optimum"


def ended_at(
    problem,
    at: Evaluation,
    bounds,
    fixed,
    *,
    n_free_points: int,
    first: Evaluation,
    passes: int,
    message: str,
) -> Solution:
    """A point where nothing goes on, as a solution that says why; the arguments are those of `solve` and the fields of `Solution`."""
    evaluate = Evaluator(problem, 0, None, "")
    evaluate.best, evaluate.passes = at, passes
    held = on_bounds(at, bounds, fixed, np.zeros(len(bounds), dtype=int))
    found = judged(evaluate, held, fixed, n_free_points, first, message)
    return replace(found, converged=False, message=message, interruption=Interruption(message))


def judged(
    evaluate: Evaluator, held, fixed, n_free_points: int, first: Evaluation, message: str = REACHED
) -> Solution:
    """The best point with the verdict whether it is an optimum, whatever method came there.

    Parameters
    ----------
    evaluate : Evaluator
        Has the best point and the number of passes.
    held : (n_physical,) int
        -1 or 1 for a parameter on its lower or upper bound, 0 otherwise.
    fixed : (n_physical,) bool
        Parameters that do not vary.
    n_free_points : int
        Degrees of freedom.
    first : Evaluation
        The start.
    message : str
        Why the method stopped, if not because it reached the optimum.
    """
    best = evaluate.best
    free = ~fixed & (held == 0)
    distance, reduction = distance_to_optimum(best, free, n_free_points)
    converged = distance < max(NEAR, evaluate.close) or reduction < rounding_of(best)
    if free.any() and not (np.diag(best.fit.hessian)[free] > 0).any():
        converged, distance = False, np.inf
        message = "the fit ended where χ² does not depend on the free parameters, so nothing was fitted"
    elif converged:
        message = REACHED
    elif message == REACHED:
        message = "the trust region found no better point although the gradient has not vanished"
    return Solution(best, held, distance, converged, evaluate.passes, first, message)


def rounding_of(at: Evaluation) -> float:
    """Smallest change of χ² that can be told: the columns are of size cost-of-no-model."""
    return _ROUNDING * float(np.einsum("aii->", at.gram[:, -3:, -3:]))


def distance_to_optimum(at: Evaluation, free, n_free_points: int) -> tuple[float, float]:
    """Newton's decrement over the free parameters: distance in standard errors, and predicted reduction of χ².

    Directions without curvature are left out, unless χ² has a slope along them: a valley may be so narrow that its floor looks flat
    while it still falls. There the curvature is taken to be the smallest one that can be told.
    """
    fit = at.fit
    spread, lost = determined_directions(
        fit.hessian, np.asarray(free, dtype=bool) & (np.diag(fit.hessian) > 0)
    )
    reduction = float(np.sum((spread.T @ fit.gradient) ** 2))
    slope = lost.T @ fit.gradient
    falls = np.abs(slope) > _SLOPE_ROUNDING * np.sqrt(np.einsum("aii->", at.gram[:, -3:, -3:]))
    reduction += float(np.sum(slope[falls] ** 2)) / _SMALLEST_CURVATURE
    # The χ² of noise-free data is rounding.
    noise = max(fit.cost, rounding_of(at)) / max(n_free_points, 1)
    return float(np.sqrt(reduction / noise)), reduction


def _descend_in_box(evaluate: Evaluator, bounds, fixed, held, n_free_points: int, tolerances) -> np.ndarray:
    """Descend from the best point to the optimum within the bounds; return which parameters ended on one."""
    model, start = evaluate.problem.model, evaluate.best.physical
    explore = max(10, round(_EXPLORE * evaluate.max_passes))
    everywhere = np.stack([np.full(len(bounds), -np.inf), np.full(len(bounds), np.inf)], axis=1)
    # Freely first: the way to an optimum inside often leads through outside, and rate coordinates know no natural bounds.
    for region in () if held.any() else (everywhere, bounds):
        rates = _rate_coordinates(model, evaluate.best.physical, ~fixed)
        near = _descend(evaluate, rates, region, n_free_points, tolerances, max_passes=explore)
        if near and is_inside(evaluate.best.physical[~fixed], bounds[~fixed]):
            return np.zeros(len(bounds), dtype=int)
        if region is everywhere:
            nearest = np.where(fixed, start, np.clip(evaluate.best.physical, *bounds.T))
            evaluate.restart(start, nearest)
            if near:  # outside, so that a bound is in the way
                break
    for _ in range(ROUNDS):
        free = ~fixed & (held == 0)
        natural = _natural_coordinates(evaluate.best.physical, bounds, free)
        box = _box_of(natural, bounds)
        _descend(evaluate, natural, bounds, n_free_points, tolerances, box=box, max_passes=explore)
        pushed = pushed_against_bounds(evaluate.best, bounds, ~fixed, held)
        if pushed.any() and not np.array_equal(pushed, held):
            evaluate.restart(put_on_bounds(evaluate.best.physical, bounds, pushed))
        elif distance_to_optimum(evaluate.best, free, n_free_points)[0] < evaluate.close:
            return pushed
        held = pushed
        # What is not held has no bound in its way, as far as is known: rate coordinates are the fast ones.
        rates = _rate_coordinates(model, evaluate.best.physical, ~fixed & (held == 0))
        _descend(evaluate, rates, bounds, n_free_points, tolerances)
    return held


def _descend(
    evaluate: Evaluator,
    coordinates: Coordinates,
    region,
    n_free_points: int,
    tolerances,
    *,
    box=None,
    max_passes=None,
) -> bool:
    """Trust region from the best point in the given coordinates; return whether the optimum is close.

    Points outside the region count as not finite, so the trust region stays inside; with ``box``, the region in these coordinates, it
    follows its walls.
    """
    free = np.zeros(len(coordinates.held), dtype=bool)
    for indices, _ in coordinates.blocks:
        free[list(indices)] = True

    def at(u):
        with np.errstate(over="ignore", invalid="ignore"):
            physical = coordinates.to_natural(u)
        inside = np.isfinite(physical).all() and is_inside(physical[free], region[free])
        return evaluate(physical) if inside else None

    def compressed(u, found):
        return in_coordinates(found.fit, coordinates.tangent(u))

    def residual(u):
        found = at(u)
        if found is None:  # SciPy's trust region shrinks when a trial is not finite
            return np.full(coordinates.size + 1, np.nan)
        # Near the optimum rounding decides whether χ² falls, and the trust region would try again and again.
        no_worse = found.fit.cost <= evaluate.best.fit.cost + rounding_of(found)
        if no_worse and distance_to_optimum(found, free, n_free_points)[0] < evaluate.close:
            evaluate.best = found
            raise _Close
        return compressed(u, found).residual

    if coordinates.size == 0:
        return True
    last_pass = evaluate.passes + (max_passes or evaluate.max_passes)
    for tightening in (1.0, 1e-3, 1e-6):
        with np.errstate(divide="ignore", invalid="ignore"):
            u0 = coordinates.from_natural(evaluate.best.physical)
        if box is not None:
            u0 = np.clip(u0, *box)
        before = evaluate.best.fit.cost
        try:
            # On a wall and put outside by rounding, or a rate lost to it.
            if not np.isfinite(u0).all() or not np.isfinite(residual(u0)).all():
                return False
            least_squares(
                residual,
                u0,
                lambda u: compressed(u, at(u)).jacobian,
                bounds=(-np.inf, np.inf) if box is None else box,
                method="trf",
                x_scale="jac",
                max_nfev=max(1, last_pass - evaluate.passes),
                **{name: max(value * tightening, 4e-16) for name, value in tolerances.items()},
            )
        except _Close:
            return True
        if evaluate.best.fit.cost >= before or evaluate.passes >= last_pass:
            return False
    return False


def pushed_against_bounds(at: Evaluation, bounds, free, held) -> np.ndarray:
    """Which parameters lie near a bound with χ² falling towards it; held ones stay if χ² still falls outwards."""
    result = np.zeros(len(bounds), dtype=int)
    for k, (lower, upper) in enumerate(bounds):
        if not free[k]:
            continue
        outwards = -np.sign(_profile_gradient(at.fit, k, free & (held == 0)))
        if held[k] and outwards == held[k]:
            result[k] = held[k]
        low, value, high = (np.log(v) if lower > 0 else v for v in (lower, at.physical[k], upper))
        width = high - low if np.isfinite(high - low) else max(abs(value), 1.0)
        if outwards < 0 and value - low < _AT_BOUND * width:
            result[k] = -1
        elif outwards > 0 and high - value < _AT_BOUND * width:
            result[k] = 1
    return result


def on_bounds(at: Evaluation, bounds, fixed, held) -> np.ndarray:
    """Which parameters lie exactly on a bound with χ² falling outwards."""
    on_bound = (at.physical == bounds[:, 0]) | (at.physical == bounds[:, 1])
    return np.where(on_bound, pushed_against_bounds(at, bounds, ~fixed, held), 0)


def put_on_bounds(physical, bounds, held) -> np.ndarray:
    """The parameters with the held ones exactly on their bounds."""
    return np.select([held < 0, held > 0], [bounds[:, 0], bounds[:, 1]], physical)


def _profile_gradient(fit: Compression, k: int, free) -> float:
    """Gradient along a parameter with the other free ones at their best: the bare one is all rounding in a narrow valley."""
    others = free & (np.diag(fit.hessian) > 0)
    others[k] = False
    spread, _ = determined_directions(fit.hessian, others)
    return fit.gradient[k] - fit.hessian[k] @ spread @ (spread.T @ fit.gradient)


def _rate_coordinates(model, physical, free) -> Coordinates:
    """Rate coordinates for power laws that are entirely free, natural ones for the rest."""
    blocks, taken = [], np.zeros(len(physical), dtype=bool)
    for group in ((0, 1, 2), (3, 4, 5))[: len(physical) // 3]:
        rate0, exponent, offset = physical[list(group)]
        block = RateCoordinates(
            model.t_middle, 1.0 if rate0 * model.t_middle**exponent + offset > 0 else -1.0
        )
        if all(free[list(group)]) and block.represents(physical[list(group)]):
            blocks.append((group, block))
            taken[list(group)] = True
    for k in np.flatnonzero(free & ~taken):
        positive = k in (0, 3) and physical[k] > 0
        blocks.append(((int(k),), LogCoordinate() if positive else LinearCoordinate(_scale_of(physical, k))))
    return Coordinates(tuple(blocks), physical)


def _natural_coordinates(physical, bounds, free) -> Coordinates:
    """Natural parameters one by one, on a log scale where the bounds keep them positive."""
    blocks = [
        ((int(k),), LogCoordinate() if bounds[k, 0] > 0 else LinearCoordinate(_scale_of(physical, k)))
        for k in np.flatnonzero(free)
    ]
    return Coordinates(tuple(blocks), physical)


def _scale_of(physical, k: int) -> float:
    """Size that brings a parameter to order one: offsets are measured by the power part beside them, angles by 10 degrees."""
    if k in (2, 5):
        return float(max(abs(physical[k]), abs(physical[k - 2]), 1e-12))
    return 10.0 if k == 6 else 1.0


def _box_of(coordinates: Coordinates, bounds) -> tuple[np.ndarray, np.ndarray]:
    """Bounds in natural coordinates taken one by one."""
    with np.errstate(divide="ignore"):
        pairs = [block.from_natural(bounds[list(indices)].ravel()) for indices, block in coordinates.blocks]
    lower, upper = np.reshape(pairs, (-1, 2)).T
    return lower, upper
