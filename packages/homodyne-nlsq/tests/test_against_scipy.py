"""The same problem solved by SciPy on the full residual, with every contrast and offset among the variables."""

import numpy as np
import pytest

from homodyne_data import TwoTimeData
from homodyne_model.testing import colloid, rheometer_flow
from homodyne_nlsq import fit_nlsq_jax

SIGMA = 0.005


def lower_triangle(n_phi, n_t):
    return np.broadcast_to(np.tri(n_t, k=-1, dtype=bool), (n_phi, n_t, n_t)).copy()


def assert_same(result, expected):
    """Parameters to 1e-3 standard errors, χ² to 1e-9, standard errors of independent points to 1e-4, the same ones without an error."""
    errors = np.sqrt(np.diag(result.covariances["hessian"]))
    assert expected.distance < 1e-4, "the reference did not reach its optimum"
    assert result.chi_squared == pytest.approx(expected.chi_squared, rel=1e-9)
    for found in (errors, result.uncertainties):
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected.errors))
    known = np.isfinite(expected.errors)
    np.testing.assert_allclose(errors[known], expected.errors[known], rtol=1e-4)
    off = np.abs(result.parameters - expected.parameters)
    assert (off[known] / expected.errors[known]).max() < 1e-3
    np.testing.assert_allclose(result.parameters[~known], expected.parameters[~known], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n_phi, n_t", [(5, 40), (23, 40)])
def test_laminar_flow(reference, as_data, n_phi, n_t):
    truth = rheometer_flow(n_phi, n_t)
    data = as_data(truth, sigma=SIGMA)
    result = fit_nlsq_jax(data, analysis_mode="laminar_flow")
    assert result.parameters.size == 2 * n_phi + 7
    expected = reference.fit(data, lower_triangle(n_phi, n_t), SIGMA, truth.parameters)
    assert_same(result, expected)


def test_static(reference, as_data):
    truth = colloid(3, 60)
    data = as_data(truth, sigma=SIGMA)
    assert_same(fit_nlsq_jax(data), reference.fit(data, lower_triangle(3, 60), SIGMA, truth.parameters))


def test_homodyne2_kernel(reference, as_data):
    truth = rheometer_flow(5, 40, shear_kernel="homodyne2")
    data = as_data(truth, sigma=SIGMA)
    result = fit_nlsq_jax(data, {"analysis_mode": "laminar_flow", "shear_kernel": "homodyne2"})
    expected = reference.fit(data, lower_triangle(5, 40), SIGMA, truth.parameters, kernel="homodyne2")
    assert_same(result, expected)


def test_one_contrast_and_offset_for_all_angles(reference, as_data):
    truth = rheometer_flow(5, 40)._replace(contrast=np.full(5, 0.3), offset=np.full(5, 1.1))
    data = as_data(truth, sigma=SIGMA)
    result = fit_nlsq_jax(data, {"analysis_mode": "laminar_flow", "per_angle_scaling": False})
    expected = reference.fit(data, lower_triangle(5, 40), SIGMA, truth.parameters, common=True)
    assert_same(result, expected)
    assert np.ptp(result.contrast) == np.ptp(result.offset) == 0
    assert result.dof == data.n_points - 9


@pytest.mark.parametrize("shape", ["angle", "map"])
def test_sigma_that_differs(reference, as_data, shape):
    truth = colloid(3, 60)
    rng = np.random.default_rng(3)
    sigma = rng.uniform(0.01, 0.05, 3 if shape == "angle" else (3, 60, 60))
    full = (
        np.broadcast_to(sigma[:, None, None], (3, 60, 60))
        if shape == "angle"
        else np.tril(sigma) + np.tril(sigma, -1).swapaxes(1, 2)
    )
    noise = np.tril(full * rng.standard_normal(full.shape), -1)
    maps = truth.maps() + noise + noise.swapaxes(1, 2)
    data = as_data(truth, maps=maps, sigma=sigma if shape == "angle" else full)
    expected = reference.fit(data, lower_triangle(3, 60), full, truth.parameters)
    assert_same(fit_nlsq_jax(data), expected)


def test_sigma_estimated_scales_the_errors_by_the_scatter_of_the_residuals(reference, as_data):
    truth = colloid(3, 60)
    data = as_data(truth, sigma=SIGMA, given=False)
    result = fit_nlsq_jax(data)
    sigma = data.with_estimated_sigma().sigma[:, None, None]
    expected = reference.fit(data, lower_triangle(3, 60), sigma, truth.parameters, rescale=True)
    assert result.sigma_source == "estimated"
    assert_same(result, expected)


@pytest.mark.parametrize("sigma", ["number", "map"])
def test_independent_triangles_both_count(reference, as_data, sigma):
    truth = rheometer_flow(5, 40)
    rng = np.random.default_rng(4)
    noise_sd = np.full((5, 40, 40), SIGMA) if sigma == "number" else rng.uniform(0.01, 0.05, (5, 40, 40))
    maps = truth.maps() + noise_sd * rng.standard_normal(noise_sd.shape)
    maps[1, 3, 20] = maps[2, 20, 4] = np.nan
    good_frames = np.ones(40, dtype=bool)
    good_frames[[5, 17]] = False
    data = as_data(truth, maps=maps, sigma=SIGMA if sigma == "number" else noise_sd, good_frames=good_frames)
    assert not data.symmetric
    mask = ~np.eye(40, dtype=bool) & good_frames[:, None] & good_frames & np.isfinite(maps)
    result = fit_nlsq_jax(data, analysis_mode="laminar_flow")
    expected = reference.fit(data, mask, noise_sd, truth.parameters)
    assert_same(result, expected)
    assert result.n_points == mask.sum()
    assert result.dof == mask.sum() - 17


def test_independent_triangles_without_a_gap(reference, as_data):
    truth = colloid(3, 60)
    maps = truth.maps() + SIGMA * np.random.default_rng(9).standard_normal((3, 60, 60))
    sigma = np.array([0.005, 0.006, 0.004])
    data = as_data(truth, maps=maps, sigma=sigma)
    mask = np.broadcast_to(~np.eye(60, dtype=bool), maps.shape)
    expected = reference.fit(data, mask, sigma[:, None, None], truth.parameters)
    assert_same(fit_nlsq_jax(data), expected)


def test_masked_frames_pairs_and_missing_values(reference, as_data):
    truth = colloid(3, 60)
    maps = truth.noisy_maps(SIGMA, seed=6)
    rng = np.random.default_rng(7)
    for a, i, j in rng.integers(0, [3, 60, 60], (60, 3)):
        maps[a, i, j] = maps[a, j, i] = rng.choice([np.nan, np.inf])
    good_frames = rng.random(60) > 0.1
    good_pairs = rng.random((3, 60, 60)) > 0.05
    data = as_data(
        truth, maps=maps, good_frames=good_frames, good_pairs=good_pairs, symmetric=True, sigma=SIGMA
    )
    mask = lower_triangle(3, 60) & good_frames[:, None] & good_frames & np.isfinite(maps)
    mask &= good_pairs & good_pairs.swapaxes(1, 2)
    result = fit_nlsq_jax(data)
    assert result.n_points == mask.sum()
    assert_same(result, reference.fit(data, mask, SIGMA, truth.parameters))


def test_fixed_physical_parameters(reference, as_data):
    truth = rheometer_flow(5, 40)
    data = as_data(truth, sigma=SIGMA)
    held = {"alpha": -1.3, "gamma_dot_t_offset": -2.5e-4}
    start = truth.parameters
    start[10 + 1], start[10 + 5] = held.values()
    result = fit_nlsq_jax(data, {"analysis_mode": "laminar_flow", "fixed": held})
    assert_same(result, reference.fit(data, lower_triangle(5, 40), SIGMA, start, fixed=(11, 15)))
    assert result.dof == result.n_points - 15
    assert result.physical["alpha"] == -1.3


def test_fixed_scaling(reference, as_data):
    truth = colloid(3, 60)
    data = as_data(truth, sigma=SIGMA)
    start = truth.parameters
    start[1], start[3:6] = 0.31, (1.105, 1.106, 1.108)
    fixed = {"contrast_1": 0.31, "offset_0": 1.105, "offset_1": 1.106, "offset_2": 1.108}
    result = fit_nlsq_jax(data, {"fixed": fixed})
    assert_same(result, reference.fit(data, lower_triangle(3, 60), SIGMA, start, fixed=(1, 3, 4, 5)))
    assert result.dof == result.n_points - 5


# Index in the full vector of a flow at 5 angles, and a box that cuts the optimum off on one side.
ACTIVE = {
    "contrast of one angle, upper": ({"contrast_2": (0.1, 0.28)}, {2: (0.1, 0.28)}, {2: "upper"}),
    "contrast of one angle, lower": ({"contrast_4": (0.33, 0.9)}, {4: (0.33, 0.9)}, {4: "lower"}),
    "offset of one angle": ({"offset_0": (1.15, 1.5)}, {5: (1.15, 1.5)}, {5: "lower"}),
    "both of one angle": (
        {"offset_3": (1.0, 1.09), "contrast_3": (0.1, 0.25)},
        {8: (1.0, 1.09), 3: (0.1, 0.25)},
        {8: "upper", 3: "upper"},
    ),
    "D_offset, lower": ({"D_offset": (3000.0, 1e5)}, {12: (3000.0, 1e5)}, {12: "lower"}),
    "D_offset, upper": ({"D_offset": (-1e5, 0.0)}, {12: (-1e5, 0.0)}, {12: "upper"}),
    "alpha": ({"alpha": (-1.2, 2.0)}, {11: (-1.2, 2.0)}, {11: "lower"}),
    "D0": ({"D0": (1.0, 6e4)}, {10: (1.0, 6e4)}, {10: "upper"}),
    "phi0": ({"phi0": (3.0, 40.0)}, {16: (3.0, 40.0)}, {16: "lower"}),
    "diffusion and shear": (
        {"D_offset": (3000.0, 1e5), "gamma_dot_t0": (1e-6, 7e-4)},
        {12: (3000.0, 1e5), 13: (1e-6, 7e-4)},
        {12: "lower", 13: "upper"},
    ),
    "scaling and diffusion": (
        {"D_offset": (-1e5, 500.0), "contrast_2": (0.1, 0.28)},
        {12: (-1e5, 500.0), 2: (0.1, 0.28)},
        {12: "upper", 2: "upper"},
    ),
}


@pytest.mark.parametrize(
    "named, indexed, ends, start",
    [(*case, "data") for case in ACTIVE.values()] + [(*ACTIVE[k], "truth") for k in ("D_offset, lower",)],
    ids=[*ACTIVE, "D_offset, lower, from near"],
)
def test_active_bounds(reference, as_data, named, indexed, ends, start):
    truth = rheometer_flow(5, 40)
    data = as_data(truth, sigma=SIGMA)
    initial = (
        dict(zip(truth.model.layout.physical_names, truth.physical.tolist(), strict=True))
        if start == "truth"
        else {}
    )
    for name, (low, high) in named.items():
        if name in initial:
            inset = 0.02 * (high - low)
            initial[name] = float(np.clip(initial[name], low + inset, high - inset))
    result = fit_nlsq_jax(data, {"analysis_mode": "laminar_flow", "bounds": named, "initial": initial})
    assert {k: b for k, b in enumerate(result.at_bound) if b} == ends
    assert result.convergence_status == "converged"
    assert result.quality_flag != "good"
    defaults = dict.fromkeys(range(5), (0.0, 1.0)) | {5 + k: (0.5, 1.5) for k in range(5)}
    expected = reference.fit(data, lower_triangle(5, 40), SIGMA, truth.parameters, bounds=defaults | indexed)
    assert_same(result, expected)


def test_single_precision_maps_lose_no_digit_of_the_sums(reference, as_data):
    truth = rheometer_flow(5, 40)
    double = as_data(truth, sigma=SIGMA)
    data = TwoTimeData(double.c2.astype(np.float32), double.phi, double.t, double.q, double.L, sigma=SIGMA)
    result = fit_nlsq_jax(data, analysis_mode="laminar_flow")
    assert_same(result, reference.fit(data, lower_triangle(5, 40), SIGMA, truth.parameters))


def test_a_narrow_valley_that_falls_is_no_optimum(as_data):
    """Near beta = 0 the valley of power and offset is so narrow that its floor looks flat: the start lies in it."""
    truth = rheometer_flow(5, 40)
    data = as_data(truth, sigma=SIGMA)
    initial = dict(zip(truth.model.layout.physical_names, truth.physical.tolist(), strict=True)) | {
        "beta": -0.058
    }
    settings = {"analysis_mode": "laminar_flow", "bounds": {"beta": (-0.1, 2.0)}}
    best = fit_nlsq_jax(data, settings)
    assert best.at_bound[14] == "lower"
    fit = fit_nlsq_jax(data, settings | {"initial": initial})
    assert fit.convergence_status != "converged" or fit.chi_squared <= best.chi_squared * (1 + 1e-6)
