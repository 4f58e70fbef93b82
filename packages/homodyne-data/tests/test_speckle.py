"""Speckle from first principles against the Siegert relation, with standard errors from replicates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homodyne_data import simulate_speckle
from homodyne_data._speckle import coherence_modes

N = 12
AGE = np.abs(np.subtract.outer(np.arange(N), np.arange(N)))
DIFFUSION = np.exp(-0.15 * AGE)
SHEAR = DIFFUSION**0.2 * np.sinc(0.35 * AGE)  # negative at delays of 3 to 5 frames


@given(st.floats(0.005, 1.0))
def test_modes_hit_the_contrast_exactly(contrast):
    weights = coherence_modes(contrast)
    assert np.all(weights >= 0)
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert (weights**2).sum() == pytest.approx(contrast, rel=1e-9)
    assert weights.size < 1 / contrast + 1


@pytest.mark.parametrize("contrast", [1.0, 0.5, 0.3])
@pytest.mark.parametrize("g1", [DIFFUSION, SHEAR], ids=["diffusion", "shear"])
def test_expectation(g1, contrast):
    replicates, n_pixels, counts = 150, 1500, 0.8
    rng = np.random.default_rng(11)
    stack = np.broadcast_to(g1, (replicates, N, N))
    c2 = simulate_speckle(
        stack, n_pixels=n_pixels, contrast=contrast, mean_counts=counts, seed=rng, dtype=np.float64
    )
    expected = 1 + contrast * g1**2 + np.eye(N) / counts
    error = c2.std(axis=0, ddof=1) / np.sqrt(replicates)
    # First-order bias of a ratio of averages, in units of 1 / n_pixels.
    bias = 3 * (contrast + 1 / counts) * (1 + contrast) / n_pixels
    pairs = np.tril_indices(N)
    z = ((c2.mean(axis=0) - expected) / error)[pairs]
    assert np.all(np.abs(c2.mean(axis=0) - expected) < 4.5 * error + bias)
    assert np.mean(z**2) < 3  # entries are correlated: no chi-squared law, but no trend either
    if contrast == 1.0 and g1 is SHEAR:
        assert g1.min() < -0.1  # the sign is tested: g1² is not g1


def test_noise_is_that_of_photons():
    """Of uncorrelated dim frames an entry's variance is 1 / (n_pixels counts²) to first order."""
    g1 = np.eye(10)
    c2 = simulate_speckle(
        np.broadcast_to(g1, (100, 10, 10)), n_pixels=2000, contrast=0.05, mean_counts=0.1, seed=1
    )
    i, j = np.tril_indices(10, -1)
    expected = 1 / (np.sqrt(2000) * 0.1)
    assert c2[:, i, j].std() == pytest.approx(expected, rel=0.1)


def test_symmetry_type_and_seed():
    arguments = {"n_pixels": 50, "contrast": [0.3, 0.6], "mean_counts": 2.0}
    stack = np.stack([DIFFUSION, SHEAR])
    c2 = simulate_speckle(stack, seed=5, **arguments)
    assert c2.dtype == np.float32
    assert np.array_equal(c2, c2.transpose(0, 2, 1))
    assert np.array_equal(c2, simulate_speckle(stack, seed=np.random.default_rng(5), **arguments))
    assert not np.array_equal(c2, simulate_speckle(stack, seed=6, **arguments))
    double = simulate_speckle(stack.astype(np.float32), seed=5, dtype=np.float64, **arguments)
    assert double.dtype == np.float64
    assert np.allclose(double.mean(axis=(1, 2)), c2.mean(axis=(1, 2)), rtol=0.1)


def test_batches_of_pixels_do_not_change_the_statistics(monkeypatch):
    monkeypatch.setattr("homodyne_data._speckle._MOST_VALUES", 7 * N)
    c2 = simulate_speckle(np.ones((N, N)), n_pixels=5000, contrast=1.0, mean_counts=3.0, seed=1)
    off = ~np.eye(N, dtype=bool)
    assert c2[0][off].mean() == pytest.approx(2, abs=0.15)


def test_frames_without_photons_are_nan():
    c2 = simulate_speckle(DIFFUSION, n_pixels=3, contrast=1.0, mean_counts=0.05, seed=2)[0]
    dark = np.isnan(np.diagonal(c2))
    assert dark.any()
    assert np.all(np.isnan(c2[dark]))
    assert np.all(np.isfinite(c2[~dark][:, ~dark]))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"g1": np.ones((3, 4))}, ValueError, "g1 must have shape"),
        ({"g1": 1j * np.eye(3)}, TypeError, "real"),
        (
            {"g1": np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])},
            ValueError,
            "not positive semi-definite",
        ),
        ({"g1": np.array([[1, 0.5], [0.4, 1]])}, ValueError, "symmetric in its two times"),
        ({"g1": 0.5 * np.eye(3)}, ValueError, "1 on the diagonal"),
        ({"g1": np.full((3, 3), np.nan)}, ValueError, "finite"),
        ({"n_pixels": 1}, ValueError, "n_pixels must be an integer of 2 or more"),
        ({"n_pixels": 2.5}, ValueError, "n_pixels"),
        ({"contrast": 0.0}, ValueError, r"contrast must be in \(0, 1\]"),
        ({"contrast": 1.1}, ValueError, "contrast must be in"),
        ({"contrast": [0.1, 0.2]}, ValueError, "contrast must be a number or have shape"),
        ({"mean_counts": 0}, ValueError, "mean_counts must be positive"),
        ({"dtype": np.int32}, ValueError, "dtype must be float32 or float64"),
    ],
)
def test_wrong_arguments(changes, error, message):
    arguments = {"g1": DIFFUSION, "n_pixels": 10, "contrast": 0.3, "mean_counts": 1.0, "seed": 0} | changes
    with pytest.raises(error, match=message):
        simulate_speckle(**arguments)
