"""The best contrast and offset for given Gram matrices, and the inverse of their curvature over what is free.

For given f the cost is a quadratic form of contrast c and offset o. Where every angle, or a group of angles, has a pair of
its own, the form falls apart into forms of two variables in a box, each solved exactly: the interior, then the edges. In any
other basis, and under a penalty, it is one quadratic form of all coefficients, and the bounds, which hold at every angle,
are linear inequalities of the coefficients (`homodyne_model._quadratic`).

Vectors of the scaling are ``[contrast_0.., offset_0 - 1, ..]``, as the Gram matrices hold C2 - 1.
"""

from typing import NamedTuple

import numpy as np

from homodyne_model._directions import determined_directions
from homodyne_model._quadratic import minimise_quadratic
from homodyne_model._scaling import ScalingPenalty, ScalingState
from homodyne_model.errors import ModelError

# A 2 x 2 system with a smaller determinant, relative to the product of its diagonal, does not tell contrast from offset.
_SINGULAR = 1e-12
# Columns of a basis whose part of their own has a smaller share are one column to the angles.
_ALIKE = 1e-9
# Closer to a bound than this a value is on it; fixed values farther than this from a basis are not in it.
_ON_BOUND = 1e-9
# Share of a lost direction above which a contrast or an offset takes part in it.
TAKES_PART = 1e-6
# Middle of the default boxes of contrast and offset - 1.
_MIDDLE = np.array([0.5, 0.0])


class ScalingInverse(NamedTuple):
    """The inverse curvature of the scaling over what is free.

    Attributes
    ----------
    matrix : (2 n_phi, 2 n_phi)
        Of ``[contrast_0.., offset_0..]``; zero for what is held.
    n_free : int
        Free directions.
    norm : (2 n_phi,)
        Norms of the columns that determine each value.
    """

    matrix: np.ndarray
    n_free: int
    norm: np.ndarray


class Columns(NamedTuple):
    """A basis as the solver uses it.

    Attributes
    ----------
    matrix : (n_phi, n_coef)
        Orthonormal columns that span the basis.
    group : (n_phi,) int or None
        Which of the columns an angle belongs to, where every angle belongs to exactly one.
    """

    matrix: np.ndarray
    group: np.ndarray | None

    @classmethod
    def of(cls, basis, n_phi: int) -> "Columns":
        """Columns of a basis (n_phi, n_coef), or of a pair for every angle if it is None.

        Raises
        ------
        ModelError
            If the shape is wrong or the angles do not tell the columns apart.
        """
        if basis is None:
            return cls(np.eye(n_phi), np.arange(n_phi))
        basis = np.asarray(basis, dtype=float)
        if basis.ndim != 2 or len(basis) != n_phi or not np.isfinite(basis).all():
            raise ModelError(f"basis has shape {basis.shape}; expected finite numbers ({n_phi}, n_coef).")
        if np.isin(basis, (0.0, 1.0)).all() and (basis.sum(axis=1) == 1).all() and basis.any(axis=0).all():
            return cls(basis / np.sqrt(basis.sum(axis=0)), basis.argmax(axis=1))
        left, size, _ = np.linalg.svd(basis, full_matrices=False)
        rank = int((size > _ALIKE * size[0]).sum()) if size.size else 0
        if rank < basis.shape[1] or not rank:
            raise ModelError(
                f"basis has {basis.shape[1]} columns, but the {n_phi} angles tell only {rank} of them apart: take fewer."
            )
        return cls(left, None)

    @property
    def first(self) -> np.ndarray:
        """First angle of every group."""
        return np.unique(self.group, return_index=True)[1]

    def summed(self, gram) -> np.ndarray:
        """Gram matrices of the groups."""
        if np.array_equal(self.group, np.arange(len(gram))):
            return gram
        total = np.zeros((self.matrix.shape[1], *gram.shape[1:]))
        np.add.at(total, self.group, gram)
        return total

    def both(self) -> np.ndarray:
        """Values of contrast and offset per coefficient, (2 n_phi, 2 n_coef)."""
        return np.kron(np.eye(2), self.matrix)


