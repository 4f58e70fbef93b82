"""What a fit is called must be what it is: converged, at a bound, out of passes, without a decay, degenerate."""

import numpy as np
import pytest

from homodyne_data import TwoTimeData
from homodyne_model.testing import colloid, rheometer_flow
from homodyne_nlsq import FitInputError, fit_nlsq_jax
from homodyne_nlsq._verdict import decay_is_seen, quality_of


def symmetric_noise(n_phi, n_t, sigma, seed):
    noise = np.tril(np.random.default_rng(seed).normal(scale=sigma, size=(n_phi, n_t, n_t)), -1)
    return noise + noise.swapaxes(1, 2)


def named(truth):
    return dict(zip(truth.model.layout.physical_names, truth.physical.tolist(), strict=True))


@pytest.mark.parametrize(
    "status, source, reduced, flags, expected",
    [
        ("converged", "given", 1.0, {}, "good"),
        ("converged", "given", 1.999, {}, "good"),
        ("converged", "given", 2.0, {}, "marginal"),
        ("converged", "given", 4.999, {}, "marginal"),
        ("converged", "given", 5.0, {}, "poor"),
        ("partial", "given", 1.0, {}, "marginal"),
        ("partial", "given", 6.0, {}, "poor"),
        ("failed", "given", 1.0, {}, "poor"),
        ("failed", "estimated", 1.0, {}, "poor"),
        # An estimated sigma is too small for bright data: the reduced chi2 is not judged.
        ("converged", "estimated", 9.0, {}, "good"),
        ("partial", "estimated", 1.0, {}, "marginal"),
        ("converged", "default", 1.0, {}, "marginal"),
        ("converged", "given", 1.0, {"at_bound": True}, "marginal"),
        ("converged", "given", 1.0, {"determined": False}, "marginal"),
        ("converged", "given", 1.0, {"seen": False}, "poor"),
        ("converged", "estimated", 1.0, {"seen": False}, "poor"),
    ],
)
def test_quality_rules(status, source, reduced, flags, expected):
    flags = {"at_bound": False, "seen": True, "determined": True} | flags
    assert quality_of(status, source, reduced, **flags) == expected


def test_a_decay_must_explain_more_than_chance():
    assert decay_is_seen(900.0, 1100.0, 900, 6)
    assert not decay_is_seen(900.0, 920.0, 900, 6)
    assert not decay_is_seen(900.0, 960.0, 900, 30)
    # The measure is the noise of the data, not the given sigma.
    assert not decay_is_seen(9e4, 9.2e4, 900, 6)


def test_a_good_fit_is_called_so(rest):
    fit = fit_nlsq_jax(rest.data)
    assert (fit.success, fit.convergence_status, fit.quality_flag) == (True, "converged", "good")
    assert fit.distance < 1e-3
    assert fit.message == "The optimum was reached."
    assert fit.at_bound == ("",) * 9
    assert not fit.fixed.any()
    assert fit.iterations > 1
    assert fit.execution_time > 0


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("passes", [1, 2])
def test_too_few_passes_are_no_success(flow, passes, given):
    initial = named(flow.truth) | {"D0": 2e4, "phi0": 30.0} if given else {}
    fit = fit_nlsq_jax(
        flow.data, {"analysis_mode": "laminar_flow", "max_iterations": passes, "initial": initial}
    )
    assert not fit.success
    assert fit.convergence_status in ("partial", "failed")
    assert fit.quality_flag in ("marginal", "poor")
    assert fit.iterations <= passes
    assert f"max_iterations ({passes} passes" in fit.message
    assert "standard errors away" in fit.message
    best = fit_nlsq_jax(flow.data, analysis_mode="laminar_flow")
    assert fit.chi_squared >= best.chi_squared * (1 - 1e-12)


def test_one_pass_at_the_only_point_evaluated_is_a_failure(flow):
    fit = fit_nlsq_jax(flow.data, {"analysis_mode": "laminar_flow", "max_iterations": 1})
    assert (fit.convergence_status, fit.quality_flag) == ("failed", "poor")
    assert "FAILED" in fit.summary()


