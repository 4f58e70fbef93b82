"""Both kinds of error bars in a result, and profile-likelihood intervals."""

import json

import jax
import numpy as np
import pytest

from homodyne_data import TwoTimeData
from homodyne_model import (
    ClusterWindow,
    clustered_meat,
    compress,
    decay_frames,
    frame_grams,
    joint_covariance,
    normal_equations,
)
from homodyne_model.testing import colloid
from homodyne_nlsq import LargeDatasetExecutor, fit_nlsq_jax


@pytest.fixture(scope="module")
def fit(rest):
    return fit_nlsq_jax(rest.data)


def test_the_robust_covariance_is_that_of_its_parts(fit, rest):
    """Put together by hand from the functions of homodyne-model, which have tests of their own."""
    data, truth = rest.data, rest.truth
    physical = fit.parameters[-3:]
    with jax.enable_x64(True):
        gram = np.asarray(normal_equations(truth.model, physical, data.c2)) / 0.02**2
        window = ClusterWindow.of(decay_frames(truth.model, physical), data.n_t)
        by_frame = np.asarray(frame_grams(truth.model, physical, data.c2, block=window.block)) / 0.02**2
    at, free = compress(gram), np.ones(3, dtype=bool)
    usual = joint_covariance(gram, at, free)
    meat = clustered_meat(by_frame, at.contrast, at.offset, usual.determined, window)
    robust = joint_covariance(gram, at, free, meat=meat.matrix).quoted()
    np.testing.assert_allclose(fit.covariances["hessian"], usual.quoted(), rtol=1e-9)
    np.testing.assert_allclose(fit.covariances["robust"], robust, rtol=1e-9)
    np.testing.assert_array_equal(fit.covariance, fit.covariances["robust"])
    np.testing.assert_allclose(fit.cluster_window, window.frames * 0.1)


def test_both_are_in_the_file_with_their_ratio(fit, rest, tmp_path):
    document = json.loads(fit.to_json())
    for k, entry in enumerate(document["physical_parameters"]):
        robust, usual = entry["uncertainty_robust"], entry["uncertainty_hessian"]
        assert (
            entry["uncertainty"] == robust == pytest.approx(np.sqrt(fit.covariances["robust"][6 + k, 6 + k]))
        )
        assert (
            entry["robust_over_hessian"]
            == pytest.approx(robust / usual)
            == pytest.approx(fit.error_ratio[6 + k])
        )
    arrays = np.load(fit.save(tmp_path / "out", rest.data)["arrays"])
    for kind in ("robust", "hessian"):
        np.testing.assert_array_equal(arrays[f"covariance_{kind}"], fit.covariances[kind])
    assert "from scores clustered by frame" in fit.summary()


def test_the_usual_ones_on_request(fit, rest):
    usual = fit_nlsq_jax(rest.data, {"covariance_type": "hessian"})
    np.testing.assert_array_equal(usual.parameters, fit.parameters)
    np.testing.assert_allclose(usual.covariance, fit.covariances["hessian"], rtol=1e-12)
    np.testing.assert_allclose(usual.covariances["robust"], fit.covariances["robust"], rtol=1e-12)
    assert "points taken for independent" in usual.summary()
    ratio = fit.diffusion.error / usual.diffusion.error
    assert (np.abs(ratio - 1) > 1e-3).any()


@pytest.mark.parametrize("settings", [{}, {"loss": "huber"}, {"angle_weights": [0.5, 1.0, 2.0]}])
def test_chunks_and_the_whole_have_the_same(rest, settings):
    whole = fit_nlsq_jax(rest.data, settings)
    chunks = LargeDatasetExecutor(chunk_points=700).fit(rest.data, settings)
    np.testing.assert_allclose(chunks.covariances["robust"], whole.covariances["robust"], rtol=1e-4)


