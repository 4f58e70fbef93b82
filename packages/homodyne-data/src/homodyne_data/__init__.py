"""Two-time X-ray photon correlation data: read, select, mask, judge the noise, write, simulate."""

from importlib.metadata import version as _version

from homodyne_data._arrays import from_mapping
from homodyne_data._atomic import atomic_path
from homodyne_data._errors import DataError
from homodyne_data._inspect import FileSummary, inspect_file
from homodyne_data._load import list_q, load_xpcs
from homodyne_data._noise import estimate_sigma
from homodyne_data._points import from_points
from homodyne_data._save import save_apsu, save_npz
from homodyne_data._selection import select_angles
from homodyne_data._simulate import simulate_two_time
from homodyne_data._speckle import simulate_speckle
from homodyne_data._stream import TwoTimeStream, open_xpcs
from homodyne_data._twotime import Provenance, TwoTimeData

__version__ = _version("homodyne-data")

__all__ = [
    "DataError",
    "FileSummary",
    "Provenance",
    "TwoTimeData",
    "TwoTimeStream",
    "__version__",
    "atomic_path",
    "estimate_sigma",
    "from_mapping",
    "from_points",
    "inspect_file",
    "list_q",
    "load_xpcs",
    "open_xpcs",
    "save_apsu",
    "save_npz",
    "select_angles",
    "simulate_speckle",
    "simulate_two_time",
]
