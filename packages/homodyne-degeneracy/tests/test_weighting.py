"""Layer 5: weights against their formula, what they do to a fit, and error bars that know of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homodyne_degeneracy import (
    AntiDegeneracyController,
    DegeneracyError,
    ShearSensitivityWeighting,
    ShearWeightingConfig,
)
from homodyne_model import compress, determined_directions, joint_covariance

angles = st.lists(st.floats(-180, 180), min_size=1, max_size=10)


@given(phi=angles, phi0=st.floats(-360, 360), least=st.floats(0.01, 1), alpha=st.floats(0.1, 4))
def test_weights_are_their_formula_in_degrees(phi, phi0, least, alpha):
    config = ShearWeightingConfig(min_weight=least, alpha=alpha, normalize=False)
    found = ShearSensitivityWeighting(phi, config).weights(phi0)
    expected = [least + (1 - least) * abs(np.cos((phi0 - p) * np.pi / 180)) ** alpha for p in phi]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-14**alpha)
    normalized = ShearSensitivityWeighting(phi, ShearWeightingConfig(min_weight=least, alpha=alpha)).weights(
        phi0
    )
    np.testing.assert_allclose(normalized, found / np.mean(found), rtol=1e-12)
    again = ShearSensitivityWeighting(phi, config).weights(phi0 + 180)
    # Across the flow a power below 1 magnifies the rounding of the cosine.
    np.testing.assert_allclose(again, found, rtol=1e-6, atol=1e-9 + 1e-14**alpha)


def test_weights_follow_the_flow():
    weighting = ShearSensitivityWeighting(np.arange(-90.0, 90.0, 15.0))
    for phi0 in (-45.0, 0.0, 30.0):
        assert weighting.phi[weighting.weights(phi0).argmax()] == phi0
    assert weighting.change(10.0, 10.0) == 0
    assert weighting.change(10.0, 190.0) < 1e-12
    assert 0 < weighting.change(10.0, 10.1) < weighting.change(10.0, 20.0) < 2


def step_of(fit):
    """Gauss-Newton step: the errors of the physical parameters, as the truth is where the step starts."""
    spread, _ = determined_directions(fit.hessian, [True, True])
    return -spread @ (spread.T @ fit.gradient)


@pytest.mark.parametrize("least, alpha, weight", [(0.3, 1.0, 0.57), (0.1, 2.0, 0.24)])
@pytest.mark.parametrize("artefact", ["slow decay", "drift"])
def test_spoiled_angles_across_the_flow_count_less(artefact, least, alpha, weight):
    """The bias from an artefact at the angles within 30 degrees of the perpendicular falls to about the weight of those angles."""
    phi = np.linspace(-170, 170, 16)
    seen = np.cos(np.deg2rad(phi)) ** 2
    time = np.linspace(0.05, 3.0, 80)
    f = np.exp(-time)
    spoil = 0.01 * (np.exp(-time / 3) if artefact == "slow decay" else np.linspace(-1, 1, 80) ** 2)
    gram = []
    for s in seen:
        # Columns ∂f/∂(diffusion, shear), f, 1, C2 - 1.
        columns = np.stack([-time * f, -s * time**2 * f, f, np.ones(80), 0.3 * f + 0.1 + spoil * (s < 0.25)])
        gram.append(columns @ columns.T)
    weighting = ShearSensitivityWeighting(phi, ShearWeightingConfig(min_weight=least, alpha=alpha))
    across = weighting.weights(0.0)[seen < 0.25]
    assert weight - 0.01 < across.min() < across.max() < weight * 1.6
    plain, weighted = (step_of(compress(g)) for g in (np.array(gram), weighting.apply(gram, 0.0)))
    ratio = weighted / plain
    assert (ratio > weight).all()
    assert (ratio < weight + 0.05).all()


def test_angles_that_see_the_shear_alike_keep_their_weight(points):
    phi = np.array([30.0, -30.0, 150.0, 210.0, 330.0])
    weighting = ShearSensitivityWeighting(phi)
    np.testing.assert_allclose(weighting.weights(0.0), 1, rtol=1e-12)
    _, data = points(5)
    gram = data.gram([0.0, 0.0])
    np.testing.assert_allclose(
        compress(weighting.apply(gram, 180.0)).hessian, compress(gram).hessian, rtol=1e-10
    )
    everything_alike = ShearSensitivityWeighting(
        np.arange(0.0, 180, 20), ShearWeightingConfig(min_weight=1.0)
    )
    np.testing.assert_array_equal(everything_alike.weights(12.0), 1)


@pytest.mark.parametrize(
    "settings",
    [{}, {"enable": False, "shear_weighting": {"enable": True}}, {"shear_weighting": {"enable": False}}],
)
def test_not_enabled_there_are_no_weights(settings):
    controller = AntiDegeneracyController(settings, analysis_mode="laminar_flow", phi=np.arange(8.0))
    assert controller.weighting is None


def test_error_bars_are_the_scatter_of_weighted_fits(points):
    """Gauss-Newton steps from the truth over replicates; the inverse curvature of the weighted fit would be wrong."""
    weighting = ShearSensitivityWeighting(
        np.linspace(-170, 170, 8), ShearWeightingConfig(min_weight=0.05, alpha=3.0)
    )
    steps = []
    for seed in range(800):
        _, data = points(8, 30, sigma=0.02, seed=seed)
        steps.append(step_of(compress(weighting.apply(data.gram([0.0, 0.0]), 0.0))))
    scatter = np.std(steps, axis=0)
    _, clean = points(8, 30, sigma=0.0)
    gram = clean.gram([0.0, 0.0]) / 0.02**2
    weighted = weighting.apply(gram, 0.0)
    fit = compress(weighted)
    with_meat = joint_covariance(weighted, fit, [True, True], meat=weighting.meat(gram, fit.contrast, 0.0))
    without = joint_covariance(weighted, fit, [True, True])
    error, wrong = (np.sqrt(np.diag(c.determined)[-2:]) for c in (with_meat, without))
    np.testing.assert_allclose(error, scatter, rtol=0.08)
    assert np.abs(wrong / scatter - 1).max() > 0.1


@pytest.mark.parametrize("phi0", [np.nan, np.inf])
def test_a_direction_that_is_none(phi0):
    with pytest.raises(DegeneracyError, match=r"phi0 is (nan|inf); expected an angle in degrees"):
        ShearSensitivityWeighting([0.0, 90.0]).weights(phi0)
