"""Bases of contrast and offset, their bounds and penalties: shapes, spans and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homodyne_model import SCALING_MODES, ModelError, ScalingBasis, ScalingPenalty, highest_fourier_order


@pytest.mark.parametrize("n_phi", [5, 10, 23, 100])
def test_coefficients_of_the_modes(n_phi):
    phi = np.linspace(-170, 170, n_phi)
    counts = {"individual": n_phi, "fourier": 5, "constant": 1}
    assert set(counts) == set(SCALING_MODES)
    for mode, count in counts.items():
        basis = ScalingBasis(mode)
        assert basis.n_coef(n_phi) == count
        assert basis.matrix(phi).shape == (n_phi, count)
    assert ScalingBasis("fourier", 1).n_coef(n_phi) == 3
    np.testing.assert_array_equal(ScalingBasis().matrix(phi), np.eye(n_phi))
    np.testing.assert_array_equal(ScalingBasis("constant").matrix(phi), 1)


def test_columns_of_the_series_are_degrees_with_a_period_of_a_turn():
    phi = np.array([0.0, 90.0, 180.0, 270.0, 30.0])
    half, root = 0.5, np.sqrt(0.75)
    expected = [
        [1, 1, 0, 1, 0],
        [1, 0, 1, -1, 0],
        [1, -1, 0, 1, 0],
        [1, 0, -1, -1, 0],
        [1, root, half, half, root],
    ]
    basis = ScalingBasis("fourier", 2)
    np.testing.assert_allclose(basis.matrix(phi), expected, atol=1e-15)
    np.testing.assert_allclose(basis.matrix(phi + 360), basis.matrix(phi), atol=1e-12)


@given(
    phi=st.lists(st.integers(-400, 400), min_size=1, max_size=9),
    order=st.integers(1, 4),
)
def test_an_order_is_refused_exactly_where_the_angles_do_not_determine_it(phi, order):
    """The rank of the columns on a fine scale decides; angles a turn apart are one direction."""
    radians = np.deg2rad(np.array(phi, dtype=float))
    columns = np.exp(1j * np.outer(radians, np.arange(-order, order + 1)))
    distinct = len({angle % 360 for angle in phi})
    assert highest_fourier_order(phi) == (distinct - 1) // 2
    determined = distinct >= 2 * order + 1
    if len(phi) >= columns.shape[1] and np.linalg.cond(columns) < 1e10:
        assert determined
    if determined:
        assert ScalingBasis("fourier", order).matrix(phi).shape == (len(phi), 2 * order + 1)
    else:
        with pytest.raises(ModelError, match=f"hold only {distinct} different directions: take"):
            ScalingBasis("fourier", order).matrix(phi)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: ScalingBasis("fourrier"),
            "mode is 'fourrier'; expected one of individual, fourier, constant",
        ),
        (lambda: ScalingBasis("fourier", 0), "order is 0; expected a whole number, at least 1"),
        (lambda: ScalingBasis("fourier", 1.5), "order is 1.5"),
        (lambda: ScalingBasis("fourier", True), "order is True"),
        (lambda: ScalingBasis().matrix([]), r"expected finite angles \(n_phi,\) in degrees"),
        (lambda: ScalingBasis().matrix([0.0, np.nan]), "expected finite angles"),
        (
            lambda: ScalingBasis("fourier", 2).matrix([0.0, 90.0, 360.0, 10.0]),
            "order 2 has 5 coefficients, but the 4 angles hold only 3 different directions: take order 1, or mode",
        ),
        (
            lambda: ScalingBasis("fourier", 1).matrix([0.0, 90.0]),
            "2 different directions: take mode 'individual' or 'constant'",
        ),
        (lambda: ScalingPenalty(np.eye(3), np.zeros(3)), r"shapes \(3, 3\), \(3,\); expected"),
        (lambda: ScalingPenalty(np.eye(4), np.zeros(2)), r"shapes \(4, 4\), \(2,\); expected"),
        (lambda: ScalingPenalty(-np.eye(2), np.zeros(2)), "not symmetric and positive semi-definite"),
        (lambda: ScalingPenalty([[1.0, 1.0], [0.0, 1.0]], np.zeros(2)), "not symmetric"),
        (lambda: ScalingPenalty(np.full((2, 2), np.nan), np.zeros(2)), "not finite"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ModelError, match=message):
        call()


def test_value_of_a_penalty():
    root = np.array([[1.0, -1.0, 0.0, 2.0], [0.0, 3.0, 1.0, 0.0]])
    penalty = ScalingPenalty(root.T @ root, [0.3, 0.3, 1.0, 1.1])
    away = np.array([0.1, -0.2, 0.05, 0.3])
    assert penalty.value([0.4, 0.1], [1.05, 1.4]) == pytest.approx(np.sum((root @ away) ** 2), rel=1e-12)
    assert penalty.value([0.3, 0.3], [1.0, 1.1]) == 0


def test_a_penalty_keeps_its_numbers():
    matrix = np.eye(2)
    penalty = ScalingPenalty(matrix, np.zeros(2))
    matrix[0, 0] = 5
    assert penalty.value([1.0], [0.0]) == 1
