"""Which directions of the parameters the data determine, from the curvature of χ²."""

from typing import NamedTuple

import numpy as np

# Sums over the points are good to 1e-13, to 1e-11 in extreme cases: a direction with less curvature than this share is not determined by them.
_UNDETERMINED = 1e-11


class Directions(NamedTuple):
    """Free parameters split into what is determined and what is not.

    Attributes
    ----------
    spread : (n, k)
        ``spread @ spread.T`` is the inverse curvature over the determined directions; zero for parameters that are not free.
    lost : (n, m)
        Directions without curvature, in units of the columns' scales; zero for parameters that are not free.
    """

    spread: np.ndarray
    lost: np.ndarray


def column_scale(hessian) -> np.ndarray:
    """Roots of the diagonal of a Hessian, 1 where it vanishes."""
    diagonal = np.diag(hessian)
    return np.sqrt(np.where(diagonal > 0, diagonal, 1.0))


def determined_directions(hessian, free) -> Directions:
    """Eigen-directions of the correlation-scaled curvature, the determined and the lost ones.

    Parameters
    ----------
    hessian : array_like, (n, n)
        Curvature of χ² / 2: JᵀwJ.
    free : array_like of bool, (n,)
        Parameters that vary.

    Returns
    -------
    Directions
        Spread of the determined directions, and the lost ones.

    Examples
    --------
    >>> import numpy as np
    >>> found = determined_directions(np.ones((2, 2)), [True, True])
    >>> found.spread.shape, found.lost.shape
    ((2, 1), (2, 1))
    """
    free = np.asarray(free, dtype=bool)
    part = np.asarray(hessian, dtype=float)[np.ix_(free, free)]
    n, n_free = len(free), len(part)
    scale = column_scale(part)
    values, vectors = (
        np.linalg.eigh(part / np.outer(scale, scale)) if n_free else (np.zeros(0), np.zeros((0, 0)))
    )
    known = values > _UNDETERMINED * values.max(initial=np.finfo(float).tiny)
    spread, lost = np.zeros((n, int(known.sum()))), np.zeros((n, int((~known).sum())))
    spread[free] = vectors[:, known] / scale[:, None] / np.sqrt(values[known])
    lost[free] = vectors[:, ~known] / scale[:, None]
    return Directions(spread, lost)


def invert_identifiable(hessian, free) -> np.ndarray:
    """Inverse of a curvature over its free parameters; NaN for the others and for those that the data do not determine.

    A parameter that takes part in a direction of vanishing curvature has no finite variance: it is NaN, never zero.
    """
    free = np.asarray(free, dtype=bool)
    spread, lost = determined_directions(hessian, free)
    inverse = spread @ spread.T
    share = np.abs(lost) * column_scale(hessian)[:, None]
    unknown = ~free | (share > np.sqrt(_UNDETERMINED)).any(axis=1)
    inverse[unknown, :] = np.nan
    inverse[:, unknown] = np.nan
    return inverse
