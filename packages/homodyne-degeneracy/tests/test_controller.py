"""When the layers act, which do, and what is said about it."""

import numpy as np
import pytest

from homodyne_degeneracy import (
    AdaptiveRegularizer,
    AntiDegeneracyController,
    DegeneracyConfig,
    DegeneracyError,
    GradientCollapseMonitor,
    HierarchicalOptimizer,
    ShearSensitivityWeighting,
)

ALL = {
    "hierarchical": {"enable": True, "max_outer_iterations": 3},
    "regularization": {"enable": True, "lambda": 0.5},
    "gradient_monitoring": {"enable": True, "ratio_threshold": 0.02},
    "shear_weighting": {"enable": True, "min_weight": 0.4},
}


def controller(settings=None, n_phi=8, mode="laminar_flow", per_angle=True):
    phi = np.linspace(-170, 170, n_phi)
    return AntiDegeneracyController(settings, analysis_mode=mode, phi=phi, per_angle_scaling=per_angle)


@pytest.mark.parametrize(
    "settings, n_phi, mode, per_angle, active, reason",
    [
        ({}, 3, "laminar_flow", True, False, "3 angles leave the scaling too few parameters"),
        ({}, 4, "laminar_flow", True, True, "8 contrasts and offsets of 4 angles could absorb"),
        ({}, 23, "static_isotropic", True, False, "static_isotropic has no shear"),
        ({}, 23, "static", True, False, "static_isotropic has no shear"),
        ({}, 23, "laminar_flow", False, False, "the same for all angles"),
        ({"enable": False}, 23, "laminar_flow", True, False, "enable is false"),
    ],
)
def test_when_the_layers_act(settings, n_phi, mode, per_angle, active, reason):
    found = controller({**ALL, **settings}, n_phi, mode, per_angle)
    assert found.active == active
    assert reason in found.reason
    assert found.sentences[0] == found.reason
    layers = (found.regularizer, found.monitor, found.weighting)
    assert all((layer is not None) == active for layer in layers)
    assert found.hierarchical == active
    assert sum("Layer" in sentence for sentence in found.sentences) == (4 if active else 0)


def test_layers_have_the_settings_of_their_sections():
    found = controller(ALL)
    assert isinstance(found.regularizer, AdaptiveRegularizer)
    assert found.regularizer.strength == pytest.approx(5)
    assert isinstance(found.monitor, GradientCollapseMonitor)
    assert found.monitor.config.ratio_threshold == 0.02
    assert isinstance(found.weighting, ShearSensitivityWeighting)
    assert found.weighting.config.min_weight == 0.4
    np.testing.assert_array_equal(found.weighting.phi, found.phi)
    optimizer = found.hierarchical_optimizer(basis=np.ones((8, 1)))
    assert isinstance(optimizer, HierarchicalOptimizer)
    assert optimizer.config.max_outer_iterations == 3
    assert optimizer.regularizer is found.regularizer


def test_by_default_the_monitor_alone_watches():
    """Elimination of the scaling makes the other layers a choice, not a need."""
    found = controller(DegeneracyConfig())
    assert found.monitor is not None
    assert found.regularizer is None
    assert found.weighting is None
    assert not found.hierarchical


@pytest.mark.parametrize("mode", ["individual", "fourier", "constant"])
@pytest.mark.parametrize("analysis_mode", ["laminar_flow", "static"])
@pytest.mark.parametrize("enable", [True, False])
def test_a_basis_that_is_named_holds_whatever_else_is_off(mode, analysis_mode, enable):
    found = controller({"per_angle_mode": mode, "fourier_order": 1, "enable": enable}, mode=analysis_mode)
    basis = found.choose_scaling(None, 0)
    assert (basis.mode, basis.order) == (mode, 1)
    assert found.first_basis == basis


def test_auto_chooses_where_the_layers_act(points):
    _, data = points(8, sigma=0.02)
    found = controller()
    assert found.first_basis.mode == "individual"
    basis = found.choose_scaling(data.gram([0.0, 0.0]), data.count)
    assert basis.mode == "constant"
    assert found.sentences[-1].startswith(
        "per_angle_mode auto took constant (one contrast and offset for all angles, 2 "
    )
    rough = data._replace(y=data.y + 0.05 * np.random.default_rng(0).normal(size=(8, 1)))
    assert found.choose_scaling(rough.gram([0.0, 0.0]), data.count).mode == "individual"


@pytest.mark.parametrize("settings, mode", [({"enable": False}, "laminar_flow"), ({}, "static")])
def test_auto_keeps_individual_scaling_where_the_layers_are_off(points, settings, mode):
    _, data = points(8, sigma=0.02)
    found = controller(settings, mode=mode)
    assert found.choose_scaling(data.gram([0.0, 0.0]), data.count).mode == "individual"
    assert found.sentences[-1] == "per_angle_mode auto took individual, as the layers are off."


def test_keys_of_the_series_have_an_effect(points):
    _, data = points(8, contrast=0.3 + 0.05 * np.cos(2 * np.deg2rad(np.linspace(-170, 170, 8))), sigma=0.01)
    gram = data.gram([0.0, 0.0])
    taken = {
        (order, threshold): controller(
            {"fourier_order": order, "fourier_auto_threshold": threshold}
        ).choose_scaling(gram, data.count)
        for order, threshold in ((1, 6), (2, 6), (2, 9))
    }
    assert taken[1, 6].mode == "individual"  # the first harmonic does not describe the second
    assert (taken[2, 6].mode, taken[2, 6].order) == ("fourier", 2)
    assert taken[2, 9].mode == "individual"


def test_scaling_that_is_the_same_for_all_angles():
    assert controller(per_angle=False).choose_scaling(None, 0).mode == "constant"
    assert controller({"per_angle_mode": "constant"}, per_angle=False).first_basis.mode == "constant"
    for mode in ("individual", "fourier"):
        with pytest.raises(
            DegeneracyError, match=f"per_angle_mode is '{mode}', but per_angle_scaling is false"
        ):
            controller({"per_angle_mode": mode}, per_angle=False)


def test_a_series_that_the_angles_do_not_determine():
    with pytest.raises(
        DegeneracyError, match="per_angle_mode is 'fourier': a Fourier series of order 2 has 5 coefficients"
    ):
        controller({"per_angle_mode": "fourier"}, n_phi=4)
    assert controller({"per_angle_mode": "fourier", "fourier_order": 1}, n_phi=4).first_basis.order == 1


def test_wrong_settings():
    with pytest.raises(DegeneracyError, match="Did you mean shear_weighting.min_weight?"):
        controller({"shear_weighting": {"min_wait": 0.3}})
