import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homodyne_memory import OVERHEAD_FACTOR, OVERHEAD_SHARES, estimate_peak_memory_gb


def test_five_shares_make_up_the_factor():
    assert len(OVERHEAD_SHARES) == 5
    assert sum(OVERHEAD_SHARES.values()) == OVERHEAD_FACTOR == 6.5
    assert OVERHEAD_SHARES["jacobian"] == 1.0
    with pytest.raises(TypeError):
        OVERHEAD_SHARES["jacobian"] = 2.0


def test_closed_form():
    # 1e6 points x 10 parameters: a Jacobian of 80 MB.
    assert estimate_peak_memory_gb(1_000_000, 10) == pytest.approx(0.08 * 6.5, rel=1e-15)
    assert estimate_peak_memory_gb(0, 53) == 0.0


def test_numpy_integers_do_not_overflow():
    expected = 3_000_000_000 * 53 * 8 * 6.5 / 1e9
    assert estimate_peak_memory_gb(np.int64(3_000_000_000), np.int32(53)) == pytest.approx(
        expected, rel=1e-15
    )


@given(st.integers(0, 10**12), st.integers(1, 1000), st.integers(1, 50))
def test_proportional_to_both_counts(n_points, n_params, factor):
    one = estimate_peak_memory_gb(n_points, n_params)
    assert estimate_peak_memory_gb(n_points * factor, n_params) == pytest.approx(one * factor, rel=1e-12)
    assert estimate_peak_memory_gb(n_points, n_params * factor) == pytest.approx(one * factor, rel=1e-12)


@pytest.mark.parametrize("n_points, n_params", [(-1, 3), (10, 0)])
def test_counts_out_of_range(n_points, n_params):
    with pytest.raises(ValueError, match="expected at least"):
        estimate_peak_memory_gb(n_points, n_params)


def test_counts_are_integers():
    with pytest.raises(TypeError, match=r"n_points is 1e6|n_points is 1000000\.0"):
        estimate_peak_memory_gb(1e6, 3)
