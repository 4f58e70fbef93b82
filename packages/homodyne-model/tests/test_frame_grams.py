"""Gram matrices by blocks of frames against explicit columns, pair by pair."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homodyne_model import ModelError, _frame_grams, frame_grams, map_g1, normal_equations
from homodyne_model.testing import colloid, rheometer_flow

derivatives = jax.jit(
    lambda model, p: (map_g1(model, p) ** 2, jax.jacfwd(lambda p: map_g1(model, p) ** 2)(p))
)


def brute_force(model, physical, c2, weights, block):
    f, slope = (np.asarray(x) for x in derivatives(model, jnp.asarray(physical)))
    n_blocks = -(-model.n_t // block)
    grams = np.zeros((model.n_phi, 2, n_blocks, len(physical) + 3, len(physical) + 3))
    for a in range(model.n_phi):
        for i in range(model.n_t):
            for j in range(i):
                if np.isfinite(c2[a, i, j]) and weights[a, i, j] > 0:
                    column = np.array([*slope[a, i, j], f[a, i, j], 1.0, c2[a, i, j] - 1])
                    product = weights[a, i, j] * column[:, None] * column
                    grams[a, 0, i // block] += product
                    grams[a, 1, j // block] += product
    return grams


def measurement(kind, n_t, n_phi=2):
    made = colloid(n_phi, n_t) if kind == "static" else rheometer_flow(n_phi, n_t)
    # Away from the truth, where nothing vanishes.
    physical = made.physical * (1 + 0.1 * np.sin(np.arange(len(made.physical))))
    rng = np.random.default_rng(n_t)
    c2 = made.noisy_maps(0.05, seed=n_t)
    c2[rng.random(c2.shape) < 0.2] = np.nan
    weights = rng.exponential(size=c2.shape) * (rng.random(c2.shape) < 0.8)
    return made.model, physical, c2, weights


def assert_blocks_agree(found, expected, tolerance=1e-12):
    """Relative to the sums over all blocks: in a block of slow frames a column may vanish."""
    size = np.sqrt(np.einsum("askk->ask", expected.sum(axis=2)))[:, :, None]
    size = np.where(size > 0, size, 1)
    assert np.shape(found) == expected.shape
    assert (
        np.abs(np.asarray(found) - expected) / (size[..., :, None] * size[..., None, :])
    ).max() < tolerance


@pytest.mark.parametrize(
    "kind, n_t, block",
    [
        ("static", 2, 1),
        ("static", 19, 19),
        ("flow", 19, 1),
        ("flow", 19, 4),
        ("flow", 19, 50),
        ("flow", 90, 70),
    ],
)
def test_every_pair_is_in_the_blocks_of_its_two_frames(kind, n_t, block):
    model, physical, c2, weights = measurement(kind, n_t)
    found = frame_grams(model, physical, c2, weights, block=block)
    assert_blocks_agree(found, brute_force(model, physical, c2, weights, min(block, n_t)))


@pytest.mark.parametrize("kind, n_t, block", [("static", 601, 7), ("static", 601, 80), ("flow", 133, 16)])
def test_the_blocks_of_either_kind_add_up_to_the_whole(kind, n_t, block):
    model, physical, c2, _ = measurement(kind, n_t)
    found = np.asarray(frame_grams(model, physical, c2, block=block)).sum(axis=2)
    whole = np.asarray(normal_equations(model, physical, c2))
    size = np.sqrt(np.einsum("akk->ak", whole))[:, None]
    assert (np.abs(found - whole[:, None]) / (size[..., :, None] * size[..., None, :])).max() < 1e-11


@pytest.mark.parametrize("kind, n_rows, block", [("static", 1, 3), ("static", 20, 16), ("flow", 7, 4)])
def test_sums_over_rows_add(kind, n_rows, block):
    """Chunks that are shorter than a block, and chunks that hold several and end inside one."""
    model, physical, c2, weights = measurement(kind, 51)
    parts = [(k, (slice(None), slice(k, k + n_rows))) for k in range(0, 51, n_rows)]
    found = sum(
        np.asarray(frame_grams(model, physical, c2[part], weights[part], block=block, first_row=k))
        for k, part in parts
    )
    assert_blocks_agree(found, np.asarray(frame_grams(model, physical, c2, weights, block=block)))


def test_angles_on_their_own_give_their_part():
    model, physical, c2, weights = measurement("flow", 51)
    whole = frame_grams(model, physical, c2, weights, block=5)
    for a in range(2):
        one = model.at_angles(model.phi[a : a + 1])
        found = frame_grams(one, physical, c2[a : a + 1], weights[a : a + 1], block=5)
        assert_blocks_agree(found, np.asarray(whole)[a : a + 1])


def test_single_precision_data_are_summed_in_double():
    model, physical, c2, _ = measurement("flow", 51)
    found = frame_grams(model, physical, c2.astype(np.float32), block=5)
    assert found.dtype == jnp.float64
    np.testing.assert_array_equal(
        found, frame_grams(model, physical, c2.astype(np.float32).astype(float), block=5)
    )


def test_one_compilation_per_shape_and_block():
    model, physical, c2, weights = measurement("static", 13)
    frame_grams(model, physical, c2, weights, block=3)
    compiled = _frame_grams._grams_by_frame._cache_size()
    frame_grams(model, 2 * physical, c2 + 1, weights, block=3)
    frame_grams(model.at_angles([7.0, 8.0]), physical, c2, weights, block=3)
    assert _frame_grams._grams_by_frame._cache_size() == compiled


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"c2": np.ones((3, 13, 13))}, r"c2 has shape \(3, 13, 13\).*rows of maps of \(2, 13, 13\)"),
        ({"first_row": 1}, "first_row is 1"),
        ({"block": 0}, "block is 0; expected a whole number of frames"),
        ({"block": 2.0}, r"block is 2\.0; expected a whole number"),
    ],
)
def test_wrong_arguments(changes, message):
    model, physical, c2, _ = measurement("static", 13)
    with pytest.raises(ModelError, match=message):
        frame_grams(model, **({"physical": physical, "c2": c2, "block": 3} | changes))
