import pytest
from hypothesis import given
from hypothesis import strategies as st

from homodyne_memory import (
    NLSQStrategy,
    _strategy,
    estimate_peak_memory_gb,
    memory_threshold_gb,
    select_nlsq_strategy,
)


@pytest.mark.parametrize(
    "n_points, n_params, threshold_gb, expected",
    [
        (999_999, 10, 48.0, NLSQStrategy.STANDARD),
        (1_000_000, 10, 48.0, NLSQStrategy.OUT_OF_CORE),  # fits, but from a million points on in chunks
        (23_000_000, 53, 48.0, NLSQStrategy.OUT_OF_CORE),  # 63.4 GB
        (900_000, 60, 1.0, NLSQStrategy.OUT_OF_CORE),  # 2.8 GB, although few points
        (7_000_000_000, 7, 48.0, NLSQStrategy.HYBRID_STREAMING),  # the index alone is 56 GB
        (6_000_000_000, 7, 48.0, NLSQStrategy.OUT_OF_CORE),  # the index is exactly the threshold
        (0, 1, 48.0, NLSQStrategy.STANDARD),
    ],
)
def test_tree(n_points, n_params, threshold_gb, expected):
    decision = select_nlsq_strategy(n_points, n_params, threshold_gb=threshold_gb)
    assert decision.strategy is expected
    assert decision.peak_memory_gb == estimate_peak_memory_gb(n_points, n_params)
    assert decision.index_memory_gb == n_points * 8 / 1e9
    assert decision.threshold_gb == threshold_gb
    assert str(n_points) in decision.reason
    assert decision.reason.endswith(".")


def test_peak_equal_to_the_threshold_fits():
    peak = estimate_peak_memory_gb(500_000, 9)
    assert select_nlsq_strategy(500_000, 9, threshold_gb=peak).strategy is NLSQStrategy.STANDARD


@given(st.integers(0, 10**11), st.integers(1, 200), st.floats(0.01, 1000))
def test_less_memory_never_asks_for_more(n_points, n_params, threshold_gb):
    order = list(NLSQStrategy)  # standard, out_of_core, hybrid_streaming
    roomy = select_nlsq_strategy(n_points, n_params, threshold_gb=threshold_gb).strategy
    tight = select_nlsq_strategy(n_points, n_params, threshold_gb=threshold_gb / 2).strategy
    assert order.index(tight) >= order.index(roomy)


def test_threshold_of_the_system_by_default(monkeypatch):
    monkeypatch.delenv("NLSQ_MEMORY_FRACTION", raising=False)
    assert select_nlsq_strategy(1000, 10).threshold_gb == memory_threshold_gb()
    assert select_nlsq_strategy(1000, 10, memory_fraction=0.2).threshold_gb == memory_threshold_gb(0.2)


def test_names_are_strings():
    assert [str(strategy) for strategy in NLSQStrategy] == ["standard", "out_of_core", "hybrid_streaming"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n_points": -1, "n_params": 3}, "n_points is -1"),
        ({"n_points": 10, "n_params": 0}, "n_params is 0"),
        ({"n_points": 10, "n_params": 3, "threshold_gb": 0.0}, "threshold_gb is 0.0"),
        ({"n_points": 10, "n_params": 3, "threshold_gb": float("nan")}, "threshold_gb is nan"),
        ({"n_points": 10, "n_params": 3, "threshold_gb": 4.0, "memory_fraction": 0.5}, "expected only one"),
        ({"n_points": 10, "n_params": 3, "memory_fraction": 2.0}, "fraction is 2.0"),
    ],
)
def test_wrong_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        select_nlsq_strategy(**arguments)


def test_the_system_is_not_asked_when_a_threshold_is_given(monkeypatch):
    monkeypatch.setattr(_strategy, "memory_threshold_gb", lambda fraction: pytest.fail("asked"))
    assert select_nlsq_strategy(10, 3, threshold_gb=1.0).threshold_gb == 1.0
