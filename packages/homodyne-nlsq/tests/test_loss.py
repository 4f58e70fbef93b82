"""Robust losses and weights of angles against SciPy on the residual of every point, and their error bars against scatter."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares

from homodyne_data import TwoTimeData
from homodyne_model.testing import colloid, rheometer_flow
from homodyne_nlsq import FitInputError, fit_nlsq_jax
from homodyne_nlsq._loss import _RHO, LOSSES

ROBUST = ("soft_l1", "huber")
SIZE = np.array([1e4, 1.0, 1e3, 1e-3, 1.0, 1e-3, 1.0])


def with_outliers(truth, *, sigma=0.02, seed=1, share=0.03, symmetric=True) -> TwoTimeData:
    """Noisy maps of which some pairs are far off."""
    rng = np.random.default_rng(seed)
    shape = np.shape(truth.maps())
    noise = rng.normal(0, sigma, shape) + (rng.random(shape) < share) * rng.normal(0.3, 0.3, shape)
    if symmetric:
        noise = np.tril(noise, -1) + np.tril(noise, -1).swapaxes(1, 2)
    model = truth.model
    return TwoTimeData(np.asarray(truth.maps()) + noise, model.phi, model.t, model.q, model.L, sigma=sigma)


def scipy_fit(reference, data, start, loss, f_scale=1.0, weight=None):
    """Every parameter on every point; returns parameters, residuals [σ] and Jacobian [σ] at the optimum."""
    n_phi, which = data.n_phi, np.nonzero(data.mask)
    angle, pairs = which[0], which[1:]
    y, root = data.c2[which].astype(float), np.ones(len(angle)) if weight is None else np.sqrt(weight[angle])
    sigma = np.broadcast_to(
        np.asarray(data.sigma).reshape(-1, 1, 1) if np.ndim(data.sigma) < 2 else data.sigma, data.c2.shape
    )[which]
    n_physical = len(start)
    size = np.concatenate([np.ones(2 * n_phi), SIZE[:n_physical]])

    def columns(p):
        f, df = reference.squared_g1(p[2 * n_phi :], data.q, data.t, data.phi, data.L)
        f, df = f[angle, pairs[0], pairs[1]], df[angle, pairs[0], pairs[1]]
        jacobian = np.zeros((len(y), len(p)))
        jacobian[np.arange(len(y)), angle] = f
        jacobian[np.arange(len(y)), n_phi + angle] = 1
        jacobian[:, 2 * n_phi :] = p[angle, None] * df
        return (p[n_phi + angle] + p[angle] * f - y) / sigma, jacobian / sigma[:, None]

    # A trial step may leave the range of numbers; SciPy shrinks it.
    with np.errstate(over="ignore", invalid="ignore"):
        found = least_squares(
            lambda u: root * columns(u * size)[0],
            np.concatenate([np.full(n_phi, 0.3), np.ones(n_phi), start]) / size,
            lambda u: root[:, None] * columns(u * size)[1] * size,
            loss=loss,
            f_scale=f_scale,
            x_scale="jac",
            ftol=1e-15,
            xtol=1e-15,
            gtol=1e-12,
            max_nfev=500,
        )
    return (found.x * size, found.cost, *columns(found.x * size))


@pytest.mark.parametrize("loss", LOSSES)
def test_derivatives_of_a_loss(loss):
    r = np.array([0.0, 0.1, 0.9, 1.1, 7.0])
    rho, slope, curvature = (np.asarray(v) for v in _RHO[loss](jnp.asarray(r**2)))
    np.testing.assert_allclose(
        jax.vmap(jax.grad(lambda r: _RHO[loss](r * r)[0] / 2))(r), r * slope, rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(
        jax.vmap(jax.grad(lambda r: r * _RHO[loss](r * r)[1]))(r[1:]), curvature[1:], rtol=1e-12, atol=1e-12
    )
    # SciPy's definition, at z = 0.01 and 49.
    expected = {
        "linear": [0.01, 49],
        "soft_l1": [2 * (1.01**0.5 - 1), 2 * (50**0.5 - 1)],
        "huber": [0.01, 13],
    }
    np.testing.assert_allclose(rho[[1, 4]], expected[loss], rtol=1e-12)


@pytest.mark.parametrize("symmetric", [True, False], ids=["one triangle", "independent halves"])
@pytest.mark.parametrize("loss, f_scale", [("soft_l1", 1.0), ("huber", 1.345), ("soft_l1", 0.3)])
def test_the_optimum_is_that_of_scipy(reference, loss, f_scale, symmetric):
    truth = rheometer_flow(5, 40)
    data = with_outliers(truth, sigma=0.005, symmetric=symmetric)
    found = fit_nlsq_jax(data, {"analysis_mode": "laminar_flow", "loss": loss, "f_scale": f_scale})
    p, cost, r, jacobian = scipy_fit(reference, data, np.asarray(truth.physical), loss, f_scale)
    assert found.convergence_status == "converged"
    assert found.robust_cost == pytest.approx(2 * cost, rel=1e-9)
    assert np.abs((found.parameters - p) / found.uncertainties).max() < 1e-3
    # χ² is that of the points as they are.
    assert found.chi_squared == pytest.approx(r @ r, rel=1e-6)
    assert f"{loss} loss" in found.summary()
    assert json.loads(found.to_json())["robust_cost"] == pytest.approx(found.robust_cost)
    # Huber's covariance, over the explicit Jacobian.
    z = (r / f_scale) ** 2
    weight = 1 / np.sqrt(1 + z) if loss == "soft_l1" else np.minimum(1, 1 / np.sqrt(np.maximum(z, 1)))
    slope = (1 + z) ** -1.5 if loss == "soft_l1" else z <= 1
    size = np.linalg.norm(jacobian, axis=0)
    inverse = np.linalg.inv((jacobian / size).T @ (jacobian / size))
    factor = np.sum((r * weight) ** 2) / (len(r) - len(p)) / np.mean(slope) ** 2
    errors = np.sqrt(np.diag(found.covariances["hessian"]))
    np.testing.assert_allclose(errors, np.sqrt(factor * np.diag(inverse)) / size, rtol=1e-4)


@pytest.mark.parametrize("loss", ROBUST)
def test_outliers_pull_less(loss):
    truth = colloid(3, 60)
    data = with_outliers(truth, share=0.05)
    plain, robust = (fit_nlsq_jax(data, {"loss": name}) for name in ("linear", loss))
    truth_offset = np.asarray(truth.offset)
    assert np.abs(robust.offset - truth_offset).max() < np.abs(plain.offset - truth_offset).max() / 3


@pytest.mark.parametrize("loss", ROBUST)
def test_maps_in_single_precision(loss):
    data, counted = with_outliers(colloid(3, 60)), []
    single = TwoTimeData(data.c2.astype(np.float32), data.phi, data.t, data.q, sigma=0.02)
    found = fit_nlsq_jax(single, {"loss": loss}, progress=lambda *said: counted.append(said[:2]))
    expected = fit_nlsq_jax(data, {"loss": loss})
    assert (np.abs(found.parameters - expected.parameters) / expected.uncertainties).max() < 1e-3
    # Outliers make χ² large; the fit is none the worse.
    assert found.quality_flag == "good"
    assert [n for stage, n in counted if stage == "fit"] == list(range(1, found.iterations + 1))


def test_a_loss_with_an_estimated_sigma_scales_with_it():
    data = with_outliers(colloid(3, 60))
    found = fit_nlsq_jax(TwoTimeData(data.c2, data.phi, data.t, data.q), {"loss": "huber"})
    given = fit_nlsq_jax(data, {"loss": "huber"})
    assert found.sigma_source == "estimated"
    np.testing.assert_allclose(found.uncertainties, given.uncertainties, rtol=0.1)


def test_a_loss_that_is_left_alone_changes_nothing(rest):
    plain = fit_nlsq_jax(rest.data)
    wide = fit_nlsq_jax(rest.data, {"loss": "huber", "f_scale": 50.0})
    assert plain.robust_cost is None
    assert wide.robust_cost == pytest.approx(plain.chi_squared, rel=1e-9)
    assert (np.abs(wide.parameters - plain.parameters) / plain.uncertainties).max() < 1e-3


def test_weights_of_angles_against_scipy(reference):
    truth = rheometer_flow(5, 40)
    model, weight = truth.model, np.array([0.3, 1.0, 2.0, 0.5, 1.2])
    data = TwoTimeData(truth.noisy_maps(0.005, seed=3), model.phi, model.t, model.q, model.L, sigma=0.005)
    found = fit_nlsq_jax(data, {"analysis_mode": "laminar_flow", "angle_weights": weight.tolist()})
    p, _, r, jacobian = scipy_fit(reference, data, np.asarray(truth.physical), "linear", weight=weight)
    assert np.abs((found.parameters - p) / found.uncertainties).max() < 1e-3
    assert found.chi_squared == pytest.approx(r @ r, rel=1e-7)
    w = weight[np.nonzero(data.mask)[0], None]
    jacobian = jacobian / (size := np.linalg.norm(jacobian, axis=0))
    inverse = np.linalg.inv(jacobian.T @ (w * jacobian))
    sandwich = inverse @ (jacobian.T @ (w**2 * jacobian)) @ inverse
    errors = np.sqrt(np.diag(found.covariances["hessian"]))
    np.testing.assert_allclose(errors, np.sqrt(np.diag(sandwich)) / size, rtol=1e-4)
    # Optimal weights are those of the noise: others widen the error bars.
    settings = {"analysis_mode": "laminar_flow", "covariance_type": "hessian"}
    plain = fit_nlsq_jax(data, settings)
    weighted = fit_nlsq_jax(data, settings | {"angle_weights": weight.tolist()})
    assert (weighted.uncertainties[-7:] > plain.uncertainties[-7:]).all()
    assert (weighted.diffusion.error > plain.diffusion.error).all()


def test_equal_weights_of_angles_change_nothing(rest):
    plain = fit_nlsq_jax(rest.data)
    doubled = fit_nlsq_jax(rest.data, {"angle_weights": [2.0, 2.0, 2.0]})
    assert (np.abs(doubled.parameters - plain.parameters) / plain.uncertainties).max() < 1e-3
    np.testing.assert_allclose(doubled.uncertainties, plain.uncertainties, rtol=1e-3)
    assert doubled.chi_squared == pytest.approx(plain.chi_squared, rel=1e-12)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"loss": "cauchy"}, "loss is 'cauchy'; expected one of linear, soft_l1, huber"),
        ({"f_scale": 0.0}, "f_scale is 0.0; expected a positive number of standard deviations"),
        ({"angle_weights": [1.0, 2.0]}, "angle_weights has 2 entries; expected 3, one for every angle"),
        (
            {"angle_weights": [1.0, 0.0, 1.0]},
            r"angle_weights is \[1.0, 0.0, 1.0\]; expected a positive number",
        ),
    ],
)
def test_wrong_settings(rest, settings, message):
    with pytest.raises(FitInputError, match=message):
        fit_nlsq_jax(rest.data, settings)


@pytest.mark.statistics
@pytest.mark.parametrize("loss", ROBUST)
def test_error_bars_are_the_scatter_under_outliers(loss):
    truth = colloid(3, 60)
    replicates, z = 200, []
    for seed in range(replicates):
        found = fit_nlsq_jax(with_outliers(truth, seed=seed, share=0.03), {"loss": loss})
        value, error = found.diffusion.at(found.t_mid)
        rate = np.asarray(truth.physical)
        true = rate[0] * found.t_mid ** rate[1] + rate[2]
        z.append(
            [
                (value - true) / error,
                (found.contrast[0] - np.asarray(truth.contrast)[0]) / found.contrast_error[0],
            ]
        )
    sd = np.std(z, axis=0)
    print(
        f"{loss}: standard deviation of z over {replicates} seeds: D(t_mid) {sd[0]:.3f}, contrast {sd[1]:.3f}"
    )
    assert (np.abs(sd - 1) < 4 / np.sqrt(2 * replicates)).all()
