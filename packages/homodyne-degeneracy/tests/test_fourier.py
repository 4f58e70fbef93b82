"""Layer 1: series against least squares written out, and what a series does to a fit."""

import numpy as np
import pytest

from homodyne_degeneracy import AntiDegeneracyController, DegeneracyError, FourierReparameterizer
from homodyne_model import compress, joint_covariance


def written_out(phi, order):
    columns = [np.ones_like(phi)]
    for k in range(1, order + 1):
        columns += [np.cos(k * np.deg2rad(phi)), np.sin(k * np.deg2rad(phi))]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("n_phi", [10, 23, 100])
def test_ten_parameters_however_many_angles(n_phi):
    series = FourierReparameterizer(np.linspace(-170, 170, n_phi))
    assert series.n_parameters == len(series.names) == 10
    rng = np.random.default_rng(n_phi)
    coefficients = rng.normal(size=10)
    scaling = series.to_scaling(coefficients)
    assert scaling.shape == (2 * n_phi,)
    np.testing.assert_allclose(
        scaling[:n_phi], written_out(series.phi, 2) @ coefficients[:5], rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(series.to_coefficients(scaling), coefficients, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(series.scatter(scaling), 0, atol=1e-12)


def test_least_squares_of_what_is_no_series():
    phi = np.linspace(-170, 170, 12)
    series = FourierReparameterizer(phi, order=1)
    rng = np.random.default_rng(0)
    scaling = rng.normal(size=24)
    expected = [np.linalg.lstsq(written_out(phi, 1), part)[0] for part in np.split(scaling, 2)]
    np.testing.assert_allclose(series.to_coefficients(scaling), np.concatenate(expected), rtol=1e-10)
    rest = [part - written_out(phi, 1) @ c for part, c in zip(np.split(scaling, 2), expected, strict=True)]
    np.testing.assert_allclose(series.scatter(scaling), [np.sqrt(np.mean(r**2)) for r in rest], rtol=1e-10)
    assert series.names == (
        *("contrast_mean", "contrast_cos1", "contrast_sin1"),
        *("offset_mean", "offset_cos1", "offset_sin1"),
    )


def test_covariances_both_ways_against_drawn_vectors():
    series = FourierReparameterizer(np.linspace(0, 300, 7), order=1)
    rng = np.random.default_rng(1)
    root = rng.normal(size=(14, 14)) * 0.1
    drawn = rng.normal(size=(40_000, 14)) @ root.T
    _, found = series.to_coefficients(np.zeros(14), root @ root.T)
    expected = np.cov(np.array([series.to_coefficients(x) for x in drawn]).T)
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())
    _, back = series.to_scaling(np.zeros(6), found)
    np.testing.assert_allclose(
        back[:7, 7:], written_out(series.phi, 1) @ found[:3, 3:] @ written_out(series.phi, 1).T
    )


def test_a_series_makes_contrasts_of_noisy_angles_more_precise(points):
    """The mean variance of the fitted contrasts falls by the number of coefficients per angle, here 5 / 20, exactly so."""
    phi, data = points(20, sigma=0.05, contrast=0.3, angular=False)
    gram = data.gram([0.0, 0.0])
    held = [False, False]
    variance = {}
    for name, basis in (("individual", None), ("fourier", FourierReparameterizer(phi).matrix)):
        fit = compress(gram, basis=basis)
        variance[name] = np.diag(joint_covariance(gram, fit, held, basis=basis).determined)[:20].mean()
    assert variance["fourier"] / variance["individual"] == pytest.approx(5 / 20, rel=1e-9)


def test_a_series_with_a_coefficient_for_every_angle_changes_nothing(points):
    phi, data = points(5, contrast=[0.3, 0.2, 0.25, 0.31, 0.27], sigma=0.05)
    gram = data.gram([0.1, 0.2])
    alone, series = (compress(gram, basis=b) for b in (None, FourierReparameterizer(phi).matrix))
    assert series.cost == pytest.approx(alone.cost, rel=1e-10)
    np.testing.assert_allclose(series.contrast, alone.contrast, rtol=1e-9)
    np.testing.assert_allclose(series.hessian, alone.hessian, rtol=1e-8)


@pytest.mark.parametrize(
    "mode, n_phi, n_coef", [("auto", 3, 3), ("auto", 5, 5), ("individual", 20, 20), ("constant", 20, 1)]
)
def test_without_need_or_wish_there_is_no_series(points, mode, n_phi, n_coef):
    """At few angles ``auto`` keeps individual scaling even where it varies smoothly."""
    phi = np.linspace(-170, 170, n_phi)
    contrast = 0.3 + 0.05 * np.cos(np.deg2rad(phi))
    _, data = points(n_phi, contrast=contrast, sigma=0.005)
    controller = AntiDegeneracyController({"per_angle_mode": mode}, analysis_mode="laminar_flow", phi=phi)
    basis = controller.choose_scaling(data.gram([0, 0]), data.count)
    assert basis.n_coef(n_phi) == n_coef


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: FourierReparameterizer([0.0, 90.0, 180.0]), "5 coefficients, but the 3 angles hold only 3"),
        (lambda: FourierReparameterizer(np.arange(5.0), order=0), "order is 0"),
        (
            lambda: FourierReparameterizer(np.arange(5.0)).to_coefficients(np.zeros(5)),
            r"scaling has shape \(5,\); expected \(10,\)",
        ),
        (
            lambda: FourierReparameterizer(np.arange(6.0)).to_scaling(np.zeros(12)),
            r"coefficients has shape \(12,\); expected \(10,\)",
        ),
        (
            lambda: FourierReparameterizer(np.arange(6.0)).to_scaling(np.zeros(10), np.eye(3)),
            r"covariance has shape \(3, 3\); expected \(10, 10\)",
        ),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(DegeneracyError, match=message):
        call()
