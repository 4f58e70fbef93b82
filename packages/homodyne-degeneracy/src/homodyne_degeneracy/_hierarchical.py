"""Layer 2: physical parameters with the scaling frozen, and the scaling with the physical parameters frozen, in turns.

The scaling stage is exact (`homodyne_model.compress`). The physical stage sees the plain curvature H_pp, not what the scaling
leaves of it, so that no direction of it looks flat because scaling could make up for it: the start of a fit that runs away along such a direction is held
together. The price is the rate: like all alternating minimisation it converges linearly, by a factor of the squared cosine between what the
two groups of parameters can explain, where eliminating the scaling converges as Gauss-Newton does. It is a way to a start, not to the optimum.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from homodyne_degeneracy._config import HierarchicalConfig
from homodyne_degeneracy._regularizer import AdaptiveRegularizer
from homodyne_degeneracy.errors import DegeneracyError
from homodyne_model import Compression, ScalingBounds, ScalingState, compress, compress_at

# Tolerances of the physical stage; the outer loop decides.
_INNER_TOLERANCE = 1e-10
# A change of the scaling smaller than this is none.
_SETTLED = 1e-12
# χ² below this share of the sums of squares it is made of is rounding.
_ROUNDING = 1e-13

Evaluate = Callable[[np.ndarray], np.ndarray]
FrozenProblem = Callable[[np.ndarray], Compression | None]
LocalSolver = Callable[[FrozenProblem, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class HierarchicalResult:
    """Where alternating stages ended.

    Attributes
    ----------
    physical : (n_physical,)
        Physical parameters.
    fit : Compression
        The compressed problem there, the scaling at its best.
    costs : tuple of float
        χ² with the penalty, at the start and after every outer iteration, the scaling at its best.
    scaled_step : float
        Change of the model by the last physical stage, as a share of the residuals.
    converged : bool
        Whether that is below the tolerance.
    evaluations : int
        Gram matrices computed.
    message : str
        Why it ended.
    """

    physical: np.ndarray
    fit: Compression
    costs: tuple[float, ...]
    scaled_step: float
    converged: bool
    evaluations: int
    message: str

    @property
    def outer_iterations(self) -> int:
        """Pairs of stages."""
        return len(self.costs) - 1


class HierarchicalOptimizer:
    """Alternating stages: physical parameters with frozen scaling, then the scaling exactly.

    Parameters
    ----------
    config : HierarchicalConfig, optional
        Numbers of iterations and tolerance.
    scaling_bounds : ScalingBounds, optional
        Of contrast and offset.
    basis : array_like, (n_phi, n_coef), optional
        Of contrast and offset (`homodyne_model.ScalingBasis.matrix`).
    regularizer : AdaptiveRegularizer, optional
        Penalty on the scaling, adapted in every scaling stage until it rests.
    local_solver : callable, optional
        ``solver(problem, start)`` returns physical parameters; ``problem(physical)`` is the `Compression` at the frozen scaling, None where
        the model is not finite. By default SciPy's trust region.
    """

    def __init__(
        self,
        config: HierarchicalConfig | None = None,
        *,
        scaling_bounds: ScalingBounds | None = None,
        basis=None,
        regularizer: AdaptiveRegularizer | None = None,
        local_solver: LocalSolver | None = None,
    ) -> None:
        self.config = config or HierarchicalConfig()
        self.scaling_bounds, self.basis, self.regularizer = scaling_bounds, basis, regularizer
        self.local_solver = local_solver

    def minimise(self, evaluate: Evaluate, start, *, bounds=None, free=None) -> HierarchicalResult:
        """Alternate from a start.

        Parameters
        ----------
        evaluate : callable
            Gram matrices (n_phi, n_physical + 3, n_physical + 3) at physical parameters: one pass over the data.
        start : array_like, (n_physical,)
            Physical parameters, inside the bounds.
        bounds : array_like, (n_physical, 2), optional
            Lower and upper; none by default.
        free : array_like of bool, (n_physical,), optional
            Parameters that vary; all by default.

        Returns
        -------
        HierarchicalResult
            Without a regularizer never worse than the start.

        Raises
        ------
        DegeneracyError
            If the start is outside the bounds or the model is not finite there.
        """
        physical = np.array(start, dtype=float)
        free = np.ones(len(physical), dtype=bool) if free is None else np.asarray(free, dtype=bool)
        bounds = (
            np.tile([-np.inf, np.inf], (len(physical), 1)) if bounds is None else np.asarray(bounds, float)
        )
        if ((physical < bounds[:, 0]) | (physical > bounds[:, 1]))[free].any():
            raise DegeneracyError(
                f"start is {physical}; expected values within the bounds {bounds.tolist()}."
            )
        counted = _Counted(evaluate)
        gram = counted(physical)
        if gram is None:
            raise DegeneracyError(f"the model is not finite at the start {physical}.")
        fit = self._scaling_stage(gram)
        costs, step, converged, message = [fit.cost], np.inf, False, ""
        while not converged and len(costs) <= self.config.max_outer_iterations:
            reached = self._physical_stage(counted, physical, gram, fit, bounds, free)
            new_gram = counted(reached)
            new_fit = None if new_gram is None else self._scaling_stage(new_gram)
            curvature = np.einsum("a,akk->k", fit.contrast**2, gram[:, :-3, :-3])
            residuals = np.sqrt(max(fit.cost, _rounding(gram)))
            step = float(np.sqrt(np.sum(curvature * (reached - physical) ** 2)) / residuals)
            converged = step < self.config.outer_tolerance
            # A penalty that adapts itself may cost more where χ² is smaller.
            worse = new_fit is None or new_fit.cost > fit.cost + _rounding(gram)
            if new_fit is None or (worse and self.regularizer is None):
                message = "" if converged else "the physical stage found no better point"
                costs.append(fit.cost)
                break
            physical, gram, fit = reached, new_gram, new_fit
            costs.append(fit.cost)
        message = message or (
            f"the last physical stage changed the model by {step:.2g} of the residuals"
            if converged
            else f"stopped after {len(costs) - 1} outer iterations with a change of {step:.2g} of the residuals"
        )
        return HierarchicalResult(physical, fit, tuple(costs), step, converged, counted.count, message)

    def _scaling_stage(self, gram) -> Compression:
        """The best scaling; with a regularizer, the one whose own mean and mean square the penalty is made of."""
        fit = compress(gram, self.scaling_bounds, basis=self.basis)
        if self.regularizer is None:
            return fit
        for _ in range(self.config.per_angle_max_iterations):
            penalty = self.regularizer.penalty(fit.contrast, fit.offset, fit.cost - fit.penalty)
            new = compress(gram, self.scaling_bounds, basis=self.basis, penalty=penalty)
            moved = max(np.abs(new.contrast - fit.contrast).max(), np.abs(new.offset - fit.offset).max())
            fit = new
            if moved < _SETTLED:
                break
        return fit

    def _physical_stage(self, evaluate, start, gram, fit, bounds, free) -> np.ndarray:
        held = np.full(fit.state.shape, ScalingState.FIXED)

        def problem(physical) -> Compression | None:
            found = evaluate(physical)
            return None if found is None else compress_at(found, fit.contrast, fit.offset, held)

        if self.local_solver is not None:
            reached = np.array(self.local_solver(problem, start.copy()), dtype=float)
            return np.where(free, np.clip(reached, *bounds.T), start)
        return _trust_region(
            problem, start, _rounding(gram), bounds, free, self.config.physical_max_iterations
        )


class _Counted:
    """Gram matrices, None where they are not finite, the last ones remembered."""

    def __init__(self, evaluate: Evaluate) -> None:
        self.evaluate, self.count = evaluate, 0
        self.last: tuple[np.ndarray, np.ndarray | None] | None = None

    def __call__(self, physical) -> np.ndarray | None:
        if self.last is None or not np.array_equal(self.last[0], physical):
            self.count += 1
            gram = np.asarray(self.evaluate(physical), dtype=float)
            self.last = np.array(physical), gram if np.isfinite(gram).all() else None
        return self.last[1]


def _rounding(gram) -> float:
    return _ROUNDING * float(np.einsum("aii->", gram[:, -3:, -3:]))


def _trust_region(problem: FrozenProblem, start, rounding: float, bounds, free, max_evaluations: int):
    """SciPy's trust region in steps that change the model by as much as the residuals are."""
    here = problem(start)
    curvature = np.diag(here.hessian)
    moving = np.flatnonzero(free & (curvature > 0))
    if not len(moving):
        return start
    size = np.sqrt(max(here.cost, rounding)) / np.sqrt(curvature[moving])

    def physical_at(u):
        physical = start.copy()
        physical[moving] = np.clip(start[moving] + u * size, *bounds[moving].T)
        return physical

    def residual(u):
        found = problem(physical_at(u))
        # SciPy's trust region shrinks when a trial is not finite.
        return np.full(len(start) + 1, np.nan) if found is None else found.residual

    def jacobian(u):
        return problem(physical_at(u)).jacobian[:, moving] * size

    box = (bounds[moving] - start[moving, None]) / size[:, None]
    found = least_squares(
        residual,
        np.zeros(len(moving)),
        jacobian,
        bounds=box.T,
        method="trf",
        x_scale="jac",
        ftol=_INNER_TOLERANCE,
        xtol=_INNER_TOLERANCE,
        gtol=_INNER_TOLERANCE,
        max_nfev=max_evaluations,
    )
    return physical_at(found.x)
