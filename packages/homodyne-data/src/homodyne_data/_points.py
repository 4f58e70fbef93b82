"""From pooled points (one entry a pair of frames) back to maps.

A time grid must not be rebuilt from the distinct times alone: a random subset of the points misses some,
and integrals over the uneven grid are then wrong. The step is found first and every time checked against
it.
"""

from typing import Any

import numpy as np

from homodyne_data._arrays import from_mapping
from homodyne_data._errors import DataError
from homodyne_data._floats import native_float
from homodyne_data._triangles import agreement
from homodyne_data._twotime import Provenance, TwoTimeData

_ON_GRID = 1e-3
_SAME_TIME = 1e-9
_SAME_ANGLE = 1e-6
_MOST_ENTRIES_PER_POINT = 1000
_ALWAYS_FINE = 10**8


def from_points(
    c2: np.ndarray,
    t1: np.ndarray,
    t2: np.ndarray,
    phi: np.ndarray | float,
    q: np.ndarray | float,
    L: float | None = None,
    *,
    sigma: float | np.ndarray | None = None,
    dt: float | None = None,
) -> TwoTimeData:
    """Two-time data from pooled points, or from maps with mesh grids.

    Parameters
    ----------
    c2 : (n,) array
        C2 of each point, dimensionless. With (n_phi, n_t, n_t) maps the call is that of `from_mapping`, and
        `t1`, `t2` are vectors or mesh grids and `phi` has n_phi angles.
    t1, t2 : (n,) arrays
        The two times of each point [s]. All must lie on one uniform grid that starts at the smallest.
    phi : (n,) array or float
        Angle of each point [degrees]; angles within 1e-6 are one.
    q : float or (n,) array
        Wavevector [1/Å], the same for all.
    L : float or None
        Stator-rotor gap [Å].
    sigma : None, float or (n,) array
        Noise of each point.
    dt : float or None
        Time step [s]; by default the smallest difference between two times.

    Returns
    -------
    TwoTimeData
        Angles increasing. Pairs without a point are NaN, so masked. Where a mirror entry (t2, t1) is there
        and (t1, t2) is not, the one stands for both, unless the two triangles differ where both are there.

    Raises
    ------
    DataError
        If a time is off the grid, a point occurs twice, or the grid would be absurdly large for the points.
    ValueError, TypeError
        For sizes that differ, values that are not finite, several q.

    Examples
    --------
    >>> times = np.array([0.0, 0.1, 0.2, 0.4])
    >>> i, j = np.tril_indices(4, -1)
    >>> data = from_points(1 + 0.3 * np.exp(-(times[i] - times[j])), times[i], times[j], 0.0, 0.01)
    >>> data.n_t, data.n_points, data.n_dropped["not_finite"]
    (5, 6, 4)
    """
    values = native_float(c2)
    if values.ndim in (2, 3):
        mapping = {"c2": values, "t1": t1, "t2": t2, "phi": phi, "q": q, "L": L, "sigma": sigma, "dt": dt}
        return from_mapping(mapping)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"c2 must be points (n,) or maps (n_phi, n_t, n_t), got shape {values.shape}")
    first, second = (_per_point(name, time, values.size) for name, time in (("t1", t1), ("t2", t2)))
    angles, angle_of = _angles(_per_point("phi", phi, values.size))
    wavevectors = np.unique(_per_point("q", q, values.size))
    if wavevectors[-1] - wavevectors[0] > 1e-5 * abs(wavevectors[0]):
        raise ValueError(
            f"q must be the same for all points, got {wavevectors.size} values; fit them one by one"
        )
    start, step, rows, columns = _grid(first, second, dt)
    n_t = int(max(rows.max(), columns.max())) + 1
    n_entries = angles.size * n_t * n_t
    if n_entries > max(_ALWAYS_FINE, _MOST_ENTRIES_PER_POINT * values.size):
        raise DataError(
            f"{values.size} points on a grid of {n_t} frames and {angles.size} angles would need {n_entries} "
            f"entries: the step found, {step:g} s, is too small for these times; give dt"
        )
    where = (angle_of.astype(np.int64) * n_t + rows) * n_t + columns
    distinct = np.unique(where).size
    if distinct != where.size:
        raise DataError(f"{where.size - distinct} of {where.size} points repeat an angle and a pair of times")
    maps = np.full((angles.size, n_t, n_t), np.nan, dtype=values.dtype)
    maps.reshape(-1)[where] = values
    noise = _noise(sigma, where, maps.shape)
    _fill_mirror(maps, noise)
    return TwoTimeData(
        c2=maps,
        phi=angles,
        t=start + step * np.arange(n_t),
        q=float(wavevectors[0]),
        L=L,
        sigma=noise,
        provenance=Provenance(
            keys=tuple(f"phi = {angle:g}" for angle in angles),
            notes=(f"Maps were made from {values.size} points; pairs without a point are masked.",),
        ),
    )


