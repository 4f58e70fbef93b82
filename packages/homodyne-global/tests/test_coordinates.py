"""Search coordinates: within the bounds, there and back, logarithmic where it helps; and bounds that are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import Bounds

from homodyne_global import GlobalSearchError
from homodyne_global._coordinates import SearchSpace, checked_bounds


def test_which_parameters_are_logarithmic():
    space = SearchSpace.within(([1e-6, 0.0, -1.0, 1.0, 1.0], [1e-2, 1e5, 1e5, 99.0, 100.0]))
    assert space.log.tolist() == [True, False, False, False, True]
    assert SearchSpace.within(([1.0], [1e5]), [False]).log.tolist() == [False]
    middle = SearchSpace.within(([1.0, -1.0], [1e4, 5.0])).parameters(np.zeros((1, 2)))
    np.testing.assert_allclose(middle, [[100.0, 2.0]], rtol=1e-12)


@given(
    lower=st.floats(-1e300, 1e300),
    width=st.floats(1e-6, 1e300),
    point=st.floats(-1e6, 1e6),
    scale=st.sampled_from([1.0, 1e-300]),
)
def test_parameters_stay_within_the_bounds(lower, width, point, scale):
    lower, upper = lower * scale, (lower + width) * scale
    if not lower < upper < np.inf:
        return
    space = SearchSpace.within(([lower], [upper]))
    value = space.parameters(np.array([[point]]))[0, 0]
    assert lower <= value <= upper
    if point >= 1:
        assert value == pytest.approx(upper, rel=1e-9)
    assert -1 <= space.coordinates(np.array([value]))[0] <= 1


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3))
def test_there_and_back(point):
    space = SearchSpace.within(([1e-6, -3.0, 1.0], [1e5, 7.0, 2.0]))
    found = space.coordinates(space.parameters(np.array([point]))[0])
    np.testing.assert_allclose(found, point, atol=1e-12)


@pytest.mark.parametrize(
    "bounds, message",
    [
        (([0.0, np.nan], [1.0, 1.0]), "bounds of parameter 1 are nan and 1; expected finite numbers"),
        (([0.0], [np.inf]), "bounds of parameter 0 are 0 and inf; expected finite"),
        (([0.0, 2.0], [1.0, 2.0]), "bounds of parameter 1 are 2 and 2; expected lower < upper"),
        (([3.0], [2.0]), "bounds of parameter 0 are 3 and 2; expected lower < upper"),
        (([0.0, 1.0], [2.0]), r"lower part of shape \(2,\) and an upper one of shape \(1,\)"),
        (([], []), r"of shape \(0,\)"),
        ((0.0, 1.0), r"of shape \(\)"),
        (7, "bounds is 7; expected a pair"),
        (([0.0], ["a"]), "expected a pair"),
        (([0.0], [1.0], [2.0]), "expected a pair"),
    ],
)
def test_bounds_that_are_refused(bounds, message):
    with pytest.raises(GlobalSearchError, match=message):
        checked_bounds(bounds)


def test_bounds_of_scipy():
    lower, upper = checked_bounds(Bounds([0.0, 1.0], [2.0, 3.0]))
    assert lower.tolist() == [0.0, 1.0]
    assert upper.tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    "log_scale, message",
    [
        ([True], "log_scale is .*; expected true or false for each of 2 parameters"),
        ([1, 0], "expected true or false"),
        ([True, True], "logarithm of parameter 1, whose lower bound is -1"),
    ],
)
def test_scales_that_are_refused(log_scale, message):
    with pytest.raises(GlobalSearchError, match=message):
        SearchSpace.within(([1.0, -1.0], [2.0, 2.0]), log_scale)


@pytest.mark.parametrize(
    "start, message",
    [
        ([1.0], r"p0 has the shape \(1,\); expected \(2,\)"),
        ([1.0, 3.0], "p0 has 3 for parameter 1; expected a number within its bounds -1 and 2"),
        ([np.nan, 0.0], "p0 has nan for parameter 0"),
        (["a", 0.0], "expected 2 numbers"),
    ],
)
def test_starts_that_are_refused(start, message):
    with pytest.raises(GlobalSearchError, match=message):
        SearchSpace.within(([1.0, -1.0], [2.0, 2.0])).checked_start(start, "p0")