def solve_scaling(gram, box, columns: Columns, penalty: ScalingPenalty | None):
    """The best scaling within its bounds.

    Parameters
    ----------
    gram : (n_phi, n_physical + 3, n_physical + 3)
        From `normal_equations`.
    box : (n_phi, 2, 2)
        From `ScalingBounds.arrays`.
    columns : Columns
        The basis.
    penalty : ScalingPenalty or None
        Added to the cost.

    Returns
    -------
    values : (n_phi, 2)
        Contrast and offset - 1.
    state : (n_phi, 2)
        `ScalingState` of both.

    Raises
    ------
    ModelError
        If no scaling of the basis is within the bounds.
    """
    box = box - np.array([0.0, 1.0])[:, None]
    if columns.group is None or penalty is not None:
        return _solve_coupled(gram, box, columns, penalty)
    gram = columns.summed(gram)
    first = columns.first
    lower, upper = box[first, :, 0].copy(), box[first, :, 1].copy()
    np.maximum.at(lower, columns.group, box[..., 0])
    np.minimum.at(upper, columns.group, box[..., 1])
    if (lower > upper).any():
        where = np.stack([lower, upper], axis=-1)[(lower > upper).any(axis=1)][0] + [[0.0], [1.0]]
        raise ModelError(
            f"the bounds of the angles have no common contrast and offset: they meet in {where.tolist()}."
        )
    values, state = np.empty(lower.shape), np.empty(lower.shape, dtype=int)
    for g, matrix in enumerate(gram):
        values[g], state[g] = _solve_in_box(matrix[-3:-1, -3:-1], matrix[-3:-1, -1], lower[g], upper[g])
    return values[columns.group], state[columns.group]


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

    rest = _rest(lower, upper, _MIDDLE)
    if held.any():
        k = int(np.argmax(held))
        candidates = [on_edge(k, rest[k])]
    else:
        candidates = [
            on_edge(k, value) for k in range(2) for value in (lower[k], upper[k]) if np.isfinite(value)
        ]

    def slope_inwards(x):
        # Costs of neighbouring edges differ by rounding only; the first-order conditions tell them apart.
        slope = (h @ x - b) / norm
        outside = np.where(
            x <= lower, np.minimum(slope, 0), np.where(x >= upper, np.maximum(slope, 0), slope)
        )
        return np.abs(outside[~held]).max()

    x = candidates[0] if held.any() else min(candidates, key=slope_inwards)
    state = np.where(
        x <= lower, ScalingState.LOWER, np.where(x >= upper, ScalingState.UPPER, ScalingState.FREE)
    )
    state[lower == upper] = ScalingState.FIXED
    state[lost] = ScalingState.UNDETERMINED
    return x, state


def _rest(lower, upper, middle):
    """Where rests what is not determined: the middle of its box, for an unbounded one the middle of the usual box."""
    with np.errstate(invalid="ignore"):
        rest = (lower + upper) / 2
    return np.where(np.isfinite(rest), rest, np.clip(middle, lower, upper))


def _solve_coupled(gram, box, columns: Columns, penalty):
    """The quadratic programme over the coefficients."""
    n_phi = len(gram)
    to_values = columns.both()
    lower, upper = box[..., 0].T.ravel(), box[..., 1].T.ravel()
    fixed = lower == upper
    base = _through_fixed(columns, fixed, lower)
    inside = _complement(columns, fixed)
    curvature, linear = _penalised_curvature(gram, penalty), gram[:, -3:-1, -1].T.ravel()
    if penalty is not None:
        linear = linear + penalty.matrix @ (penalty.center - np.repeat([0.0, 1.0], n_phi))
    rows = to_values @ inside
    rest = _rest(lower, upper, np.repeat(_MIDDLE, n_phi))
    found = minimise_quadratic(
        rows.T @ curvature @ rows,
        rows.T @ (linear - curvature @ (to_values @ base)),
        rows[~fixed],
        (lower - to_values @ base)[~fixed],
        (upper - to_values @ base)[~fixed],
        rows.T @ (rest - to_values @ base),
    )
    if found is None:
        raise ModelError(
            "no contrast and offset of the basis lie within their bounds at every angle: widen the bounds, or give every angle its "
            "own (individual)."
        )
    values = to_values @ base + rows @ found
    at_lower, at_upper = (
        np.isfinite(bound) & (inwards <= _ON_BOUND * (1 + np.abs(values)))
        for bound, inwards in ((lower, values - lower), (upper, upper - values))
    )
    values = np.where(at_lower | fixed, lower, np.where(at_upper, upper, values))
    state = np.where(at_lower, ScalingState.LOWER, np.where(at_upper, ScalingState.UPPER, ScalingState.FREE))
    state[fixed] = ScalingState.FIXED
    free = state == ScalingState.FREE
    _, lost = _free_directions(curvature, columns, ~free)
    state[free & lost] = ScalingState.UNDETERMINED
    tied = np.linalg.norm(to_values @ _complement(columns, ~free), axis=1) <= _ALIKE
    state[free & tied] = ScalingState.TIED
    return values.reshape(2, n_phi).T, state.reshape(2, n_phi).T


