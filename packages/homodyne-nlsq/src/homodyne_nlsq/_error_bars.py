"""Error bars of all parameters: from the curvature, which takes points for independent, and from scores clustered by frame."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from homodyne_model import (
    ClusterWindow,
    JointCovariance,
    clustered_meat,
    decay_frames,
    joint_covariance,
    joint_information,
    with_angle_weights,
)
from homodyne_nlsq._problem import Problem
from homodyne_nlsq._solve import Evaluation


class Noise(NamedTuple):
    """What error bars are made of.

    Attributes
    ----------
    gram : (n_phi, n_physical + 3, n_physical + 3)
        Gram matrices without the weights of angles and loss.
    variance : float
        Of a point in units of σ²: 1 where σ was given, else the reduced χ²; Huber's factor under a robust loss, what it costs on noise
        of this shape. NaN where residuals vanish: they say nothing about errors.
    slope : float
        Mean of dψ/dr of the loss.
    robust_cost : float or None
        f² Σ ρ with the weights of the angles.
    """

    gram: np.ndarray
    variance: float
    slope: float
    robust_cost: float | None


def noise_of(problem: Problem, at: Evaluation, dof: int) -> Noise:
    """The noise of the points at a solution."""
    data = problem.maps.data
    if problem.reweighting is None:
        gram = with_angle_weights(at.gram, 1 / problem.weight)
        if data.sigma_source == "given":
            return Noise(gram, 1.0, 1.0, None)
        variance = replace(problem, penalty=None).compress_at(gram, at.fit).cost / dof
        return Noise(gram, variance if variance > 0 else np.nan, 1.0, None)
    gram = problem.maps.gram(problem.model, at.physical)
    here = replace(problem.reweighting, physical=at.physical, contrast=at.fit.contrast, offset=at.fit.offset)
    sums = problem.maps.loss_sums(problem.model, here)
    slope = float(sums.slope.sum()) / data.n_points
    variance = float(sums.psi_squared.sum()) / dof / slope**2
    return Noise(gram, variance if variance > 0 else np.nan, slope, float(sums.cost @ problem.weight))


class ErrorBars(NamedTuple):
    """Both kinds of covariance.

    Attributes
    ----------
    hessian, robust : JointCovariance
        Over ``[contrast_0.., offset_0.., *physical]``.
    leverage : float
        Largest share of one window of frames in what is known of a combination of parameters (`homodyne_model.ClusteredMeat`).
    window : (n_phi,) int
        Lengths of the windows [frames].
    """

    hessian: JointCovariance
    robust: JointCovariance
    leverage: float
    window: np.ndarray

    @property
    def inflation(self) -> float:
        """Variance of a contrast or offset over that of independent points: the median over the angles, at least 1."""
        n = 2 * self.window.size
        hessian, robust = (np.diag(c.determined)[:n] for c in (self.hessian, self.robust))
        known = self.hessian.known[:n] & (hessian > 0)
        return max(1.0, float(np.median(robust[known] / hessian[known]))) if known.any() else 1.0


def error_bars(problem: Problem, at: Evaluation, free, noise: Noise) -> ErrorBars:
    """Both covariances at an estimate.

    Parameters
    ----------
    problem : Problem
        With everything that is frozen in it.
    at : Evaluation
        The estimate, of that problem.
    free : (n_physical,) bool
        Parameters that are neither fixed nor at a bound.
    noise : Noise
        Of the points there.

    Notes
    -----
    The curvature holds the weights of the angles and the penalty; the scores do not hold the penalty, which is no datum. Under a
    robust loss the scores and the leverage of a window are those of the weighted points, and the curvature is that of plain least squares times
    the mean slope of ψ. Clustered scores carry the noise themselves.
    """
    weight, fit = problem.weight, at.fit
    weighted = with_angle_weights(noise.gram, weight)
    curved = problem.compress_at(weighted, fit)
    choices = {"basis": problem.columns, "penalty": problem.penalty}
    hessian = joint_covariance(weighted, curved, free, **choices)
    if (weight != 1).any() or problem.penalty is not None:
        meat = joint_information(with_angle_weights(noise.gram, weight**2), fit.contrast)
        hessian = joint_covariance(weighted, curved, free, **choices, meat=meat)
    window = ClusterWindow.of(decay_frames(problem.model, at.physical), problem.model.n_t)
    by_frame = problem.maps.frame_grams(problem.model, at.physical, window.block, problem.reweighting)
    scores = clustered_meat(
        by_frame * weight[:, None, None, None, None],
        fit.contrast,
        fit.offset,
        joint_covariance(at.gram, fit, free, **choices).determined,
        window,
    )
    robust = joint_covariance(weighted, curved, free, **choices, meat=scores.matrix / noise.slope**2)
    return ErrorBars(hessian.scaled(noise.variance), robust, scores.leverage, window.frames)
