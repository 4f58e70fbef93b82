"""What goes in: several forms of the same data, and bad input refused before anything is computed, by name."""

from types import MappingProxyType

import numpy as np
import pytest

from homodyne_data import TwoTimeData
from homodyne_degeneracy import DegeneracyError
from homodyne_model import HomodyneError, ModelError
from homodyne_nlsq import FitInputError, NLSQConfig, fit_nlsq_jax


def unreachable(*_):
    raise AssertionError("the fit began")


@pytest.fixture(scope="module")
def points(rest):
    data = rest.data
    a, i, j = np.nonzero(data.mask)
    return {
        "data": data.c2[a, i, j],
        "t1": data.t[i],
        "t2": data.t[j],
        "phi": data.phi[a],
        "q": data.q,
        "sigma": 0.02,
    }


def test_pooled_points_are_the_maps(rest, points):
    maps = fit_nlsq_jax(rest.data)
    order = np.random.default_rng(0).permutation(len(points["data"]))
    shuffled = {k: v[order] if np.ndim(v) else v for k, v in points.items()}
    pooled = fit_nlsq_jax(**shuffled)
    np.testing.assert_allclose(pooled.parameters, maps.parameters, rtol=1e-6)
    np.testing.assert_allclose(pooled.uncertainties, maps.uncertainties, rtol=1e-6)
    assert pooled.chi_squared == pytest.approx(maps.chi_squared, rel=1e-12)
    assert pooled.n_points == maps.n_points


def test_pooled_points_take_a_mode_and_a_configuration(flow):
    data = flow.data
    a, i, j = np.nonzero(data.mask)
    fit = fit_nlsq_jax(
        data.c2[a, i, j], {"fixed": {"phi0": 2.0}}, t1=data.t[i], t2=data.t[j], phi=data.phi[a], q=data.q, L=data.L,
        sigma=0.005, analysis_mode="laminar_flow",
    )  # fmt: skip
    expected = fit_nlsq_jax(data, {"fixed": {"phi0": 2.0}, "analysis_mode": "laminar_flow"})
    np.testing.assert_allclose(fit.parameters, expected.parameters, rtol=1e-5)


def test_some_points_are_enough(rest, points):
    """Every third point at random: the grid must not be rebuilt from the times that are left."""
    kept = np.random.default_rng(1).random(len(points["data"])) < 0.33
    fit = fit_nlsq_jax(**{k: v[kept] if np.ndim(v) else v for k, v in points.items()})
    assert fit.n_points == kept.sum()
    np.testing.assert_allclose(fit.t, rest.data.t, atol=1e-12)
    assert np.abs((fit.parameters - rest.truth.parameters) / fit.uncertainties).max() < 4.5


def test_a_mapping_is_the_maps(rest):
    data = rest.data
    fit = fit_nlsq_jax(
        {"c2": data.c2, "t1": data.t, "t2": data.t, "phi": data.phi, "q": data.q, "L": data.L, "sigma": 0.02}
    )
    expected = fit_nlsq_jax(data)
    assert fit.n_points == expected.n_points
    assert fit.chi_squared == pytest.approx(expected.chi_squared, rel=1e-12)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"t1": None}, "t1 missing"),
        ({"t1": None, "q": None}, "t1, q missing"),
        ({"t1": np.zeros(3)}, "t1 must have one value a point"),
        ({"phi": np.zeros(3)}, "phi must have one value a point"),
        ({"q": -0.005}, "q must be positive"),
        ({"sigma": 0.0}, "sigma must be positive"),
        ({"sigma": -0.1}, "sigma must be positive"),
        ({"dt": 0.03}, "one uniform grid"),
        ({"L": -1.0}, "L must be positive"),
    ],
)
def test_pooled_points_that_do_not_fit_together(points, change, message):
    with pytest.raises(ValueError, match=message):
        fit_nlsq_jax(**(points | change), progress=unreachable)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"c2": np.ones((3, 40, 41))}, r"c2 must have shape \(n_phi, n_t, n_t\).*, got \(3, 40, 41\)"),
        ({"phi": [0.0, 1.0]}, r"phi must have shape \(3,\)"),
        ({"q": 0.0}, "q must be positive"),
        ({"sigma": 0.0}, "sigma must be positive"),
        ({"sigma": np.array([0.1, -0.1, 0.1])}, "sigma must be positive"),
        ({"t1": np.arange(60.0) ** 2}, "t must be uniform|uniform"),
        ({"t1": -np.arange(60.0)}, "t must increase|increas"),
    ],
)
def test_maps_that_do_not_fit_together(rest, change, message):
    data = rest.data
    mapping = {"c2": data.c2, "t1": data.t, "phi": data.phi, "q": data.q, "sigma": 0.02} | change
    mapping["t2"] = mapping["t1"]
    with pytest.raises(ValueError, match=message):
        fit_nlsq_jax(mapping, progress=unreachable)


