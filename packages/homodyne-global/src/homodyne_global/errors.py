"""The errors of homodyne-global."""


class GlobalSearchError(ValueError):
    """A setting or an argument has a wrong value; the message names it."""
