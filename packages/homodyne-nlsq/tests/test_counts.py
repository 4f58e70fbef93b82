"""Points, degrees of freedom and reduced χ² on data of every kind: counted one by one, and where noise of known size must put them."""

import numpy as np
import pytest

from homodyne_data import TwoTimeData
from homodyne_model.testing import colloid, rheometer_flow
from homodyne_nlsq import fit_nlsq_jax

N_PHI, N_T = 5, 40


def counted(maps, symmetric, good_frames, good_pairs):
    """Points that count, one after the other."""
    n = 0
    for a in range(len(maps)):
        for i in range(N_T):
            for j in range(N_T):
                if i == j or (symmetric and i < j):
                    continue
                if not (good_frames[i] and good_frames[j] and good_pairs[a, i, j]):
                    continue
                if symmetric and not good_pairs[a, j, i]:
                    continue
                n += bool(np.isfinite(maps[a, i, j]))
    return n


KINDS = {
    "symmetric": {},
    "bad frames": {"frames"},
    "missing pairs": {"missing"},
    "masked pairs": {"pairs"},
    "all of them": {"frames", "missing", "pairs", "map"},
    "sigma per angle": {"angle"},
    "sigma map": {"map"},
    "independent triangles": {"asymmetric"},
    "independent triangles with everything": {"asymmetric", "frames", "missing", "pairs", "map"},
}


def measured(truth, kind, seed):
    """Maps with gaps and noise of the given kind, and what was done to them."""
    rng = np.random.default_rng(seed)
    shape = (N_PHI, N_T, N_T)
    sigma = np.full(shape, 0.02)
    if "angle" in kind:
        sigma *= rng.uniform(0.5, 2, (N_PHI, 1, 1))
    if "map" in kind:
        sigma *= rng.uniform(0.5, 2, shape)
    noise = sigma * rng.standard_normal(shape)
    symmetric = "asymmetric" not in kind
    if symmetric:
        sigma = np.tril(sigma) + np.tril(sigma, -1).swapaxes(1, 2)
        noise = np.tril(noise, -1) + np.tril(noise, -1).swapaxes(1, 2)
    maps = truth.maps() + noise
    if "missing" in kind:
        for a, i, j in rng.integers(0, [N_PHI, N_T, N_T], (200, 3)):
            maps[a, i, j] = np.nan
            if symmetric:
                maps[a, j, i] = np.nan
    frames, pairs = np.ones(N_T, dtype=bool), np.ones(shape, dtype=bool)
    if "frames" in kind:
        frames[[0, 7, 31]] = False
    if "pairs" in kind:
        pairs = rng.random(shape) > 0.1
    given = sigma[:, 1, 0] if "map" not in kind else sigma
    if np.ptp(given) == 0:
        given = 0.02
    data = TwoTimeData(
        maps,
        truth.model.phi,
        truth.model.t,
        truth.model.q,
        truth.model.L,
        sigma=given,
        good_frames=frames if "frames" in kind else None,
        good_pairs=pairs if "pairs" in kind else None,
    )
    assert data.symmetric == symmetric
    return data, counted(maps, symmetric, frames, pairs)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("mode, n_physical", [("static", 3), ("laminar_flow", 7)])
def test_points_degrees_of_freedom_and_reduced_chi_squared(kind, mode, n_physical):
    truth = colloid(N_PHI, N_T) if mode == "static" else rheometer_flow(N_PHI, N_T)
    data, expected = measured(truth, kind, seed=len(kind) + n_physical)
    result = fit_nlsq_jax(
        data,
        {
            "analysis_mode": mode,
            "initial": dict(zip(truth.model.layout.physical_names, truth.physical.tolist(), strict=True)),
        },
    )
    assert result.n_points == expected
    assert result.dof == expected - 2 * N_PHI - n_physical
    assert result.reduced_chi_squared == pytest.approx(result.chi_squared / result.dof, rel=1e-12)
    assert abs(result.reduced_chi_squared - 1) < 5 * np.sqrt(2 / result.dof)
    assert result.convergence_status == "converged"


@pytest.mark.parametrize(
    "settings, n_fitted",
    [
        ({}, 13),
        ({"per_angle_scaling": False}, 5),
        ({"fixed": {"alpha": -0.45}}, 12),
        ({"fixed": {"contrast": 0.3}}, 8),
        ({"fixed": {"contrast_0": 0.3, "offset": 1.1}}, 7),
        ({"per_angle_scaling": False, "fixed": {"offset": 1.1, "alpha": -0.45, "D_offset": 0.0}}, 2),
        # A parameter that ends at a bound was fitted.
        ({"bounds": {"contrast": (0.0, 0.1)}}, 13),
    ],
)
def test_degrees_of_freedom_count_what_was_fitted(settings, n_fitted):
    data, n_points = measured(colloid(N_PHI, N_T), set(), seed=3)
    assert fit_nlsq_jax(data, settings).dof == n_points - n_fitted


def test_chi_squared_is_that_of_the_residuals(flow):
    for data in (
        flow.data,
        measured(rheometer_flow(N_PHI, N_T), KINDS["independent triangles with everything"], 5)[0],
    ):
        result = fit_nlsq_jax(data, analysis_mode="laminar_flow")
        residuals = result.residuals(data)
        np.testing.assert_array_equal(np.isfinite(residuals), data.mask)
        sigma = np.broadcast_to(data.sigma, data.c2.shape)
        chi_squared = np.nansum((residuals / sigma) ** 2, dtype=float)
        assert chi_squared == pytest.approx(result.chi_squared, rel=1e-5)


def test_a_wrong_sigma_shows_in_the_reduced_chi_squared(rest):
    result = fit_nlsq_jax(rest.data.with_sigma(0.01))
    assert result.reduced_chi_squared == pytest.approx(4, rel=0.1)
    assert result.quality_flag == "marginal"
    assert any("residuals are larger than the given σ" in w for w in result.warnings)
    result = fit_nlsq_jax(rest.data.with_sigma(0.005))
    assert result.reduced_chi_squared > 5
    assert result.quality_flag == "poor"
    assert result.success
    result = fit_nlsq_jax(rest.data.with_sigma(0.06))
    assert any("residuals are smaller than the given σ" in w for w in result.warnings)
