"""Numbers as text, with the digits that mean something."""

import math


def with_error(value: float, error: float) -> tuple[str, str]:
    """Value and uncertainty as text, with the digits that the uncertainty leaves meaning to.

    Examples
    --------
    >>> with_error(68512.3, 123.0)
    ('68510', '120')
    >>> with_error(8.9612e-4, 1.24e-5)
    ('8.96e-04', '1.2e-05')
    >>> with_error(2.0, float("nan"))
    ('2', '')
    """
    if not (math.isfinite(error) and error > 0 and math.isfinite(value)):
        return f"{value:.6g}", ""
    # Two digits of the uncertainty; its exponent after rounding to them (0.0996 -> 0.10).
    exponent = int(f"{error:.1e}".partition("e")[2])
    error = float(f"{error:.1e}")
    last = exponent - 1
    value = round(value, -last) + 0.0  # no -0
    size = math.floor(math.log10(max(abs(value), error)))
    if -3 <= size < 6 and -6 <= last:
        decimals = max(0, -last)
        return f"{value:.{decimals}f}", f"{error:.{decimals}f}"
    digits = max(0, size - last)
    return f"{value:.{digits}e}", f"{error:.1e}"


def limits(lower: float, upper: float) -> tuple[str, str]:
    """Limits as text: three digits of the width, and a word where one is open.

    Examples
    --------
    >>> limits(69385.9, 73271.6), limits(6.291e-4, 1.0127e-3), limits(-math.inf, 0.2)
    (('69390', '73270'), ('0.000629', '0.001013'), ('open', '0.2000'))
    """
    width = upper - lower
    if math.isnan(width):
        return "", ""
    sizes = [abs(limit) for limit in (lower, upper) if math.isfinite(limit) and limit]
    size = math.floor(math.log10(max(sizes, default=1.0)))
    last = math.floor(math.log10(width)) - 2 if 0 < width < math.inf else size - 3
    return tuple(_rounded(limit, last, size) if math.isfinite(limit) else "open" for limit in (lower, upper))


def _rounded(value: float, last: int, size: int) -> str:
    """A value of the order 10**size with digits down to 10**last."""
    value = round(value, -last) + 0.0  # no -0
    if -3 <= size < 6 and -6 <= last:
        return f"{value:.{max(0, -last)}f}"
    return f"{value:.{max(0, size - last)}e}"
