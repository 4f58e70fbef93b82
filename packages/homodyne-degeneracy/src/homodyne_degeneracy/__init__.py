"""Defences against degenerate fits of XPCS two-time maps, and what the data determine and what they do not."""

from importlib.metadata import version as _version

from homodyne_degeneracy._basis_choice import SIGNIFICANCE, BasisChoice, choose_basis
from homodyne_degeneracy._config import (
    DegeneracyConfig,
    GradientMonitoringConfig,
    HierarchicalConfig,
    RegularizationConfig,
    ShearWeightingConfig,
)
from homodyne_degeneracy._controller import AntiDegeneracyController
from homodyne_degeneracy._fourier import FourierReparameterizer
from homodyne_degeneracy._hierarchical import HierarchicalOptimizer, HierarchicalResult
from homodyne_degeneracy._identifiability import (
    STRONG_CORRELATION,
    Combination,
    FlatRate,
    Identifiability,
    identifiability,
)
from homodyne_degeneracy._monitor import (
    GradientCollapseMonitor,
    MonitorAction,
    MonitorReport,
    gradient_norms,
)
from homodyne_degeneracy._regularizer import AdaptiveRegularizer
from homodyne_degeneracy._weighting import ShearSensitivityWeighting
from homodyne_degeneracy.errors import DegeneracyError

__version__ = _version("homodyne-degeneracy")
__all__ = [
    "SIGNIFICANCE",
    "STRONG_CORRELATION",
    "AdaptiveRegularizer",
    "AntiDegeneracyController",
    "BasisChoice",
    "Combination",
    "DegeneracyConfig",
    "DegeneracyError",
    "FlatRate",
    "FourierReparameterizer",
    "GradientCollapseMonitor",
    "GradientMonitoringConfig",
    "HierarchicalConfig",
    "HierarchicalOptimizer",
    "HierarchicalResult",
    "Identifiability",
    "MonitorAction",
    "MonitorReport",
    "RegularizationConfig",
    "ShearSensitivityWeighting",
    "ShearWeightingConfig",
    "__version__",
    "choose_basis",
    "gradient_norms",
    "identifiability",
]
