"""Which basis ``auto`` takes, against F tests written out on all points, and how often it errs."""

import numpy as np
import pytest
from scipy.stats import f as f_distribution
from scipy.stats import kstest

from homodyne_degeneracy import DegeneracyError, choose_basis
from homodyne_model import ScalingBounds

WIDE = ScalingBounds((-10.0, 10.0), (-10.0, 10.0))


def smooth(phi, size):
    return size * (np.cos(np.deg2rad(phi)) + 0.5 * np.sin(2 * np.deg2rad(phi)))


def truth(kind, phi, rng):
    contrast, offset = np.full(len(phi), 0.3), np.full(len(phi), 1.1)
    if kind in ("smooth", "rough"):
        contrast, offset = contrast + smooth(phi, 0.02), offset - smooth(phi, 0.01)
    if kind == "rough":
        contrast, offset = (
            contrast + 0.006 * rng.normal(size=len(phi)),
            offset + 0.02 * rng.normal(size=len(phi)),
        )
    return contrast, offset


def made(points, kind, seed, n_phi=14, sigma=0.02):
    phi = np.linspace(-170, 170, n_phi)
    contrast, offset = truth(kind, phi, np.random.default_rng(1000 + seed))
    return points(n_phi, contrast=contrast, offset=offset, sigma=sigma, seed=seed)


def best_chi_squared(data, contrast, basis):
    """Smallest sum of squares of the model linearised about p = 0 and a contrast, all points and parameters at once."""
    columns = data.columns([0.0, 0.0], contrast, basis)
    y = data.y.ravel()
    return np.sum((y - columns @ np.linalg.lstsq(columns, y)[0]) ** 2)


@pytest.mark.parametrize(
    "kind, expected", [("flat", "constant"), ("smooth", "fourier"), ("rough", "individual")]
)
def test_the_smallest_basis_that_describes_the_data(points, kind, expected):
    taken = []
    for seed in range(20):
        phi, data = made(points, kind, seed)
        choice = choose_basis(data.gram([0.0, 0.0]), phi, data.count, bounds=WIDE)
        taken.append(choice.basis.mode)
        assert choice.sentence.startswith(f"per_angle_mode auto took {choice.basis.mode} (")
    # One in twenty takes a larger basis than needed by chance.
    assert taken.count(expected) >= 17
    order = ("constant", "fourier", "individual")
    assert all(order.index(mode) >= order.index(expected) for mode in taken)


@pytest.mark.parametrize("kind", ["flat", "smooth", "rough"])
def test_chances_are_those_of_f_tests_over_all_points(points, kind):
    phi, data = made(points, kind, 3)
    series = np.stack(
        [np.ones(14), *(g(k * np.deg2rad(phi)) for k in (1, 2) for g in (np.cos, np.sin))], axis=1
    )
    bases = {"constant": np.ones((14, 1)), "fourier": series, "individual": np.eye(14)}
    gram = data.gram([0.0, 0.0])
    choice = choose_basis(gram, phi, data.count, bounds=WIDE)
    cost = {}
    for mode, basis in bases.items():
        columns = data.columns([0.0, 0.0], np.zeros(14), basis)[:, : 2 * basis.shape[1]]
        contrast = basis @ np.linalg.lstsq(columns, data.y.ravel())[0][: basis.shape[1]]
        cost[mode] = best_chi_squared(data, contrast, basis)
        assert choice.chi_squared[mode] == pytest.approx(cost[mode], rel=1e-9)
    noise, left = cost["individual"] / (data.count - 30), data.count - 30
    gain = (cost["fourier"] - cost["individual"]) / 18
    assert choice.p_values["fourier"] == pytest.approx(f_distribution.sf(gain / noise, 18, left), rel=1e-6)
    if choice.basis.mode == "individual":
        assert "constant" not in choice.p_values
        return
    noise, left = (gain, 18) if gain > noise else (noise, left)
    ratio = (cost["constant"] - cost["fourier"]) / 8 / noise
    assert choice.p_values["constant"] == pytest.approx(f_distribution.sf(ratio, 8, left), rel=1e-6)


def test_chances_are_uniform_where_the_smaller_basis_is_true(points):
    chances = []
    for seed in range(300):
        phi, data = made(points, "smooth", seed, n_phi=10)
        chances.append(choose_basis(data.gram([0.0, 0.0]), phi, data.count, bounds=WIDE).p_values["fourier"])
    assert kstest(chances, "uniform").pvalue > 0.01


