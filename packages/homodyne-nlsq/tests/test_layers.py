"""The anti-degeneracy system inside the fit: which basis of the scaling is taken, and what every layer does to the answer."""

import itertools
import json

import numpy as np
import pytest

from homodyne_data import TwoTimeData
from homodyne_degeneracy import (
    AdaptiveRegularizer,
    RegularizationConfig,
    ShearSensitivityWeighting,
    ShearWeightingConfig,
)
from homodyne_model import ScalingBasis
from homodyne_model.testing import colloid, rheometer_flow
from homodyne_nlsq import fit_nlsq_jax

SIGMA = 0.02
N_PHI = 11


def flow_with(contrast, offset=1.1, *, seed=1, n_phi=N_PHI):
    truth = rheometer_flow(n_phi, 40)._replace(
        contrast=np.broadcast_to(contrast, n_phi), offset=np.broadcast_to(offset, n_phi)
    )
    model = truth.model
    return TwoTimeData(truth.noisy_maps(SIGMA, seed=seed), model.phi, model.t, model.q, model.L, sigma=SIGMA)


def series(n_phi=N_PHI):
    """A contrast that follows a Fourier series of order 2."""
    phi = np.deg2rad(rheometer_flow(n_phi, 4).model.phi)
    return 0.3 + 0.04 * np.cos(phi) - 0.03 * np.sin(2 * phi)


def scattered(share, n_phi=N_PHI):
    return 0.3 * (1 + share * np.random.default_rng(8).standard_normal(n_phi))


def fit(data, layers=None, **settings):
    return fit_nlsq_jax(data, {"analysis_mode": "laminar_flow", "anti_degeneracy": layers or {}, **settings})


def off(one, other):
    """Largest difference in standard errors."""
    return (np.abs(one.parameters - other.parameters) / other.uncertainties)[-7:].max()


@pytest.mark.parametrize(
    "contrast, mode, n_scaling",
    [
        (0.3, "constant", 2),
        (series(), "fourier", 10),
        (scattered(0.1), "individual", 2 * N_PHI),
    ],
)
def test_auto_takes_what_the_data_need(contrast, mode, n_scaling):
    data = flow_with(contrast)
    found = fit(data)
    assert (found.per_angle_mode, found.n_scaling) == (mode, n_scaling)
    assert found.dof == found.n_points - n_scaling - 7
    assert any(s.startswith(f"per_angle_mode auto took {mode}") for s in found.anti_degeneracy)
    assert json.loads(found.to_json())["per_angle_mode"] == mode
    # The same as if it had been named.
    named = fit(data, {"per_angle_mode": mode})
    assert off(found, named) < 1e-3
    assert found.chi_squared == pytest.approx(named.chi_squared, rel=1e-10)


def test_a_series_lies_on_its_basis_and_is_known_better():
    data = flow_with(series())
    individual, fourier = (fit(data, {"per_angle_mode": mode}) for mode in ("individual", "fourier"))
    basis = ScalingBasis("fourier", 2).matrix(data.phi)
    for values in (fourier.contrast, fourier.offset):
        rest = values - basis @ np.linalg.lstsq(basis, values)[0]
        assert np.abs(rest).max() < 1e-12
    errors = [np.sqrt(np.diag(f.covariances["hessian"])) for f in (individual, fourier)]
    assert np.median(errors[1][:N_PHI] / errors[0][:N_PHI]) < 0.85
    # Those of the physical parameters are taken at two slightly different estimates.
    assert (errors[1][-7:] < 1.02 * errors[0][-7:]).all()
    assert errors[1][-1] < 0.9 * errors[0][-1]
    assert fourier.chi_squared > individual.chi_squared
    # Order 1 has six coefficients and leaves the second harmonic.
    first = fit(data, {"per_angle_mode": "fourier", "fourier_order": 1})
    assert first.n_scaling == 6
    assert first.chi_squared > fourier.chi_squared + 100


def test_auto_considers_a_series_from_so_many_angles_on():
    data = flow_with(series())
    assert fit(data, {"fourier_auto_threshold": N_PHI + 1}).per_angle_mode == "individual"
    assert fit(data, {"fourier_auto_threshold": N_PHI}).per_angle_mode == "fourier"


