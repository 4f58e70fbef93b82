"""Noisy maps from noise-free ones."""

import numpy as np
import pytest

from homodyne_data import simulate_two_time


def test_symmetric_noise_of_the_right_size():
    noisy = simulate_two_time(np.ones((3, 60, 60)), np.array([0.1, 0.2, 0.0]), seed=1)
    assert np.array_equal(noisy, noisy.transpose(0, 2, 1))
    assert np.array_equal(noisy[2], np.ones((60, 60)))
    i, j = np.tril_indices(60, -1)
    for angle, sigma in ((0, 0.1), (1, 0.2)):
        deviation = noisy[angle, i, j] - 1
        assert abs(deviation.mean()) < 4 * sigma / np.sqrt(i.size)
        assert deviation.std() == pytest.approx(sigma, rel=4 / np.sqrt(2 * i.size))


def test_independent_triangles():
    noisy = simulate_two_time(np.ones((1, 60, 60)), 0.1, seed=1, symmetric=False)
    i, j = np.tril_indices(60, -1)
    assert abs(np.corrcoef(noisy[0, i, j], noisy[0, j, i])[0, 1]) < 0.1


def test_noise_of_each_entry_and_seed_and_dtype():
    sigma = np.zeros((1, 5, 5))
    sigma[0, 3, 1] = 0.1
    clean = np.ones((1, 5, 5), np.float32)
    noisy = simulate_two_time(clean, sigma, seed=np.random.default_rng(7))
    assert np.argwhere(noisy != 1).tolist() == [[0, 1, 3], [0, 3, 1]]
    assert noisy.dtype == np.float32
    assert np.array_equal(noisy, simulate_two_time(clean, sigma, seed=7))
    assert np.all(clean == 1)


@pytest.mark.parametrize(
    ("c2", "sigma", "message"),
    [
        (np.ones((4, 4)), 0.1, "c2 must have shape"),
        (np.ones((2, 4, 4)), np.ones(3), "sigma must be a number or have shape"),
        (np.ones((2, 4, 4)), -0.1, "sigma must not be negative"),
        (np.ones((2, 4, 4)), np.nan, "sigma must not be negative"),
    ],
)
def test_wrong_arguments(c2, sigma, message):
    with pytest.raises(ValueError, match=message):
        simulate_two_time(c2, sigma, seed=0)