def _per_point(name: str, values: Any, size: int) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be real numbers, got dtype {array.dtype}")
    array = array.astype(np.float64, copy=False)
    if array.size == 1 and name in ("phi", "q"):
        array = np.full(size, array.reshape(-1)[0])
    if array.shape != (size,):
        raise ValueError(f"{name} must have one value a point ({size}), got shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]}")
    return array


def _angles(phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Increasing distinct angles and the index of each point's."""
    values, inverse = np.unique(phi, return_inverse=True)
    new = np.append(True, np.diff(values) > _SAME_ANGLE)
    return values[new], (np.cumsum(new) - 1)[inverse]


def _grid(t1: np.ndarray, t2: np.ndarray, dt: float | None) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Origin, step [s], and the frame numbers of both times of each point."""
    times = np.unique(np.concatenate([t1, t2]))
    span = times[-1] - times[0]
    steps = np.diff(times)
    steps = steps[steps > _SAME_TIME * max(times[-1], span)]
    if steps.size == 0:
        raise DataError("too few frames: all points have the same two times")
    step = float(steps.min()) if dt is None else float(dt)
    if not (np.isfinite(step) and step > 0):
        raise ValueError(f"dt must be positive and finite [s], got {dt}")
    start = float(times[0])
    if dt is None:
        # The smallest difference carries rounding; over the whole span it averages out.
        step = span / round(span / step)
    numbers = (times - start) / step
    off = np.abs(numbers - np.round(numbers))
    if off.max() > _ON_GRID:
        worst = times[np.argmax(off)]
        found = "the smallest difference between two times" if dt is None else "dt"
        raise DataError(
            f"times must lie on one uniform grid: {worst:g} s is {off.max():.2g} steps off the "
            "grid that starts at "
            f"{start:g} s with {step:g} s ({found}); {'give dt' if dt is None else 'check dt'}"
        )
    rows, columns = (np.round((time - start) / step).astype(np.int64) for time in (t1, t2))
    return start, step, rows, columns


def _noise(sigma: Any, where: np.ndarray, shape: tuple[int, ...]) -> float | np.ndarray | None:
    if sigma is None or np.ndim(sigma) == 0:
        return sigma
    noise = np.full(shape, np.nan)
    noise.reshape(-1)[where] = _per_point("sigma", sigma, where.size)
    return noise


def _fill_mirror(maps: np.ndarray, noise: float | np.ndarray | None) -> None:
    """Let a point stand for its mirror entry where that is missing, angle by angle, if both sides agree."""
    for angle in range(maps.shape[0]):
        same, compared, _ = agreement(maps[angle])
        if compared and not same:
            return
    for angle in range(maps.shape[0]):
        rows, columns = np.nonzero(np.isnan(maps[angle]) & ~np.isnan(maps[angle].T))
        maps[angle][rows, columns] = maps[angle][columns, rows]
        if isinstance(noise, np.ndarray):
            noise[angle][rows, columns] = noise[angle][columns, rows]
