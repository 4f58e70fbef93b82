"""Errors of the fit; what a fit ends with is data, not an error."""

from homodyne_model import HomodyneError


class FitInputError(HomodyneError, ValueError):
    """The data or the configuration cannot be fitted; the message names what and what was expected."""