def test_an_angle_without_a_value(rest):
    maps = rest.data.c2.copy()
    maps[1] = np.nan
    mapping = {"c2": maps, "t1": rest.data.t, "t2": rest.data.t, "phi": rest.data.phi, "q": rest.data.q}
    with pytest.raises(ValueError, match=r"1.* \(phi = 45 degrees\) (holds no data|has no usable point)"):
        fit_nlsq_jax(mapping, progress=unreachable)


def test_too_few_points():
    c2 = 1 + 0.3 * np.exp(-np.abs(np.subtract.outer(np.arange(3.0), np.arange(3.0))))
    data = TwoTimeData(c2[None], phi=[0.0], t=0.1 * np.arange(3), q=0.0054, sigma=0.01)
    with pytest.raises(
        FitInputError, match="data hold 3 points that count; expected more than the 5 fitted parameters"
    ):
        fit_nlsq_jax(data, progress=unreachable)


def test_a_flow_needs_the_gap(flow):
    data = flow.data
    without = TwoTimeData(data.c2, data.phi, data.t, data.q, sigma=0.005)
    with pytest.raises(FitInputError, match="L: laminar_flow needs the stator-rotor gap in Å"):
        fit_nlsq_jax(without, analysis_mode="laminar_flow", progress=unreachable)


@pytest.mark.parametrize(
    "settings, error, message",
    [
        (
            {"analysis_mode": "laminar"},
            ModelError,
            "'laminar'; expected one of .*Did you mean 'laminar_flow'",
        ),
        (
            {"analysis_mod": "static"},
            FitInputError,
            "unknown setting 'analysis_mod'. Did you mean 'analysis_mode'",
        ),
        (
            {"shear_kernel": "sinc"},
            FitInputError,
            "shear_kernel is 'sinc'; expected one of gap_average, homodyne2",
        ),
        ({"quadrature": "simpson"}, FitInputError, "quadrature is 'simpson'; expected one of"),
        (
            {"anti_degeneracy": {"per_angle_mode": "series"}},
            DegeneracyError,
            "per_angle_mode is 'series'; expected one of auto, individual, fourier, constant",
        ),
        (
            {"anti_degeneracy": {"shear_wieghting": {}}},
            DegeneracyError,
            "unknown setting shear_wieghting. Did you mean shear_weighting",
        ),
        ({"anti_degeneracy": True}, TypeError, "anti_degeneracy is a bool; expected a DegeneracyConfig"),
        ({"per_angle_scaling": "no"}, FitInputError, "per_angle_scaling is 'no'; expected true or false"),
        (
            {"per_angle_scaling": False, "anti_degeneracy": {"per_angle_mode": "fourier"}},
            DegeneracyError,
            "per_angle_mode is 'fourier', but per_angle_scaling is false",
        ),
        ({"profile": "D0"}, TypeError, "profile is 'D0'; expected a sequence of parameter names"),
        ({"profile": ["D1"]}, FitInputError, "profile: unknown parameter 'D1'"),
        (
            {"engine": "nlsq", "anti_degeneracy": {"per_angle_mode": "fourier"}},
            FitInputError,
            "per_angle_mode 'fourier' is not available with engine 'nlsq'",
        ),
        (
            {
                "engine": "nlsq",
                "anti_degeneracy": {"gradient_monitoring": {"response": "abort"}},
            },
            FitInputError,
            "response 'abort' is not available with engine 'nlsq'",
        ),
        ({"covariance_type": "x"}, FitInputError, "covariance_type is 'x'; expected one of"),
        ({"max_iterations": 0}, FitInputError, "max_iterations is 0; expected a whole number, at least 1"),
        ({"max_iterations": 2.5}, FitInputError, "max_iterations is 2.5"),
        ({"max_iterations": True}, FitInputError, "max_iterations is True"),
        ({"seed": -1}, FitInputError, "seed is -1"),
        ({"tolerance": 0.0}, FitInputError, "tolerance is 0.0; expected a number between 0 and 1"),
        ({"xtol": float("nan")}, FitInputError, "xtol is nan"),
        ({"gtol": "small"}, FitInputError, "gtol is 'small'"),
        ({"initial": {"D_0": 1e4}}, FitInputError, "initial: unknown parameter 'D_0'. Did you mean 'D0'"),
        ({"initial": {"phi0": 1.0}}, FitInputError, "initial: 'phi0' is no parameter of this analysis_mode"),
        ({"initial": {"contrast": 0.3}}, FitInputError, "'contrast' has no start value"),
        ({"initial": {"D0": float("inf")}}, FitInputError, "initial.'D0'. is inf; expected a finite number"),
        ({"initial": {"D0": "fast"}}, FitInputError, "initial.'D0'. is 'fast'"),
        (
            {"initial": {"D0": 0.5}},
            FitInputError,
            "initial.'D0'. is 0.5; expected a value within its bounds, 1 to 1e",
        ),
        (
            {"initial": {"alpha": 2.5}},
            FitInputError,
            "initial.'alpha'. is 2.5; expected a value within its bounds, -2 to 2",
        ),
        ({"initial": [1e4, 0.1, 0.0]}, TypeError, "initial is .*expected a mapping"),
        ({"bounds": {"D0": (10.0, 10.0)}}, FitInputError, "bounds.'D0'. is 10 to 10; expected lower < upper"),
        ({"bounds": {"D0": (10.0, 1.0)}}, FitInputError, "bounds.'D0'. is 10 to 1; expected lower < upper"),
        ({"bounds": {"D0": (1.0, float("nan"))}}, FitInputError, "bounds.'D0'. .*expected .lower, upper"),
        ({"bounds": {"D0": 10.0}}, FitInputError, "bounds.'D0'. is 10.0; expected .lower, upper"),
        ({"bounds": {"D0": ("a", "b")}}, FitInputError, "bounds.'D0'. .*expected .lower, upper"),
        ({"bounds": {"gamma": (0, 1)}}, FitInputError, "bounds: unknown parameter 'gamma'"),
        (
            {"bounds": {"contrast_7": (0, 1)}},
            FitInputError,
            "bounds names 'contrast_7', but the data have 3 angles",
        ),
        ({"fixed": {"offset_3": 1.0}}, FitInputError, "fixed names 'offset_3', but the data have 3 angles"),
        ({"fixed": {"alpha": None}}, FitInputError, "initial has no 'alpha'"),
        (
            {"fixed": {"alpha": float("nan")}},
            FitInputError,
            "fixed.'alpha'. is nan; expected a finite number",
        ),
        (
            {"per_angle_scaling": False, "fixed": {"contrast_1": 0.3}},
            FitInputError,
            "fixed names 'contrast_1', but contrast and offset are the same for all angles; name 'contrast'",
        ),
        ("static", TypeError, "config is a str; expected an NLSQConfig or a mapping"),
    ],
)
def test_bad_settings(rest, settings, error, message):
    with pytest.raises(error, match=message):
        fit_nlsq_jax(rest.data, settings, progress=unreachable)