def test_a_parameter_at_a_bound_leaves_both(rest):
    bounded = fit_nlsq_jax(rest.data, {"bounds": {"alpha": (-0.3, 0.0)}})
    assert bounded.at_bound[-2] == "lower"
    for matrix in bounded.covariances.values():
        assert np.isnan(matrix[-2]).all()
        assert np.isfinite(matrix[-1, -1])
    assert np.isnan(bounded.error_ratio[-2])


def test_a_measurement_that_repeats_too_little_says_so():
    truth = colloid(1, 12)._replace(physical=np.array([4e3, 0.0, 0.0]))
    model = truth.model
    data = TwoTimeData(truth.noisy_maps(0.01, seed=1), model.phi, model.t, model.q)
    found = fit_nlsq_jax(data)
    assert any("the measurement repeats too little" in w for w in found.warnings)


def chi_squared_along(data, name, value, best, **settings):
    """χ² of a fit of its own with the parameter fixed there."""
    start = best.physical | {name: value}
    return fit_nlsq_jax(data, {"fixed": {name: value}, "initial": start, **settings}).chi_squared


def test_profile_limits_are_where_a_fit_with_the_parameter_fixed_says(rest):
    settings = {"covariance_type": "hessian", "fixed": {}}
    best = fit_nlsq_jax(rest.data, settings | {"profile": ["alpha"]})
    one, two = best.profiles
    assert (one.name, one.level, two.level, one.note) == ("alpha", 0.683, 0.95, "")
    for interval, z in ((one, 1.0), (two, 1.95996)):
        for limit in (interval.lower, interval.upper):
            gained = chi_squared_along(rest.data, "alpha", limit, best, covariance_type="hessian")
            assert np.sqrt(gained - best.chi_squared) == pytest.approx(z, rel=0.02)
    assert two.lower < one.lower < best.physical["alpha"] < one.upper < two.upper
    # The limits know what the error bar cannot: here the valley bends.
    error = best.physical_error["alpha"]
    assert one.upper - one.lower == pytest.approx(2 * error, rel=0.5)
    assert "by profile likelihood" in best.summary()


@pytest.mark.parametrize(
    "settings", [{}, {"loss": "huber", "f_scale": 0.5}, {"angle_weights": [0.2, 1.0, 3.0]}]
)
def test_near_a_parabola_the_interval_is_the_error_bar(as_data, settings):
    truth = colloid(3, 60)._replace(physical=np.array([1e4, 0.0, 0.0]))
    found = fit_nlsq_jax(
        as_data(truth, sigma=0.005),
        {"fixed": {"alpha": 0.0, "D_offset": 0.0}, "profile": ("all",), **settings},
    )
    one = found.profiles[0]
    assert (one.upper - one.lower) / 2 == pytest.approx(found.physical_error["D0"], rel=0.02)
    assert all("was fixed, so it has no profile" in p.note for p in found.profiles[2:])
    json.loads(found.to_json())


def test_an_interval_that_the_data_leave_open(as_data):
    """Around a constant rate the exponent has no limit, and the profile says so instead of a number."""
    truth = colloid(3, 60)._replace(physical=np.array([1e4, 0.0, 0.0]))
    found = fit_nlsq_jax(as_data(truth, sigma=0.03), {"profile": ["alpha"]})
    two = found.profiles[1]
    assert np.isinf([two.lower, two.upper]).any()
    assert "the data set no limit" in two.note
    assert json.loads(found.to_json())["profile_likelihood"][1]["note"] == two.note


def test_a_fit_that_did_not_converge_has_no_profile_and_says_so(rest):
    stopped = fit_nlsq_jax(
        rest.data,
        {"max_iterations": 1, "initial": {"D0": 2e4, "alpha": 0.2, "D_offset": 0.0}, "profile": ["D0"]},
    )
    assert not stopped.success
    assert stopped.profiles == ()
    assert any("No profile-likelihood intervals were computed" in w for w in stopped.warnings)