def test_the_choice_is_not_misled_by_physical_parameters_off_their_best(points):
    """An error of the decay that every basis would correct must not look like a need for more scaling."""
    phi, data = made(points, "flat", 0)
    at_best, off = (
        choose_basis(data.gram(p), phi, data.count, bounds=WIDE) for p in ([0.0, 0.0], [0.1, 0.05])
    )
    assert at_best.basis.mode == off.basis.mode == "constant"
    raw = np.sum(data.residual([0.1, 0.05], np.full(14, 0.3), np.full(14, 1.1)) ** 2)
    assert off.chi_squared["constant"] < 0.8 * raw
    held = choose_basis(data.gram([0.1, 0.05]), phi, data.count, bounds=WIDE, free_physical=[False, False])
    assert held.basis.mode != "constant"


def test_correlated_points_need_their_inflation(points):
    """Noise shared by the points of an angle looks like scatter of the offset until the inflation tells what it is."""
    taken = {1.0: [], 26.0: []}
    for seed in range(10):
        phi, data = points(14, sigma=0.02, seed=seed)
        shared = np.random.default_rng(seed).normal(size=(14, 1))
        # Variance of an angle's mean: 0.02² / 60 (1 + 25).
        data = data._replace(y=data.y + 0.02 * np.sqrt(25 / 60) * shared)
        for inflation, modes in taken.items():
            modes.append(
                choose_basis(data.gram([0, 0]), phi, data.count, bounds=WIDE, inflation=inflation).basis.mode
            )
    assert taken[1.0] == ["individual"] * 10
    assert taken[26.0].count("constant") >= 8


def test_scatter_of_the_angles_is_noise_to_the_test_of_the_series(points):
    """A scatter that passes for noise would, taken as independent points, make a series look needed far too often."""
    modes = []
    for seed in range(60):
        phi, data = points(14, sigma=0.02, seed=seed)
        shared = np.random.default_rng(seed).normal(size=(14, 1))
        data = data._replace(y=data.y + 0.02 * np.sqrt(8 / 60) * shared)
        choice = choose_basis(data.gram([0, 0]), phi, data.count, bounds=WIDE, inflation=6.0)
        modes.append(choice.basis.mode)
    assert modes.count("fourier") <= 6


@pytest.mark.parametrize(
    "n_phi, order, threshold, considered",
    [(5, 2, 6, False), (6, 2, 6, True), (6, 2, 7, False), (7, 2, 3, True), (4, 2, 3, True), (3, 1, 3, False)],
)
def test_where_the_series_is_considered(points, n_phi, order, threshold, considered):
    """From the threshold on, with fewer coefficients than angles; the order is lowered to what the angles determine."""
    phi, data = made(points, "flat", 1, n_phi=n_phi)
    choice = choose_basis(
        data.gram([0.0, 0.0]), phi, data.count, order=order, fourier_threshold=threshold, bounds=WIDE
    )
    assert ("fourier" in choice.chi_squared) == considered
    assert ("was not considered" in choice.sentence) != considered


def test_a_lowered_order_is_said(points):
    phi = np.linspace(-170, 170, 6)
    _, data = points(6, contrast=0.3 + 0.05 * np.cos(np.deg2rad(phi)), sigma=0.005)
    phi[1] = phi[0] + 360  # five directions: order 2 is as many coefficients as directions
    choice = choose_basis(data.gram([0.0, 0.0]), phi, data.count, order=3, bounds=WIDE)
    assert choice.basis.order == 2


def test_bounds_that_no_constant_meets(points):
    phi, data = made(points, "flat", 0, n_phi=7)
    lower = np.array([0.1, 0.1, 0.1, 0.45, 0.1, 0.1, 0.1])
    choice = choose_basis(data.gram([0.0, 0.0]), phi, data.count, bounds=ScalingBounds((lower, lower + 0.25)))
    assert "constant" not in choice.chi_squared
    assert choice.basis.mode in ("fourier", "individual")


def test_data_without_noise(points):
    for kind, expected in (("flat", "constant"), ("rough", "individual")):
        phi, data = made(points, kind, 0, sigma=0.0)
        assert choose_basis(data.gram([0.0, 0.0]), phi, data.count, bounds=WIDE).basis.mode == expected


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"n_points": 30}, "n_points is 30; expected more than the 30 parameters"),
        ({"inflation": 0.5}, "inflation is 0.5; expected a number of at least 1"),
        ({"inflation": np.nan}, "inflation is nan"),
        ({"significance": 0.0}, "significance is 0.0; expected a number between 0 and 1"),
    ],
)
def test_wrong_arguments(points, settings, message):
    phi, data = made(points, "flat", 0)
    settings = {"n_points": data.count, **settings}
    with pytest.raises(DegeneracyError, match=message):
        choose_basis(data.gram([0.0, 0.0]), phi, **settings)
