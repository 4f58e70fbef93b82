"""Errors of the sampler; how a run ended is data, not an error."""

from homodyne_model import HomodyneError


class CMCInputError(HomodyneError, ValueError):
    """Data, configuration, warm start or executor cannot be used; the message names what and what was expected."""
