"""The root of the errors that the homodyne distributions raise."""


class HomodyneError(Exception):
    """Root of every error class that a homodyne distribution defines."""


class ModelError(HomodyneError, ValueError):
    """An argument of the scattering model has a wrong value; the message names it."""
