"""The error for data and files that cannot be used, and the one way to warn."""

import warnings
from pathlib import Path

_PACKAGE = str(Path(__file__).parent)


class DataError(ValueError):
    """Data or a file that cannot be used: wrong layout, truncated, inconsistent, nothing selected."""


def warn(message: str) -> None:
    """Warn at the line of the caller outside this package."""
    warnings.warn(message, UserWarning, skip_file_prefixes=(_PACKAGE,))
