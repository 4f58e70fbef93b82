"""Which q, which angles, which frames."""

from collections.abc import Iterable, Mapping, Sequence
from operator import index

import numpy as np

from homodyne_data._errors import DataError, warn

# q of one ring, stored per bin, passed through single precision on its way.
_SAME_Q = 1e-5
_SAME_ANGLE = 1e-9
FEWEST_FRAMES = 3


def select_angles(
    phi: np.ndarray,
    ranges: Iterable[tuple[float, float] | Mapping[str, float]] | None,
    *,
    fallback_to_all_angles: bool = False,
) -> np.ndarray:
    """Indices of the angles that lie in at least one range.

    A range runs anticlockwise from its first to its second angle, ends included, on the circle: (170, -170)
    and (170, 190) are the same 20 degrees around 180, and (-180, 180) is the whole circle.

    Parameters
    ----------
    phi : (n_phi,) array
        Angles [degrees].
    ranges : sequence of (min, max) or of {"min_angle": min, "max_angle": max}, or None
        Ranges [degrees]; min > max wraps through 180. None keeps every angle.
    fallback_to_all_angles : bool
        Keep every angle, with a warning, when no angle matches.

    Returns
    -------
    (n,) int array
        Increasing indices into `phi`.

    Raises
    ------
    DataError
        If no angle matches (the message lists the angles), unless `fallback_to_all_angles`.
    ValueError
        If a range is not two finite numbers, or there is none.

    Examples
    --------
    >>> select_angles(np.array([-175.0, -90.0, 0.0, 90.0, 180.0]), [(170, -170)]).tolist()
    [0, 4]
    """
    angles = np.asarray(phi, dtype=np.float64)
    if angles.ndim != 1:
        raise ValueError(f"phi must have one dimension, got shape {angles.shape}")
    if ranges is None:
        return np.arange(angles.size)
    pairs = [_range_ends(item) for item in _as_ranges(ranges)]
    if not pairs:
        raise ValueError("phi ranges are empty: give at least one (min, max), or None for every angle")
    inside = np.zeros(angles.size, dtype=bool)
    for low, high in pairs:
        width = 360.0 if high - low >= 360 else (high - low) % 360
        beyond = (angles - low) % 360
        inside |= (beyond <= width + _SAME_ANGLE) | (beyond >= 360 - _SAME_ANGLE)
    if inside.any():
        return np.flatnonzero(inside)
    asked = ", ".join(f"[{low:g}, {high:g}]" for low, high in pairs)
    message = f"no angle lies in the phi ranges {asked} degrees; there are {_listing(angles)} degrees"
    if not fallback_to_all_angles:
        raise DataError(message)
    warn(f"{message}; all angles are used (fallback_to_all_angles)")
    return np.arange(angles.size)


def _as_ranges(ranges: Iterable) -> list:
    if isinstance(ranges, Mapping | str):
        raise ValueError(f"phi ranges must be a sequence of (min, max), got {ranges!r}")
    items = list(ranges)
    if len(items) == 2 and all(isinstance(item, int | float | np.number) for item in items):
        raise ValueError(
            f"phi ranges must be a sequence of (min, max): write [{tuple(items)}], not {tuple(items)}"
        )
    return items


def _range_ends(item: tuple[float, float] | Mapping[str, float]) -> tuple[float, float]:
    try:
        if isinstance(item, Mapping):
            low, high = (float(item[key]) for key in ("min_angle", "max_angle"))
        else:
            low, high = (float(value) for value in item)
    except (TypeError, ValueError, KeyError):
        raise ValueError(f"a phi range must be (min, max) in degrees, got {item!r}") from None
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"a phi range must be finite, got {item!r}")
    return low, high


def distinct_q(q: np.ndarray) -> np.ndarray:
    """Increasing q values [1/Å], those equal to 1e-5 taken as one (its smallest)."""
    values = np.unique(np.asarray(q, dtype=np.float64))
    keep = np.ones(values.size, dtype=bool)
    keep[1:] = np.diff(values) > _SAME_Q * values[1:]
    return values[keep]


