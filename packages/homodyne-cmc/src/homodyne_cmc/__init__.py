"""Consensus Monte Carlo for XPCS two-time maps."""

from importlib.metadata import version as _version

__version__ = _version("homodyne-cmc")
__all__ = ["__version__"]
