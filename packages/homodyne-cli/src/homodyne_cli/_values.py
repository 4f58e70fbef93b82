"""Readers of single configuration values: from what YAML gives to what the program uses.

Every reader takes the plain value and returns the checked one, or raises a ValueError that says what was
expected; the caller adds where it stands.
"""

import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from homodyne_cli._units import WAVEVECTOR

Reader = Callable[[object], object]

METHODS = ("nlsq", "cmc", "both")
"""What a run may do: a least-squares fit, a posterior that starts from one, or both as results."""

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_]\w*)(?::-(?P<default>[^}]*))?\}")
_FRAME_RANGE = re.compile(r"\s*(\d+)\s*-\s*(\d+)\s*")
_LAST_FRAME = 10**7


def number(value: object) -> float:
    """Any finite or infinite number. YAML 1.1 reads ``1e-8`` (no point) as text: it is a number here too."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise ValueError(f"{value!r} is not a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not a number")
    try:
        result = float(value)
    except OverflowError:
        raise ValueError("a number of that many digits is no value here") from None
    if math.isnan(result):
        raise ValueError("not a number (nan) is no value here")
    return result


def positive(value: object) -> float:
    """A finite number above 0."""
    result = number(value)
    if not 0 < result < math.inf:
        raise ValueError(f"{value!r} is not above 0 and finite")
    return result


def integer(lowest: int, *also: int) -> Reader:
    """A whole number of at least `lowest`, or one of `also`."""

    def read(value: object) -> int:
        result = number(value)
        if not math.isfinite(result) or result != int(result) or (result < lowest and result not in also):
            extra = "".join(f", or {a}" for a in also)
            raise ValueError(f"{value!r} is not a whole number of at least {lowest}{extra}")
        return int(result)

    return read


def seed(value: object) -> int | None:
    """A whole number, or ``new``, which becomes None: another one every time."""
    if value == "new":
        return None
    try:
        return integer(0)(value)
    except ValueError:
        raise ValueError(f"{value!r} is neither a whole number of at least 0 nor new") from None


def boolean(value: object) -> bool:
    """``true`` or ``false``."""
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def auto_or_boolean(value: object) -> bool | str:
    """``auto``, ``true`` or ``false``."""
    if value == "auto" or isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is neither auto nor true nor false")


def method(value: object) -> str:
    """One of `METHODS`; ``mcmc`` of older files is cmc."""
    if value == "mcmc":
        return "cmc"
    if value not in METHODS:
        raise ValueError(f"{value!r} is not one of {', '.join(METHODS)}")
    return value


def text(value: object) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is not a text")
    return value.strip()


def names(value: object) -> tuple[str, ...]:
    """A list of different texts."""
    result = tuple(text(item) for item in _list(value))
    if len(set(result)) != len(result):
        raise ValueError(f"{list(result)} names something twice")
    return result


def names_or_all(value: object) -> tuple[str, ...]:
    """A list of different texts, or ``all``, which becomes ``("all",)``."""
    return ("all",) if _is_all(value) else names(value)


def finite(value: object) -> float:
    """A finite number."""
    result = number(value)
    if math.isinf(result):
        raise ValueError(f"{value!r} is not finite")
    return result


def numbers(value: object) -> tuple[float | None, ...]:
    """A list of finite numbers, null where the value is left to the program."""
    return tuple(None if item is None else finite(item) for item in _list(value))


def named_numbers(value: object) -> Mapping[str, float]:
    """A mapping from names to finite numbers."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} is not a mapping such as {{alpha: 0.0}}")
    result = {}
    for name, item in value.items():
        try:
            result[text(name)] = finite(item)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return result


def frames(value: object) -> tuple[int, ...]:
    """Frame numbers from 1: a list of numbers and of ranges written ``120-130`` (both ends included)."""
    result: set[int] = set()
    for item in _list(value):
        match = _FRAME_RANGE.fullmatch(item) if isinstance(item, str) else None
        first, last = (match[1], match[2]) if match else (item, item)
        first, last = integer(1)(first), integer(1)(last)
        if last < first:
            raise ValueError(f"{item!r} is a range whose end is before its beginning")
        if last > _LAST_FRAME:
            raise ValueError(f"{item!r} goes beyond any measurement ({_LAST_FRAME} frames)")
        result.update(range(first, last + 1))
    return tuple(sorted(result))


def wavevectors(value: object) -> tuple[float, ...] | str:
    """One wavevector or a list of different ones [1/Å], or ``all``."""
    if _is_all(value):
        return "all"
    result = tuple(WAVEVECTOR.parse(item) for item in (value if isinstance(value, list) else [value]))
    if not result or len(set(result)) != len(result):
        raise ValueError(f"{value!r} is empty or names a wavevector twice")
    return result


def wavevector_doubt(value: object) -> str | None:
    """What is unusual about the first unusual wavevector of a value or list."""
    if _is_all(value):
        return None
    doubts = (WAVEVECTOR.doubt(item) for item in (value if isinstance(value, list) else [value]))
    return next((doubt for doubt in doubts if doubt), None)


def _is_all(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower() == "all"


def sigma_doubt(value: object) -> str | None:
    """What is unusual about a noise of C2 entries."""
    if 1e-5 <= positive(value) <= 1:
        return None
    return f"{value} is an unusual noise of C2 (no unit; usual: 0.001 to 0.5)"


def time_origin(value: object) -> float | str:
    """``selection``, ``acquisition`` or the time of start_frame [s], not negative."""
    if value in ("selection", "acquisition"):
        return value
    expected = f"{value!r} is neither 'selection' nor 'acquisition' nor a time [s] of at least 0"
    try:
        seconds = number(value)
    except ValueError:
        raise ValueError(expected) from None
    if not 0 <= seconds < math.inf:
        raise ValueError(expected)
    return seconds


def subset(*known: str) -> Reader:
    """A list of some of the `known` words; ``true`` or ``all``: all of them, ``false`` or ``none``: none."""

    def read(value: object) -> tuple[str, ...]:
        if value is True or value == "all":
            return known
        if value is False or value == "none":
            return ()
        asked = names(value)
        for item in asked:
            if item not in known:
                raise ValueError(f"{item!r} is not one of {', '.join(known)}")
        return tuple(item for item in known if item in asked)

    return read


def expand(path: str, folder: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Path of a configuration: ``${NAME}``, ``${NAME:-default}`` and ``~`` expanded, relative to `folder`.

    Raises
    ------
    ValueError
        If a variable is not set and has no default.
    """

    def value(match: re.Match) -> str:
        found = environment.get(match["name"]) or match["default"]
        if found is None:
            raise ValueError(f"{path!r} needs the environment variable {match['name']}, which is not set")
        return found

    return folder / Path(_VARIABLE.sub(value, path)).expanduser()


def _list(value: object) -> list:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list such as [a, b]")
    return value
