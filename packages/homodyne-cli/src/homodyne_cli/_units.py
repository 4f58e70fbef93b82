"""Quantities of a configuration or a command line: a number with an optional unit, and a check of its size.

A bare number is in the unit of this project (Å, 1/Å, s). A number in another unit carries it: ``200 um``,
``0.054 nm^-1``, ``1.3 ms``. A bare number outside the usual range is taken as written, with a warning that
names the unit it was probably meant in.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_NUMBER_AND_UNIT = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*")

# Both micro signs and both ångströms of Unicode, superscripts, minus sign and middle dot, as plain spelling.
_SPELLINGS = str.maketrans(
    {
        "\u00b5": "u",
        "\u03bc": "u",
        "\u00c5": "A",
        "\u212b": "A",
        "\u207b": "-",
        "\u2212": "-",
        "\u00b9": "1",
        "\u00b7": "",
    }
)


@dataclass(frozen=True)
class Quantity:
    """A kind of quantity: its unit here, the units it may be written in, and the values one expects.

    Attributes
    ----------
    name : str
        As in messages.
    unit : str
        Unit of a bare number and of the value returned.
    factors : Mapping of str to float
        Unit spelling to its size in `unit`.
    usual : (float, float)
        Range of ordinary experiments, in `unit`.
    likely : tuple of (float, float, str)
        ``(lowest, highest, unit)``: a bare number between the two was probably meant in that unit.
    """

    name: str
    unit: str
    factors: Mapping[str, float]
    usual: tuple[float, float]
    likely: tuple[tuple[float, float, str], ...] = ()

    def parse(self, value: object) -> float:
        """Value in `unit` of a number, or of a text such as ``"200 um"``.

        Raises
        ------
        ValueError
            If `value` is neither, is not finite, is not above 0, or has an unknown unit.
        """
        number, unit = _split(value, self)
        if unit not in self.factors:
            known = ", ".join(_shown(self.factors))
            raise ValueError(f"{value!r} has the unit {unit!r}; the units of a {self.name} are {known}")
        result = number * self.factors[unit]
        if not math.isfinite(result) or result <= 0:
            raise ValueError(f"{value!r} is not a {self.name}: expected a number above 0 [{self.unit}]")
        return result

    def doubt(self, value: object) -> str | None:
        """A sentence when the magnitude of `value` is unusual, else None.

        Examples
        --------
        >>> LENGTH.doubt(200)
        '200 Å is an unusual length (usual: 100000 to 1e+08 Å); if it was meant in um, write "200 um"'
        >>> LENGTH.doubt("200 um") is None
        True
        """
        size = self.parse(value)
        if self.usual[0] <= size <= self.usual[1]:
            return None
        number, unit = _split(value, self)
        shown = f"{number:g} {unit or self.unit}"
        lowest, highest = self.usual
        sentence = f"{shown} is an unusual {self.name} (usual: {lowest:g} to {highest:g} {self.unit})"
        for lowest, highest, other in self.likely:
            if not unit and lowest <= number < highest:
                return f'{sentence}; if it was meant in {other}, write "{number:g} {other}"'
        return sentence


def _split(value: object, quantity: Quantity) -> tuple[float, str]:
    """Number and plain spelling of the unit of a configuration value."""
    expected = f"{value!r} is not a {quantity.name}: expected a number [{quantity.unit}] or text with a unit"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(expected)
    if not isinstance(value, str):
        try:
            return float(value), ""
        except OverflowError:
            raise ValueError(expected) from None
    match = _NUMBER_AND_UNIT.fullmatch(value)
    if match is None:
        raise ValueError(expected)
    return float(match[1]), match[2].translate(_SPELLINGS).replace(" ", "")


def _shown(factors: Mapping[str, float]) -> list[str]:
    """One spelling for every size, the first one of each."""
    first: dict[float, str] = {}
    for unit, factor in factors.items():
        if unit:
            first.setdefault(factor, unit)
    return list(first.values())


def _per(lengths: Mapping[str, float]) -> dict[str, float]:
    """Spellings of reciprocal units: ``1/nm``, ``nm^-1``, ``nm-1``."""
    per = {"": 1.0}
    for unit, size in lengths.items():
        if unit:
            per |= dict.fromkeys((f"{unit}^-1", f"1/{unit}", f"{unit}-1"), 1 / size)
    return per


_LENGTHS = {"": 1.0, "A": 1.0, "angstrom": 1.0, "nm": 10.0, "um": 1e4, "micron": 1e4, "mm": 1e7, "cm": 1e8}
_LENGTHS["m"] = 1e10

LENGTH = Quantity(
    "length",
    "Å",
    MappingProxyType(_LENGTHS),
    usual=(1e5, 1e8),
    likely=((0.0, 1e-2, "m"), (1e-2, 5.0, "mm"), (5.0, 1e4, "um"), (1e4, 1e5, "nm")),
)
"""A gap [Å]; usual between 10 µm and 10 mm."""

WAVEVECTOR = Quantity(
    "wavevector",
    "1/Å",
    MappingProxyType(_per(_LENGTHS)),
    usual=(1e-4, 0.1),
    likely=((0.1, 10.0, "nm^-1"), (100.0, 1e6, "um^-1"), (1e6, math.inf, "m^-1")),
)
"""A wavevector magnitude [1/Å]; usual in small-angle XPCS between 1e-4 and 0.1."""

TIME = Quantity(
    "time",
    "s",
    MappingProxyType({"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0}),
    usual=(1e-7, 60.0),
    likely=((60.0, 1e6, "ms"),),
)
"""A time between frames [s]; usual between 0.1 µs and a minute."""
