"""Global search for fits of XPCS two-time maps, and for any other cost with bounds: CMA-ES with restarts, and multistart."""

from importlib.metadata import version as _version

from homodyne_global._bipop import default_population
from homodyne_global._config import PRESETS, CMAESWrapperConfig, MultiStartConfig
from homodyne_global._local import LocalSolution
from homodyne_global._multistart import Minimum, MultiStartResult, fit_multistart
from homodyne_global._results import CMAESDiagnostics, CMAESResult, CMAESRun, SearchProgress, StopReason
from homodyne_global._selection import SearchChoice, choose_search, compute_scale_ratio, should_use_cmaes
from homodyne_global._wrapper import CMAESWrapper, fit_with_cmaes
from homodyne_global.errors import GlobalSearchError

__version__ = _version("homodyne-global")
__all__ = [
    "PRESETS",
    "CMAESDiagnostics",
    "CMAESResult",
    "CMAESRun",
    "CMAESWrapper",
    "CMAESWrapperConfig",
    "GlobalSearchError",
    "LocalSolution",
    "Minimum",
    "MultiStartConfig",
    "MultiStartResult",
    "SearchChoice",
    "SearchProgress",
    "StopReason",
    "__version__",
    "choose_search",
    "compute_scale_ratio",
    "default_population",
    "fit_multistart",
    "fit_with_cmaes",
    "should_use_cmaes",
]
