"""From Gram matrices to a least-squares problem of a few numbers: contrast and offset eliminated, the points compressed.

With residual r = offset + contrast · f - y, weights w and cost = Σ w r² (twice SciPy's cost):

1. *Scaling.* For given θ, contrast c and offset o of an angle minimise a quadratic form of two variables in a box, which is
   solved exactly (interior, then the edges).
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
from enum import IntEnum

import numpy as np

from homodyne_model._directions import column_scale, determined_directions, invert_identifiable
from homodyne_model.errors import ModelError

# A 2 x 2 system with a smaller determinant, relative to the product of its diagonal, does not tell contrast from offset.
_SINGULAR = 1e-12
# Eigenvalues of the correlation-scaled Hessian below this share of the largest are rounding.
_EIGENVALUE_FLOOR = 1e-14


# Share of a lost direction above which a contrast or an offset takes part in it.
_TAKES_PART = 1e-6
# Middle of the default boxes of contrast and offset - 1.
_MIDDLE = np.array([0.5, 0.0])


class ScalingState(IntEnum):
    """Why a contrast or an offset has its value."""

    FREE = 0
    LOWER = -1
    UPPER = 1
    FIXED = 2
    UNDETERMINED = 3


@dataclass(frozen=True)
class ScalingBounds:
    """Box of contrast and offset; equal bounds hold a value.

    Parameters
    ----------
    contrast, offset : tuple of (lower, upper)
        Numbers or arrays (n_phi,), dimensionless.

    Raises
    ------
    ModelError
        If a lower bound exceeds its upper bound or a bound is NaN.
    """

    contrast: tuple = (0.0, 1.0)
    offset: tuple = (0.5, 1.5)

    def __post_init__(self) -> None:
        for name in ("contrast", "offset"):
            lower, upper = (np.asarray(b, dtype=float) for b in getattr(self, name))
            if np.isnan(lower).any() or np.isnan(upper).any() or (lower > upper).any():
                raise ModelError(f"bounds of {name} are {lower} to {upper}; expected lower <= upper.")

    def arrays(self, n_phi: int) -> np.ndarray:
        """Bounds as an array (n_phi, 2, 2): angle, (contrast, offset), (lower, upper)."""
        box = np.empty((n_phi, 2, 2))
        for k, name in enumerate(("contrast", "offset")):
            for side, bound in enumerate(getattr(self, name)):
                if np.shape(bound) not in ((), (1,), (n_phi,)):
                    raise ModelError(
                        f"bounds of {name} have shape {np.shape(bound)}; expected numbers or ({n_phi},), one per angle."
                    )
                box[:, k, side] = bound
        return box


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
        Σ w (offset + contrast f - C2)², the weighted χ², with the scaling solved for.
    gradient : (n_physical,)
        Half the derivative of ``cost``.
    hessian : (n_physical, n_physical)
        The reduced Gauss-Newton Hessian A, without any floor.
    contrast, offset : (n_phi,)
        The best scaling within its bounds.
    state : (n_phi, 2)
        `ScalingState` of contrast and offset of every angle.
    n_scaling : int
        Number of free scaling parameters: those of all angles, or one pair when they are common.
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


def compress(gram, bounds: ScalingBounds | None = None, *, common_scaling: bool = False) -> Compression:
    """Eliminate contrast and offset from Gram matrices and compress the points.

    Parameters
    ----------
    gram : array_like, (n_phi, n_physical + 3, n_physical + 3)
        From `normal_equations`, multiplied by the weight of each angle where there is one.
    bounds : ScalingBounds, optional
        Bounds of contrast and offset; default contrast in [0, 1], offset in [0.5, 1.5].
    common_scaling : bool
        One contrast and offset for all angles instead of a pair for each.

    Returns
    -------
    Compression
        Residual, Jacobian, cost, gradient, Hessian and the scaling.

    Raises
    ------
    ModelError
        If the Gram matrices have a wrong shape or are not finite.

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
    n_phi = len(gram)
    if gram.ndim != 3 or gram.shape[1] != gram.shape[2] or gram.shape[1] < 4:
        raise ModelError(f"gram has shape {gram.shape}; expected (n_phi, n_physical + 3, n_physical + 3).")
    if not np.isfinite(gram).all():
        raise ModelError("gram holds values that are not finite: the model overflows at these parameters.")
    box = (bounds or ScalingBounds()).arrays(n_phi)
    if common_scaling:
        gram = gram.sum(axis=0, keepdims=True)
        box = np.stack([box[..., 0].max(axis=0), box[..., 1].min(axis=0)], axis=-1)[None]
        if (box[..., 0] > box[..., 1]).any():
            raise ModelError(
                f"the bounds of the angles have no common contrast and offset: they meet in {box[0].tolist()}."
            )
    coefficients, state = _solve_scaling(gram, box)
    return _compressed_at(gram, coefficients, state, n_phi)


