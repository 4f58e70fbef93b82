"""The `homodyne` command: configuration, fits from file to result, plots, report, simulation."""

from importlib.metadata import version as _version

from homodyne_cli._main import main

__version__ = _version("homodyne-cli")
__all__ = ["__version__", "main"]
