"""Clustered scores against explicit loops over pairs of points, and their error bars where the noise is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homodyne_model import (
    ClusterWindow,
    ModelError,
    TwoTimeModel,
    clustered_meat,
    compress,
    decay_frames,
    frame_grams,
    joint_covariance,
    joint_information,
    map_c2,
    map_g1,
    normal_equations,
    with_angle_weights,
)
from homodyne_model._clustered import _LARGEST_LEVERAGE
from homodyne_model.testing import colloid, rheometer_flow


def optimum(made, c2, weights=None):
    """Gram matrices, scaling and inverse curvature at the true physical parameters."""
    gram = np.asarray(normal_equations(made.model, made.physical, c2, weights))
    fit = compress(gram)
    return gram, fit, joint_covariance(gram, fit, np.ones(made.model.n_physical, dtype=bool))


def meat_of(made, c2, window, weights=None, angle_weight=1.0):
    gram, fit, covariance = optimum(made, c2, weights)
    weight = np.broadcast_to(angle_weight, made.model.n_phi)
    gram = with_angle_weights(gram, weight)
    fit = compress(gram)
    covariance = joint_covariance(gram, fit, np.ones(made.model.n_physical, dtype=bool))
    grams = frame_grams(made.model, made.physical, c2, weights, block=window.block)
    grams = np.asarray(grams) * weight[:, None, None, None, None]
    return (
        gram,
        fit,
        covariance,
        clustered_meat(grams, fit.contrast, fit.offset, covariance.determined, window),
    )


def points_of(made, fit, c2, weights):
    """Scores (n_points, size), curvatures (n_points, size, size), angle and frames of every point."""
    model, n_phi = made.model, made.model.n_phi
    parameters = jnp.asarray(np.concatenate([fit.contrast, fit.offset, made.physical]))

    def c2_of(p):
        return map_c2(model, p[2 * n_phi :], p[:n_phi], p[n_phi : 2 * n_phi])

    slope, value = np.asarray(jax.jacfwd(c2_of)(parameters)), np.asarray(c2_of(parameters))
    use = np.isfinite(c2) & np.tri(model.n_t, k=-1, dtype=bool) & (weights > 0)
    jacobian, w = slope[use], weights[use]
    score = jacobian * (w * (value - c2)[use])[:, None]
    return score, w[:, None, None] * jacobian[:, :, None] * jacobian[:, None, :], *np.nonzero(use)


@pytest.mark.parametrize("kind", ["static", "flow"])
def test_the_meat_is_the_jackknife_over_moving_windows(kind):
    n_t = 21 if kind == "static" else 13
    made = colloid(2, n_t) if kind == "static" else rheometer_flow(3, n_t)
    rng = np.random.default_rng(3)
    c2 = made.noisy_maps(0.05, seed=4)
    c2[rng.random(c2.shape) < 0.1] = np.nan
    weights = rng.exponential(size=c2.shape) + 0.1
    angle_weight = np.array([1.0, 3.0, 0.5])[: made.model.n_phi]
    window = ClusterWindow(2, np.array([1, 2, 3])[: made.model.n_phi])
    _, fit, covariance, meat = meat_of(made, c2, window, weights, angle_weight)

    weights = weights * angle_weight[:, None, None]
    score, curvature, angle, later, earlier = points_of(made, fit, c2, weights)
    v = covariance.determined
    expected, leverage = np.zeros(v.shape), 0.0
    for a in range(made.model.n_phi):
        width = window.n_blocks[a]
        for frame in (later, earlier):
            for first in range(1 - width, n_t // 2 + 1):
                inside = (angle == a) & (frame // 2 >= first) & (frame // 2 < first + width)
                h = curvature[inside].sum(axis=0)
                leverage = max(leverage, np.linalg.eigvals(h @ v).real.max())
                without = np.linalg.solve(np.eye(len(v)) - h @ v, score[inside].sum(axis=0))
                expected += without[:, None] * without / (2 * width)
    assert leverage < _LARGEST_LEVERAGE
    np.testing.assert_allclose(meat.leverage, leverage, rtol=1e-8)
    size = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(meat.matrix / size / size[:, None], expected / size / size[:, None], atol=1e-7)


def test_frames_of_windows_weigh_like_bartletts_kernel():
    """Without leverage (V = 0): the sum over pairs of points, each counted by how near its frames are."""
    made = colloid(1, 12)
    c2, width = made.noisy_maps(0.05, seed=1), 4
    _, fit, _ = optimum(made, c2)
    grams = frame_grams(made.model, made.physical, c2, block=1)
    window = ClusterWindow(1, np.array([width]))
    meat = clustered_meat(grams, fit.contrast, fit.offset, np.zeros((5, 5)), window)
    score, _, _, later, earlier = points_of(made, fit, c2, np.ones(c2.shape))
    expected = np.zeros((5, 5))
    for frame in (later, earlier):
        kernel = np.maximum(0, 1 - np.abs(frame[:, None] - frame) / width) / 2
        expected += score.T @ kernel @ score
    size = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(
        meat.matrix / size / size[:, None], expected / size / size[:, None], atol=1e-10
    )


def test_positive_semi_definite_and_symmetric():
    made = rheometer_flow(4, 40)
    window = ClusterWindow.of(decay_frames(made.model, made.physical), 40)
    _, _, _, meat = meat_of(made, made.noisy_maps(0.05, seed=2), window)
    np.testing.assert_array_equal(meat.matrix, meat.matrix.T)
    size = np.sqrt(np.diag(meat.matrix))
    assert np.linalg.eigvalsh(meat.matrix / size / size[:, None])[0] > -1e-12


def test_the_scale_of_the_weights_does_not_matter():
    made = rheometer_flow(3, 40)
    c2 = made.noisy_maps(0.05, seed=3)
    window = ClusterWindow(3, np.array([3, 2, 4]))
    free, errors = np.ones(7, dtype=bool), []
    for weight in (1.0, 400.0):
        gram, fit, _, meat = meat_of(made, c2, window, angle_weight=weight)
        covariance = joint_covariance(gram, fit, free, meat=meat.matrix).determined
        errors.append(np.sqrt(np.diag(covariance)))
    np.testing.assert_allclose(errors[0], errors[1], rtol=1e-6)


def test_parameters_that_do_not_vary_leave_the_others_alone():
    """Held at their values, they are as if the model did not have them."""
    n_t = 40
    t = 0.1 * np.arange(n_t)
    model = TwoTimeModel("static", 0.0054, t, [0.0, 90.0])
    truth = np.array([2e4, 0.0, 0.0])
    rng = np.random.default_rng(7)
    c2 = np.asarray(map_c2(model, truth, np.full(2, 0.3), np.ones(2))) + 0.05 * rng.normal(size=(2, n_t, n_t))
    window = ClusterWindow(2, np.array([3, 3]))
    grams = np.asarray(frame_grams(model, truth, c2, block=2))
    errors = []
    for keep in ([0, 1, 2, 3, 4, 5], [0, 3, 4, 5]):
        small = grams[..., keep, :][..., keep]
        whole = small[:, 0].sum(axis=1)
        fit = compress(whole)
        free = np.arange(len(keep) - 3) == 0
        v = joint_covariance(whole, fit, free).determined
        meat = clustered_meat(small, fit.contrast, fit.offset, v, window)
        covariance = joint_covariance(whole, fit, free, meat=meat.matrix).determined
        errors.append(np.sqrt(np.diag(covariance))[:5])
    np.testing.assert_allclose(errors[0], errors[1], rtol=1e-9)


def test_leverage_near_one_is_limited():
    """Only the first frames of the one angle have data: one window holds all that is known."""
    made = colloid(1, 60)
    c2 = made.noisy_maps(0.05, seed=1)
    c2[:, 8:] = np.nan
    _, _, _, meat = meat_of(made, c2, ClusterWindow(4, np.array([3])))
    np.testing.assert_allclose(meat.leverage, 1.0, rtol=1e-6)
    assert np.isfinite(meat.matrix).all()


def ratio_for_independent_noise(model, physical, contrast, n_replicates):
    """Clustered over usual standard errors of fits to maps with independent noise, root mean square over replicates."""
    n_phi, sigma, rng = model.n_phi, 0.02, np.random.default_rng(5)
    free = np.ones(model.n_physical, dtype=bool)
    clean = np.asarray(map_c2(model, physical, np.full(n_phi, contrast), np.ones(n_phi)))
    window = ClusterWindow.of(decay_frames(model, physical), model.n_t)
    ratios = []
    for _ in range(n_replicates):
        c2, estimate = clean + sigma * rng.normal(size=clean.shape), physical
        for _ in range(3):
            gram = np.asarray(normal_equations(model, estimate, c2))
            fit = compress(gram)
            v = joint_covariance(gram, fit, free).determined
            best, estimate = estimate, estimate - v[2 * n_phi :, 2 * n_phi :] @ fit.gradient
        grams = frame_grams(model, best, c2, block=window.block)
        meat = clustered_meat(grams, fit.contrast, fit.offset, v, window)
        ratios.append(np.diag(v @ meat.matrix @ v) / np.diag(v) / sigma**2)
    return np.sqrt(np.mean(ratios, axis=0))


def test_independent_noise_gives_the_usual_error_bars():
    """Some 100 decay times: what the correction for leverage adds is small."""
    t = 0.1 * np.arange(300)
    model = TwoTimeModel("static", 0.0054, t, np.linspace(0.0, 150.0, 6))
    ratio = ratio_for_independent_noise(model, np.array([4e5, -0.4, 2e4]), 0.3, 60)
    assert 0.95 < ratio.mean() < 1.05
    assert (np.abs(ratio[-3:] - 1) < 0.05).all()


def test_independent_noise_in_a_few_decay_times_gives_somewhat_larger_error_bars():
    """The price of error bars that cover where the noise is that of speckles: 3 decay times, 4 windows."""
    t = 0.1 * np.arange(100)
    model = TwoTimeModel("static", 0.0054, t, np.linspace(0.0, 150.0, 6))
    ratio = ratio_for_independent_noise(model, np.array([1.2e4, -0.4, 1e3]), 0.3, 60)
    assert 1.0 < ratio[-3:].mean() < 1.15
    assert (ratio < 1.45).all()


def test_noise_that_whole_frames_share_is_seen():
    """Errors common to the pairs of a later frame: the usual error bars miss them, the clustered ones are their scatter."""
    made = colloid(3, 100)
    model, clean = made.model, made.maps()
    rng = np.random.default_rng(6)
    window = ClusterWindow(2, np.full(3, 2))
    steps, usual_errors, errors = [], [], []
    for _ in range(150):
        c2 = clean + 0.01 * rng.normal(size=clean.shape) + 0.01 * rng.normal(size=clean.shape[:2])[:, :, None]
        gram, fit, usual = optimum(made, c2)
        v = usual.determined
        grams = frame_grams(model, made.physical, c2, block=2)
        meat = clustered_meat(grams, fit.contrast, fit.offset, v, window)
        steps.append(v[-3:, -3:] @ fit.gradient)
        usual_errors.append(np.sqrt(np.diag(v)[-3:] * fit.cost / (gram[:, -2, -2].sum() - 9)))
        errors.append(np.sqrt(np.diag(v @ meat.matrix @ v)[-3:]))
    scatter = np.std(steps, axis=0)
    assert (np.mean(usual_errors, axis=0) / scatter < 0.5).all()
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(errors), axis=0)) / scatter, 1, atol=0.2)


def test_decay_times():
    model = TwoTimeModel("static", 0.01, 0.1 * np.arange(100), [0.0, 40.0])
    for lag in (0.7, 3.3, 25.0):
        np.testing.assert_allclose(decay_frames(model, [1e5 / lag, 0.0, 0.0]), lag, rtol=1e-6)
    np.testing.assert_array_equal(decay_frames(model, [1.0, 0.0, 0.0]), 99.0)
    flow = rheometer_flow(23, 200)
    lags = decay_frames(flow.model, flow.physical)
    along = np.abs(np.cos(np.deg2rad(flow.model.phi - flow.physical[6])))
    assert lags[np.argmax(along)] < 0.5 * lags[np.argmin(along)]
    # The first lag where the mean of f is below 1/e, by hand.
    f = np.asarray(map_g1(flow.model, jnp.asarray(flow.physical)))[np.argmax(along)] ** 2
    mean = np.array([np.diag(f, lag).mean() for lag in range(150)])
    assert abs(lags[np.argmax(along)] - np.argmax(mean < np.exp(-1))) <= 1


@pytest.mark.parametrize("n_t", [2, 3, 10, 100, 1000, 20000])
def test_windows_fit_the_measurement(n_t):
    for decay in ([1e-3], [1.0, 7.0], [n_t - 1.0, 2.0], [1e6]):
        window = ClusterWindow.of(decay, n_t)
        assert window.block >= 1
        assert -(-n_t // window.block) <= 256
        assert (window.n_blocks >= 1).all()
        assert (window.frames <= max(1, n_t / 4) * 1.25 + 1).all()
        # As long as the decay where that leaves four windows.
        asked = np.minimum(decay, n_t / 4)
        assert (window.frames >= 0.75 * asked).all()


@pytest.mark.parametrize("decay, n_t", [([0.0], 10), ([np.nan], 10), ([], 10), (3.0, 10), ([1.0], 1)])
def test_wrong_decay_times(decay, n_t):
    with pytest.raises(ModelError, match=r"decay is .*; expected positive times in frames"):
        ClusterWindow.of(decay, n_t)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"grams": np.ones((2, 3, 6, 6))}, r"grams have shape \(2, 3, 6, 6\)"),
        ({"contrast": np.ones(3)}, r"contrast has shape \(3,\); expected \(2,\)"),
        ({"offset": 1.0}, r"offset has shape \(\)"),
        ({"inverse_curvature": np.eye(5)}, r"inverse_curvature has shape \(5, 5\); expected \(7, 7\)"),
        ({"window": ClusterWindow(1, np.ones(3, dtype=int))}, r"window has shape \(3,\)"),
    ],
)
def test_wrong_shapes(changes, message):
    arguments = {
        "grams": np.ones((2, 2, 4, 6, 6)),
        "contrast": np.ones(2),
        "offset": np.ones(2),
        "inverse_curvature": np.eye(7),
        "window": ClusterWindow(1, np.ones(2, dtype=int)),
    }
    with pytest.raises(ModelError, match=message):
        clustered_meat(**(arguments | changes))


def test_on_average_the_meat_of_independent_noise_is_the_curvature():
    """With the true parameters and no leverage, the expectation is exact for any window: sums of 400 replicates agree."""
    made = colloid(2, 30)
    clean, rng = made.maps(), np.random.default_rng(8)
    window, total = ClusterWindow(1, np.array([4, 9])), np.zeros((7, 7))
    for _ in range(400):
        grams = frame_grams(made.model, made.physical, clean + 0.1 * rng.normal(size=clean.shape), block=1)
        total += clustered_meat(grams, made.contrast, made.offset, np.zeros((7, 7)), window).matrix
    gram = np.asarray(normal_equations(made.model, made.physical, clean))
    expected = np.diag(joint_information(gram, made.contrast)) * 0.1**2
    np.testing.assert_allclose(np.diag(total) / 400, expected, rtol=0.2)