@pytest.mark.parametrize(
    "data, mode, settings, reason",
    [
        ("static", "static_isotropic", {}, "static_isotropic has no shear"),
        (3, "laminar_flow", {}, "3 angles leave the scaling too few parameters"),
        (4, "laminar_flow", {}, "The anti-degeneracy layers are on: 8 contrasts and offsets of 4 angles"),
        (5, "laminar_flow", {"per_angle_scaling": False}, "contrast and offset are the same for all angles"),
        (5, "laminar_flow", {"anti_degeneracy": {"enable": False}}, "anti_degeneracy.enable is false"),
    ],
)
def test_when_the_layers_act(as_data, data, mode, settings, reason):
    truth = colloid(5, 40) if data == "static" else rheometer_flow(data, 40)
    everything = {
        name: {"enable": True} for name in ("hierarchical", "regularization", "shear_weighting")
    } | {"gradient_monitoring": {"ratio_threshold": 1e9, "consecutive_triggers": 1, "response": "abort"}}
    layers = everything | settings.pop("anti_degeneracy", {})
    found = fit_nlsq_jax(
        as_data(truth, sigma=SIGMA), {"analysis_mode": mode, "anti_degeneracy": layers, **settings}
    )
    assert reason in found.anti_degeneracy[0]
    if data == 4:
        assert not found.success
    else:
        plain = fit_nlsq_jax(
            as_data(truth, sigma=SIGMA),
            {
                "analysis_mode": mode,
                **settings,
                "anti_degeneracy": {"per_angle_mode": "auto", "enable": False},
            },
        )
        np.testing.assert_allclose(found.parameters, plain.parameters, rtol=1e-12)
        assert found.warnings == plain.warnings


def test_a_penalty_holds_the_scatter_down():
    data = flow_with(scattered(0.1))
    modes = {"per_angle_mode": "individual"}
    scatter = []
    for strength in (0.0, 1.0, 100.0):
        layer = {"regularization": {"enable": strength > 0, "lambda": strength or 1.0}}
        found = fit(data, modes | layer)
        assert found.success
        scatter.append(np.std(found.contrast) / np.mean(found.contrast))
        if not strength:
            plain = found
            continue
        # The penalty is that of its own result: with it frozen, χ² and penalty are at their minimum together.
        regularizer = AdaptiveRegularizer(RegularizationConfig(lambda_=strength))
        share = regularizer.share(found.contrast, found.offset)
        assert share == pytest.approx(
            strength * 0.1 / 0.1**2 * (scatter[-1] ** 2 + (np.std(found.offset) / np.mean(found.offset)) ** 2)
        )
        assert found.chi_squared > plain.chi_squared
        assert found.dof == plain.dof
    assert scatter[0] > scatter[1] > 5 * scatter[2] > 0
    assert scatter[2] < 0.01
    # A target that is wider asks for less.
    wider = fit(data, modes | {"regularization": {"enable": True, "target_cv": 1.0}})
    assert scatter[1] < np.std(wider.contrast) / np.mean(wider.contrast) < scatter[0]


def test_weights_follow_the_direction_of_the_flow():
    data = flow_with(scattered(0.05))
    found = fit(data, {"per_angle_mode": "individual", "shear_weighting": {"enable": True, "alpha": 2.0}})
    weighting = ShearSensitivityWeighting(data.phi, ShearWeightingConfig(alpha=2.0))
    weights = weighting.weights(found.physical["phi0"])
    same = fit(data, {"per_angle_mode": "individual"}, angle_weights=weights.tolist())
    assert off(found, same) < 1e-2
    np.testing.assert_allclose(found.uncertainties, same.uncertainties, rtol=1e-4)
    assert found.chi_squared == pytest.approx(same.chi_squared, rel=1e-8)
    plain = fit(data, {"per_angle_mode": "individual"})
    assert found.chi_squared > plain.chi_squared
    # Correctly modelled points of known noise are no better used: the sandwich says what it costs.
    worse = np.diag(found.covariances["hessian"])[-7:] / np.diag(plain.covariances["hessian"])[-7:]
    assert (worse > 1).all()


