"""The keys and defaults of the section ``anti_degeneracy``."""

import numpy as np
import pytest

from homodyne_degeneracy import (
    DegeneracyConfig,
    DegeneracyError,
    GradientMonitoringConfig,
    HierarchicalConfig,
    RegularizationConfig,
    ShearWeightingConfig,
)

DEFAULTS = {
    "enable": True,
    "per_angle_mode": "auto",
    "fourier_order": 2,
    "fourier_auto_threshold": 6,
    "hierarchical": {
        "enable": False,
        "max_outer_iterations": 5,
        "outer_tolerance": 1e-6,
        "physical_max_iterations": 100,
        "per_angle_max_iterations": 50,
    },
    "regularization": {
        "enable": False,
        "mode": "relative",
        "lambda": 1.0,
        "target_cv": 0.10,
        "target_contribution": 0.10,
    },
    "gradient_monitoring": {
        "enable": True,
        "ratio_threshold": 0.01,
        "consecutive_triggers": 5,
        "response": "warn",
    },
    "shear_weighting": {"enable": False, "min_weight": 0.3, "alpha": 1.0, "normalize": True},
}


def test_keys_and_defaults():
    assert DegeneracyConfig().to_mapping() == DEFAULTS
    assert DegeneracyConfig.from_mapping({}) == DegeneracyConfig()


def test_a_mapping_of_all_keys_comes_back():
    other = {
        "enable": False,
        "per_angle_mode": "fourier",
        "fourier_order": 3,
        "fourier_auto_threshold": 9,
        "hierarchical": {
            "enable": True,
            "max_outer_iterations": 7,
            "outer_tolerance": 1e-4,
            "physical_max_iterations": 30,
            "per_angle_max_iterations": 3,
        },
        "regularization": {
            "enable": True,
            "mode": "auto",
            "lambda": 0.5,
            "target_cv": 0.2,
            "target_contribution": 0.05,
        },
        "gradient_monitoring": {
            "enable": False,
            "ratio_threshold": 0.1,
            "consecutive_triggers": 2,
            "response": "abort",
        },
        "shear_weighting": {"enable": True, "min_weight": 0.5, "alpha": 2.0, "normalize": False},
    }
    assert DegeneracyConfig.from_mapping(other).to_mapping() == other
    assert (
        DegeneracyConfig.from_mapping(DegeneracyConfig.from_mapping(other).to_mapping()).to_mapping() == other
    )


def test_other_name_of_the_target():
    config = DegeneracyConfig.from_mapping({"regularization": {"target_contrib": 0.3}})
    assert config.regularization.target_contribution == 0.3
    with pytest.raises(DegeneracyError, match="target_contribution is given twice"):
        DegeneracyConfig.from_mapping({"regularization": {"target_contrib": 0.3, "target_contribution": 0.1}})


@pytest.mark.parametrize(
    "mapping, message",
    [
        ({"per_angel_mode": "auto"}, "unknown setting per_angel_mode. Did you mean per_angle_mode?"),
        (
            {"hierarchical": {"outer_tol": 1e-3}},
            "unknown setting hierarchical.outer_tol. Did you mean hierarchical.outer_tolerance?",
        ),
        (
            {"regularization": {"lamda": 1.0}},
            "unknown setting regularization.lamda. Did you mean regularization.lambda?",
        ),
        ({"shear_weighting": {"target_contrib": 0.1}}, "unknown setting shear_weighting.target_contrib"),
        ({"xyz": 1}, "unknown setting xyz. Known: enable, per_angle_mode"),
        ({"regularization": True}, "regularization is True; expected a RegularizationConfig"),
        ([1], r"anti_degeneracy is \[1\]; expected a mapping"),
        ({"enable": "yes"}, "enable is 'yes'; expected true or false"),
        (
            {"per_angle_mode": "common"},
            "per_angle_mode is 'common'; expected one of auto, individual, fourier, constant",
        ),
        ({"fourier_order": 0}, "fourier_order is 0; expected a whole number, at least 1"),
        ({"fourier_order": True}, "fourier_order is True"),
        ({"fourier_auto_threshold": 2.5}, "fourier_auto_threshold is 2.5"),
    ],
)
def test_wrong_mappings(mapping, message):
    with pytest.raises(DegeneracyError, match=message):
        DegeneracyConfig.from_mapping(mapping)


@pytest.mark.parametrize(
    "kind, name, value, message",
    [
        (HierarchicalConfig, "max_outer_iterations", 0, "at least 1"),
        (HierarchicalConfig, "physical_max_iterations", "many", "whole number"),
        (HierarchicalConfig, "per_angle_max_iterations", 1.0, "whole number"),
        (HierarchicalConfig, "outer_tolerance", 0, "above 0 and below 1"),
        (HierarchicalConfig, "outer_tolerance", 1.0, "above 0 and below 1"),
        (HierarchicalConfig, "enable", 1, "true or false"),
        (RegularizationConfig, "mode", "cv", "relative, absolute, auto"),
        (RegularizationConfig, "lambda_", -1.0, "lambda is -1.0; expected a number above 0"),
        (RegularizationConfig, "target_cv", 0.0, "above 0"),
        (RegularizationConfig, "target_contribution", np.inf, "above 0"),
        (GradientMonitoringConfig, "ratio_threshold", np.nan, "above 0"),
        (GradientMonitoringConfig, "consecutive_triggers", 0, "at least 1"),
        (GradientMonitoringConfig, "response", "panic", "warn, hierarchical, reset, abort"),
        (ShearWeightingConfig, "min_weight", 0, "above 0 and at most 1"),
        (ShearWeightingConfig, "min_weight", 1.5, "above 0 and at most 1"),
        (ShearWeightingConfig, "alpha", "one", "above 0"),
        (ShearWeightingConfig, "normalize", None, "true or false"),
    ],
)
def test_wrong_values(kind, name, value, message):
    with pytest.raises(DegeneracyError, match=message):
        kind(**{name: value})
