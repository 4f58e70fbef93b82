"""Global search for fits of XPCS two-time maps."""

from importlib.metadata import version as _version

__version__ = _version("homodyne-global")
__all__ = ["__version__"]