def test_alternating_stages_lead_to_the_same_optimum():
    data = flow_with(scattered(0.05))
    plain = fit(data, {"per_angle_mode": "individual"})
    stages = {"enable": True, "max_outer_iterations": 3, "physical_max_iterations": 7}
    heard = []
    found = fit_nlsq_jax(
        data,
        {
            "analysis_mode": "laminar_flow",
            "anti_degeneracy": {"per_angle_mode": "individual", "hierarchical": stages},
        },
        progress=lambda stage, passes, *_: heard.append((stage, passes)),
    )
    assert off(found, plain) < 1e-3
    [said] = [s for s in found.anti_degeneracy if s.startswith("Alternating stages took")]
    took = int(said.split()[3])
    assert took <= 3 * (7 + 2)
    assert [p for s, p in heard if s == "alternating stages"] == list(range(1, took + 1))
    assert found.iterations > took
    # Passes are counted on.
    assert [p for s, p in heard if s == "fit"] == list(range(took + 1, found.iterations + 1))


def collapse(response, **settings):
    """A threshold that any gradient is below."""
    monitoring = {"ratio_threshold": 1e12, "consecutive_triggers": 1, "response": response}
    return fit(
        flow_with(scattered(0.05)),
        {"per_angle_mode": "individual", "gradient_monitoring": monitoring},
        **settings,
    )


def test_a_collapse_is_said():
    found = collapse("warn")
    assert found.success
    said = [s for s in found.warnings if "gradient of the physical parameters has been below" in s]
    assert said
    assert all("the fit goes on." in s for s in said)


@pytest.mark.parametrize(
    "response, deed", [("hierarchical", "Alternating stages took"), ("reset", "with one contrast and offset")]
)
def test_a_collapse_is_answered(response, deed):
    plain = fit(flow_with(scattered(0.05)), {"per_angle_mode": "individual"})
    found = collapse(response)
    assert found.success
    assert off(found, plain) < 1e-3
    assert any(deed in s for s in found.anti_degeneracy)
    assert any("has been below" in s for s in found.warnings)
    assert found.iterations > plain.iterations


def test_a_reset_begins_at_the_start_values():
    truth = rheometer_flow(N_PHI, 40)
    names = truth.model.layout.physical_names
    start = dict(zip(names, (1.3 * truth.physical).tolist(), strict=True))
    monitoring = {"ratio_threshold": 1e12, "consecutive_triggers": 1, "response": "reset"}
    costs = []
    found = fit_nlsq_jax(
        flow_with(scattered(0.05)),
        {
            "analysis_mode": "laminar_flow",
            "initial": start,
            "anti_degeneracy": {"per_angle_mode": "individual", "gradient_monitoring": monitoring},
        },
        progress=lambda stage, passes, chi_squared, _: costs.append(chi_squared) if stage == "fit" else None,
    )
    assert found.success
    # The best χ² so far only falls within a descent: a new one begins above the last.
    assert any(later > before for before, later in itertools.pairwise(costs))


def test_a_collapse_may_end_the_fit():
    found = collapse("abort")
    assert not found.success
    assert found.convergence_status in ("partial", "failed")
    assert found.quality_flag != "good"
    assert "the fit ends" in found.message
    assert found.device_info.recovery_actions == ("monitor_abort",)
    assert "NOT CONVERGED" in found.summary() or "FAILED" in found.summary()
    json.loads(found.to_json())


def test_so_many_iterations_in_a_row_are_needed():
    found = fit(
        flow_with(scattered(0.05)),
        {
            "per_angle_mode": "individual",
            "gradient_monitoring": {
                "ratio_threshold": 1e12,
                "consecutive_triggers": 1000,
                "response": "abort",
            },
        },
    )
    assert found.success


def test_bounds_hold_at_every_angle_of_a_series():
    data = flow_with(series())
    found = fit(data, {"per_angle_mode": "fourier"}, bounds={"contrast": (0.0, 0.33)})
    assert found.contrast.max() == pytest.approx(0.33, abs=1e-9)
    assert "upper" in found.at_bound[:N_PHI]
    assert np.isnan(found.contrast_error[[b == "upper" for b in found.at_bound[:N_PHI]]]).all()


def test_fixed_contrasts_that_a_basis_cannot_meet_are_refused_before_the_fit():
    fixed = {f"contrast_{a}": 0.3 + 0.01 * a for a in range(N_PHI)}
    with pytest.raises(ValueError, match="contrast is fixed at values that the basis does not hold"):
        fit(flow_with(0.3), {"per_angle_mode": "fourier"}, fixed=fixed)
