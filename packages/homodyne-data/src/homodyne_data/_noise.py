"""Noise of a two-time map from the map itself.

Second differences along the diagonals, d = (x[i-1, j-1] - 2 x[i, j] + x[i+1, j+1]) / sqrt(6), of white noise
with standard deviation s have standard deviation s. Along a diagonal the delay i - j is constant, so a decay,
however fast, does not enter; only the change of the dynamics with age does, to second order. Neighbours
on a diagonal share no frame (except next to the main one), unlike neighbours in a row. The main diagonal
is never touched: a diagonal does not cross it.

s = 1.4826 median |d|: the median absolute deviation about zero, the expected value of d, scaled to the
standard deviation of a normal distribution. The estimate is too small where neighbouring entries are
correlated (bright data: neighbouring frames share their speckles).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from homodyne_data._floats import native_float
from homodyne_data._triangles import agreement

_TO_STANDARD_DEVIATION = 1.482602218505602
_FEWEST_DIFFERENCES = 10
_ENOUGH_DIFFERENCES = 2_000_000


def estimate_sigma(data: Any, mask: np.ndarray | None = None) -> np.ndarray:
    """Robust noise of each angle: scatter of second differences along the diagonals.

    Parameters
    ----------
    data : TwoTimeData or (n_phi, n_t, n_t) or (n_t, n_t) array
        Two-time maps, dimensionless.
    mask : bool array, shape of the maps or broadcastable to it, optional
        Points to use, True = use. By default the data's own mask, or for an array the finite
        points off the diagonal (one triangle of a symmetric map).

    Returns
    -------
    (n_phi,) float64
        Standard deviation of the noise, dimensionless. NaN for an angle that cannot be judged: fewer than
        10 differences whose three points are all usable (a symmetric map without gaps needs 7 frames), or no
        scatter at all (a noise-free map). Where more than half the differences are exactly zero
        (few photons), the root mean square replaces the median.

    Raises
    ------
    ValueError
        If the maps are not square or the mask does not fit them.

    Notes
    -----
    White noise of standard deviation s gives s, whatever smooth model lies beneath. Where neighbours are
    correlated the estimate is too small, see the module's first lines.
    Of a large map every k-th row is used, so that about two million differences enter (0.1 % precision).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> noise = rng.normal(1.0, 0.05, (2, 60, 60))
    >>> estimate_sigma(noise).round(2).tolist()
    [0.05, 0.05]
    """
    if hasattr(data, "angle_mask"):
        c2, own_mask = data.c2, data.angle_mask
    else:
        c2 = native_float(data)
        if c2.ndim == 2:
            c2 = c2[None]
        if c2.ndim != 3 or c2.shape[1] != c2.shape[2]:
            raise ValueError(f"data must have shape (n_phi, n_t, n_t) or (n_t, n_t), got {np.shape(data)}")
        own_mask = _array_mask(c2)
    if mask is None:
        return np.array([_scatter(c2[a], own_mask(a)) for a in range(c2.shape[0])])
    mask = np.asarray(mask, dtype=bool)
    try:
        mask = np.broadcast_to(mask, c2.shape)
    except ValueError:
        raise ValueError(f"mask must fit the maps of shape {c2.shape}, got {mask.shape}") from None
    off_diagonal = ~np.eye(c2.shape[1], dtype=bool)
    return np.array(
        [_scatter(c2[a], mask[a] & off_diagonal & np.isfinite(c2[a])) for a in range(c2.shape[0])]
    )


def _array_mask(c2: np.ndarray) -> Callable[[int], np.ndarray]:
    n = c2.shape[1]

    def mask(angle: int) -> np.ndarray:
        finite = np.isfinite(c2[angle])
        if agreement(c2[angle])[0]:
            return finite & np.tri(n, k=-1, dtype=bool)
        return finite & ~np.eye(n, dtype=bool)

    return mask


def _scatter(c2: np.ndarray, mask: np.ndarray) -> float:
    n = c2.shape[0]
    if n < 3:
        return float("nan")
    step = 1 + (n - 2) ** 2 // _ENOUGH_DIFFERENCES
    before, centre, after = ((slice(k, n - 2 + k, step), slice(k, n - 2 + k)) for k in range(3))
    usable = mask[before] & mask[centre] & mask[after]
    if np.count_nonzero(usable) < _FEWEST_DIFFERENCES:
        return float("nan")
    values = [c2[part][usable].astype(np.float64) for part in (before, centre, after)]
    differences = (values[0] - 2 * values[1] + values[2]) / np.sqrt(6)
    sigma = _TO_STANDARD_DEVIATION * float(np.median(np.abs(differences)))
    if sigma == 0:
        sigma = float(np.sqrt(np.mean(differences**2)))
    # Rounding of a noise-free map is not noise.
    rounding = 8 * float(np.finfo(c2.dtype).eps) if c2.dtype.kind == "f" else 0.0
    return sigma if sigma > rounding * float(np.max(np.abs(values[1]))) else float("nan")
