"""Errors of the fit; what a fit ends with is data, not an error."""

from homodyne_model import HomodyneError


class FitInputError(HomodyneError, ValueError):
    """The data or the configuration cannot be fitted; the message names what and what was expected."""


class CurveFitError(HomodyneError, RuntimeError):
    """The library nlsq failed at a problem; the message is what it said."""
