"""The scale ratio, its threshold, and every way in which a search is chosen."""

import pytest

from homodyne_global import (
    CMAESWrapper,
    CMAESWrapperConfig,
    GlobalSearchError,
    MultiStartConfig,
    choose_search,
    compute_scale_ratio,
    should_use_cmaes,
)

NARROW = ([0.0, 0.0], [1.0, 500.0])
WIDE = ([0.0, -1e5], [1e-6, 1e5])


def test_scale_ratio():
    assert compute_scale_ratio(NARROW) == 500.0
    assert compute_scale_ratio(WIDE) == pytest.approx(2e11)
    assert compute_scale_ratio(([-3.0], [4.0])) == 1.0
    assert compute_scale_ratio(([-1e308, 0.0], [1e308, 1e-308])) == float("inf")
    assert CMAESWrapper.compute_scale_ratio(NARROW) == 500.0


@pytest.mark.parametrize("threshold, used", [(499.0, True), (500.0, False), (501.0, False)])
def test_threshold(threshold, used):
    assert should_use_cmaes(NARROW, threshold) is used
    assert CMAESWrapper({"scale_threshold": threshold}).should_use_cmaes(NARROW) is used
    assert CMAESWrapper().should_use_cmaes(NARROW, threshold) is used


def test_default_threshold():
    assert not should_use_cmaes(([0.0, 0.0], [1.0, 1000.0]))
    assert should_use_cmaes(([0.0, 0.0], [1.0, 1000.1]))


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan")])
def test_thresholds_that_are_refused(threshold):
    with pytest.raises(GlobalSearchError, match="scale_threshold is"):
        should_use_cmaes(NARROW, threshold)


@pytest.mark.parametrize(
    "cmaes, multi_start, bounds, method, words",
    [
        ({"enable": True, "auto_select": False}, {}, NARROW, "cmaes", "auto_select is off"),
        ({"enable": True}, {}, WIDE, "cmaes", "scale ratio 2e+11 is above the threshold 1000"),
        (
            {"enable": True, "scale_threshold": 100},
            {"enable": True},
            NARROW,
            "cmaes",
            "above the threshold 100",
        ),
        (
            {"enable": True},
            {"enable": True},
            NARROW,
            "multi_start",
            "ratio 500 is not above the threshold 1000",
        ),
        ({"enable": True}, {}, NARROW, "local", "Local solver alone: the scale ratio 500 is not above"),
        ({}, {"enable": True}, WIDE, "multi_start", "CMA-ES is not enabled"),
        ({}, {}, WIDE, "local", "CMA-ES is not enabled, and multistart is not enabled"),
    ],
)
def test_choices(cmaes, multi_start, bounds, method, words):
    choice = choose_search(bounds, CMAESWrapperConfig(**cmaes), MultiStartConfig(**multi_start))
    assert choice.method == method
    assert words in choice.sentence
    assert choice.scale_ratio == compute_scale_ratio(bounds)


def test_the_defaults_choose_the_local_solver():
    assert choose_search(WIDE).method == "local"
