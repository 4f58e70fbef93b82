"""The local fit by the library nlsq: its trust region on every point, with every contrast and offset among the variables.

`homodyne_nlsq._solve` minimises the same χ² over the physical parameters alone, on sums over the points; this shares with it the data,
the formula of C2 and the verdict, and nothing of the way there: derivatives are JAX's, no scaling is eliminated, no coordinates
are changed. It is the check of one by the other, and an engine for problems whose full Jacobian (points times parameters) fits in memory.

nlsq follows walls of the box from inside. Physical parameters that come to lie at one are put on it exactly and the rest is fitted
without them, as in `solve`; which contrasts and offsets are on a bound is what their exact elimination says at the end.

nlsq takes one function for another of the same bytecode, whatever data they close over. Here every model has a function and a `CurveFit` of its
own, found again by all that the function depends on; the points are its arguments. So a second fit of the same shapes compiles nothing.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from homodyne_model import TwoTimeModel, points_c2
from homodyne_nlsq._bounds import drawn_in, is_inside
from homodyne_nlsq._nlsq_library import curve_fit_class, silent_nlsq
from homodyne_nlsq._solve import (
    CLOSE,
    REACHED,
    ROUNDS,
    Evaluator,
    OutOfPasses,
    Progress,
    Solution,
    Watch,
    distance_to_optimum,
    judged,
    on_bounds,
    out_of_passes,
    pushed_against_bounds,
    put_on_bounds,
)
from homodyne_nlsq.errors import CurveFitError

# Share of a bound's range by which start values are moved inside: nlsq goes slowly away from a wall.
_INSET = 1e-3
# Models whose compiled functions outlive the last fit with them.
_KEPT = 8


class Points(NamedTuple):
    """The entries of the maps that count, one of each pair of frames.

    Attributes
    ----------
    angle, i, j : (n_points,) int32
        Index of the angle, and of the two frames, i > j.
    c2 : (n_points,)
        Measured correlation.
    sigma : (n_points,)
        Standard deviation.
    constant : float
        Part of χ² that no parameter changes.
    """

    angle: np.ndarray
    i: np.ndarray
    j: np.ndarray
    c2: np.ndarray
    sigma: np.ndarray
    constant: float


def points_of(problem) -> Points:
    """The points of a problem in one list, whether its maps are held in memory or in a file."""
    columns, constant = [], 0.0
    angles_of_all = np.arange(problem.model.n_phi)
    for angles, maps in problem.maps.parts():
        c2, weights = np.asarray(maps.c2), maps.weights
        if problem.reweighting is not None:
            part = problem.model.at_angles(problem.model.phi[angles])
            weights = problem.reweighting.weights(part, angles, maps.c2, weights, maps.angle_weight, 0)
        of_angle = maps.angle_weight * problem.weight[angles]
        weights = of_angle[:, None, None] * (np.ones_like(c2) if weights is None else np.asarray(weights))
        later = np.tri(c2.shape[1], k=-1, dtype=bool)
        a, i, j = (k.astype(np.int32) for k in np.nonzero(later & np.isfinite(c2) & (weights > 0)))
        sigma = 1 / np.sqrt(weights[a, i, j].astype(float))
        columns.append((angles_of_all[angles][a].astype(np.int32), i, j, c2[a, i, j].astype(float), sigma))
        constant += float(problem.weight[angles] @ maps.constant)
    return Points(*(np.concatenate(column) for column in zip(*columns, strict=True)), constant)


class Variables(NamedTuple):
    """All parameters of the problem: contrasts, offsets (one pair when they are common), physical parameters.

    Attributes
    ----------
    values : (size,)
        Start values of the free ones, values of the others.
    bounds : (size, 2)
        Lower and upper bounds.
    free : (size,) bool
        Which are fitted.
    """

    values: np.ndarray
    bounds: np.ndarray
    free: np.ndarray


class Fitted(NamedTuple):
    """What nlsq answered.

    Attributes
    ----------
    values : (size,)
        All parameters, the free ones where it ended.
    covariance : (n_free, n_free)
        Inverse of its JᵀJ, σ taken as given.
    passes : int
        Evaluations of the residual of all points.
    ended : bool
        Whether it stopped for another reason than ``max_passes``.
    """

    values: np.ndarray
    covariance: np.ndarray
    passes: int
    ended: bool


class FittedModel:
    """A function of the points and of the free parameters, and the ``CurveFit`` that holds what was compiled for it.

    Parameters
    ----------
    model : TwoTimeModel
        Geometry and choices.
    common_scaling : bool
        One contrast and offset for all angles.
    variables : Variables
        Which parameters are free, and the values of the others.

    Raises
    ------
    ImportError
        If nlsq is not installed.
    """

    def __init__(self, model: TwoTimeModel, common_scaling: bool, variables: Variables) -> None:
        self.model = model
        curve_fit = curve_fit_class()
        with silent_nlsq():
            self._curve_fit = curve_fit()
        self._function = _function_of(model, common_scaling, variables)

    def fit(
        self, points: Points, variables: Variables, *, max_passes: int, tolerances, callback=None
    ) -> Fitted:
        """Least squares over the free variables.

        Parameters
        ----------
        points : Points
            Of the maps that the model describes.
        variables : Variables
            Free and fixed as those that the model was made for.
        max_passes : int
            Most evaluations.
        tolerances : mapping
            ``ftol``, ``xtol`` and ``gtol``.
        callback : callable, optional
            nlsq's, called after every step.

        Raises
        ------
        CurveFitError
            If nlsq fails, or ends with values that are not finite or outside their bounds.
        """
        shape = (self.model.n_phi, self.model.n_t, self.model.n_t)
        values, free = variables.values.copy(), variables.free
        bounds = variables.bounds[free]
        try:
            with silent_nlsq():
                found = self._curve_fit.curve_fit(
                    self._function,
                    np.ravel_multi_index((points.angle, points.i, points.j), shape).astype(float),
                    points.c2,
                    p0=values[free],
                    sigma=points.sigma,
                    absolute_sigma=True,
                    bounds=(bounds[:, 0], bounds[:, 1]),
                    # The defaults are an approximate solver and a trust region that knows no scales. With these two the steps are the same
                    # whatever the units of the parameters, so they keep their natural ones.
                    solver="svd",
                    x_scale="jac",
                    # Whatever the environment or a file in the home directory says.
                    jacobian_mode="fwd",
                    max_nfev=max_passes,
                    callback=callback,
                    **tolerances,
                )
        except Exception as error:
            raise CurveFitError(f"nlsq failed: {type(error).__name__}: {error}") from error
        # Status 0 is the limit of evaluations; it leaves a point that counts.
        if not found.success and found.status != 0:
            raise CurveFitError(f"nlsq failed: {found.message}")
        values[free] = np.asarray(found.x, dtype=float)
        if not is_inside(values[free], bounds):
            shown = np.array2string(values[free], precision=4)
            raise CurveFitError(
                f"nlsq ended with values that are not finite or not in their bounds: {shown}."
            )
        return Fitted(values, np.asarray(found.pcov), int(found.nfev), bool(found.success))


def _function_of(model: TwoTimeModel, common_scaling: bool, variables: Variables) -> Callable:
    n = 1 if common_scaling else model.n_phi
    values, free = variables.values.copy(), np.flatnonzero(variables.free)
    shape = (model.n_phi, model.n_t, model.n_t)

    def c2_at(entry, *free_values):
        """C2 at entries of the maps, numbered row by row; nlsq hands the numbers over as floats."""
        angle, i, j = jnp.unravel_index(entry.astype(int), shape)
        full = jnp.asarray(values).at[free].set(jnp.stack(free_values))
        contrast, offset = (jnp.broadcast_to(part, model.n_phi) for part in (full[:n], full[n : 2 * n]))
        return points_c2(model, full[2 * n :], contrast, offset, angle, i, j)

    return c2_at


_MODELS: weakref.WeakValueDictionary = weakref.WeakValueDictionary()
_LAST_USED: deque = deque(maxlen=_KEPT)
_LOOKING_UP = threading.Lock()


def fitted_model(model: TwoTimeModel, common_scaling: bool, variables: Variables) -> FittedModel:
    """The model of an earlier fit with the same geometry, choices, free parameters and fixed values, or a new one.

    It lives as long as someone holds it, or as it is among the last ones used.
    """
    key = (
        *(model.analysis_mode, model.shear_kernel, model.quadrature, model.q, model.L),
        *(model.t.tobytes(), model.phi.tobytes(), common_scaling),
        *(variables.free.tobytes(), variables.values[~variables.free].tobytes()),
    )
    with _LOOKING_UP:
        found = _MODELS.get(key)
        if found is None:
            found = _MODELS[key] = FittedModel(model, common_scaling, variables)
        if found in _LAST_USED:
            _LAST_USED.remove(found)
        _LAST_USED.append(found)
    return found


def solve_by_curve_fit(
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
    keep: set[FittedModel] | None = None,
) -> Solution:
    """Minimise χ² over all parameters by nlsq; arguments and result are those of `homodyne_nlsq._solve.solve`.

    Parameters
    ----------
    problem : Problem
        What is minimised. All its points are held in memory, with their full Jacobian.
    starts : sequence of (n_physical,)
        Inside the bounds; the one with the smallest χ² is taken, with the best contrasts and offsets for it.
    bounds : (n_physical, 2)
        Lower and upper bounds, infinite where there are none.
    fixed : (n_physical,) bool
        Parameters that keep their start value.
    n_free_points : int
        Degrees of freedom, which turn χ² into the scale of the noise.
    max_passes : int
        Most evaluations, by nlsq and by the verdict.
    ftol, xtol, gtol : float
        First tolerances of the trust region; smaller ones follow while the optimum is not close.
    close : float
        Distance from the optimum [standard errors] at which the fit ends.
    held : (n_physical,) int, optional
        Parameters that are on a bound at the start, as in `Solution`.
    progress : callable, optional
        Called as ``progress(stage, passes, chi_squared, message)`` after every pass of the verdict and every step of nlsq.
    stage : str
        Name given to ``progress``.
    watch : callable, optional
        Called with the points where nlsq ended only: what lies between them is not seen.
    keep : set, optional
        The models that were used are added; what was compiled for them lives as long as the set. Otherwise the last ones used live.

    Returns
    -------
    Solution
        Also when nothing was gained; it says so. χ² and scaling are those of the exact elimination at the physical parameters.

    Raises
    ------
    ImportError
        If nlsq is not installed; the message tells how to.
    CurveFitError
        If nlsq fails.
    NotFiniteError
        If the model cannot be computed at the first start.
    """
    curve_fit_class()  # missing, it is missed before the first pass
    bounds, fixed = np.asarray(bounds, dtype=float), np.asarray(fixed, dtype=bool)
    evaluate = Evaluator(problem, max_passes, progress, stage, close, watch)
    held = np.zeros(len(bounds), dtype=int) if held is None else np.asarray(held)
    message = REACHED
    first = evaluate.restart(*starts)
    tolerances = {"ftol": ftol, "xtol": xtol, "gtol": gtol}
    descent = _Descent(evaluate, bounds, fixed, n_free_points, tolerances, set() if keep is None else keep)
    try:
        held = descent.run(held)
    except OutOfPasses:
        message = out_of_passes(max_passes)
        held = on_bounds(evaluate.best, bounds, fixed, held)
    return judged(evaluate, held, fixed, n_free_points, first, message)


class _Interrupted(BaseException):
    """Carries an exception of a progress callback through nlsq, which turns every `Exception` there into a warning."""


class _Descent:
    """From the best point to the optimum within the bounds, with an active set."""

    def __init__(
        self, evaluate: Evaluator, bounds, fixed, n_free_points: int, tolerances, keep: set[FittedModel]
    ) -> None:
        self.evaluate, self.bounds, self.fixed = evaluate, bounds, fixed
        self.n_free_points, self.tolerances, self.keep = n_free_points, tolerances, keep
        self.problem = evaluate.problem
        self.points = points_of(self.problem)
        self.scaling_bounds = self._scaling_bounds()

    def _scaling_bounds(self) -> np.ndarray:
        """Bounds of contrasts and offsets, (2, n, 2); equal ones hold a value."""
        box = self.problem.scaling.arrays(self.problem.model.n_phi).swapaxes(0, 1)
        if self.problem.basis.mode != "constant":
            return box
        return np.stack([box[..., 0].max(axis=1), box[..., 1].min(axis=1)], axis=-1)[:, None]

    def run(self, held) -> np.ndarray:
        """Descend with the held parameters on their bounds first; return which physical parameters ended on one."""
        for _ in range(ROUNDS):
            free = ~self.fixed & (held == 0)
            if free.any():
                self._descend(free)
            best = self.evaluate.best
            pushed = pushed_against_bounds(best, self.bounds, ~self.fixed, held)
            if np.array_equal(pushed, held):
                break
            held = pushed
            self.evaluate.restart(put_on_bounds(best.physical, self.bounds, held))
        return held

    def _descend(self, free) -> None:
        """Fit from the best point, with smaller and smaller tolerances until the optimum is close."""
        variables = self._variables(free)
        model = fitted_model(self.problem.model, self.problem.basis.mode == "constant", variables)
        self.keep.add(model)
        for tightening in (1.0, 1e-3, 1e-6):
            before = self.evaluate.best.fit.cost
            # One pass is kept for the verdict on where nlsq ends.
            left = self.evaluate.max_passes - self.evaluate.passes - 1
            if left < 1:
                raise OutOfPasses
            fitted = self._fit(model, variables, left, tightening)
            self.evaluate.passes += fitted.passes
            variables = variables._replace(values=fitted.values)
            if self.evaluate(fitted.values[-len(self.bounds) :]) is None:
                raise CurveFitError("nlsq ended where the sums of the model overflow.")
            if not fitted.ended:
                raise OutOfPasses
            best = self.evaluate.best
            distance, _ = distance_to_optimum(best, free, self.n_free_points)
            if distance < self.evaluate.close or best.fit.cost >= before:
                return

    def _variables(self, free) -> Variables:
        """All parameters at the best point, those that are fitted moved inside their bounds."""
        fit, n = self.evaluate.best.fit, self.scaling_bounds.shape[1]
        values = np.concatenate([fit.contrast[:n], fit.offset[:n], self.evaluate.best.physical])
        bounds = np.concatenate([self.scaling_bounds.reshape(-1, 2), self.bounds])
        fitted = (bounds[:, 0] < bounds[:, 1]) & np.concatenate([np.ones(2 * n, dtype=bool), free])
        inside = np.clip(values, *drawn_in(bounds, _INSET).T)
        return Variables(np.where(fitted, inside, values), bounds, fitted)

    def _fit(self, model: FittedModel, variables: Variables, max_passes: int, tightening: float) -> Fitted:
        tolerances = {name: max(value * tightening, 4e-16) for name, value in self.tolerances.items()}
        evaluate = self.evaluate

        def report(iteration, cost, params, info):
            chi_squared = 2 * cost + self.points.constant
            try:
                evaluate.progress(evaluate.stage, evaluate.passes + info["nfev"], chi_squared, "")
            except Exception as error:
                raise _Interrupted from error

        try:
            return model.fit(
                self.points,
                variables,
                max_passes=max_passes,
                tolerances=tolerances,
                callback=None if evaluate.progress is None else report,
            )
        except _Interrupted as interrupted:
            raise interrupted.__cause__ from None
