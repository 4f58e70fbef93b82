"""Start values: from the data over a spread of truths, given, partly given, misleading, and out of reach."""

import jax
import numpy as np
import pytest

from homodyne_data import TwoTimeData, simulate_two_time
from homodyne_model import TwoTimeModel, correlation
from homodyne_model.testing import Measurement, colloid, rheometer_flow
from homodyne_nlsq import FitInputError, fit_nlsq_jax

Q, L, DT = 0.0054, 2e6, 0.1
NAMES = ("D0", "alpha", "D_offset", "gamma_dot_t0", "beta", "gamma_dot_t_offset", "phi0")


def power_law(rate, exponent, offset_share, t):
    """Rate at 1 s, exponent and offset of a power law whose total at the geometric middle of the window is `rate`."""
    t_ref = np.sqrt(DT * t[-1])
    return [rate * (1 - offset_share) * t_ref**-exponent, exponent, rate * offset_share]


def physical(n_t, *, decay, alpha, phase=None, beta=0.3, phi0=0.0, share=0.2):
    """Physical parameters with a 1/e decay time of `decay` frames, and the largest shear argument `phase` over the window."""
    t = DT * np.arange(n_t)
    theta = power_law(1 / (Q**2 * decay * DT), alpha, share, t)
    if phase is None:
        return np.array(theta)
    rate = power_law(1.0, beta, share, t)
    curve = rate[0] * np.maximum(t, DT / 2) ** rate[1] + rate[2]
    strain = np.sum(DT * (curve[1:] + curve[:-1]) / 2)
    return np.array([*theta, *power_law(phase / (0.5 * Q * L * strain), beta, share, t), phi0])


def measured(theta, n_phi, n_t, sigma=0.02, seed=1):
    t, phi = DT * np.arange(n_t), np.linspace(-170, 170, n_phi)
    contrast, offset = 0.3 + 0.02 * np.cos(np.arange(n_phi)), 1.05 + 0.01 * np.sin(np.arange(n_phi))
    with jax.enable_x64(True):
        c2 = np.asarray(correlation(theta, contrast, offset, Q, t, phi, L if len(theta) == 7 else None))
    return TwoTimeData(simulate_two_time(c2, sigma, seed=seed), phi, t, Q, L, sigma=sigma, symmetric=True)


def assert_found(theta, data):
    """The fit without start values ends where the fit from the truth does."""
    mode = "laminar_flow" if len(theta) == 7 else "static"
    fit = fit_nlsq_jax(data, analysis_mode=mode)
    best = fit_nlsq_jax(
        data, analysis_mode=mode, initial_params=dict(zip(NAMES, theta.tolist(), strict=False))
    )
    assert fit.chi_squared <= best.chi_squared * (1 + 1e-6)
    assert fit.convergence_status == "converged"
    assert fit.reduced_chi_squared == pytest.approx(1, abs=5 * np.sqrt(2 / fit.dof))
    curve = fit.diffusion.at(fit.t_mid)
    truth = theta[0] * fit.t_mid ** theta[1] + theta[2]
    assert abs(curve[0] - truth) < 5 * curve[1]


@pytest.mark.parametrize(
    "decay, alpha", [(3, -0.8), (3, 0.3), (20, 0.8), (20, -0.2), (60, -0.8), (180, 0.6), (180, -0.4)]
)
def test_static_from_nothing(decay, alpha):
    theta = physical(60, decay=decay, alpha=alpha)
    assert_found(theta, measured(theta, 3, 60))


@pytest.mark.parametrize(
    "decay, alpha, phase, beta, phi0",
    [
        (20, -0.5, 3, 0.5, 0),
        (60, 0.6, 10, -0.6, 85),
        (180, 0.3, 30, 0.8, -60),
    ],
)
def test_laminar_flow_from_nothing(decay, alpha, phase, beta, phi0):
    theta = physical(60, decay=decay, alpha=alpha, phase=phase, beta=beta, phi0=phi0)
    assert_found(theta, measured(theta, 9, 60))


