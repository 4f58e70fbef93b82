"""Maps as the pass reads them: one value and one weight for every unordered pair of frames."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from homodyne_data import TwoTimeData


@dataclass(frozen=True)
class FoldedMaps:
    """Maps as the pass reads them: one value and one weight for every unordered pair of frames.

    The model is symmetric in the two frames, so two independent measurements y1, y2 of a pair with weights w1, w2 act as their weighted
    mean with weight w1 + w2; what is left, Σ w y² - (Σ w y)² / Σ w, is a constant of χ².

    Attributes
    ----------
    c2 : (n_phi, n_t, n_t)
        Entries with i > j count; NaN where masked.
    weights : (n_phi, n_t, n_t) or None
        Weight of every entry, beside the weight of the angle.
    angle_weight : (n_phi,)
        Weight of the angle.
    constant : (n_phi,)
        The angle's part of χ² that no parameter changes.
    """

    c2: np.ndarray
    weights: np.ndarray | None
    angle_weight: np.ndarray
    constant: np.ndarray


def fold(data: TwoTimeData) -> FoldedMaps:
    """Two-time data with σ, folded onto the triangle t1 > t2.

    The maps are passed on as they are when they are symmetric and only missing values are masked.
    """
    n_phi = data.n_phi
    uniform = np.ndim(data.sigma) < 2
    angle_weight = _angle_weight(data)
    if data.symmetric:
        weights = None if uniform else np.stack([data.weights(a) for a in range(n_phi)])
        if data.good_frames is None and data.good_pairs is None:
            c2 = data.c2
        else:
            c2 = np.where(data.mask, data.c2, np.asarray(np.nan, data.c2.dtype))
        return FoldedMaps(c2, weights, angle_weight, np.zeros(n_phi))
    c2 = np.full(data.c2.shape, np.nan, data.c2.dtype)
    weights = np.zeros(data.c2.shape, np.float64 if not uniform else data.c2.dtype)
    constant = np.zeros(n_phi)
    for a in range(n_phi):
        w = data.angle_mask(a).astype(float) if uniform else data.weights(a).astype(float)
        y = np.where(w > 0, data.c2[a], 1.0) - 1.0
        w_low, w_up, y_low, y_up = np.tril(w, -1), np.triu(w, 1).T, y, y.T
        total = w_low + w_up
        moment = w_low * y_low + w_up * y_up
        mean = np.divide(moment, total, out=np.zeros_like(moment), where=total > 0)
        constant[a] = np.sum(w_low * (y_low - mean) ** 2 + w_up * (y_up - mean) ** 2) * angle_weight[a]
        c2[a] = np.where(total > 0, mean + 1.0, np.nan)
        weights[a] = total
    if uniform and not (weights == 1).any():
        # Every pair was measured twice: a number serves instead of an array.
        return FoldedMaps(c2, None, 2 * angle_weight, constant)
    return FoldedMaps(c2, weights, angle_weight, constant)


def halves(data: TwoTimeData) -> Iterator[FoldedMaps]:
    """The two triangles of data that are not symmetric, one after the other, both as t1 > t2.

    What `fold` takes the mean of stays apart: for a loss that is not quadratic.
    """
    angle_weight, uniform = _angle_weight(data), np.ndim(data.sigma) < 2
    for turn in (lambda maps: maps, lambda maps: maps.swapaxes(-1, -2)):
        c2 = np.where(turn(data.mask), turn(data.c2), np.asarray(np.nan, data.c2.dtype))
        weights = None if uniform else np.stack([turn(data.weights(a)) for a in range(data.n_phi)])
        yield FoldedMaps(c2, weights, angle_weight, np.zeros(data.n_phi))


def _angle_weight(data: TwoTimeData) -> np.ndarray:
    """1/σ² of every angle, 1 where σ is that of single entries."""
    sigma = data.sigma if np.ndim(data.sigma) < 2 else 1.0
    return np.broadcast_to(1 / np.square(np.asarray(sigma, dtype=float)), (data.n_phi,))
