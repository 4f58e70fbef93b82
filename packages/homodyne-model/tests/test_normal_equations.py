"""The Gram matrices against explicit columns from automatic differentiation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homodyne_model import ModelError, TwoTimeModel, _normal_equations, map_g1, normal_equations
from homodyne_model.testing import colloid, rheometer_flow

# The package differentiates nothing here by machine; this does.
maps_and_derivatives = jax.jit(
    lambda model, p: (map_g1(model, p) ** 2, jax.jacfwd(lambda p: map_g1(model, p) ** 2)(p))
)


def brute_force(model, physical, c2, weights=None):
    f, slope = (np.asarray(x) for x in maps_and_derivatives(model, jnp.asarray(physical)))
    gram = []
    for a in range(model.n_phi):
        y = np.asarray(c2[a], dtype=float)
        use = np.tril(np.isfinite(y), -1)
        w = np.ones(use.sum()) if weights is None else weights[a][use]
        columns = np.column_stack([slope[a][use], f[a][use], np.ones(use.sum()), y[use] - 1])
        gram.append(columns.T @ (columns * w[:, None]))
    return np.array(gram)


def assert_grams_agree(found, expected, tolerance=1e-12):
    size = np.sqrt(np.einsum("akk->ak", expected))
    size = np.where(size > 0, size, 1)
    error = np.abs(np.asarray(found) - expected) / (size[:, :, None] * size[:, None, :])
    assert error.max() < tolerance


def measurement(kind, n_t, n_phi=2, kernel="gap_average"):
    made = colloid(n_phi, n_t) if kind == "static" else rheometer_flow(n_phi, n_t, shear_kernel=kernel)
    # Away from the truth, where nothing vanishes.
    physical = made.physical * (1 + 0.1 * np.sin(np.arange(len(made.physical))))
    return made.model, physical, made.noisy_maps(0.05, seed=n_t)


def with_holes(c2, rng, share=0.2):
    c2 = c2.copy()
    c2[rng.random(c2.shape) < share] = np.nan
    c2[rng.random(c2.shape) < share / 10] = np.inf
    return c2


@pytest.mark.parametrize("kind, n_t", [*(("static", n) for n in (2, 51)), ("flow", 2), ("flow", 133)])
def test_sizes_about_the_edges_of_tiles(kind, n_t):
    model, physical, c2 = measurement(kind, n_t)
    c2 = with_holes(c2, np.random.default_rng(n_t), 0.2 if n_t > 3 else 0.0)
    assert_grams_agree(normal_equations(model, physical, c2), brute_force(model, physical, c2))


@pytest.mark.parametrize("kind, kernel", [("static", "gap_average"), ("flow", "homodyne2")])
def test_weights_and_masks(kind, kernel):
    model, physical, c2 = measurement(kind, 51, kernel=kernel)
    rng = np.random.default_rng(1)
    c2 = with_holes(c2, rng)
    weights = rng.exponential(size=c2.shape) * (rng.random(c2.shape) < 0.8)
    expected = brute_force(model, physical, c2, weights)
    assert_grams_agree(normal_equations(model, physical, c2, weights), expected)
    # What a weight of zero or a hole covers does not matter.
    c2[weights == 0] = 1e30
    weights[~np.isfinite(c2)] = np.nan
    assert_grams_agree(normal_equations(model, physical, c2, weights), expected)


@pytest.mark.parametrize("kind, tile", [("static", 1), ("static", 5), ("flow", 5)])
def test_tile_size_does_not_matter(monkeypatch, kind, tile):
    model, physical, c2 = measurement(kind, 13)
    expected = np.asarray(normal_equations(model, physical, c2))
    monkeypatch.setattr(_normal_equations, "_TILE", tile)
    # A new function, since the compiled one remembers its tiles.
    found = jax.jit(_normal_equations._gram_of_rows.__wrapped__)(
        _normal_equations.Pass.of(model, physical, c2, None, 0)
    )
    assert_grams_agree(found, expected)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e300, -7.0])
def test_upper_triangle_and_diagonal_are_never_read(garbage):
    model, physical, c2 = measurement("flow", 51)
    expected = normal_equations(model, physical, c2)
    spoiled = np.where(np.tri(51, k=-1, dtype=bool), c2, garbage)
    np.testing.assert_array_equal(normal_equations(model, physical, spoiled), expected)


@pytest.mark.parametrize("kind", ["static", "flow"])
@pytest.mark.parametrize("n_rows", [1, 7, 20, 51])
def test_sums_over_rows_add(kind, n_rows):
    model, physical, c2 = measurement(kind, 51)
    weights = np.random.default_rng(3).random(c2.shape)
    starts = range(0, 51, n_rows)
    parts = [(slice(None), slice(k, k + n_rows)) for k in starts]
    for w in (None, weights):
        found = sum(
            normal_equations(model, physical, c2[part], None if w is None else w[part], first_row=k)
            for k, part in zip(starts, parts, strict=True)
        )
        assert_grams_agree(found, normal_equations(model, physical, c2, w))


def test_sums_over_disjoint_masks_add():
    model, physical, c2 = measurement("flow", 51)
    part = np.random.default_rng(0).integers(0, 3, c2.shape)
    parts = [normal_equations(model, physical, np.where(part == k, c2, np.nan)) for k in range(3)]
    assert_grams_agree(sum(np.asarray(p) for p in parts), np.asarray(normal_equations(model, physical, c2)))


def test_single_precision_data_are_summed_in_double():
    model, physical, c2 = measurement("flow", 51)
    single = c2.astype(np.float32)
    found = normal_equations(model, physical, single)
    assert found.dtype == jnp.float64
    np.testing.assert_array_equal(found, normal_equations(model, physical, single.astype(float)))


def test_single_precision_parameters_give_single_precision_sums():
    model, physical, c2 = measurement("flow", 51)
    found = normal_equations(model, physical.astype(np.float32), c2)
    assert found.dtype == jnp.float32
    assert_grams_agree(found, np.asarray(normal_equations(model, physical, c2)), 1e-2)


def test_symmetric_and_semidefinite():
    model, physical, c2 = measurement("flow", 51)
    gram = np.asarray(normal_equations(model, physical, c2))
    np.testing.assert_allclose(gram, np.swapaxes(gram, 1, 2), rtol=1e-13)
    size = np.sqrt(np.einsum("akk->ak", gram))
    assert np.linalg.eigvalsh(gram / size[:, :, None] / size[:, None]).min() > -1e-12


def test_an_angle_without_points_has_a_gram_of_zeros():
    model, physical, c2 = measurement("flow", 51)
    c2[1] = np.nan
    gram = np.asarray(normal_equations(model, physical, c2))
    assert (gram[1] == 0).all()
    assert gram[0, -2, -2] == 51 * 50 / 2


def test_overflow_at_masked_pairs_does_not_spread():
    """With a negative D(t) the model overflows far from the diagonal; pairs that are masked there must not count."""
    n_t = 51
    model = TwoTimeModel("static", 0.0054, 10.0 * np.arange(n_t), [0.0, 1.0])
    physical = np.array([1.0, 0.0, -1e5])
    near = np.arange(n_t)[:, None] - np.arange(n_t) <= 8
    c2 = np.where(near, np.full((2, n_t, n_t), 1.2), np.nan)
    found = np.asarray(normal_equations(model, physical, c2))
    assert np.isfinite(found).all()
    weights = np.where(near, np.ones((2, n_t, n_t)), 0.0)
    np.testing.assert_allclose(normal_equations(model, physical, np.full((2, n_t, n_t), 1.2), weights), found)
    assert not np.isfinite(normal_equations(model, physical, np.full((2, n_t, n_t), 1.2))).all()


def test_across_the_flow_the_shear_columns_vanish():
    made = rheometer_flow(2, 51)
    model = made.model.at_angles([92.0, 2.0])
    gram = np.asarray(normal_equations(model, made.physical, made.maps()))
    across, along = np.sqrt(np.einsum("akk->ak", gram))
    assert (across[3:6] < 1e-12 * along[3:6]).all()


def test_many_parameter_vectors_at_once():
    model, physical, c2 = measurement("static", 13)
    many = np.stack([physical, 1.1 * physical])
    found = jax.vmap(lambda p: normal_equations(model, p, c2))(many)
    np.testing.assert_allclose(found[1], normal_equations(model, many[1], c2), rtol=1e-12)


def test_one_compilation_per_shape():
    model, physical, c2 = measurement("static", 13)
    normal_equations(model, physical, c2)
    compiled = _normal_equations._gram_of_rows._cache_size()
    normal_equations(model.at_angles([7.0, 8.0]), 2 * physical, c2 + 1)
    normal_equations(TwoTimeModel("static", 0.01, model.t + 1, model.phi), physical, c2)
    assert _normal_equations._gram_of_rows._cache_size() == compiled


def test_whole_numbers_are_numbers():
    model, _, c2 = measurement("static", 13)
    np.testing.assert_array_equal(
        normal_equations(model, [10000, 1, 0], c2), normal_equations(model, np.array([1e4, 1.0, 0.0]), c2)
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"c2": np.ones((3, 13, 13))}, r"c2 has shape \(3, 13, 13\).*rows of maps of \(2, 13, 13\)"),
        ({"c2": np.ones((13, 13))}, r"c2 has shape \(13, 13\)"),
        ({"c2": np.ones((2, 5, 13)), "first_row": 9}, r"c2 has shape \(2, 5, 13\), first_row is 9"),
        ({"c2": np.ones((2, 5, 13)), "first_row": -1}, r"first_row is -1"),
        ({"weights": np.ones((2, 13))}, r"weights has shape \(2, 13\); expected \(2, 13, 13\) like c2"),
        ({"physical": np.ones(7)}, r"physical has shape \(7,\); expected \(3,\)"),
    ],
)
def test_wrong_shapes(changes, message):
    model, physical, c2 = measurement("static", 13)
    with pytest.raises(ModelError, match=message):
        normal_equations(model, **({"physical": physical, "c2": c2} | changes))