@pytest.mark.statistics
@pytest.mark.parametrize(
    "mode, n_phi, n_t, count, least", [("static", 5, 50, 60, 58), ("laminar_flow", 9, 60, 60, 54)]
)
def test_fraction_found_over_random_truths(mode, n_phi, n_t, count, least, capsys):
    rng = np.random.default_rng(5)
    found = shown = 0
    for seed in range(count):
        flow = mode == "laminar_flow"
        theta = physical(
            n_t,
            decay=np.exp(rng.uniform(np.log(3), np.log(3 * n_t))),
            alpha=rng.uniform(-0.8, 0.8),
            phase=np.exp(rng.uniform(np.log(0.5), np.log(30))) if flow else None,
            beta=rng.uniform(-0.8, 0.8),
            phi0=rng.uniform(-90, 90),
            share=rng.uniform(-0.2, 0.5),
        )
        data = measured(theta, n_phi, n_t, seed=seed)
        fit = fit_nlsq_jax(data, analysis_mode=mode)
        best = fit_nlsq_jax(
            data, analysis_mode=mode, initial_params=dict(zip(NAMES, theta.tolist(), strict=False))
        )
        close = fit.chi_squared <= best.chi_squared * (1 + 1e-6)
        found += close
        # The search is not exhaustive: a fit may end in another valley, and reduced χ² below 2 is called good there too.
        excess = fit.chi_squared - best.chi_squared
        shown += excess > 50 and fit.quality_flag == "good"
    with capsys.disabled():
        print(
            f"\n{mode}: {found} of {count} random truths found from no start values, {shown} called good far above the best"
        )
    assert shown == 0
    assert found >= least


def test_noise_free_data_give_the_truth_back(as_data):
    for truth, mode in ((colloid(3, 60), "static"), (rheometer_flow(5, 40), "laminar_flow")):
        fit = fit_nlsq_jax(as_data(truth, maps=truth.maps(), sigma=0.02), analysis_mode=mode)
        assert fit.convergence_status == "converged"
        np.testing.assert_allclose(fit.parameters, truth.parameters, rtol=2e-5)
        without_sigma = fit_nlsq_jax(as_data(truth, maps=truth.maps(), given=False), analysis_mode=mode)
        np.testing.assert_allclose(without_sigma.parameters, truth.parameters, rtol=2e-5)
        # What is left is rounding, and error bars that rest on it are not uncertainties of a measurement.
        assert without_sigma.reduced_chi_squared < 1e-6


def test_one_angle(as_data):
    truth = colloid(1, 60)
    fit = fit_nlsq_jax(as_data(truth))
    z = (fit.parameters - truth.parameters) / fit.uncertainties
    assert np.abs(z).max() < 5
    assert fit.quality_flag == "good"


def test_one_angle_of_a_flow_needs_its_direction(as_data):
    data = as_data(rheometer_flow(1, 60))
    with pytest.raises(FitInputError, match="one angle: the flow direction phi0 needs several"):
        fit_nlsq_jax(data, analysis_mode="laminar_flow")


def test_two_angles_and_a_known_direction(as_data):
    data = as_data(rheometer_flow(2, 60))
    fit = fit_nlsq_jax(data, {"analysis_mode": "laminar_flow", "fixed": {"phi0": 2.0}})
    assert fit.convergence_status == "converged"
    assert fit.physical["phi0"] == 2.0


def test_few_frames(as_data):
    few = fit_nlsq_jax(as_data(colloid(3, 8)))
    assert few.convergence_status == "converged"
    assert few.n_points == 3 * 28
    assert any("times its value" in w for w in few.warnings)


def test_start_values_of_the_call_replace_those_of_the_configuration(rest):
    config = {"initial": {"D0": 2e4, "alpha": -0.2, "D_offset": 100.0}, "max_iterations": 1}
    fit = fit_nlsq_jax(rest.data, config, initial_params={"alpha": -0.4})
    assert fit.settings["initial"] == {"D0": 2e4, "alpha": -0.4, "D_offset": 100.0}
    assert config["initial"]["alpha"] == -0.2
    # From the data where neither says anything.
    assert set(fit_nlsq_jax(rest.data, initial_params={"alpha": -0.4}).initial) == {"D0", "alpha", "D_offset"}


def test_a_start_where_nothing_decays_is_not_returned(rest):
    """Everything decays within a frame there: χ² is flat, and a solver that starts there calls it an optimum."""
    best = fit_nlsq_jax(rest.data)
    fit = fit_nlsq_jax(rest.data, initial_params={"D0": 9e8, "alpha": 0.1, "D_offset": 0.0})
    assert fit.chi_squared == pytest.approx(best.chi_squared, rel=1e-9)
    assert any("given start values did not lead to the best optimum" in w for w in fit.warnings)
    slow = fit_nlsq_jax(rest.data, initial_params={"D0": 1.0, "alpha": 1.9, "D_offset": -9e4})
    assert slow.chi_squared == pytest.approx(best.chi_squared, rel=1e-9)


