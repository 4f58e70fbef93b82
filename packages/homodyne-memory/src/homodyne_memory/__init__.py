"""Memory estimates, strategy selection and angle-stratified chunks for large least-squares fits."""

from importlib.metadata import version as _version

from homodyne_memory._estimate import OVERHEAD_FACTOR, OVERHEAD_SHARES, estimate_peak_memory_gb
from homodyne_memory._strategy import (
    OUT_OF_CORE_MIN_POINTS,
    NLSQStrategy,
    StrategyDecision,
    select_nlsq_strategy,
)
from homodyne_memory._stratification import (
    StratificationDecision,
    StratifiedData,
    StratifiedIndices,
    create_angle_stratified_data,
    create_angle_stratified_indices,
    should_use_stratification,
)
from homodyne_memory._system import (
    DEFAULT_MEMORY_FRACTION,
    memory_threshold_gb,
    peak_memory_gb,
    total_memory_gb,
)

__version__ = _version("homodyne-memory")
__all__ = [
    "DEFAULT_MEMORY_FRACTION",
    "OUT_OF_CORE_MIN_POINTS",
    "OVERHEAD_FACTOR",
    "OVERHEAD_SHARES",
    "NLSQStrategy",
    "StrategyDecision",
    "StratificationDecision",
    "StratifiedData",
    "StratifiedIndices",
    "__version__",
    "create_angle_stratified_data",
    "create_angle_stratified_indices",
    "estimate_peak_memory_gb",
    "memory_threshold_gb",
    "peak_memory_gb",
    "select_nlsq_strategy",
    "should_use_stratification",
    "total_memory_gb",
]
