"""Bounds, and the coordinates in which searches move: every parameter between -1 and 1, some on a logarithmic scale."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from homodyne_global.errors import GlobalSearchError

# A parameter is searched on a logarithmic scale from this ratio of its bounds on: two decades.
_SPANS_DECADES = 100.0


def checked_bounds(bounds) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds as two finite arrays of one length, after a check of every parameter."""
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        bounds = (bounds.lb, bounds.ub)
    try:
        lower, upper = (np.array(side, dtype=float) for side in bounds)
    except (TypeError, ValueError) as error:
        raise GlobalSearchError(
            f"bounds is {bounds!r}; expected a pair (lower, upper) of sequences of numbers."
        ) from error
    if lower.ndim != 1 or lower.shape != upper.shape or lower.size == 0:
        raise GlobalSearchError(
            f"bounds has a lower part of shape {lower.shape} and an upper one of shape {upper.shape}; "
            "expected two sequences of one length, a number per parameter."
        )
    for k, (low, high) in enumerate(zip(lower, upper, strict=True)):
        if not (np.isfinite(low) and np.isfinite(high)):
            raise GlobalSearchError(
                f"bounds of parameter {k} are {low:g} and {high:g}; expected finite numbers, since a global search fills the space between them."
            )
        if not low < high:
            raise GlobalSearchError(
                f"bounds of parameter {k} are {low:g} and {high:g}; expected lower < upper. Leave a fixed parameter out of the search."
            )
    return lower, upper


@dataclass(frozen=True)
class SearchSpace:
    """A box of parameters, seen in coordinates in which its sides lie at -1 and 1.

    Attributes
    ----------
    lower, upper : ndarray, (d,)
        Bounds.
    log : ndarray of bool, (d,)
        Whether the coordinate is the parameter's logarithm.
    """

    lower: np.ndarray
    upper: np.ndarray
    log: np.ndarray

    @classmethod
    def within(cls, bounds, log_scale: ArrayLike | None = None) -> "SearchSpace":
        """The space between bounds.

        Parameters
        ----------
        bounds : (lower, upper)
            Finite.
        log_scale : array_like of bool, (d,), optional
            Parameters with a logarithmic coordinate; by default those whose bounds are positive and span two decades.
        """
        lower, upper = checked_bounds(bounds)
        if log_scale is None:
            with np.errstate(over="ignore"):
                log = (lower > 0) & (upper >= _SPANS_DECADES * lower)
        else:
            log = np.array(log_scale)
            if log.shape != lower.shape or log.dtype != bool:
                raise GlobalSearchError(
                    f"log_scale is {log_scale!r}; expected true or false for each of {lower.size} parameters."
                )
            if np.any(log & (lower <= 0)):
                k = int(np.argmax(log & (lower <= 0)))
                raise GlobalSearchError(
                    f"log_scale asks for the logarithm of parameter {k}, whose lower bound is {lower[k]:g}; expected one above 0."
                )
        return cls(lower, upper, log)

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.lower.size

    def _frame(self) -> tuple[np.ndarray, np.ndarray]:
        """Centre and half width of every coordinate before it is scaled."""
        low, high = self.lower.copy(), self.upper.copy()
        low[self.log], high[self.log] = np.log(low[self.log]), np.log(high[self.log])
        # Halves first: the distance of two large bounds can overflow.
        return low / 2 + high / 2, high / 2 - low / 2

    def parameters(self, points, xp=np):
        """Parameters at points of the search, or at the points next to them within the bounds.

        Parameters
        ----------
        points : array, (n, d)
            Search coordinates.
        xp : module
            ``numpy``, or ``jax.numpy`` under a JAX transformation.
        """
        centre, half = self._frame()
        plain = centre[None, :] + half[None, :] * xp.clip(points, -1.0, 1.0)
        # Coordinates without a logarithm are not exponentiated, lest they overflow.
        exponential = xp.exp(xp.where(self.log[None, :], plain, 0.0))
        return xp.clip(
            xp.where(self.log[None, :], exponential, plain), self.lower[None, :], self.upper[None, :]
        )

    def coordinates(self, parameters) -> np.ndarray:
        """Search coordinates, between -1 and 1, of parameters within the bounds."""
        values = np.array(parameters, dtype=float)
        values[..., self.log] = np.log(values[..., self.log])
        centre, half = self._frame()
        return np.clip((values - centre) / half, -1.0, 1.0)

    def checked_start(self, start, name: str) -> np.ndarray:
        """A starting point as an array, refused if it has the wrong shape or lies outside the bounds."""
        try:
            point = np.array(start, dtype=float)
        except (TypeError, ValueError) as error:
            raise GlobalSearchError(f"{name} is {start!r}; expected {self.size} numbers.") from error
        if point.shape != self.lower.shape:
            raise GlobalSearchError(
                f"{name} has the shape {point.shape}; expected {self.lower.shape}, a number per parameter."
            )
        for k, (value, low, high) in enumerate(zip(point, self.lower, self.upper, strict=True)):
            if not low <= value <= high:
                raise GlobalSearchError(
                    f"{name} has {value:g} for parameter {k}; expected a number within its bounds {low:g} and {high:g}."
                )
        return point
