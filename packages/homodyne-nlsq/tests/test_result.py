"""The result: its numbers agree with each other, and what is written is what was found."""

import json

import numpy as np
import pytest

from homodyne_nlsq import Curve, DeviceInfo, NLSQConfig, fit_nlsq_jax


@pytest.fixture(scope="module")
def fit(flow):
    return fit_nlsq_jax(flow.data, analysis_mode="laminar_flow")


@pytest.fixture(scope="module")
def bounded(rest):
    """A fit with a fixed parameter and one at its bound, which have no uncertainty."""
    return fit_nlsq_jax(rest.data, {"fixed": {"alpha": -0.45}, "bounds": {"D_offset": (-1e5, 500.0)}})


def test_names_and_order(fit):
    assert fit.names[:2] == ("contrast_0", "contrast_1")
    assert fit.names[5] == "offset_0"
    assert fit.physical_names == (
        "D0",
        "alpha",
        "D_offset",
        "gamma_dot_t0",
        "beta",
        "gamma_dot_t_offset",
        "phi0",
    )
    assert fit.units[10:] == ("Å²/s", "", "Å²/s", "1/s", "", "1/s", "deg")
    assert set(fit.units[:10]) == {""}
    assert fit.parameters.shape == fit.uncertainties.shape == (17,)
    assert fit.covariance.shape == (17, 17)
    assert list(fit.physical.values()) == fit.parameters[10:].tolist()
    assert list(fit.physical_error.values()) == fit.uncertainties[10:].tolist()
    np.testing.assert_array_equal(np.concatenate([fit.contrast, fit.offset]), fit.parameters[:10])
    np.testing.assert_array_equal(
        np.concatenate([fit.contrast_error, fit.offset_error]), fit.uncertainties[:10]
    )
    assert fit.initial.keys() == fit.physical.keys()


def test_uncertainties_are_roots_of_the_covariance(fit):
    np.testing.assert_allclose(fit.uncertainties**2, np.diag(fit.covariance), rtol=1e-12)
    np.testing.assert_allclose(fit.covariance, fit.covariance.T, rtol=1e-9)
    scale = fit.uncertainties
    assert np.linalg.eigvalsh(fit.covariance / np.outer(scale, scale)).min() > 0


def test_the_truth_is_within_the_errors(fit, flow):
    z = (fit.parameters - flow.truth.parameters) / fit.uncertainties
    assert np.abs(z).max() < 4.5
    # Errors that are too large would pass the line above.
    assert (fit.uncertainties[:10] < 0.01).all()
    assert fit.physical_error["phi0"] < 1


def test_curves_are_the_rates_with_propagated_errors(fit, flow):
    t = np.maximum(flow.data.t, flow.data.dt / 2)
    for curve, first, unit in ((fit.diffusion, 0, "Å²/s"), (fit.shear, 3, "1/s")):
        r0, p, offset = fit.parameters[10 + first : 13 + first]
        np.testing.assert_allclose(curve.value, r0 * t**p + offset, rtol=1e-12)
        slope = np.stack([t**p, r0 * t**p * np.log(t), np.ones_like(t)], axis=1)
        block = fit.covariance[10 + first : 13 + first, 10 + first : 13 + first]
        variance = np.einsum("ti,ij,tj->t", slope, block, slope)
        np.testing.assert_allclose(curve.error, np.sqrt(variance), rtol=1e-4)
        assert curve.unit == unit
        np.testing.assert_array_equal(curve.t, flow.data.t)
    assert fit.t_mid == (flow.data.t[0] + flow.data.t[-1]) / 2


def test_a_static_fit_has_no_shear(rest):
    fit = fit_nlsq_jax(rest.data)
    assert fit.shear is None
    assert fit.L == rest.data.L
    assert "shear" not in json.loads(fit.to_json())["curves_at_t_mid"]


def test_curve_at_a_time_inside_and_outside():
    curve = Curve(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0]), np.array([0.1, 0.3, np.nan]), "1/s")
    assert curve.at(0.5) == pytest.approx((2.0, 0.2))
    assert curve.at(0.0) == (1.0, 0.1)
    assert np.isnan(curve.at(2.0)[1])
    for outside in (-0.1, 2.1, np.nan):
        with pytest.raises(ValueError, match="expected 0 to 2 s"):
            curve.at(outside)


def test_fitted_maps_are_the_model(fit, flow, reference):
    data = flow.data
    f, _ = reference.squared_g1(fit.parameters[10:], data.q, data.t, data.phi, data.L)
    expected = fit.offset[:, None, None] + fit.contrast[:, None, None] * f
    fitted = fit.fitted()
    assert fitted.dtype == np.float32
    np.testing.assert_allclose(fitted, expected, rtol=3e-7)
    residuals = fit.residuals(data)
    np.testing.assert_allclose(residuals[data.mask], (data.c2 - expected)[data.mask], atol=1e-6)
    assert np.isnan(residuals[~data.mask]).all()


def test_residuals_of_other_data_are_refused(fit, rest):
    with pytest.raises(ValueError, match=r"data.c2 has shape \(3, 60, 60\); expected \(5, 40, 40\)"):
        fit.residuals(rest.data)


def test_device_info_is_measured(fit):
    info = fit.device_info
    assert isinstance(info, DeviceInfo)
    assert (info.strategy, info.n_chunks, info.fallback_occurred, info.recovery_actions) == (
        "standard",
        1,
        False,
        (),
    )
    assert 0.05 < info.peak_memory_gb < 100