@pytest.mark.parametrize("n_phi, seed", [(3, 0), (3, 1), (3, 2)])
def test_noise_alone_has_no_decay(as_data, n_phi, seed):
    truth = colloid(n_phi, 60)
    fit = fit_nlsq_jax(as_data(truth, maps=1.1 + symmetric_noise(n_phi, 60, 0.02, seed)))
    assert fit.quality_flag == "poor"
    assert any("No decay can be told from the noise" in w for w in fit.warnings)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_noise_alone_has_no_flow(as_data, seed):
    """Every contrast gains a little from noise: the more angles, the more it takes to see a decay."""
    truth = rheometer_flow(23, 40)
    fit = fit_nlsq_jax(
        as_data(truth, maps=1.1 + symmetric_noise(23, 40, 0.02, seed)), analysis_mode="laminar_flow"
    )
    assert fit.quality_flag == "poor"
    assert any("No decay can be told from the noise" in w for w in fit.warnings)


def test_flat_data_are_poor(as_data):
    fit = fit_nlsq_jax(as_data(colloid(3, 60), maps=np.full((3, 60, 60), 1.1)))
    assert fit.quality_flag == "poor"
    assert any("No decay can be told from the noise" in w for w in fit.warnings)
    np.testing.assert_allclose(fit.contrast, 0, atol=1e-12)


def test_a_decay_that_grows_is_no_success(as_data):
    """A contrast below zero: the box holds it at zero, and the transport parameters lose every effect."""
    truth = colloid(3, 60)
    fit = fit_nlsq_jax(as_data(truth, maps=2.2 - truth.noisy_maps(0.02, seed=1)))
    assert fit.quality_flag == "poor"
    assert not fit.success
    assert fit.at_bound[:3] == ("lower",) * 3
    assert any(
        "contrast is at its lower bound at φ = 0, 45, 90 deg (3 of 3 angles)" in w for w in fit.warnings
    )


def test_constant_diffusion_with_free_exponent(as_data):
    """At alpha = 0 power and offset are the same thing: the pair is named, and the curve knows better."""
    truth = colloid(3, 60)._replace(physical=np.array([8e3, 0.0, 2e3]))
    exact = as_data(truth, maps=truth.maps(), sigma=0.02)
    fit = fit_nlsq_jax(exact, {"fixed": {"alpha": 0.0}})
    assert fit.quality_flag != "good"
    assert any("do not determine D0 and D_offset separately" in w for w in fit.warnings)
    assert np.isnan([fit.physical_error["D0"], fit.physical_error["D_offset"]]).all()
    known = fit_nlsq_jax(exact, {"fixed": {"alpha": 0.0, "D_offset": 0.0}})
    np.testing.assert_allclose(fit.diffusion.value, 1e4, rtol=1e-6)
    np.testing.assert_allclose(fit.diffusion.error, known.diffusion.error, rtol=1e-6)
    # The scaling is known as well as it was.
    np.testing.assert_allclose(fit.contrast_error, known.contrast_error, rtol=1e-6)
    for maps in (truth.maps(), truth.noisy_maps(0.02, seed=1)):
        free = fit_nlsq_jax(as_data(truth, maps=maps))
        assert free.convergence_status == "converged"
        value, error = free.diffusion.at(free.t_mid)
        assert np.isfinite(free.diffusion.error).all()
        assert abs(value - 1e4) < 4 * error
        assert error < 1000


def test_constant_diffusion_with_fixed_exponent_and_offset(as_data):
    truth = colloid(3, 60)._replace(physical=np.array([8e3, 0.0, 0.0]))
    fit = fit_nlsq_jax(as_data(truth), {"fixed": {"alpha": 0.0, "D_offset": 0.0}})
    assert fit.quality_flag == "good"
    assert abs(fit.physical["D0"] - 8e3) < 4 * fit.physical_error["D0"]
    assert np.isnan([fit.physical_error["alpha"], fit.physical_error["D_offset"]]).all()
    assert fit.fixed.tolist() == [False] * 7 + [True, True]
    np.testing.assert_allclose(fit.diffusion.value, fit.physical["D0"])
    np.testing.assert_allclose(fit.diffusion.error, fit.physical_error["D0"])


