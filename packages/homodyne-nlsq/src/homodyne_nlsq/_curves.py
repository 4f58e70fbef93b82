"""Curves that are well determined where the parameters behind them are not: D(t) and the shear rate with their bands."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from homodyne_model import AnalysisMode, determined_directions


@dataclass(frozen=True)
class Curve:
    """A quantity over time with its 1-sigma band.

    Attributes
    ----------
    t : (n_t,)
        Times [s].
    value : (n_t,)
        The quantity.
    error : (n_t,)
        Its standard error; NaN where the data do not determine it.
    unit : str
        Unit of value and error.
    """

    t: np.ndarray
    value: np.ndarray
    error: np.ndarray
    unit: str

    def at(self, time: float) -> tuple[float, float]:
        """Value and standard error at a time inside the range, by cubic interpolation between frames.

        Raises
        ------
        ValueError
            If the time is outside.
        """
        if not self.t[0] <= time <= self.t[-1]:
            raise ValueError(f"time is {time!r} s; expected {self.t[0]:g} to {self.t[-1]:g} s.")
        # A spline takes no NaN, which marks what is not known.
        return tuple(
            float(
                np.interp(time, self.t, curve) if np.isnan(curve).any() else CubicSpline(self.t, curve)(time)
            )
            for curve in (self.value, self.error)
        )


def transport_curves(model, physical, covariance, hessian, free) -> tuple[Curve, Curve | None]:
    """D(t) and, with shear, the shear rate on the frame grid, with bands.

    Parameters
    ----------
    model : TwoTimeModel
        Geometry and choices.
    physical : (n_physical,)
        Best parameters.
    covariance : (size, size)
        Of all parameters, over the directions that the data determine; the physical ones are the last.
    hessian : (n_physical, n_physical)
        Reduced curvature of χ², which tells what the data do not determine.
    free : (n_physical,) bool
        Parameters that vary; the others count as known.
    """
    n_physical = len(physical)
    covariance = covariance[-n_physical:, -n_physical:]
    lost = determined_directions(hessian, free).lost
    groups = [(0, "Å²/s")] + ([(3, "1/s")] if model.analysis_mode is AnalysisMode.LAMINAR_FLOW else [])
    curves = [_curve(model, physical, covariance, lost, first, unit) for first, unit in groups]
    return curves[0], curves[1] if len(curves) == 2 else None


def _curve(model, physical, covariance, lost, first: int, unit: str) -> Curve:
    rate0, exponent, offset = physical[first : first + 3]
    time = np.maximum(model.t, model.dt / 2)
    power = time**exponent
    slope = np.zeros((len(time), len(physical)))
    slope[:, first : first + 3] = np.stack([power, rate0 * power * np.log(time), np.ones_like(power)], axis=1)
    error = np.sqrt(np.maximum(np.einsum("tk,kl,tl->t", slope, covariance, slope), 0))
    # A direction without curvature may still leave the curve alone (at exponent 0, power and offset trade exactly).
    moved = np.abs(slope @ lost).max(axis=1, initial=0.0)
    size = (np.abs(slope)[:, :, None] * np.abs(lost)).sum(axis=1).max(axis=1, initial=0.0)
    error = np.where(moved > 1e-6 * size, np.nan, error)
    return Curve(np.asarray(model.t), rate0 * power + offset, error, unit)
