"""The least-squares problem: a model, the data as they are held, and the Gram matrices at any parameters."""

from dataclasses import dataclass

import numpy as np

from homodyne_model import Compression, ScalingBounds, TwoTimeModel, compress, compress_at, with_angle_weights
from homodyne_nlsq._config import NLSQConfig
from homodyne_nlsq._held import HeldMaps
from homodyne_nlsq._loss import Reweighting
from homodyne_nlsq.errors import FitInputError


@dataclass(frozen=True, eq=False)
class Problem:
    """Weighted least squares of one measurement, contrast and offset eliminated.

    Parameters
    ----------
    model : TwoTimeModel
        Geometry and choices.
    maps : HeldMaps
        The data, and the pass over them.
    scaling : ScalingBounds
        Box of contrast and offset.
    common_scaling : bool
        One contrast and offset for all angles.
    angle_weight : (n_phi,)
        What the weight of every angle is multiplied with, beside 1/σ².
    reweighting : Reweighting, optional
        Frozen weights of a robust loss.
    """

    model: TwoTimeModel
    maps: HeldMaps
    scaling: ScalingBounds
    common_scaling: bool
    angle_weight: np.ndarray
    reweighting: Reweighting | None = None

    @classmethod
    def of(cls, maps: HeldMaps, config: NLSQConfig) -> "Problem":
        """The problem that data with σ and settings pose."""
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
        return cls(model, maps, scaling, config.per_angle_mode == "constant", weight)

    def gram(self, physical) -> np.ndarray:
        """Weighted Gram matrices (n_phi, n_physical + 3, n_physical + 3) at physical parameters: one pass over the data."""
        found = self.maps.gram(self.model, np.asarray(physical, dtype=float), self.reweighting)
        return with_angle_weights(found, self.angle_weight)

    def compress(self, gram) -> Compression:
        """The compressed problem of Gram matrices."""
        return compress(gram, self.scaling, common_scaling=self.common_scaling)

    def compress_at(self, gram, fit: Compression) -> Compression:
        """The compressed problem of Gram matrices at the scaling that a fit ended with."""
        return compress_at(gram, fit.contrast, fit.offset, fit.state, common_scaling=self.common_scaling)
