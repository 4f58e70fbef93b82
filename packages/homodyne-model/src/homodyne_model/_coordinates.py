"""Coordinates in which the least-squares problem is well conditioned.

A power law plus a constant, r(t) = r0 t^p + r_off, has nearly interchangeable parameters. What data determine is the rate in
the middle of the window and its slope there, so at t_ref = √(dt · t_max)

    J = r0 t_ref^p + r_off,      s = d log r / d log t = p r0 t_ref^p / J,      v = J / (r0 t_ref^p)

with inverse p = s v, r0 = J / v t_ref^-p, r_off = J (1 - 1/v). Log |J|, s and y = arsinh v are of order one and far less correlated than
the natural parameters (measured with log v in place of y: condition number 3.7e4 to 87). In them

    r(t) = J [1 + ((t / t_ref)^(s v) - 1) / v]

is regular at v = 0, where it is the logarithm J [1 + s log(t / t_ref)] and r0 and r_off are infinite: data that cannot tell a small exponent
from none have their valley there. They need J and r0 other than zero, and a box of natural parameters is not a box in them;
where a parameter is fixed or a bound is active, natural parameters serve, on a log scale where they are positive by their bounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Block(Protocol):
    """Coordinates u of some of the physical parameters."""

    def from_natural(self, values: np.ndarray) -> np.ndarray:
        """Coordinates of natural values."""

    def to_natural(self, u: np.ndarray) -> np.ndarray:
        """Natural values at coordinates."""

    def tangent(self, u: np.ndarray) -> np.ndarray:
        """∂(natural)/∂u, (n_values, n_u)."""


@dataclass(frozen=True)
class LinearCoordinate:
    """One parameter divided by a scale that brings it to order one."""

    scale: float

    def from_natural(self, values):
        return values / self.scale

    def to_natural(self, u):
        return u * self.scale

    def tangent(self, u):
        return np.array([[self.scale]])


@dataclass(frozen=True)
class LogCoordinate:
    """The logarithm of a positive parameter."""

    def from_natural(self, values):
        return np.log(values)

    def to_natural(self, u):
        return np.exp(u)

    def tangent(self, u):
        return np.exp(u)[:, None]


@dataclass(frozen=True)
class RateCoordinates:
    """(log |J|, s, arsinh v) of a power law with offset, about the time ``t_ref`` [s].

    Parameters
    ----------
    t_ref : float
        Positive time [s].
    sign : {1.0, -1.0}
        Of J, the total rate at ``t_ref``.
    """

    t_ref: float
    sign: float = 1.0

    def represents(self, values: Sequence[float]) -> bool:
        """Whether rate at 1 s, exponent and offset have such coordinates: a power part, and a total of the sign."""
        r0, p, offset = values
        power = r0 * self.t_ref**p  # may underflow where r0 alone does not vanish
        return bool(power != 0 and np.isfinite(power) and self.sign * (power + offset) > 0)

    def from_natural(self, values):
        r0, p, offset = values
        power = r0 * self.t_ref**p
        total = power + offset
        return np.array([np.log(self.sign * total), p * power / total, np.arcsinh(total / power)])

    def to_natural(self, u):
        total, v = self.sign * np.exp(u[0]), np.sinh(u[2])
        p = u[1] * v
        return np.array([total / v * self.t_ref**-p, p, total * (1 - 1 / v)])

    def tangent(self, u):
        total, v, dv = self.sign * np.exp(u[0]), np.sinh(u[2]), np.cosh(u[2])
        r0, _, offset = self.to_natural(u)
        log_ref = np.log(self.t_ref)
        return np.array(
            [
                [r0, -r0 * log_ref * v, -r0 * (1 / v + log_ref * u[1]) * dv],
                [0.0, v, u[1] * dv],
                [offset, 0.0, total / v**2 * dv],
            ]
        )


@dataclass(frozen=True)
class Coordinates:
    """Coordinates of the free physical parameters, block by block; the others keep their values.

    Parameters
    ----------
    blocks : sequence of (indices, Block)
        Which entries of the physical vector a block describes, and how. Blocks do not overlap.
    held : array_like, (n_physical,)
        Natural values of the parameters that no block describes.
    """

    blocks: tuple[tuple[tuple[int, ...], Block], ...]
    held: np.ndarray

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return sum(len(indices) for indices, _ in self.blocks)

    def _parts(self):
        start = 0
        for indices, block in self.blocks:
            part = slice(start, start + len(indices))
            start = part.stop
            yield part, list(indices), block

    def from_natural(self, physical) -> np.ndarray:
        """Coordinates (size,) of a physical vector (n_physical,)."""
        u = np.empty(self.size)
        for part, indices, block in self._parts():
            u[part] = block.from_natural(np.asarray(physical, dtype=float)[indices])
        return u

    def to_natural(self, u) -> np.ndarray:
        """Physical vector (n_physical,) at coordinates (size,)."""
        physical = np.array(self.held, dtype=float)
        for part, indices, block in self._parts():
            physical[indices] = block.to_natural(np.asarray(u)[part])
        return physical

    def tangent(self, u) -> np.ndarray:
        """∂θ/∂u, (n_physical, size)."""
        tangent = np.zeros((len(self.held), self.size))
        for part, indices, block in self._parts():
            tangent[np.ix_(indices, range(part.start, part.stop))] = block.tangent(np.asarray(u)[part])
        return tangent
