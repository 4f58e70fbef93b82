"""Units written in files, and warnings about values that look like another unit."""

import unicodedata
from typing import Any

import numpy as np

from homodyne_data._errors import warn

_TO_PER_ANGSTROM = {"a^-1": 1.0, "1/a": 1.0, "nm^-1": 0.1, "1/nm": 0.1, "m^-1": 1e-10, "1/m": 1e-10}
_TO_SECONDS = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
}
_TO_DEGREES = {"deg": 1.0, "degree": 1.0, "degrees": 1.0, "°": 1.0, "rad": 180 / np.pi, "radian": 180 / np.pi}


def _spelling(unit: str) -> str:
    """One spelling for the many of a reciprocal length."""
    text = unicodedata.normalize("NFC", unit).strip().strip("$").replace("\\AA", "Å")
    text = text.replace("⁻¹", "^-1").replace("**", "^").replace("μ", "µ").replace(" ", "")
    text = text.replace("Å", "a").replace("Ang", "ang").lower()
    for word in ("angstroms", "angstrom", "ang"):
        text = text.replace(word, "a")
    return text.replace("{-1}", "-1").replace("^(-1)", "^-1")


def _factor(table: dict[str, float], unit: Any, what: str, assumed: str) -> tuple[float, str | None]:
    """Factor to the unit `assumed`, with a sentence where it is not 1 or the unit is unknown."""
    if unit is None:
        return 1.0, None
    text = unit.decode(errors="replace") if isinstance(unit, bytes) else str(unit)
    factor = table.get(_spelling(text))
    if factor == 1.0 or not text.strip():
        return 1.0, None
    if factor is None:
        return 1.0, f"The unit {text!r} of {what} is not known here; the values are taken as {assumed}."
    return factor, f"{what} is stored in {text} and was converted to {assumed}."


def wavevector_factor(unit: Any, what: str) -> tuple[float, str | None]:
    """Factor from `unit` to 1/Å and a sentence or None."""
    return _factor(_TO_PER_ANGSTROM, unit, what, "1/Å")


def time_factor(unit: Any, what: str) -> tuple[float, str | None]:
    """Factor from `unit` to seconds and a sentence or None."""
    return _factor(_TO_SECONDS, unit, what, "s")


def angle_factor(unit: Any, what: str) -> tuple[float, str | None]:
    """Factor from `unit` to degrees and a sentence or None."""
    return _factor(_TO_DEGREES, unit, what, "degrees")


def warn_wavevector(q: float) -> None:
    """Warn when `q` [1/Å] is outside 1e-5 to 1."""
    if q > 1e4:
        warn(f"q = {q:g} 1/Å is far above the usual range; is it in 1/m? Then q = {q * 1e-10:g} 1/Å")
    elif q > 1:
        warn(f"q = {q:g} 1/Å is above the usual range 1e-5 to 1; is it in 1/nm? Then q = {q / 10:g} 1/Å")
    elif q < 1e-5:
        warn(f"q = {q:g} 1/Å is below the usual range 1e-5 to 1; the expected unit is 1/Å")


def warn_gap(length: float) -> None:
    """Warn when the gap `length` [Å] is outside 1 µm to 10 cm."""
    if length < 1e4:
        unit, angstrom = ("m", 1e10) if length < 1e-2 else ("mm", 1e7) if length < 10 else ("µm", 1e4)
        warn(
            f"L = {length:g} Å is below the usual range of a gap; is it in {unit}? "
            f"Then L = {length * angstrom:g} Å"
        )
    elif length > 1e9:
        warn(f"L = {length:g} Å is above the usual range of a gap (1e4 to 1e9 Å); the expected unit is Å")


def warn_time_step(dt: float) -> None:
    """Warn when the time step `dt` [s] is outside 1 ns to 1 day."""
    if dt > 86400:
        warn(f"dt = {dt:g} s is more than a day; is it in µs? Then dt = {dt * 1e-6:g} s")
    elif dt < 1e-9:
        warn(f"dt = {dt:g} s is below a nanosecond; the expected unit is s")
