"""Homodyne scattering model: g1, C2, residuals and one-pass normal equations, differentiable and jit-ready."""

from importlib.metadata import version as _version

from homodyne_model._clustered import ClusteredMeat, ClusterWindow, clustered_meat, decay_frames
from homodyne_model._compress import (
    Compression,
    JointCovariance,
    compress,
    compress_at,
    compressed_residual,
    in_coordinates,
    joint_covariance,
    joint_information,
    with_angle_weights,
)
from homodyne_model._coordinates import Coordinates, LinearCoordinate, LogCoordinate, RateCoordinates
from homodyne_model._correlation import (
    correlation,
    field_correlation,
    map_c2,
    map_g1,
    points_c2,
    points_g1,
    rows_c2,
)
from homodyne_model._directions import Directions, determined_directions, invert_identifiable
from homodyne_model._frame_grams import frame_grams
from homodyne_model._normal_equations import normal_equations
from homodyne_model._pair_sums import pair_sums
from homodyne_model._parameters import PARAMETERS, AnalysisMode, Parameter, ParameterLayout
from homodyne_model._residuals import PointChunk, StratifiedResidualFunction, StratifiedResidualFunctionJIT
from homodyne_model._scaling import (
    SCALING_MODES,
    ScalingBasis,
    ScalingBounds,
    ScalingPenalty,
    ScalingState,
    highest_fourier_order,
)
from homodyne_model._shear_kernel import SHEAR_KERNELS
from homodyne_model._transport import QUADRATURES, diffusion_coefficient, shear_rate
from homodyne_model._two_time_model import TwoTimeModel
from homodyne_model.errors import HomodyneError, ModelError

__version__ = _version("homodyne-model")
__all__ = [
    "PARAMETERS",
    "QUADRATURES",
    "SCALING_MODES",
    "SHEAR_KERNELS",
    "AnalysisMode",
    "ClusterWindow",
    "ClusteredMeat",
    "Compression",
    "Coordinates",
    "Directions",
    "HomodyneError",
    "JointCovariance",
    "LinearCoordinate",
    "LogCoordinate",
    "ModelError",
    "Parameter",
    "ParameterLayout",
    "PointChunk",
    "RateCoordinates",
    "ScalingBasis",
    "ScalingBounds",
    "ScalingPenalty",
    "ScalingState",
    "StratifiedResidualFunction",
    "StratifiedResidualFunctionJIT",
    "TwoTimeModel",
    "__version__",
    "clustered_meat",
    "compress",
    "compress_at",
    "compressed_residual",
    "correlation",
    "decay_frames",
    "determined_directions",
    "diffusion_coefficient",
    "field_correlation",
    "frame_grams",
    "highest_fourier_order",
    "in_coordinates",
    "invert_identifiable",
    "joint_covariance",
    "joint_information",
    "map_c2",
    "map_g1",
    "normal_equations",
    "pair_sums",
    "points_c2",
    "points_g1",
    "rows_c2",
    "shear_rate",
    "with_angle_weights",
]
