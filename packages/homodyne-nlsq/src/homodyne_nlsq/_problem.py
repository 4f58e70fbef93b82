"""The least-squares problem: a model, the data as they are held, and the Gram matrices at any parameters."""

from dataclasses import dataclass

import numpy as np

from homodyne_model import Compression, ScalingBounds, TwoTimeModel, compress, joint_covariance
from homodyne_nlsq._config import NLSQConfig
from homodyne_nlsq._held import HeldMaps


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
    """

    model: TwoTimeModel
    maps: HeldMaps
    scaling: ScalingBounds
    common_scaling: bool

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
        return cls(model, maps, scaling, config.per_angle_mode == "constant")

    def gram(self, physical) -> np.ndarray:
        """Weighted Gram matrices (n_phi, n_physical + 3, n_physical + 3) at physical parameters: one pass over the data."""
        return self.maps.gram(self.model, np.asarray(physical, dtype=float))

    def compress(self, gram) -> Compression:
        """The compressed problem of Gram matrices."""
        return compress(gram, self.scaling, common_scaling=self.common_scaling)

    def covariance(self, gram, fit: Compression, free) -> np.ndarray:
        """Inverse curvature of all parameters; `free` tells which physical ones are."""
        return joint_covariance(gram, fit, free, common_scaling=self.common_scaling)