def _through_fixed(columns: Columns, fixed, values):
    """Smallest coefficients with the fixed values, (2 n_coef,)."""
    found = []
    for k, name in enumerate(("contrast", "offset")):
        held = np.flatnonzero(fixed.reshape(2, -1)[k])
        wanted = values.reshape(2, -1)[k, held]
        rows = columns.matrix[held]
        coefficients = np.linalg.lstsq(rows, wanted, rcond=_ALIKE)[0]
        miss = np.abs(rows @ coefficients - wanted)
        if len(held) and miss.max() > _ON_BOUND * (1 + np.abs(wanted).max()):
            raise ModelError(
                f"{name} is fixed at values that the basis does not hold, by {miss.max():.3g} at angle {held[miss.argmax()]}: fix one "
                "value for all angles, fewer of them, or give every angle its own (individual)."
            )
        found.append(coefficients)
    return np.concatenate(found)


def _complement(columns: Columns, held):
    """Orthonormal directions of the coefficients that leave held values alone, (2 n_coef, k)."""
    n_coef = columns.matrix.shape[1]
    parts = []
    for which in held.reshape(2, -1):
        _, size, right = np.linalg.svd(columns.matrix[which])
        parts.append(right[int((size > _ALIKE).sum()) :].T)
    inside = np.zeros((2 * n_coef, sum(p.shape[1] for p in parts)))
    inside[:n_coef, : parts[0].shape[1]] = parts[0]
    inside[n_coef:, parts[0].shape[1] :] = parts[1]
    return inside


def scaling_curvature(gram) -> np.ndarray:
    """Curvature of ``[contrast_0.., offset_0..]``, (2 n_phi, 2 n_phi), before any basis."""
    n_phi = len(gram)
    every = np.arange(n_phi)
    curvature = np.zeros((2 * n_phi, 2 * n_phi))
    for k in range(2):
        for m in range(2):
            curvature[every + k * n_phi, every + m * n_phi] = gram[:, -3 + k, -3 + m]
    return curvature


def _penalised_curvature(gram, penalty: ScalingPenalty | None):
    curvature = scaling_curvature(gram)
    return curvature if penalty is None else curvature + penalty.matrix


def _free_directions(curvature, columns: Columns, held):
    """Spread of the determined directions, (2 n_phi, r), and which values take part in lost ones, (2 n_phi,)."""
    rows = columns.both() @ _complement(columns, held)
    spread, lost = determined_directions(rows.T @ curvature @ rows, np.ones(rows.shape[1], dtype=bool))
    # What a lost direction changes, in units of what a contrast and an offset do to the points.
    size = np.sqrt(np.diag(curvature).reshape(2, -1).mean(axis=1))
    share = np.abs(rows @ lost) * np.repeat(np.where(size > 0, size, 1.0), len(rows) // 2)[:, None]
    largest = share.max(axis=0, initial=np.finfo(float).tiny)
    return rows @ spread, (share > TAKES_PART * largest).any(axis=1)


def scaling_inverse(gram, state, columns: Columns, penalty: ScalingPenalty | None) -> ScalingInverse:
    """Inverse curvature of the scaling over what is free.

    Parameters
    ----------
    gram : (n_phi, n_physical + 3, n_physical + 3)
        From `normal_equations`.
    state : (n_phi, 2)
        Of `solve_scaling`. Values that are fixed or on a bound are held, and so are combinations that the data do not determine.
    columns : Columns
        The basis.
    penalty : ScalingPenalty or None
        Part of the curvature.
    """
    n_phi = len(gram)
    if columns.group is None or penalty is not None:
        held = np.isin(state, (ScalingState.LOWER, ScalingState.UPPER, ScalingState.FIXED)).T.ravel()
        spread, _ = _free_directions(_penalised_curvature(gram, penalty), columns, held)
        norm = np.sqrt(np.einsum("amm->m", gram[:, -3:-1, -3:-1]))
        return ScalingInverse(spread @ spread.T, spread.shape[1], np.repeat(norm, n_phi))
    gram = columns.summed(gram)
    free = state[columns.first] == ScalingState.FREE
    inverse = np.zeros((len(gram), 2, 2))
    for g, which in enumerate(free):
        if which.any():
            inverse[g][np.ix_(which, which)] = np.linalg.inv(gram[g, -3:-1, -3:-1][np.ix_(which, which)])
    matrix = np.zeros((2, n_phi, 2, n_phi))
    a, b = np.nonzero(columns.group[:, None] == columns.group)
    for k in range(2):
        for m in range(2):
            matrix[k, a, m, b] = inverse[columns.group[a], k, m]
    norm = np.sqrt(np.einsum("gmm->mg", gram[:, -3:-1, -3:-1]))[:, columns.group]
    return ScalingInverse(matrix.reshape(2 * n_phi, 2 * n_phi), int(free.sum()), norm.ravel())
