"""Spellings of units found in files."""

import pytest

from homodyne_data._units import angle_factor, time_factor, wavevector_factor


@pytest.mark.parametrize(
    "unit",
    [
        "Å⁻¹",
        "A\u030a⁻¹",
        "\u212b^-1",
        "1/A",
        "A^-1",
        "Angstrom^-1",
        "1/angstroms",
        "$\\AA^{-1}$",
        b"1/Ang",
        None,
        "",
    ],
)
def test_reciprocal_angstrom(unit):
    assert wavevector_factor(unit, "q") == (1.0, None)


@pytest.mark.parametrize(("unit", "factor"), [("nm⁻¹", 0.1), ("1/nm", 0.1), ("nm**-1", 0.1), ("1/m", 1e-10)])
def test_other_reciprocal_lengths(unit, factor):
    assert wavevector_factor(unit, "q")[0] == factor
    assert "converted to 1/Å" in wavevector_factor(unit, "q")[1]


def test_times_and_angles():
    assert time_factor("μs", "dt")[0] == 1e-6
    assert time_factor("s", "dt") == (1.0, None)
    assert angle_factor("rad", "phi")[0] == pytest.approx(57.29578)
    assert "not known here" in angle_factor("turns", "phi")[1]