def test_nothing_left_to_fit_but_the_scaling(rest):
    truth = named(rest.truth)
    fit = fit_nlsq_jax(rest.data, {"fixed": truth})
    assert (fit.convergence_status, fit.quality_flag) == ("converged", "good")
    assert fit.physical == truth
    assert fit.dof == fit.n_points - 6
    assert np.isnan(fit.uncertainties[6:]).all()
    assert np.isfinite(fit.uncertainties[:6]).all()
    np.testing.assert_array_equal(fit.diffusion.error, 0)


def test_a_parameter_held_at_its_start_value(rest):
    fit = fit_nlsq_jax(rest.data, {"fixed": {"alpha": None}, "initial": {"alpha": -0.3}})
    assert fit.physical["alpha"] == -0.3
    assert fit.fixed.tolist() == [False] * 7 + [True, False]


def test_a_bound_is_named_with_its_value(rest):
    fit = fit_nlsq_jax(rest.data, {"bounds": {"D_offset": (-1e5, 0.0)}})
    assert fit.at_bound[-1] == "upper"
    assert fit.physical["D_offset"] == 0.0
    assert np.isnan(fit.physical_error["D_offset"])
    assert np.isnan(fit.covariance[-1]).all()
    assert fit.quality_flag == "marginal"
    assert any(
        w.startswith("D_offset ended at its upper bound, 0 Å²/s: its error is not quoted")
        for w in fit.warnings
    )
    assert "at its upper bound" in fit.summary()


def test_a_contrast_at_its_bound_is_not_good(rest):
    fit = fit_nlsq_jax(rest.data, {"bounds": {"contrast_1": (0.0, 0.25)}})
    assert fit.at_bound[1] == "upper"
    assert fit.contrast[1] == 0.25
    assert fit.quality_flag == "marginal"
    assert any("contrast is at its upper bound at φ = 45 deg (1 of 3 angles)" in w for w in fit.warnings)


def test_negative_diffusion_is_said(as_data):
    truth = colloid(3, 60)._replace(physical=np.array([2e4, -0.6, -8e3]))
    fit = fit_nlsq_jax(as_data(truth))
    assert (fit.diffusion.value < 0).any()
    [sentence] = [w for w in fit.warnings if "negative" in w]
    assert "D(t) is negative, down to -" in sentence
    assert "t = 5.9 s" in sentence


def test_correlated_parameters_are_said(flow):
    for kind in ("robust", "hessian"):
        fit = fit_nlsq_jax(flow.data, {"analysis_mode": "laminar_flow", "covariance_type": kind})
        pair = "gamma_dot_t0 and gamma_dot_t_offset are nearly interchangeable"
        assert any(pair in w for w in fit.warnings)
        assert any("take the points for independent" in w for w in fit.warnings) == (kind == "hessian")


def test_angles_that_do_not_tell_contrast_from_offset(as_data):
    """One angle keeps a single pair of frames."""
    truth = colloid(3, 60)
    pairs = np.ones((3, 60, 60), dtype=bool)
    pairs[2] = False
    pairs[2, 20, 5] = pairs[2, 5, 20] = True
    fit = fit_nlsq_jax(as_data(truth, good_pairs=pairs))
    assert fit.n_points == 2 * 1770 + 1
    assert np.isnan(fit.contrast_error[2])
    assert any("cannot be told apart at φ = 90 deg (1 of 3 angles)" in w for w in fit.warnings)
    others = fit_nlsq_jax(as_data(truth).select(angles=[0, 1]))
    np.testing.assert_allclose(fit.parameters[[0, 1, 3, 4, 6, 7, 8]], others.parameters, rtol=1e-4)
    np.testing.assert_allclose(fit.uncertainties[[0, 1, 3, 4, 6, 7, 8]], others.uncertainties, rtol=1e-3)


