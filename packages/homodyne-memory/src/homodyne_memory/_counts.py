"""The check that a size given by the caller is a whole number."""

from operator import index


def whole_number(name: str, value: int, *, at_least: int) -> int:
    """Return ``value`` as a Python integer (no overflow at 2**31 or 2**63), or say what is wrong with it.

    Raises
    ------
    TypeError
        If ``value`` is not an integer.
    ValueError
        If it is below ``at_least``.
    """
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; expected an integer") from None
    if number < at_least:
        raise ValueError(f"{name} is {number}; expected at least {at_least}")
    return number
