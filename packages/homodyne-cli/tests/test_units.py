import pytest

from homodyne_cli._units import LENGTH, TIME, WAVEVECTOR


@pytest.mark.parametrize(
    "quantity, written, expected",
    [
        (LENGTH, 2e6, 2e6),
        (LENGTH, 2000000, 2e6),
        (LENGTH, "2e6", 2e6),
        (LENGTH, "200 um", 2e6),
        (LENGTH, "200um", 2e6),
        (LENGTH, "200 \u00b5m", 2e6),
        (LENGTH, "200 \u03bcm", 2e6),
        (LENGTH, "0.2 mm", 2e6),
        (LENGTH, "2e-4 m", 2e6),
        (LENGTH, "2e6 \u00c5", 2e6),
        (WAVEVECTOR, 0.0054, 0.0054),
        (WAVEVECTOR, "0.054 nm^-1", 0.0054),
        (WAVEVECTOR, "0.054 1/nm", 0.0054),
        (WAVEVECTOR, "0.054 nm\u207b\u00b9", 0.0054),
        (WAVEVECTOR, "0.0054 \u212b^-1", 0.0054),
        (WAVEVECTOR, "5.4e7 m^-1", 0.0054),
        (TIME, "1.3 ms", 1.3e-3),
        (TIME, ".5 min", 30.0),
    ],
)
def test_numbers_with_and_without_units(quantity, written, expected):
    assert quantity.parse(written) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "written", ["200 foot", "um", "", "1,5 um", True, None, [1], 0, -3, float("inf"), "nan"]
)
def test_what_is_no_length_is_refused(written):
    with pytest.raises(ValueError, match="length"):
        LENGTH.parse(written)


def test_an_unknown_unit_lists_the_known_ones():
    with pytest.raises(ValueError, match="'foot'; the units of a length are A, nm, um, mm, cm, m"):
        LENGTH.parse("200 foot")


@pytest.mark.parametrize(
    "quantity, written, likely",
    [
        (LENGTH, 200, '"200 um"'),
        (LENGTH, 0.2, '"0.2 mm"'),
        (LENGTH, 2e-4, '"0.0002 m"'),
        (LENGTH, 20000, '"20000 nm"'),
        (WAVEVECTOR, 0.54, '"0.54 nm^-1"'),
        (WAVEVECTOR, 5.4e7, '"5.4e+07 m^-1"'),
        (TIME, 100, '"100 ms"'),
    ],
)
def test_an_unusual_bare_number_names_the_likely_unit(quantity, written, likely):
    assert likely in quantity.doubt(written)


def test_a_unit_that_is_written_is_believed():
    # Unusual all the same, but no other unit is proposed.
    assert "if it was meant" not in WAVEVECTOR.doubt("20 nm^-1")
    assert LENGTH.doubt("200 um") is None
    assert WAVEVECTOR.doubt(0.0054) is None