def test_sigma_is_said_to_be_estimated(as_data):
    truth = colloid(3, 60)
    fit = fit_nlsq_jax(as_data(truth, given=False))
    assert fit.sigma_source == "estimated"
    assert fit.quality_flag == "good"
    assert fit.reduced_chi_squared == pytest.approx(1, abs=0.1)
    given = fit_nlsq_jax(as_data(truth))
    np.testing.assert_allclose(fit.uncertainties, given.uncertainties, rtol=0.05)
    assert "σ estimated" in fit.summary()


def test_sigma_is_said_to_be_guessed(as_data):
    """Too few neighbouring frames to estimate it from."""
    truth = colloid(3, 6)
    fit = fit_nlsq_jax(as_data(truth, given=False))
    assert fit.sigma_source == "default"
    assert fit.quality_flag != "good"
    assert any("1 % was taken" in w for w in fit.warnings)
    assert "GUESSED at 1 %" in fit.summary()


def test_error_bars_do_not_depend_on_a_sigma_that_is_not_given(as_data):
    truth = colloid(3, 60)
    data = as_data(truth, given=False)
    one, other = (fit_nlsq_jax(data.with_sigma(s, source="default")) for s in (0.01, 0.3))
    np.testing.assert_allclose(one.uncertainties, other.uncertainties, rtol=1e-4)
    # One that is given counts for independent points, and not for what the scatter of the frames says.
    wide, narrow = (fit_nlsq_jax(data.with_sigma(s)).covariances for s in (0.04, 0.02))
    np.testing.assert_allclose(wide["hessian"], 4 * narrow["hessian"], rtol=1e-4)
    np.testing.assert_allclose(wide["robust"], narrow["robust"], rtol=1e-4)


def test_mirrored_directions_are_one(as_data):
    data = as_data(rheometer_flow(5, 40), sigma=0.005)
    turned = TwoTimeData(data.c2, data.phi + 177, data.t, data.q, data.L, sigma=0.005)
    fit = fit_nlsq_jax(turned, analysis_mode="laminar_flow")
    assert -90 <= fit.physical["phi0"] < 90
    assert abs(fit.physical["phi0"] - (2 + 177 - 180)) < 5 * fit.physical_error["phi0"]


def as_sheared_data():
    measurement = rheometer_flow(5, 40)
    model = measurement.model
    return TwoTimeData(
        np.asarray(measurement.noisy_maps(0.02, seed=3)), model.phi, model.t, model.q, model.L, sigma=0.02
    )


def test_noise_free_data_without_sigma_have_no_error_bars():
    t = 0.1 * np.arange(20)
    maps = np.ones((1, 20, 20))  # exactly flat: every residual is zero
    fit = fit_nlsq_jax(TwoTimeData(maps, [0.0], t, 0.0054), {"fixed": {"alpha": 0.0, "D_offset": 0.0}})
    assert not (fit.uncertainties == 0).any()
    assert fit.quality_flag == "poor"


def test_a_model_that_misses_the_data_by_many_deviations_is_said():
    data = as_sheared_data()
    fit = fit_nlsq_jax(data, {"analysis_mode": "static"})
    assert any("standard deviations from 1" in sentence for sentence in fit.warnings)


@pytest.mark.parametrize(
    "config, message",
    [
        ({"fixed": {"D0": -5.0}}, r"fixed\['D0'\] is -5; expected a value within its bounds, 1 to 1e\+09"),
        (
            {"fixed": {"contrast": -5.0}},
            r"fixed holds contrast of angle 0 at -5; expected a value within its bounds, 0 to 1",
        ),
    ],
)
def test_fixed_values_outside_their_bounds(config, message):
    with pytest.raises(FitInputError, match=message):
        fit_nlsq_jax(as_sheared_data(), config)


@pytest.mark.parametrize("sigma", [1e200, 1e-300])
def test_a_noise_out_of_range(sigma):
    with pytest.raises(FitInputError, match=r"sigma is 1e[+-]?\d+; expected the noise of C2"):
        fit_nlsq_jax(as_sheared_data().with_sigma(sigma), {})
