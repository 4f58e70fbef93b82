"""The errors of homodyne-degeneracy."""

from homodyne_model import HomodyneError


class DegeneracyError(HomodyneError, ValueError):
    """A setting or an argument has a wrong value; the message names it."""
