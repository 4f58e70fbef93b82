"""The least-squares problem: a model, the data as they are held, how the scaling varies, and what the points weigh."""

from dataclasses import dataclass, field, replace

import numpy as np

from homodyne_degeneracy import AdaptiveRegularizer, AntiDegeneracyController, ShearSensitivityWeighting
from homodyne_model import (
    Compression,
    ScalingBasis,
    ScalingBounds,
    ScalingPenalty,
    TwoTimeModel,
    compress,
    compress_at,
    with_angle_weights,
)
from homodyne_nlsq._config import NLSQConfig
from homodyne_nlsq._held import HeldMaps
from homodyne_nlsq._loss import Reweighting
from homodyne_nlsq.errors import FitInputError


@dataclass(frozen=True, eq=False)
class Problem:
    """Weighted least squares of one measurement, contrast and offset eliminated.

    What depends on the solution (weights of a robust loss and of angles along the flow, a penalty that adapts itself) is frozen here, so
    that the objective stays the same while a solver works, and renewed between solves (`renewed`).

    Parameters
    ----------
    model : TwoTimeModel
        Geometry and choices.
    maps : HeldMaps
        The data, and the pass over them.
    scaling : ScalingBounds
        Box of contrast and offset at every angle.
    basis : ScalingBasis
        How contrast and offset vary with the angle.
    angle_weight : (n_phi,)
        What the weight of every angle is multiplied with, beside 1/σ².
    loss, f_scale
        As in `NLSQConfig`.
    regularizer : AdaptiveRegularizer, optional
        Makes the penalty on the scatter of contrast and offset.
    weighting : ShearSensitivityWeighting, optional
        Makes weights of the angles from the direction of the flow.
    reweighting : Reweighting, optional
        Frozen weights of a robust loss.
    penalty : ScalingPenalty, optional
        Frozen penalty.
    shear_weight : (n_phi,), optional
        Frozen weights of the angles.
    """

    model: TwoTimeModel
    maps: HeldMaps
    scaling: ScalingBounds
    basis: ScalingBasis
    angle_weight: np.ndarray
    loss: str = "linear"
    f_scale: float = 1.0
    regularizer: AdaptiveRegularizer | None = None
    weighting: ShearSensitivityWeighting | None = None
    reweighting: Reweighting | None = None
    penalty: ScalingPenalty | None = None
    shear_weight: np.ndarray | None = None
    columns: np.ndarray | None = field(init=False)
    """The basis at the angles, (n_phi, n_coef); None for a pair at every angle."""

    def __post_init__(self) -> None:
        individual = self.basis.mode == "individual"
        object.__setattr__(self, "columns", None if individual else self.basis.matrix(self.model.phi))

    @classmethod
    def of(cls, maps: HeldMaps, config: NLSQConfig, controller: AntiDegeneracyController) -> "Problem":
        """The problem that data with σ and settings pose, before anything is known of its solution."""
        data = maps.data
        model = TwoTimeModel(
            config.analysis_mode, data.q, data.t, data.phi, data.L, config.shear_kernel, config.quadrature
        )
        scaling = ScalingBounds(
            config.scaling_box("contrast", data.n_phi), config.scaling_box("offset", data.n_phi)
        )
        weight = np.ones(data.n_phi) if config.angle_weights is None else np.array(config.angle_weights)
        if weight.shape != (data.n_phi,):
            raise FitInputError(
                f"angle_weights has {len(weight)} entries; expected {data.n_phi}, one for every angle of the data."
            )
        problem = cls(
            model,
            maps,
            scaling,
            controller.first_basis,
            weight,
            config.loss,
            config.f_scale,
            controller.regularizer,
            controller.weighting,
        )
        # Fixed values and bounds that the basis cannot meet are refused here, not after a pass.
        problem.compress(np.zeros((data.n_phi, *(model.n_physical + 3,) * 2)))
        return problem

    @property
    def weight(self) -> np.ndarray:
        """What the weight of every angle is multiplied with, (n_phi,)."""
        return self.angle_weight if self.shear_weight is None else self.angle_weight * self.shear_weight

    @property
    def renews(self) -> bool:
        """Whether anything of the problem follows its solution."""
        return self.loss != "linear" or self.regularizer is not None or self.weighting is not None

    def renewed(self, physical, fit: Compression) -> "Problem":
        """The problem with everything that follows the solution taken from a new one."""
        found = self
        if self.loss != "linear":
            frozen = Reweighting(self.loss, self.f_scale, physical, fit.contrast, fit.offset)
            found = replace(found, reweighting=frozen)
        if self.regularizer is not None:
            penalty = self.regularizer.penalty(fit.contrast, fit.offset, fit.cost - fit.penalty)
            found = replace(found, penalty=penalty)
        if self.weighting is not None:
            found = replace(found, shear_weight=self.weighting.weights(physical[6]))
        return found

    def gram(self, physical) -> np.ndarray:
        """Weighted Gram matrices (n_phi, n_physical + 3, n_physical + 3) at physical parameters: one pass over the data."""
        found = self.maps.gram(self.model, np.asarray(physical, dtype=float), self.reweighting)
        return with_angle_weights(found, self.weight)

    def compress(self, gram) -> Compression:
        """The compressed problem of Gram matrices."""
        return compress(gram, self.scaling, basis=self.columns, penalty=self.penalty)

    def compress_at(self, gram, fit: Compression) -> Compression:
        """The compressed problem of Gram matrices at the scaling that a fit ended with."""
        return compress_at(
            gram, fit.contrast, fit.offset, fit.state, basis=self.columns, penalty=self.penalty
        )

    @property
    def n_scaling(self) -> int:
        """Coefficients of contrast and offset that fixed values leave free."""
        box = self.scaling.arrays(self.model.n_phi)
        columns = np.eye(len(box)) if self.columns is None else self.columns
        fixed = box[..., 0] == box[..., 1]
        return sum(
            columns.shape[1] - int(np.linalg.matrix_rank(columns[held])) if held.any() else columns.shape[1]
            for held in fixed.T
        )
