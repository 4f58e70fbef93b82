"""What XPCS data determine and what they do not."""

from importlib.metadata import version as _version

from homodyne_degeneracy._identifiability import STRONG_CORRELATION, Identifiability, identifiability

__version__ = _version("homodyne-degeneracy")
__all__ = ["STRONG_CORRELATION", "Identifiability", "__version__", "identifiability"]
