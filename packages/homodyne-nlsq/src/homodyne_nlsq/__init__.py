"""Nonlinear least squares for XPCS two-time maps: one pass over the data, then small algebra."""

from importlib.metadata import version as _version

from homodyne_nlsq._config import NLSQConfig
from homodyne_nlsq._curves import Curve
from homodyne_nlsq._fit import fit_nlsq_jax
from homodyne_nlsq._result import DeviceInfo, OptimizationResult
from homodyne_nlsq.errors import FitInputError

__version__ = _version("homodyne-nlsq")
__all__ = [
    "Curve",
    "DeviceInfo",
    "FitInputError",
    "NLSQConfig",
    "OptimizationResult",
    "__version__",
    "fit_nlsq_jax",
]