def maps_at_q(q: np.ndarray, wanted: float | None, tolerance: float | None) -> np.ndarray:
    """Indices of all maps at the one q nearest to `wanted`; see `load_xpcs` for the rules."""
    held = distinct_q(q)
    listing = f"{_listing(held)} 1/Å"
    if wanted is None:
        if held.size > 1:
            raise DataError(f"the data hold {held.size} values of q, choose one with q=: {listing}")
        return np.arange(np.size(q))
    wanted = float(wanted)
    if not (np.isfinite(wanted) and wanted > 0):
        raise ValueError(f"q must be a positive number in 1/Å, got {wanted}")
    if tolerance is not None and not float(tolerance) >= 0:
        raise ValueError(f"q_tolerance must not be negative, got {tolerance}")
    nearest = held[np.argmin(np.abs(held - wanted))]
    distance = abs(nearest - wanted)
    if tolerance is not None and distance > float(tolerance):
        raise DataError(
            f"no q within {float(tolerance):g} of {wanted:g} 1/Å; the data hold "
            f"{listing}{_unit_hint(wanted, held)}"
        )
    if tolerance is None and distance > 0.1 * wanted:
        warn(
            f"q = {wanted:g} 1/Å was asked for, the nearest that the data hold is {nearest:g}, "
            f"more than 10 % away; they hold {listing}{_unit_hint(wanted, held)}"
        )
    # Same ring: from `nearest` up to, not including, the next distinct value.
    following = held[held > nearest]
    upper = following[0] if following.size else np.inf
    return np.flatnonzero((q >= nearest) & (q < upper))


def _unit_hint(wanted: float, held: np.ndarray) -> str:
    if wanted > held[-1] and held[0] * 0.9 <= wanted / 10 <= held[-1] * 1.1:
        return f"; if {wanted:g} is in 1/nm, ask for q={wanted / 10:g}"
    return ""


def frame_window(
    n_frames: int, start_frame: int, end_frame: int, skip_first_frames: int = 0
) -> tuple[int, int]:
    """First frame and stop, counted from 0, of frames counted from 1 with both ends included (-1 = last)."""
    start, end, skip = (
        _integer(name, value)
        for name, value in (
            ("start_frame", start_frame),
            ("end_frame", end_frame),
            ("skip_first_frames", skip_first_frames),
        )
    )
    if not 1 <= start <= n_frames:
        raise ValueError(f"start_frame must be 1 to {n_frames} (the frames there are), got {start}")
    if end == -1:
        end = n_frames
    if not start <= end <= n_frames:
        raise ValueError(
            f"end_frame must be -1 or {start} (start_frame) to {n_frames} (the frames there are), got {end}"
        )
    if skip < 0:
        raise ValueError(f"skip_first_frames must not be negative, got {skip}")
    n_kept = end - start + 1 - skip
    if n_kept < FEWEST_FRAMES:
        raise ValueError(
            f"too few frames: start_frame={start}, end_frame={end}, skip_first_frames={skip} leave "
            f"{max(n_kept, 0)} of {n_frames}, at least {FEWEST_FRAMES} are needed"
        )
    return start - 1 + skip, end


def good_frames(n_frames: int, bad_frames: Sequence[int]) -> np.ndarray | None:
    """(n_frames,) bool, False for the frames (counted from 1) in `bad_frames`; None if there are none."""
    if not np.iterable(bad_frames):
        raise TypeError(f"bad_frames must be a sequence of frame numbers, got {bad_frames!r}")
    numbers = [_integer("bad_frames", value) for value in bad_frames]
    if not numbers:
        return None
    outside = [number for number in numbers if not 1 <= number <= n_frames]
    if outside:
        raise ValueError(f"bad_frames must be 1 to {n_frames} (the frames there are), got {outside}")
    good = np.ones(n_frames, dtype=bool)
    good[np.array(numbers) - 1] = False
    return good


def _integer(name: str, value: int) -> int:
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must hold frame numbers, got {value!r}")
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None


def _listing(values: np.ndarray) -> str:
    shown = [f"{value:.6g}" for value in values]
    if len(shown) > 40:
        shown = [*shown[:38], "...", shown[-1]]
    return ", ".join(shown)
