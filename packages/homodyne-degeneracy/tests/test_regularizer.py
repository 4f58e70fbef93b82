"""Layer 3: the penalty against its formula, and how much it narrows the scatter of a fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homodyne_degeneracy import (
    AdaptiveRegularizer,
    AntiDegeneracyController,
    DegeneracyError,
    RegularizationConfig,
)
from homodyne_model import ScalingBounds, compress

values = st.lists(st.floats(0.05, 2.0), min_size=2, max_size=8)


@given(contrast=values, chi_squared=st.floats(0, 1e6), factor=st.floats(0.01, 10), relative=st.booleans())
def test_penalty_is_its_formula(contrast, chi_squared, factor, relative):
    offset = np.array(contrast[::-1]) + 1
    config = RegularizationConfig(
        mode="relative" if relative else "absolute", lambda_=factor, target_cv=0.2, target_contribution=0.05
    )
    regularizer = AdaptiveRegularizer(config)
    strength = factor * 0.05 / 0.2**2
    assert regularizer.strength == pytest.approx(strength)
    scatter = sum(
        (np.std(group) / (np.mean(group) if relative else 1.0)) ** 2 for group in (np.array(contrast), offset)
    )
    found = regularizer.penalty(contrast, offset, chi_squared).value(contrast, offset)
    assert found == pytest.approx(strength * scatter * chi_squared, rel=1e-9, abs=1e-9)
    assert regularizer.share(contrast, offset) == pytest.approx(strength * scatter, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("mode, spread", [("relative", 0.03), ("absolute", 0.1), ("auto", 0.03)])
def test_share_at_the_target_scatter(mode, spread):
    contrast = 0.3 + spread * np.array([1, -1, 1, -1])  # standard deviation over mean: spread / 0.3
    regularizer = AdaptiveRegularizer(RegularizationConfig(mode=mode))
    assert regularizer.share(contrast, np.ones(4)) == pytest.approx(0.10)


def test_mode_auto_goes_by_the_mean_of_each_group():
    regularizer = AdaptiveRegularizer(RegularizationConfig(mode="auto"))
    far, near = np.array([0.9, 1.1]), np.array([-0.5, 0.8])
    assert regularizer.modes(far, near) == ("relative", "absolute")
    assert regularizer.modes(near, far) == ("absolute", "relative")
    assert regularizer.modes(np.zeros(2), far) == ("absolute", "relative")
    both = regularizer.share(far, near)
    assert both == pytest.approx(10 * (0.1**2 + np.std(near) ** 2))


def test_scatter_of_a_fit_narrows_by_the_factor_of_a_ridge(points):
    """With information h on every contrast, deviations shrink by h / (h + P / n), P = λ χ² / mean²."""
    _, data = points(8, contrast=0.3 + 0.03 * np.cos(np.arange(8.0)), sigma=0.05, angular=False)
    gram = data.gram([0.0, 0.0])
    bounds = ScalingBounds(offset=(1.1, 1.1))  # held, so that the angles' problems have one unknown each
    before = compress(gram, bounds)
    regularizer = AdaptiveRegularizer(RegularizationConfig(lambda_=0.5))
    penalty = regularizer.penalty(before.contrast, before.offset, before.cost)
    after = compress(gram, bounds, penalty=penalty)
    information = gram[0, -3, -3]
    pull = 0.5 * 10 * before.cost / before.contrast.mean() ** 2 / 8
    factor = information / (information + pull)
    assert factor < 0.9
    assert after.contrast.mean() == pytest.approx(before.contrast.mean(), rel=1e-10)
    np.testing.assert_allclose(
        after.contrast - after.contrast.mean(), factor * (before.contrast - before.contrast.mean()), rtol=1e-8
    )
    assert after.cost - after.penalty > before.cost


def test_equal_angles_cost_nothing(points):
    """Where nothing scatters there is nothing to penalise: the layer leaves the fit as it is."""
    _, data = points(6, sigma=0.05, angular=False)
    gram = data.gram([0.0, 0.0])
    flat = compress(gram, basis=np.ones((6, 1)))
    penalty = AdaptiveRegularizer().penalty(flat.contrast, flat.offset, flat.cost)
    again = compress(gram, basis=np.ones((6, 1)), penalty=penalty)
    assert again.penalty == pytest.approx(0, abs=1e-12 * flat.cost)
    assert again.cost == pytest.approx(flat.cost, rel=1e-12)
    np.testing.assert_allclose(again.hessian, flat.hessian, rtol=1e-9)


@pytest.mark.parametrize(
    "settings",
    [{}, {"enable": False, "regularization": {"enable": True}}, {"regularization": {"enable": False}}],
)
def test_not_enabled_there_is_no_penalty(settings):
    controller = AntiDegeneracyController(settings, analysis_mode="laminar_flow", phi=np.arange(8.0))
    assert controller.regularizer is None


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda r: r.penalty([0.3, 0.3], [1.0, 1.0], -1.0), "chi_squared is -1.0"),
        (lambda r: r.penalty([0.3, 0.3], [1.0, 1.0], np.nan), "chi_squared is nan"),
        (
            lambda r: r.penalty([-0.1, 0.1], [1.0, 1.0], 1.0),
            "the mean of contrast is 0, so it has no relative scatter",
        ),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(DegeneracyError, match=message):
        call(AdaptiveRegularizer())