def test_choices_are_recorded(fit, flow):
    assert (fit.analysis_mode, fit.shear_kernel, fit.quadrature) == (
        "laminar_flow",
        "gap_average",
        "trapezoid",
    )
    assert (fit.per_angle_mode, fit.covariance_type, fit.time_origin) == (
        "individual",
        "robust",
        "selection",
    )
    assert (fit.q, fit.L) == (flow.data.q, flow.data.L)
    assert fit.settings["max_iterations"] == 200
    assert {"homodyne-nlsq", "homodyne-model", "jax", "scipy"} <= fit.versions.keys()
    assert fit.provenance["symmetric"] is True
    assert fit.provenance["dropped"]["diagonal"] == 5 * 40


def test_summary_says_what_was_found(fit):
    text = fit.summary()
    assert text.startswith("Converged; quality good. The optimum was reached.")
    for name, value in fit.physical.items():
        [line] = [li for li in text.splitlines() if li.startswith(f"{name} ")]
        assert f"{value:.6g}" in line
        assert "±" in line
    assert f"{fit.n_points:,} points, {fit.dof:,} degrees of freedom" in text
    assert "σ given" in text
    assert all(w in text for w in fit.warnings)


def test_summary_does_not_quote_errors_that_there_are_not(bounded):
    lines = {line.split()[0]: line for line in bounded.summary().splitlines() if line.strip()}
    assert "fixed" in lines["alpha"]
    assert "at its upper bound" in lines["D_offset"]
    assert "±" not in lines["alpha"] + lines["D_offset"]
    assert "±" in lines["D0"]
    assert "nan" not in bounded.summary()


def reject(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_json_is_strict_and_complete(fit, bounded):
    for result in (fit, bounded):
        document = json.loads(result.to_json(), parse_constant=reject)
        assert document["schema"] == "homodyne-nlsq-result"
        assert document["schema_version"] == 3
        assert document["chi_squared"] == result.chi_squared
        assert document["dof"] == result.dof
        assert document["convergence_status"] == result.convergence_status
        assert document["warnings"] == list(result.warnings)
        assert [p["name"] for p in document["physical_parameters"]] == list(result.physical_names)
        assert [p["value"] for p in document["physical_parameters"]] == list(result.physical.values())
        assert [a["phi"] for a in document["angles"]] == result.phi.tolist()
        assert document["angles"][1]["offset"]["value"] == result.offset[1]
        assert document["curves_at_t_mid"]["diffusion"]["value"] == result.diffusion.at(result.t_mid)[0]
    alpha, d_offset = document["physical_parameters"][1:]
    assert alpha["uncertainty"] is None
    assert alpha["fixed"] is True
    assert d_offset["uncertainty"] is None
    assert d_offset["at_bound"] == "upper"
    assert document["settings"]["bounds"]["D_offset"] == [-1e5, 500.0]


def test_infinite_bounds_can_be_written(rest):
    config = NLSQConfig(bounds={"D0": (1.0, np.inf), "alpha": np.array([-np.inf, np.inf])})
    document = json.loads(fit_nlsq_jax(rest.data, config).to_json(), parse_constant=reject)
    assert document["settings"]["bounds"]["alpha"] == [None, None]


def test_save_writes_what_can_be_read_back(fit, flow, tmp_path):
    paths = fit.save(tmp_path / "new" / "folder", flow.data)
    assert paths.keys() == {"result", "arrays"}
    assert json.loads(paths["result"].read_text(encoding="utf-8")) == json.loads(fit.to_json())
    with np.load(paths["arrays"]) as arrays:
        np.testing.assert_array_equal(arrays["parameters"], fit.parameters)
        np.testing.assert_array_equal(arrays["covariance"], fit.covariance)
        np.testing.assert_array_equal(arrays["names"], fit.names)
        np.testing.assert_array_equal(arrays["c2_fitted"], fit.fitted())
        np.testing.assert_array_equal(arrays["residuals"], fit.residuals(flow.data))
        np.testing.assert_array_equal(arrays["shear_error"], fit.shear.error)
        assert all(array.dtype != object for array in arrays.values())
    assert sorted(p.name for p in paths["result"].parent.iterdir()) == ["arrays.npz", "result.json"]


def test_save_refuses_to_replace_and_writes_nothing_then(fit, bounded, tmp_path):
    (tmp_path / "arrays.npz").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="arrays.npz exists; pass overwrite=True"):
        fit.save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["arrays.npz"]
    assert (tmp_path / "arrays.npz").read_bytes() == b"precious"
    fit.save(tmp_path, overwrite=True)
    bounded.save(tmp_path, overwrite=True)
    assert json.loads((tmp_path / "result.json").read_text())["analysis_mode"] == "static_isotropic"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["arrays.npz", "result.json"]


def test_save_with_other_data_leaves_no_folder(fit, rest, tmp_path):
    with pytest.raises(ValueError, match="the maps that were fitted"):
        fit.save(tmp_path / "out", rest.data)
    assert not (tmp_path / "out").exists()


def test_progress_is_told(rest):
    told = []
    fit = fit_nlsq_jax(rest.data, progress=lambda *args: told.append(args))
    stages = [stage for stage, *_ in told]
    assert set(stages) == {"start values", "fit", "error bars"}
    assert stages[-1] == "error bars"
    assert stages.index("fit") > 0
    final = [args for args in told if args[0] == "fit"]
    assert [passes for _, passes, _, _ in final] == list(range(1, fit.iterations + 1))
    costs = [cost for _, _, cost, _ in final]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == pytest.approx(fit.chi_squared, rel=1e-12)
    assert all(isinstance(message, str) for *_, message in told)