@pytest.mark.parametrize("initial", [{"D0": 9e8}, {"alpha": 1.9}, {"D_offset": -9e4}, {"alpha": 0.0}])
def test_a_misleading_value_beside_values_from_the_data_is_overcome(rest, initial):
    best = fit_nlsq_jax(rest.data)
    fit = fit_nlsq_jax(rest.data, initial_params=initial)
    assert fit.chi_squared == pytest.approx(best.chi_squared, rel=1e-9)


def test_a_start_where_the_model_overflows_is_left_and_named():
    data = measured(physical(60, decay=20, alpha=0.1), 3, 60)
    slow = TwoTimeData(data.c2, data.phi, data.t * 100, data.q, sigma=0.02)
    best = fit_nlsq_jax(slow)
    assert best.convergence_status == "converged"
    settings = {"initial": {"D0": 1.0, "alpha": 0.5, "D_offset": -1e5}}
    alone = fit_nlsq_jax(slow, settings | {"recovery": {"enable": False}})
    assert alone.convergence_status == "failed"
    assert "not finite at the start values" in alone.warnings[0]
    found = fit_nlsq_jax(slow, settings)
    assert found.device_info.recovery_actions[0] == "bounds_reset"
    assert found.chi_squared == pytest.approx(best.chi_squared, rel=1e-9)


def test_a_gap_as_infinity_is_masked(as_data):
    truth = colloid(3, 60)
    maps = truth.noisy_maps(0.02, seed=1)
    maps[:, 59] = maps[:, :, 59] = np.inf
    data = as_data(truth, maps=maps, symmetric=True)
    fit = fit_nlsq_jax(data)
    assert fit.n_points == 3 * 59 * 58 // 2
    assert fit.quality_flag == "good"


def test_the_same_seed_gives_the_same_fit(flow):
    settings = {"analysis_mode": "laminar_flow", "seed": 3}
    first, second = (fit_nlsq_jax(flow.data, settings) for _ in range(2))
    np.testing.assert_array_equal(first.parameters, second.parameters)
    other = fit_nlsq_jax(flow.data, settings | {"seed": 4})
    assert other.chi_squared == pytest.approx(first.chi_squared, rel=1e-9)


def test_a_minimum_across_the_flow_is_left():
    """Contrasts and rates make up for a direction that is wrong by 90 degrees: χ² is 100 higher there, and the trust region content."""
    model = TwoTimeModel("laminar_flow", 0.0054, 0.3 * np.arange(60), np.linspace(-170.0, 170.0, 11), 2e6)
    truth = Measurement(
        model,
        np.array([2.5e3, -0.5, 500.0, 2.4e-5, -0.2, -7e-6, 2.0]),
        contrast=np.full(11, 0.3),
        offset=np.ones(11),
    )
    data = TwoTimeData(truth.noisy_maps(0.01, seed=2), model.phi, model.t, model.q, model.L, sigma=0.01)
    across = {
        "D0": 2e3,
        "alpha": -0.4,
        "D_offset": 170.0,
        "gamma_dot_t0": 2.5e-5,
        "beta": -0.3,
        "gamma_dot_t_offset": -1.4e-5,
        "phi0": -88.0,
    }
    settings = {"analysis_mode": "laminar_flow", "anti_degeneracy": {"per_angle_mode": "individual"}}
    best = fit_nlsq_jax(
        data, settings, initial_params=dict(zip(across, truth.physical.tolist(), strict=True))
    )
    found = fit_nlsq_jax(data, settings, initial_params=across)
    assert found.device_info.recovery_actions == ("data_start",)
    assert found.chi_squared == pytest.approx(best.chi_squared, rel=1e-9)
    assert abs(found.physical["phi0"] - 2.0) < 10


def test_candidates_without_a_cost_end_in_words_and_not_in_an_error(rest, monkeypatch):
    monkeypatch.setattr(
        "homodyne_nlsq._coarse.CoarseProblem.costs", lambda self, candidates: np.full(len(candidates), np.inf)
    )
    assert fit_nlsq_jax(rest.data).message
