"""Which q, which angles, which frames."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homodyne_data import DataError, select_angles
from homodyne_data._selection import distinct_q, frame_window, good_frames, maps_at_q

PHI = np.arange(-165.0, 180.0, 30.0)


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([(-20, 20)], [-15, 15]),
        ([(160, -160)], [-165, 165]),
        ([(160, 200)], [-165, 165]),
        ([(-200, -160)], [-165, 165]),
        ([(350, 20)], [15]),
        ([(-15, -15)], [-15]),
        ([(345, 345)], [-15]),
        ([(-20, 20), (100, 140)], [-15, 15, 105, 135]),
        ([{"min_angle": -20, "max_angle": 20}], [-15, 15]),
        ([(20, -20)], sorted(set(PHI) - {-15.0, 15.0})),
        ([(-180, -100)], [-165, -135, -105]),
        ([(0, 270)], [-165, -135, -105, 15, 45, 75, 105, 135, 165]),
        ([(-180, 180)], list(PHI)),
        ([(0, 360)], list(PHI)),
        (None, list(PHI)),
    ],
)
def test_ranges(ranges, expected):
    assert PHI[select_angles(PHI, ranges)].tolist() == expected


def test_both_names_of_the_half_turn():
    assert select_angles(np.array([180.0, -180.0]), [(170, 180)]).tolist() == [0, 1]


@given(
    st.lists(st.integers(-720, 720), min_size=1, max_size=8),
    st.integers(-360, 360),
    st.integers(0, 359),
    st.integers(-2, 2),
)
def test_a_range_is_an_arc_of_the_circle(phi, low, width, turns):
    expected = [k for k, angle in enumerate(phi) if (angle - low) % 360 <= width]
    arguments = (np.array(phi) + 360.0 * turns, [(low, low + width)])
    if expected:
        assert select_angles(*arguments).tolist() == expected
    else:
        with pytest.raises(DataError, match="no angle lies"):
            select_angles(*arguments)


def test_no_match_lists_the_angles_and_falls_back_only_on_request():
    with pytest.raises(DataError, match=r"\[0, 10\] degrees; there are -165, -135"):
        select_angles(PHI, [(0, 10)])
    with pytest.warns(UserWarning, match="all angles are used"):
        assert select_angles(PHI, [(0, 10)], fallback_to_all_angles=True).size == PHI.size


@pytest.mark.parametrize(
    "ranges",
    [[], [(1,)], [(0, np.nan)], (0, 10), {"min_angle": 0, "max_angle": 1}, [{"min": 0}], ["ab"], "ab"],
)
def test_ranges_that_are_none(ranges):
    with pytest.raises(ValueError, match="phi range"):
        select_angles(PHI, ranges)


def test_angles_must_be_a_vector():
    with pytest.raises(ValueError, match="one dimension"):
        select_angles(np.zeros((2, 2)), None)


def test_distinct_q_joins_rounding_only():
    q = np.array([0.01, np.float32(0.01), 0.02, 0.0201])
    assert distinct_q(q).size == 3


def test_nearest_q_with_all_its_maps_and_no_others():
    q = np.array([0.01, 0.02, float(np.float32(0.01)), 0.03])
    assert maps_at_q(q, 0.0104, None).tolist() == [0, 2]
    assert maps_at_q(q, 0.021, 0.002).tolist() == [1]


def test_q_rules():
    q = np.array([0.005, 0.01, 0.02])
    with pytest.raises(DataError, match="hold 3 values of q, choose one with q=: 0.005, 0.01, 0.02 1/Å"):
        maps_at_q(q, None, None)
    with pytest.raises(DataError, match="no q within 0.001 of 0.013 1/Å; the data hold 0.005, 0.01, 0.02"):
        maps_at_q(q, 0.013, 0.001)
    with pytest.raises(DataError, match="if 0.1 is in 1/nm, ask for q=0.01"):
        maps_at_q(q, 0.1, 0.001)
    with pytest.warns(UserWarning, match="the nearest that the data hold is 0.01, more than 10 % away"):
        assert maps_at_q(q, 0.013, None).tolist() == [1]
    with pytest.raises(ValueError, match="q must be a positive number"):
        maps_at_q(q, -0.01, None)
    with pytest.raises(ValueError, match="q_tolerance must not be negative"):
        maps_at_q(q, 0.01, -1)


def test_frames_count_from_one_with_both_ends():
    assert frame_window(10, 1, -1) == (0, 10)
    assert frame_window(10, 3, 7) == (2, 7)
    assert frame_window(10, 3, 7, 2) == (4, 7)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((10, 0, -1), ValueError, r"start_frame must be 1 to 10 \(the frames there are\), got 0"),
        ((10, 11, -1), ValueError, "start_frame"),
        ((10, 1, 11), ValueError, "end_frame must be -1 or 1 .* to 10"),
        ((10, 5, 4), ValueError, "end_frame"),
        ((10, 1, 0), ValueError, "end_frame"),
        ((10, 1, -2), ValueError, "end_frame"),
        ((10, 9, -1), ValueError, "too few frames: .* leave 2 of 10"),
        ((10, 1, 5, 9), ValueError, "leave 0 of 10"),
        ((10, 1, -1, -1), ValueError, "skip_first_frames"),
        ((10, 1.5, -1), TypeError, "start_frame must be an integer"),
        ((10, True, -1), TypeError, "start_frame"),
    ],
)
def test_wrong_frames(arguments, error, message):
    with pytest.raises(error, match=message):
        frame_window(*arguments)


def test_bad_frames():
    assert good_frames(4, ()) is None
    assert good_frames(4, np.array([2, 4])).tolist() == [True, False, True, False]
    with pytest.raises(ValueError, match=r"bad_frames must be 1 to 4 .* got \[0, 5\]"):
        good_frames(4, [0, 2, 5])
    with pytest.raises(TypeError, match="bad_frames must be a sequence of frame numbers, got 3"):
        good_frames(4, 3)
    with pytest.raises(TypeError, match="bad_frames"):
        good_frames(2, np.array([True, False]))
