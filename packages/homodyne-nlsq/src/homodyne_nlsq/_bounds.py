"""Boxes of natural parameters."""

import numpy as np


def drawn_in(bounds, share: float) -> np.ndarray:
    """Bounds moved inwards by a share of their width (of its logarithm where they are positive), so that a start is not on one.

    Infinite bounds stay.
    """
    inner = np.array(bounds, dtype=float)
    for k, (lower, upper) in enumerate(bounds):
        if lower > 0 and np.isfinite(upper):
            inner[k] = lower * (upper / lower) ** share, upper * (lower / upper) ** share
        elif np.isfinite(upper - lower):
            inner[k] = lower + share * (upper - lower), upper - share * (upper - lower)
    return inner


def is_inside(physical, bounds) -> bool:
    """Whether all parameters respect their bounds."""
    return bool(((physical >= bounds[:, 0]) & (physical <= bounds[:, 1])).all())