def compress_at(gram, contrast, offset, state, *, common_scaling: bool = False) -> Compression:
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
    common_scaling : bool
        One contrast and offset for all angles; then the first entries count.

    Returns
    -------
    Compression
        Cost and Hessian are exact; the gradient is that at fixed scaling.
    """
    gram, n_phi = np.asarray(gram, dtype=float), len(gram)
    coefficients, state = np.stack([contrast, np.asarray(offset) - 1], axis=1), np.asarray(state)
    if common_scaling:
        gram, coefficients, state = gram.sum(axis=0, keepdims=True), coefficients[:1], state[:1]
    return _compressed_at(gram, coefficients, state, n_phi)


def _compressed_at(gram, coefficients, state, n_phi: int) -> Compression:
    cost, gradient, hessian = _project(gram, coefficients, state == ScalingState.FREE)
    residual, jacobian = compressed_residual(cost, gradient, hessian)
    return Compression(
        residual,
        jacobian,
        cost,
        gradient,
        hessian,
        np.broadcast_to(coefficients[:, 0], n_phi).copy(),
        np.broadcast_to(coefficients[:, 1] + 1, n_phi).copy(),
        np.broadcast_to(state, (n_phi, 2)).copy(),
        int((state == ScalingState.FREE).sum()),
    )


def _solve_scaling(gram, box):
    """Contrast and offset - 1 of every Gram matrix, (n, 2), within the box, and their states."""
    curvature, linear = gram[:, -3:-1, -3:-1], gram[:, -3:-1, -1]
    box = box.copy()
    box[:, 1] -= 1  # the columns hold C2 - 1
    coefficients, state = np.empty(linear.shape), np.empty(linear.shape, dtype=int)
    for a, (h, b, (lower, upper)) in enumerate(zip(curvature, linear, np.swapaxes(box, 1, 2), strict=True)):
        coefficients[a], state[a] = _solve_in_box(h, b, lower, upper)
    return coefficients, state


def _solve_in_box(h, b, lower, upper):
    """Minimise x·h·x - 2 b·x over two variables in a box; return x and the states."""
    # Columns of norm one: f may be as small as 1e-150, and the products of two such sums vanish.
    norm = np.sqrt(np.diag(h))
    lost = (norm == 0) & (lower < upper)
    held = lost | (lower == upper)
    norm = np.where(norm > 0, norm, 1.0)
    cosine = h[0, 1] / norm[0] / norm[1]
    determinant = (1 - cosine) * (1 + cosine)
    if not held.any() and determinant <= _SINGULAR:
        # Where f is constant only a combination of the two is known.
        lost = held = np.array([True, False])
    target = b / norm
    if not held.any():
        x = (target - cosine * target[::-1]) / determinant / norm
        if (x >= lower).all() and (x <= upper).all():
            return x, np.full(2, ScalingState.FREE)

    def on_edge(k, value):
        other = 1 - k
        x = np.empty(2)
        x[k] = value
        best = rest[other] if held[other] else (b[other] - h[k, other] * value) / h[other, other]
        x[other] = np.clip(best, lower[other], upper[other])
        return x

    # What is not determined rests in the middle of its box, an unbounded one at the middle of the usual box.
    with np.errstate(invalid="ignore"):
        rest = (lower + upper) / 2
    rest = np.where(np.isfinite(rest), rest, np.clip(_MIDDLE, lower, upper))
    if held.any():
        k = int(np.argmax(held))
        candidates = [on_edge(k, rest[k])]
    else:
        candidates = [
            on_edge(k, value) for k in range(2) for value in (lower[k], upper[k]) if np.isfinite(value)
        ]
    x = min(candidates, key=lambda x: x @ h @ x - 2 * b @ x)
    state = np.where(
        x <= lower, ScalingState.LOWER, np.where(x >= upper, ScalingState.UPPER, ScalingState.FREE)
    )
    state[lower == upper] = ScalingState.FIXED
    state[lost] = ScalingState.UNDETERMINED
    return x, state


def _full_blocks(gram, coefficients, free):
    """H_pp, H_pl per angle (with held scaling set to zero) and the inverse of H_ll per angle."""
    contrast = coefficients[:, 0]
    physical = np.einsum("a,akl->kl", contrast**2, gram[:, :-3, :-3])
    mixed = contrast[:, None, None] * gram[:, :-3, -3:-1] * free[:, None, :]
    inverse = np.zeros((len(gram), 2, 2))
    for a, which in enumerate(free):
        if which.any():
            inverse[a][np.ix_(which, which)] = np.linalg.inv(gram[a, -3:-1, -3:-1][np.ix_(which, which)])
    return physical, mixed, inverse


def _project(gram, coefficients, free):
    """Cost, half its gradient, and the reduced Hessian."""
    # Residual as a combination of the columns [f, 1, y - 1].
    combination = np.concatenate([coefficients, -np.ones((len(gram), 1))], axis=1)
    cost = float(np.einsum("ak,akl,al->", combination, gram[:, -3:, -3:], combination))
    gradient = np.einsum("a,akl,al->k", coefficients[:, 0], gram[:, :-3, -3:], combination)
    physical, mixed, inverse = _full_blocks(gram, coefficients, free)
    hessian = physical - np.einsum("akm,amn,aln->kl", mixed, inverse, mixed)
    return max(cost, 0.0), gradient, (hessian + hessian.T) / 2


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
    n_phi, n_scaling = len(gram), 2 * len(gram)
    mixed = contrast[:, None, None] * gram[:, :-3, -3:-1]
    information = np.zeros((n_scaling + gram.shape[1] - 3,) * 2)
    every = np.arange(n_phi)
    for k in range(2):
        for m in range(2):
            information[every + k * n_phi, every + m * n_phi] = gram[:, -3 + k, -3 + m]
        information[k * n_phi : (k + 1) * n_phi, n_scaling:] = mixed[:, :, k]
    information[n_scaling:, :n_scaling] = information[:n_scaling, n_scaling:].T
    information[n_scaling:, n_scaling:] = np.einsum("a,akl->kl", contrast**2, gram[:, :-3, :-3])
    return information


def joint_covariance(
    gram, fit: Compression, free_physical, *, common_scaling: bool = False, meat=None
) -> np.ndarray:
    """Inverse of the full curvature matrix of contrasts, offsets and physical parameters, or a sandwich of two of them.

    Parameters
    ----------
    gram : array_like, (n_phi, n_physical + 3, n_physical + 3)
        The Gram matrices that ``fit`` was made from.
    fit : Compression
        Result of `compress`.
    free_physical : array_like of bool, (n_physical,)
        Parameters that are neither fixed nor at a bound; the others leave the matrix.
    common_scaling : bool
        As given to `compress`.
    meat : array_like, (size, size), optional
        Covariance of the scores Σ J w r. With it the result is V · meat · V, V the inverse curvature (Huber, Proc. 5th Berkeley Symp. 1 (1967)
        221): for weights that are not the inverse variances of the points.

    Returns
    -------
    (size, size)
        In the order ``[contrast_0.., offset_0.., *physical]``; NaN in rows and columns of parameters that are fixed, at a
        bound, or not determined by the data. Not scaled by χ².
    """
    gram = np.asarray(gram, dtype=float)
    n_phi, n_physical = len(gram), gram.shape[1] - 3
    coefficients = np.stack([fit.contrast, fit.offset - 1], axis=1)
    state = fit.state
    if common_scaling:
        gram, coefficients, state = gram.sum(axis=0, keepdims=True), coefficients[:1], state[:1]
    free = state == ScalingState.FREE
    _, mixed, inverse = _full_blocks(gram, coefficients, free)
    free_physical = np.asarray(free_physical, dtype=bool)
    physical = invert_identifiable(fit.hessian, free_physical)
    # A lost direction takes single parameters along (D0 and D_offset at alpha = 0), while their determined combination
    # still widens the error of the scaling: A⁻¹ there is the inverse over all determined directions.
    spread, lost = determined_directions(fit.hessian, free_physical)
    # Rows of the scaling: -H_ll⁻¹ H_lp A⁻¹, and H_ll⁻¹ + H_ll⁻¹ H_lp A⁻¹ H_pl H_ll⁻¹.
    response = -np.einsum("amn,akn->amk", inverse, mixed)  # d(scaling)/d(physical)
    cross = np.einsum("amk,kl->aml", response, spread @ spread.T)
    scaling = np.einsum("aml,bnl->ambn", cross, response)
    for a in range(len(gram)):
        scaling[a, :, a, :] += inverse[a]
    size = np.sqrt(np.einsum("amm->am", gram[:, -3:-1, -3:-1]))
    known = free & ~(np.abs(response @ lost) * size[:, :, None] > _TAKES_PART).any(axis=-1)
    if common_scaling:
        scaling = np.broadcast_to(scaling, (n_phi, 2, 1, 2))
        scaling = np.broadcast_to(scaling, (n_phi, 2, n_phi, 2))
        cross = np.broadcast_to(cross, (n_phi, 2, n_physical))
        known = np.broadcast_to(known, (n_phi, 2))
    n_scaling = 2 * n_phi
    covariance = np.empty((n_scaling + n_physical,) * 2)
    covariance[:n_scaling, :n_scaling] = scaling.transpose(1, 0, 3, 2).reshape(n_scaling, n_scaling)
    covariance[:n_scaling, n_scaling:] = cross.transpose(1, 0, 2).reshape(n_scaling, n_physical)
    covariance[n_scaling:, :n_scaling] = covariance[:n_scaling, n_scaling:].T
    covariance[n_scaling:, n_scaling:] = spread @ spread.T
    if meat is not None:
        covariance = covariance @ np.asarray(meat, dtype=float) @ covariance
    unknown = ~np.concatenate([known.T.ravel(), np.isfinite(np.diag(physical))])
    covariance[unknown, :] = np.nan
    covariance[:, unknown] = np.nan
    return covariance


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