def test_other_bad_arguments(rest, points):
    with pytest.raises(TypeError, match="initial_params is a list"):
        fit_nlsq_jax(rest.data, initial_params=[1e4, 0.1, 0.0], progress=unreachable)
    with pytest.raises(FitInputError, match="initial: unknown parameter 'contrasts'"):
        fit_nlsq_jax(rest.data, initial_params={"contrasts": 1.0}, progress=unreachable)
    with pytest.raises(FitInputError, match="q, sigma belong to pooled points, but data is a TwoTimeData"):
        fit_nlsq_jax(rest.data, q=0.01, sigma=0.1, progress=unreachable)
    with pytest.raises(
        FitInputError, match="data is a ndarray; expected a TwoTimeData, a mapping, or pooled points"
    ):
        fit_nlsq_jax(points["data"], progress=unreachable)


def test_errors_have_one_root():
    assert issubclass(FitInputError, HomodyneError)
    assert issubclass(FitInputError, ValueError)


def test_mode_of_the_call_replaces_that_of_the_configuration(flow):
    for config in ({"analysis_mode": "static"}, NLSQConfig()):
        assert fit_nlsq_jax(flow.data, config, analysis_mode="laminar_flow").analysis_mode == "laminar_flow"
    assert NLSQConfig(analysis_mode="static_anisotropic").analysis_mode == "static_isotropic"


def test_the_configuration_does_not_change_with_the_callers_mappings(rest):
    initial = {"alpha": -0.4}
    config = NLSQConfig(initial=initial, bounds=MappingProxyType({"alpha": (-1.0, 1.0)}))
    initial["alpha"] = 9.0
    assert config.initial == {"alpha": -0.4}
    assert fit_nlsq_jax(rest.data, config).settings["bounds"] == {"alpha": (-1.0, 1.0)}


def test_the_data_are_left_as_they_were(rest):
    before = rest.data.c2.copy()
    fit_nlsq_jax(rest.data)
    np.testing.assert_array_equal(rest.data.c2, before)
