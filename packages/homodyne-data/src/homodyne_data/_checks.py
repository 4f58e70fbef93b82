"""Checks of the arguments of `TwoTimeData`, each with a sentence that says what was wrong."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from homodyne_data._floats import native_float
from homodyne_data._selection import FEWEST_FRAMES

TIME_ORIGINS = ("selection", "acquisition")

# A time vector in single precision is off by up to 6e-4 dt after 10 000 frames.
_UNIFORM = 1e-3


def float_maps(c2: Any) -> np.ndarray:
    """Maps as a float array (n_phi, n_t, n_t)."""
    c2 = native_float(c2)
    if c2.ndim != 3 or c2.shape[1] != c2.shape[2]:
        raise ValueError(f"c2 must have shape (n_phi, n_t, n_t), got {c2.shape}")
    if c2.shape[0] == 0:
        raise ValueError("c2 holds no angle: shape " + str(c2.shape))
    if c2.shape[1] < FEWEST_FRAMES:
        raise ValueError(f"too few frames: c2 has {c2.shape[1]}, at least {FEWEST_FRAMES} are needed")
    return c2


def angles_of_maps(phi: Any, n_phi: int) -> np.ndarray:
    """A copy of the angles [degrees], one a map."""
    phi = np.array(phi, dtype=np.float64)
    if phi.shape != (n_phi,):
        raise ValueError(f"phi must have shape {(n_phi,)} (one angle a map), got {phi.shape}")
    if not np.all(np.isfinite(phi)):
        raise ValueError(
            f"phi must be finite, got {phi[~np.isfinite(phi)][0]} at index {np.argmin(np.isfinite(phi))}"
        )
    return phi


def times_of_frames(t: Any, n_t: int) -> np.ndarray:
    """A copy of the times [s], one a frame."""
    t = np.array(t, dtype=np.float64)
    if t.shape != (n_t,):
        raise ValueError(f"t must have shape {(n_t,)} (one time a frame), got {t.shape}")
    check_time_grid(t)
    return t


def check_time_grid(t: np.ndarray) -> None:
    """Raise unless `t` [s] is finite, not negative, increasing and uniform to 0.1 % of a step."""
    if not np.all(np.isfinite(t)):
        raise ValueError(f"t must be finite, got {t[~np.isfinite(t)][0]}")
    steps = np.diff(t)
    if np.any(steps <= 0):
        k = int(np.argmax(steps <= 0))
        raise ValueError(f"t must increase, got {t[k]:g} s then {t[k + 1]:g} s at frames {k + 1} and {k + 2}")
    if t[0] < 0:
        raise ValueError(f"t must not be negative, got {t[0]:g} s first")
    dt = (t[-1] - t[0]) / (t.size - 1)
    off = np.abs(t - (t[0] + dt * np.arange(t.size)))
    if off.max() > _UNIFORM * dt:
        raise ValueError(
            f"t must be uniform: the steps run from {steps.min():g} to {steps.max():g} s, frame "
            f"{int(np.argmax(off)) + 1} is {off.max():g} s off a grid of {dt:g} s; "
            "pooled or missing times belong in from_points"
        )


def positive(name: str, value: Any, unit: str) -> float:
    """`value` as a positive, finite float."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be one number [{unit}], got {value!r}") from None
    if not (np.isfinite(number) and number > 0):
        raise ValueError(f"{name} must be positive and finite [{unit}], got {number}")
    return number


def check_time_origin(origin: Any) -> str | float:
    """One of the names, or the time as a float."""
    if isinstance(origin, str):
        if origin in TIME_ORIGINS:
            return origin
    elif isinstance(origin, int | float | np.number) and np.isfinite(origin) and origin >= 0:
        return float(origin)
    raise ValueError(
        f"time_origin must be one of {TIME_ORIGINS} or a time in s, not negative, got {origin!r}"
    )


def booleans(name: str, array: Any, shapes: list[tuple[int, ...]]) -> np.ndarray:
    """A bool array of one of the shapes."""
    array = np.asarray(array)
    if array.dtype != bool:
        raise TypeError(f"{name} must be bool (True = use), got dtype {array.dtype}")
    if array.shape not in shapes:
        raise ValueError(f"{name} must have shape {' or '.join(map(str, shapes))}, got {array.shape}")
    return array


def angle_indices(angles: Sequence[int], n_phi: int) -> np.ndarray:
    """Distinct indices of angles."""
    indices = np.atleast_1d(np.asarray(angles))
    if indices.size == 0 or indices.dtype.kind not in "iu" or indices.ndim != 1:
        raise ValueError(
            f"angles must be a non-empty sequence of indices from 0 to {n_phi - 1}, got {angles!r}"
        )
    if indices.min() < 0 or indices.max() >= n_phi:
        raise ValueError(f"angles must be indices from 0 to {n_phi - 1}, got {angles!r}")
    if np.unique(indices).size != indices.size:
        raise ValueError(f"angles must not repeat, got {angles!r}")
    return indices
