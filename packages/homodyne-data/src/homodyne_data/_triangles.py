"""The two triangles of a square map: which is populated, do they agree, fill one from the other.

Everything works on blocks of rows, so that no temporary is as large as the map.
"""

from collections.abc import Iterator

import numpy as np

_BLOCK = 256

# Both triangles of one map come from the same products, in another order of rounding, and often
# passed through single precision. Independent halves differ by noise, 1e-4 and more.
_AGREEMENT = 16 * float(np.finfo(np.float32).eps)


def _row_blocks(n: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n, _BLOCK):
        yield start, min(start + _BLOCK, n)


def _holds_data(block: np.ndarray) -> bool:
    return bool(np.any((block != 0) & (block == block)))


def populated(c2: np.ndarray) -> tuple[bool, bool]:
    """Whether (above, below) the diagonal any entry is neither zero nor NaN; `c2` is (n, n)."""
    above = below = False
    for start, stop in _row_blocks(c2.shape[0]):
        corner = c2[start:stop, start:stop]
        above = above or _holds_data(c2[start:stop, stop:]) or _holds_data(np.triu(corner, 1))
        below = below or _holds_data(c2[start:stop, :start]) or _holds_data(np.tril(corner, -1))
        if above and below:
            break
    return above, below


def mirror(c2: np.ndarray, source: str) -> None:
    """Overwrite, in place, the triangle that is not `source` ("upper" | "lower") with its transpose."""
    for start, stop in _row_blocks(c2.shape[0]):
        corner = c2[start:stop, start:stop]
        rows, columns = np.tril_indices(stop - start, -1)
        if source == "upper":
            c2[start:stop, :start] = c2[:start, start:stop].T
            corner[rows, columns] = corner[columns, rows]
        else:
            c2[:start, start:stop] = c2[start:stop, :start].T
            corner[columns, rows] = corner[rows, columns]


def complete(c2: np.ndarray, half: str | None = None) -> str:
    """Make a half-stored map full, in place.

    Parameters
    ----------
    c2 : (n, n) array
        Map whose unpopulated triangle holds zeros or NaN, or anything if `half` says so.
    half : {"upper", "lower"} or None
        The triangle that a file declares as populated; None looks at the content.

    Returns
    -------
    str
        What was stored: "upper", "lower", "both" (left as it is) or "none" (no data at all).
    """
    above, below = populated(c2)
    if not above and not below:
        return "none"
    if half == "upper" and above:
        below = False
    elif half == "lower" and below:
        above = False
    if above and below:
        return "both"
    stored = "upper" if above else "lower"
    mirror(c2, stored)
    return stored


def agreement(c2: np.ndarray) -> tuple[bool, int, int]:
    """Compare the triangles of one map.

    Returns
    -------
    agree : bool
        Every pair that is finite in both triangles agrees to rounding, and there is such a pair.
    compared, lost : int
        Pairs finite in both, and pairs finite only above the diagonal (0 if the triangles differ).
    """
    compared = lost = 0
    for start, stop in _row_blocks(c2.shape[0]):
        lower = c2[start:stop, :stop]
        upper = c2[:stop, start:stop].T
        below = np.tri(stop - start, stop, start - 1, dtype=bool)
        usable = np.isfinite(upper) & below
        both = usable & np.isfinite(lower)
        lower, upper_both = lower[both], upper[both]
        tolerance = _AGREEMENT * np.maximum(np.abs(lower), 1)
        if np.any(np.abs(lower - upper_both) > tolerance):
            return False, compared + lower.size, 0
        compared += lower.size
        lost += int(usable.sum()) - lower.size
    return compared > 0, compared, lost
