"""Nonlinear least squares for XPCS two-time maps: one pass over the data, then small algebra."""

from importlib.metadata import version as _version

from homodyne_nlsq._adapter import NLSQAdapter
from homodyne_nlsq._config import HybridStreamingConfig, NLSQConfig, RecoveryConfig
from homodyne_nlsq._curves import Curve
from homodyne_nlsq._executors import LargeDatasetExecutor, StandardExecutor, StreamingExecutor
from homodyne_nlsq._fit import fit_nlsq_cmaes, fit_nlsq_jax, fit_nlsq_multistart
from homodyne_nlsq._profile import ProfileInterval
from homodyne_nlsq._result import DeviceInfo, OptimizationResult
from homodyne_nlsq._search_record import GlobalSearch, SearchMinimum, SearchRun
from homodyne_nlsq._wrapper import NLSQWrapper
from homodyne_nlsq.errors import CurveFitError, FitInputError

__version__ = _version("homodyne-nlsq")
__all__ = [
    "Curve",
    "CurveFitError",
    "DeviceInfo",
    "FitInputError",
    "GlobalSearch",
    "HybridStreamingConfig",
    "LargeDatasetExecutor",
    "NLSQAdapter",
    "NLSQConfig",
    "NLSQWrapper",
    "OptimizationResult",
    "ProfileInterval",
    "RecoveryConfig",
    "SearchMinimum",
    "SearchRun",
    "StandardExecutor",
    "StreamingExecutor",
    "__version__",
    "fit_nlsq_cmaes",
    "fit_nlsq_jax",
    "fit_nlsq_multistart",
]
