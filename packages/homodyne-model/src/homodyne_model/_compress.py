"""From Gram matrices to a least-squares problem of a few numbers: contrast and offset eliminated, the points compressed.

With residual r = offset + contrast · f - y, weights w and cost = Σ w r² (twice SciPy's cost):

1. *Scaling.* For given θ the cost is a quadratic form of contrast and offset, or of their coefficients in a basis of the
   angles, whose minimum within the bounds is found exactly (`homodyne_model._scaling_solve`). A quadratic penalty on contrast and offset
   adds to the form.
2. *Projection* (variable projection: Golub & Pereyra, SIAM J. Numer. Anal. 10 (1973) 413; in Kaufman's form, BIT 15 (1975)
   49). With H = JᵀwJ over physical (p) and free scaling (l) parameters, the reduced Hessian is the Schur complement
   A = H_pp - H_pl H_ll⁻¹ H_lp. As the scaling part of the gradient vanishes, the physical part is the gradient of the
   reduced cost, exactly.
3. *Compression.* With A = RᵀR, z = R⁻ᵀ g and s = √(cost - z·z), the residual vector [z, s] with Jacobian [R; 0] has the
   cost, the gradient and the Gauss-Newton Hessian of all the points. Any trust-region solver can drive it.
4. *Covariance.* Inverse of the full arrowhead matrix, by blocks.

All of it is dense algebra of a few numbers an angle, so NumPy, in float64.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from homodyne_model._directions import column_scale, determined_directions, invert_identifiable
from homodyne_model._scaling import ScalingBounds, ScalingPenalty, ScalingState
from homodyne_model._scaling_solve import (
    TAKES_PART,
    Columns,
    scaling_curvature,
    scaling_inverse,
    solve_scaling,
)
from homodyne_model.errors import ModelError

# Eigenvalues of the correlation-scaled Hessian below this share of the largest are rounding.
_EIGENVALUE_FLOOR = 1e-14


@dataclass(frozen=True)
class Compression:
    """A least-squares problem in the physical parameters with the cost, gradient and curvature of all the points.

    Attributes
    ----------
    residual : (n_physical + 1,)
        Compressed residual; its squares sum to ``cost``.
    jacobian : (n_physical + 1, n_physical)
        Its derivatives with respect to the physical parameters.
    cost : float
        Σ w (offset + contrast f - C2)², the weighted χ², with the scaling solved for; plus the penalty on it, if there is one.
    gradient : (n_physical,)
        Half the derivative of ``cost``.
    hessian : (n_physical, n_physical)
        The reduced Gauss-Newton Hessian A, without any floor.
    contrast, offset : (n_phi,)
        The best scaling within its bounds.
    state : (n_phi, 2)
        `ScalingState` of contrast and offset of every angle.
    n_scaling : int
        Number of free scaling parameters: coefficients, less what bounds and the data do not leave free.
    penalty : float
        The part of ``cost`` that is not χ².
    """

    residual: np.ndarray
    jacobian: np.ndarray
    cost: float
    gradient: np.ndarray
    hessian: np.ndarray
    contrast: np.ndarray
    offset: np.ndarray
    state: np.ndarray
    n_scaling: int
    penalty: float = 0.0


def compress(
    gram,
    bounds: ScalingBounds | None = None,
    *,
    basis=None,
    penalty: ScalingPenalty | None = None,
) -> Compression:
    """Eliminate contrast and offset from Gram matrices and compress the points.

    Parameters
    ----------
    gram : array_like, (n_phi, n_physical + 3, n_physical + 3)
        From `normal_equations`, multiplied by the weight of each angle where there is one.
    bounds : ScalingBounds, optional
        Bounds of contrast and offset at every angle; default contrast in [0, 1], offset in [0.5, 1.5].
    basis : array_like, (n_phi, n_coef), optional
        Contrast and offset are combinations of these columns (`ScalingBasis.matrix`). Left out, every angle has a pair of its own.
    penalty : ScalingPenalty, optional
        Added to the cost.

    Returns
    -------
    Compression
        Residual, Jacobian, cost, gradient, Hessian and the scaling.

    Raises
    ------
    ModelError
        If the Gram matrices have a wrong shape or are not finite, or no scaling of the basis is within the bounds.

    Examples
    --------
    >>> import numpy as np
    >>> f = np.exp(-np.arange(5.0))
    >>> columns = np.stack([-f * np.arange(5.0), f, np.ones(5), 0.3 * f + 0.1])
    >>> fit = compress((columns @ columns.T)[None])
    >>> round(fit.contrast[0], 6), round(fit.offset[0], 6), fit.residual.shape
    (np.float64(0.3), np.float64(1.1), (2,))
    """
    gram = np.asarray(gram, dtype=float)
    if gram.ndim != 3 or gram.shape[1] != gram.shape[2] or gram.shape[1] < 4:
        raise ModelError(f"gram has shape {gram.shape}; expected (n_phi, n_physical + 3, n_physical + 3).")
    if not np.isfinite(gram).all():
        raise ModelError("gram holds values that are not finite: the model overflows at these parameters.")
    _check_penalty(penalty, len(gram))
    columns = Columns.of(basis, len(gram))
    box = (bounds or ScalingBounds()).arrays(len(gram))
    values, state = solve_scaling(gram, box, columns, penalty)
    return _compressed_at(gram, values, state, columns, penalty)


def compress_at(
    gram,
    contrast,
    offset,
    state,
    *,
    basis=None,
    penalty: ScalingPenalty | None = None,
) -> Compression:
    """Compress the points as `compress` does, at a scaling that is given instead of solved for.

    For weights other than those that the scaling is best for, such as the curvature without the weights of a robust loss.

    Parameters
    ----------
    gram : array_like, (n_phi, n_physical + 3, n_physical + 3)
        From `normal_equations`.
    contrast, offset : array_like, (n_phi,)
        Dimensionless.
    state : array_like, (n_phi, 2)
        `ScalingState` of both; what is free is projected out of the Hessian.
    basis, penalty
        As given to `compress`.

    Returns
    -------
    Compression
        Cost and Hessian are exact; the gradient is that at fixed scaling.
    """
    gram = np.asarray(gram, dtype=float)
    _check_penalty(penalty, len(gram))
    values = np.stack([contrast, np.asarray(offset) - 1], axis=1)
    columns = Columns.of(basis, len(gram))
    return _compressed_at(gram, values, np.asarray(state), columns, penalty)


def _check_penalty(penalty: ScalingPenalty | None, n_phi: int) -> None:
    if penalty is not None and penalty.center.shape != (2 * n_phi,):
        raise ModelError(
            f"penalty is one on {penalty.center.size} values; expected {2 * n_phi}, contrast and offset of {n_phi} angles."
        )


def _compressed_at(gram, values, state, columns: Columns, penalty: ScalingPenalty | None) -> Compression:
    contrast, offset = values[:, 0].copy(), values[:, 1] + 1
    # Residual as a combination of the columns [f, 1, y - 1].
    combination = np.concatenate([values, -np.ones((len(gram), 1))], axis=1)
    cost = max(float(np.einsum("ak,akl,al->", combination, gram[:, -3:, -3:], combination)), 0.0)
    extra = 0.0 if penalty is None else penalty.value(contrast, offset)
    gradient = np.einsum("a,akl,al->k", contrast, gram[:, :-3, -3:], combination)
    inverse = scaling_inverse(gram, state, columns, penalty)
    mixed = _mixed(gram, contrast)
    hessian = np.einsum("a,akl->kl", contrast**2, gram[:, :-3, :-3]) - mixed @ inverse.matrix @ mixed.T
    hessian = (hessian + hessian.T) / 2
    residual, jacobian = compressed_residual(cost + extra, gradient, hessian)
    return Compression(
        residual,
        jacobian,
        cost + extra,
        gradient,
        hessian,
        contrast,
        offset,
        np.array(state),
        inverse.n_free,
        extra,
    )


def _mixed(gram, contrast):
    """Curvature between physical parameters and ``[contrast_0.., offset_0..]``, (n_physical, 2 n_phi)."""
    return np.concatenate([contrast * gram[:, :-3, column].T for column in (-3, -2)], axis=1)


def compressed_residual(cost: float, gradient, hessian) -> tuple[np.ndarray, np.ndarray]:
    """Residual [z, s] and Jacobian [R; 0] with the given cost, half gradient and Gauss-Newton Hessian.

    Parameters
    ----------
    cost : float
        Sum of squares that the residual shall have.
    gradient : array_like, (n,)
        Half the gradient of the cost.
    hessian : array_like, (n, n)
        Half the Gauss-Newton Hessian; symmetric, may be singular.

    Returns
    -------
    residual : (n + 1,)
    jacobian : (n + 1, n)
        ``jacobian.T @ residual`` is the gradient; ``jacobian.T @ jacobian`` the Hessian, with the eigenvalues of its
        correlation-scaled form lifted where they are lost to rounding (so the step stays finite there).
    """
    gradient, hessian = np.asarray(gradient, dtype=float), np.asarray(hessian, dtype=float)
    n = len(gradient)
    scale = column_scale(hessian)
    values, vectors = np.linalg.eigh(hessian / np.outer(scale, scale))
    along = vectors.T @ (gradient / scale)
    values = np.maximum(values, _EIGENVALUE_FLOOR * max(values[-1], 1.0))
    if (along**2 / values).sum() > cost > 0:
        # |z|² <= cost holds in exact arithmetic; rounding of tiny eigenvalues may break it.
        values = np.maximum(values, n * along**2 / cost)
    root = np.sqrt(values)
    z = along / root
    s = np.sqrt(max(cost - z @ z, 0.0))
    jacobian = np.concatenate([root[:, None] * vectors.T * scale, np.zeros((1, n))])
    return np.append(z, s), jacobian


def joint_information(gram, contrast) -> np.ndarray:
    """Curvature JᵀwJ of all parameters.

    Parameters
    ----------
    gram : array_like, (n_phi, n_physical + 3, n_physical + 3)
        From `normal_equations`.
    contrast : array_like, (n_phi,)
        Dimensionless.

    Returns
    -------
    (size, size)
        In the order ``[contrast_0.., offset_0.., *physical]``.
    """
    gram, contrast = np.asarray(gram, dtype=float), np.asarray(contrast, dtype=float)
    n_scaling = 2 * len(gram)
    information = np.zeros((n_scaling + gram.shape[1] - 3,) * 2)
    information[:n_scaling, :n_scaling] = scaling_curvature(gram)
    information[n_scaling:, :n_scaling] = _mixed(gram, contrast)
    information[:n_scaling, n_scaling:] = information[n_scaling:, :n_scaling].T
    information[n_scaling:, n_scaling:] = np.einsum("a,akl->kl", contrast**2, gram[:, :-3, :-3])
    return information


class JointCovariance(NamedTuple):
    """Covariance of contrasts, offsets and physical parameters, in the order ``[contrast_0.., offset_0.., *physical]``.

    Attributes
    ----------
    determined : (size, size)
        Over the directions that the data determine; zero for parameters that do not vary.
    known : (size,) bool
        Parameters that vary and are determined one by one: the others have no error of their own.
    """

    determined: np.ndarray
    known: np.ndarray

    def quoted(self) -> np.ndarray:
        """The covariance with NaN in rows and columns of parameters that have no error of their own."""
        return np.where(self.known[:, None] & self.known[None, :], self.determined, np.nan)

    def scaled(self, noise: float) -> "JointCovariance":
        """For points whose noise is larger than their weights say."""
        return JointCovariance(noise * self.determined, self.known)


def joint_covariance(
    gram,
    fit: Compression,
    free_physical,
    *,
    basis=None,
    penalty: ScalingPenalty | None = None,
    meat=None,
) -> JointCovariance:
    """Inverse of the full curvature matrix of contrasts, offsets and physical parameters, or a sandwich of two of them.

    Parameters
    ----------
    gram : array_like, (n_phi, n_physical + 3, n_physical + 3)
        The Gram matrices that ``fit`` was made from.
    fit : Compression
        Result of `compress`.
    free_physical : array_like of bool, (n_physical,)
        Parameters that are neither fixed nor at a bound; the others leave the matrix.
    basis, penalty
        As given to `compress`. A penalty counts as curvature, as if it were knowledge about the scaling; where it is none, ``meat``
        is the curvature without it.
    meat : array_like, (size, size), optional
        Covariance of the scores Σ J w r. With it the result is V · meat · V, V the inverse curvature (Huber, Proc. 5th Berkeley Symp. 1 (1967)
        221): for weights that are not the inverse variances of the points.

    Returns
    -------
    JointCovariance
        Not scaled by χ². Parameters that are fixed, at a bound, or not determined by the data are not ``known``.
    """
    gram = np.asarray(gram, dtype=float)
    n_scaling, n_physical = 2 * len(gram), gram.shape[1] - 3
    inverse = scaling_inverse(gram, fit.state, Columns.of(basis, len(gram)), penalty)
    free_physical = np.asarray(free_physical, dtype=bool)
    physical = invert_identifiable(fit.hessian, free_physical)
    # A lost direction takes single parameters along (D0 and D_offset at alpha = 0), while their determined combination
    # still widens the error of the scaling: A⁻¹ there is the inverse over all determined directions.
    spread, lost = determined_directions(fit.hessian, free_physical)
    # Rows of the scaling: -H_ll⁻¹ H_lp A⁻¹, and H_ll⁻¹ + H_ll⁻¹ H_lp A⁻¹ H_pl H_ll⁻¹.
    response = -inverse.matrix @ _mixed(gram, fit.contrast).T  # d(scaling)/d(physical)
    # What moves with the determined directions of the physical parameters.
    moved = np.concatenate([response @ spread, spread])
    covariance = moved @ moved.T
    covariance[:n_scaling, :n_scaling] += inverse.matrix
    taking_part = (np.abs(response @ lost) * inverse.norm[:, None] > TAKES_PART).any(axis=1)
    known = np.empty(n_scaling + n_physical, dtype=bool)
    known[:n_scaling] = (fit.state == ScalingState.FREE).T.ravel() & ~taking_part
    known[n_scaling:] = np.isfinite(np.diag(physical))
    if meat is not None:
        covariance = covariance @ np.asarray(meat, dtype=float) @ covariance
    return JointCovariance(covariance, known)


def with_angle_weights(gram, weight) -> np.ndarray:
    """Gram matrices multiplied by the weight of each angle, such as 1/σ², (n_phi,) or a number."""
    return np.asarray(gram) * np.broadcast_to(np.asarray(weight, dtype=float), (len(gram),))[:, None, None]


def in_coordinates(fit: Compression, tangent) -> Compression:
    """The same problem in other coordinates u of the physical parameters.

    Parameters
    ----------
    fit : Compression
        In natural parameters.
    tangent : array_like, (n_physical, n_u)
        ∂θ/∂u.

    Returns
    -------
    Compression
        With residual, Jacobian, gradient and Hessian over u.
    """
    tangent = np.asarray(tangent, dtype=float)
    gradient, hessian = tangent.T @ fit.gradient, tangent.T @ fit.hessian @ tangent
    residual, jacobian = compressed_residual(fit.cost, gradient, hessian)
    return replace(fit, residual=residual, jacobian=jacobian, gradient=gradient, hessian=hessian)
