"""Error bars of all parameters: from the curvature, which takes points for independent, and from scores clustered by frame."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from homodyne_model import (
    ClusterWindow,
    JointCovariance,
    clustered_meat,
    compress,
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

    The leverage of a window is that in a fit with a contrast and an offset for every angle, whatever the basis: speckles make a map as a whole
    fluctuate for longer than a window is, which individual scaling absorbs and a common one leaves in the residuals. On simulated speckles with one
    contrast and offset (6 angles, 80 frames), D and shear rate in the middle were covered by 71 and 72 % of the 1-sigma intervals (dim) and
    61 and 67 % (bright); with the leverage in the fit itself by 67, 66, 57 and 63 %.
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
        joint_covariance(at.gram, compress(at.gram, problem.scaling), free).determined,
        window,
    )
    robust = joint_covariance(weighted, curved, free, **choices, meat=scores.matrix / noise.slope**2)
    return ErrorBars(hessian.scaled(noise.variance), robust, scores.leverage, window.frames)
