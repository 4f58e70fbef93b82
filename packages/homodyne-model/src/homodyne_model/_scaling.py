"""What is asked of contrast and offset: how they vary with the angle, within which bounds, and under which penalty.

Both are linear in one basis B of the angles, contrast(φ_a) = Σ_k B[a, k] c_k and offset(φ_a) = Σ_k B[a, k] o_k: a value of
its own for every angle (identity), a truncated Fourier series, or one value for all (a column of ones).
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from homodyne_model.errors import ModelError

SCALING_MODES = ("individual", "fourier", "constant")

# Angles closer than this [deg] are one direction.
_SAME_ANGLE = 1e-6
# A penalty's eigenvalues below minus this share of the largest make it no penalty.
_NEGATIVE = 1e-10


class ScalingState(IntEnum):
    """Why a contrast or an offset has its value.

    ``FREE``: the best one; ``LOWER``, ``UPPER``: on a bound; ``FIXED``: by equal bounds; ``UNDETERMINED``: it takes part in what the
    data leave open; ``TIED``: in a basis with fewer coefficients than angles, by values on bounds or fixed at other angles.
    """

    FREE = 0
    LOWER = -1
    UPPER = 1
    FIXED = 2
    UNDETERMINED = 3
    TIED = 4


@dataclass(frozen=True)
class ScalingBasis:
    """How contrast and offset vary with the angle.

    Parameters
    ----------
    mode : {"individual", "fourier", "constant"}
        A value for every angle, a Fourier series in the angle, or one value for all angles.
    order : int
        Of the Fourier series: 2 order + 1 coefficients. Without effect in the other modes.

    Raises
    ------
    ModelError
        If the mode is unknown or the order is not a whole number of at least 1.

    Notes
    -----
    The series has a period of 360 degrees in the detector's azimuth φ. The correlation itself is that of q and -q alike, so that what
    the beam's coherence does to the contrast repeats after 180 degrees; windows, shadows and uneven pixels, which reach
    contrast and offset too, do not. Order 2 of the period 360 degrees holds the first harmonic of the period 180 degrees.

    Examples
    --------
    >>> ScalingBasis("fourier", 2).matrix([0.0, 45.0, 90.0, 135.0, 180.0, 270.0]).shape
    (6, 5)
    >>> ScalingBasis("constant").n_coef(23)
    1
    """

    mode: str = "individual"
    order: int = 2

    def __post_init__(self) -> None:
        if self.mode not in SCALING_MODES:
            raise ModelError(f"mode is {self.mode!r}; expected one of {', '.join(SCALING_MODES)}.")
        whole = isinstance(self.order, int | np.integer) and not isinstance(self.order, bool)
        if not whole or self.order < 1:
            raise ModelError(f"order is {self.order!r}; expected a whole number, at least 1.")

    def n_coef(self, n_phi: int) -> int:
        """Coefficients of the contrast at ``n_phi`` angles; the offset has as many."""
        return {"individual": n_phi, "fourier": 2 * self.order + 1, "constant": 1}[self.mode]

    def matrix(self, phi) -> np.ndarray:
        """Values of the basis functions at angles.

        Parameters
        ----------
        phi : array_like, (n_phi,)
            Angles [deg].

        Returns
        -------
        (n_phi, n_coef)
            For ``fourier`` the columns are 1, cos φ, sin φ, cos 2φ, sin 2φ and so on.

        Raises
        ------
        ModelError
            If the angles do not tell the basis functions apart.
        """
        phi = np.asarray(phi, dtype=float)
        if phi.ndim != 1 or not len(phi) or not np.isfinite(phi).all():
            raise ModelError(f"phi is {phi}; expected finite angles (n_phi,) in degrees.")
        if self.mode != "fourier":
            return np.eye(len(phi)) if self.mode == "individual" else np.ones((len(phi), 1))
        highest = highest_fourier_order(phi)
        if self.order > highest:
            advice = f"take order {highest}, or" if highest else "take"
            raise ModelError(
                f"a Fourier series of order {self.order} has {self.n_coef(len(phi))} coefficients, but the {len(phi)} angles hold only "
                f"{_n_directions(phi)} different directions: {advice} mode 'individual' or 'constant'."
            )
        harmonics = np.arange(1, self.order + 1) * np.deg2rad(phi)[:, None]
        pairs = np.stack([np.cos(harmonics), np.sin(harmonics)], axis=2).reshape(len(phi), -1)
        return np.concatenate([np.ones((len(phi), 1)), pairs], axis=1)


def highest_fourier_order(phi) -> int:
    """Highest order of a Fourier series that angles determine: 2 order + 1 different directions are enough, wherever they lie.

    Parameters
    ----------
    phi : array_like, (n_phi,)
        Angles [deg].

    Examples
    --------
    >>> highest_fourier_order([0.0, 90.0, 180.0, 270.0, 360.0])
    1
    """
    return (_n_directions(np.asarray(phi, dtype=float)) - 1) // 2


def _n_directions(phi) -> int:
    around = np.sort(phi % 360)
    return int((np.diff(around, append=around[0] + 360) > _SAME_ANGLE).sum()) or 1


@dataclass(frozen=True)
class ScalingBounds:
    """Box of contrast and offset; equal bounds hold a value.

    Parameters
    ----------
    contrast, offset : tuple of (lower, upper)
        Numbers or arrays (n_phi,), dimensionless. They hold at every angle, whatever the basis.

    Raises
    ------
    ModelError
        If a lower bound exceeds its upper bound or a bound is NaN.
    """

    contrast: tuple = (0.0, 1.0)
    offset: tuple = (0.5, 1.5)

    def __post_init__(self) -> None:
        for name in ("contrast", "offset"):
            lower, upper = (np.asarray(b, dtype=float) for b in getattr(self, name))
            if np.isnan(lower).any() or np.isnan(upper).any() or (lower > upper).any():
                raise ModelError(f"bounds of {name} are {lower} to {upper}; expected lower <= upper.")

    def arrays(self, n_phi: int) -> np.ndarray:
        """Bounds as an array (n_phi, 2, 2): angle, (contrast, offset), (lower, upper)."""
        box = np.empty((n_phi, 2, 2))
        for k, name in enumerate(("contrast", "offset")):
            for side, bound in enumerate(getattr(self, name)):
                if np.shape(bound) not in ((), (1,), (n_phi,)):
                    raise ModelError(
                        f"bounds of {name} have shape {np.shape(bound)}; expected numbers or ({n_phi},), one per angle."
                    )
                box[:, k, side] = bound
        return box


@dataclass(frozen=True, eq=False)
class ScalingPenalty:
    """A quadratic penalty (x - x₀)·P·(x - x₀) on x = ``[contrast_0.., offset_0..]``, added to the cost Σ w r².

    Parameters
    ----------
    matrix : array_like, (2 n_phi, 2 n_phi)
        P, symmetric and positive semi-definite, in units of the cost.
    center : array_like, (2 n_phi,)
        x₀, dimensionless.

    Raises
    ------
    ModelError
        If the matrix is not symmetric and positive semi-definite, or sizes do not fit.
    """

    matrix: np.ndarray
    center: np.ndarray

    def __post_init__(self) -> None:
        matrix, center = (np.array(v, dtype=float) for v in (self.matrix, self.center))
        n = center.size
        if center.ndim != 1 or n % 2 or matrix.shape != (n, n):
            raise ModelError(
                f"matrix and center of a penalty have shapes {matrix.shape}, {center.shape}; expected (2 n_phi, 2 n_phi), (2 n_phi,)."
            )
        if not (np.isfinite(matrix).all() and np.isfinite(center).all()):
            raise ModelError("matrix or center of a penalty hold values that are not finite.")
        largest = np.abs(matrix).max(initial=0.0)
        lowest = np.linalg.eigvalsh(matrix)[0] if n else 0.0
        if np.abs(matrix - matrix.T).max(initial=0.0) > _NEGATIVE * largest or lowest < -_NEGATIVE * largest:
            raise ModelError(
                "the matrix of a penalty is not symmetric and positive semi-definite: it would reward some scaling without limit."
            )
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "center", center)

    def value(self, contrast, offset) -> float:
        """The penalty at contrasts and offsets, (n_phi,) each."""
        away = np.concatenate([contrast, offset]) - self.center
        return float(away @ self.matrix @ away)
