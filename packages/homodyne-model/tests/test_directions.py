import numpy as np
import pytest

from homodyne_model import determined_directions, invert_identifiable


def curvature(rng, n, scales=None):
    j = rng.normal(size=(3 * n, n))
    scales = 10.0 ** rng.uniform(-8, 8, n) if scales is None else scales
    return (j * scales).T @ (j * scales)


@pytest.mark.parametrize("seed", range(5))
def test_inverse_of_free_parameters(seed):
    rng = np.random.default_rng(seed)
    h = curvature(rng, 5)
    free = np.array([True, False, True, True, False])
    inverse = invert_identifiable(h, free)
    size = np.sqrt(np.diag(h)[free])
    scaled = inverse[np.ix_(free, free)] * np.outer(size, size)
    np.testing.assert_allclose(scaled @ (h[np.ix_(free, free)] / np.outer(size, size)), np.eye(3), atol=1e-11)
    assert np.isnan(inverse[~free]).all()
    assert np.isnan(inverse[:, ~free]).all()


def test_a_degenerate_pair_has_no_variance_and_spares_the_others():
    rng = np.random.default_rng(0)
    j = rng.normal(size=(20, 4))
    j[:, 1] = 1e6 * j[:, 0]
    h = j.T @ j
    inverse = invert_identifiable(h, np.ones(4, dtype=bool))
    assert np.isnan(inverse[:2]).all()
    kept = np.linalg.inv(h[np.ix_([0, 2, 3], [0, 2, 3])])[1:, 1:]
    np.testing.assert_allclose(inverse[2:, 2:], kept, rtol=1e-9)
    spread, lost = determined_directions(h, np.ones(4, dtype=bool))
    assert (spread.shape, lost.shape) == ((4, 3), (4, 1))
    assert np.abs(j @ lost).max() < 1e-7
    # The combination that counts, θ0 + 1e6 θ1, has the variance of θ0 alone with θ1 held.
    combination = np.array([1.0, 1e6, 0.0, 0.0])
    variance = np.sum((combination @ spread) ** 2)
    assert variance == pytest.approx(np.linalg.inv(h[np.ix_([0, 2, 3], [0, 2, 3])])[0, 0], rel=1e-9)


def test_a_parameter_without_effect():
    h = np.diag([4.0, 0.0, 1e-20])
    inverse = invert_identifiable(h, [True, True, True])
    assert inverse[0, 0] == pytest.approx(0.25)
    assert np.isnan(inverse[1]).all()
    # A small curvature of its own is a matter of units, not of rounding.
    assert inverse[2, 2] == pytest.approx(1e20)


def test_nothing_free_or_nothing_known():
    assert np.isnan(invert_identifiable(np.eye(2), [False, False])).all()
    assert np.isnan(invert_identifiable(np.zeros((2, 2)), [True, True])).all()
    assert determined_directions(np.eye(2), [False, False]).spread.shape == (2, 0)
