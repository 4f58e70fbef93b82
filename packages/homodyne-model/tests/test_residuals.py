import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homodyne_model import (
    ModelError,
    PointChunk,
    StratifiedResidualFunction,
    StratifiedResidualFunctionJIT,
    compress,
    normal_equations,
)
from homodyne_model.testing import colloid, rheometer_flow

N_T = 10
CLASSES = (StratifiedResidualFunction, StratifiedResidualFunctionJIT)


def points_of(made, rng, n):
    return rng.integers(0, made.model.n_phi, n), rng.integers(0, N_T, n), rng.integers(0, N_T, n)


def problem(kind="flow", lengths=(40, 17)):
    made = rheometer_flow(3, N_T) if kind == "flow" else colloid(3, N_T)
    rng = np.random.default_rng(0)
    chunks = []
    for n in lengths:
        angle, i, j = points_of(made, rng, n)
        c2 = rng.normal(1.2, 0.1, n)
        chunks.append(PointChunk(angle, i, j, c2, rng.uniform(0.5, 2, n)))
    return made, chunks


def unpadded(function, values):
    return np.asarray(values)[~function.padding.ravel()]


@pytest.mark.parametrize("kind", ["static", "flow"])
def test_both_are_the_map_minus_the_data(kind):
    made, chunks = problem(kind)
    c2 = made.maps()
    expected = np.concatenate([(c2[c.angle, c.i, c.j] - c.c2) / c.sigma for c in chunks])
    plain, jitted = (cls(made.model, chunks) for cls in CLASSES)
    np.testing.assert_allclose(plain(made.parameters), expected, atol=1e-13)
    np.testing.assert_allclose(unpadded(jitted, jitted(made.parameters)), expected, atol=1e-13)
    assert plain.n_points == jitted.n_points == len(expected)
    assert plain.n_parameters == len(made.parameters)


def test_padding_is_exactly_zero_with_all_derivatives():
    made, chunks = problem()
    function = StratifiedResidualFunctionJIT(made.model, chunks)
    params = jnp.asarray(made.parameters)
    assert function.padding.shape == (2, 40)
    assert function.padding.sum() == 2 * 40 - 57
    padded = function.padding.ravel()
    assert (np.asarray(function(params))[padded] == 0).all()
    slope = np.asarray(jax.jacfwd(function)(params))
    assert (slope[padded] == 0).all()
    assert np.isfinite(slope).all()
    assert (np.abs(slope[~padded]).sum(axis=0) > 0).all()


def test_derivatives_against_differences():
    made, chunks = problem("static", (20,))
    function = StratifiedResidualFunctionJIT(made.model, chunks)
    plain = StratifiedResidualFunction(made.model, chunks)
    params = made.parameters
    slope = np.asarray(jax.jacfwd(function)(jnp.asarray(params)))
    for k in range(len(params)):
        step = np.zeros(len(params))
        step[k] = 1e-6 * abs(params[k])
        difference = (plain(params + step) - plain(params - step)) / (2 * step[k])
        np.testing.assert_allclose(slope[:, k], difference, atol=1e-6 * np.abs(slope[:, k]).max())


def test_masked_points_are_left_out():
    made, chunks = problem("static", (30, 12))
    bad = chunks[0].c2.copy()
    bad[[3, 8]] = np.nan
    bad[5] = np.inf
    keep = np.isfinite(bad)
    # The error of a masked point may be anything.
    sigma = np.where(keep, chunks[0].sigma, np.nan)
    masked = [chunks[0]._replace(c2=bad, sigma=sigma), chunks[1]]
    fewer = [PointChunk(*(part[keep] for part in chunks[0])), chunks[1]]
    for cls in CLASSES:
        assert cls(made.model, masked).n_points == 39
        np.testing.assert_array_equal(
            cls(made.model, masked)(made.parameters), cls(made.model, fewer)(made.parameters)
        )


def test_one_scaling_for_all_angles():
    made, chunks = problem("static")
    common = np.concatenate([[0.3, 1.1], made.physical])
    individual = np.concatenate([[0.3] * 3, [1.1] * 3, made.physical])
    for cls in CLASSES:
        function = cls(made.model, chunks, per_angle_scaling=False)
        assert function.n_parameters == 5
        np.testing.assert_array_equal(function(common), cls(made.model, chunks)(individual))
        with pytest.raises(ModelError, match=r"params has shape \(9,\); expected \(5,\)"):
            function(individual)


def test_frames_in_either_order():
    made, chunks = problem()
    swapped = [c._replace(i=c.j, j=c.i) for c in chunks]
    for cls in CLASSES:
        np.testing.assert_array_equal(
            cls(made.model, chunks)(made.parameters), cls(made.model, swapped)(made.parameters)
        )


def test_sum_of_squares_is_the_cost_of_the_normal_equations():
    made = colloid(3, N_T)
    c2 = made.noisy_maps(0.1, seed=3)
    i, j = np.tril_indices(N_T, -1)
    chunks = [PointChunk(np.full(len(i), a), i, j, c2[a, i, j], 0.1) for a in range(3)]
    fit = compress(normal_equations(made.model, made.physical, c2))
    params = np.concatenate([fit.contrast, fit.offset, made.physical])
    residual = StratifiedResidualFunction(made.model, chunks)(params)
    assert residual @ residual * 0.1**2 == pytest.approx(fit.cost, rel=1e-11)


def test_compiled_once_whatever_the_parameters():
    from homodyne_model._residuals import _padded_residuals

    made, chunks = problem("static")
    function = StratifiedResidualFunctionJIT(made.model, chunks)
    function(made.parameters)
    compiled = _padded_residuals._cache_size()
    function(1.1 * made.parameters)
    StratifiedResidualFunctionJIT(made.model, [c._replace(c2=c.c2 + 1) for c in chunks])(made.parameters)
    assert _padded_residuals._cache_size() == compiled


def test_dtype_is_that_of_the_parameters():
    made, chunks = problem("static")
    for cls in CLASSES:
        assert cls(made.model, chunks)(made.parameters.astype(np.float32)).dtype == np.float32
        assert cls(made.model, chunks)(made.parameters).dtype == np.float64


def test_chunks_without_points_are_allowed():
    made, chunks = problem("static")
    nothing = np.zeros(0, dtype=int)
    empty = PointChunk(nothing, nothing, nothing, np.zeros(0))
    for cls in CLASSES:
        assert cls(made.model, [empty, *chunks]).n_points == 57
        assert np.isfinite(cls(made.model, [empty, *chunks])(made.parameters)).all()


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize(
    "changes, message",
    [
        ({"angle": np.array([0, 1, 3, 2])}, "chunk 1: angle runs from 0 to 3; expected 0 to 2"),
        ({"i": np.array([0, 1, -1, 2])}, "chunk 1: i runs from -1 to 2; expected 0 to 9"),
        ({"j": np.array([0, 1, 10, 2])}, "chunk 1: j runs from 0 to 10; expected 0 to 9"),
        ({"j": np.array([0, 1, 2])}, r"chunk 1: j has shape \(3,\).*expected 4 integers"),
        ({"i": np.zeros(4)}, "chunk 1: i has shape .*float64; expected 4 integers"),
        ({"sigma": np.array([1.0, 0.0, 1.0, 1.0])}, "chunk 1: sigma is 0 at point 1; expected positive"),
        ({"sigma": np.nan}, "chunk 1: sigma is nan at point 0"),
        ({"sigma": np.ones(3)}, r"chunk 1: c2 has shape \(4,\), sigma \(3,\)"),
        ({"c2": np.ones((2, 2))}, "chunk 1: "),
    ],
)
def test_malformed_chunks(cls, changes, message):
    made, chunks = problem("static", (30,))
    good = PointChunk(np.array([0, 1, 2, 2]), np.arange(4), np.zeros(4, dtype=int), np.ones(4))
    with pytest.raises(ModelError, match=message):
        cls(made.model, [chunks[0], good._replace(**changes)])


@pytest.mark.parametrize("cls", CLASSES)
def test_every_angle_needs_a_point(cls):
    made, chunks = problem("static", (30,))
    c2 = np.where(chunks[0].angle == 1, np.nan, chunks[0].c2)
    with pytest.raises(ModelError, match="no chunk holds an unmasked point of angle 1;"):
        cls(made.model, [chunks[0]._replace(c2=c2)])
    with pytest.raises(ModelError, match="chunks is empty"):
        cls(made.model, [])
    with pytest.raises(ModelError, match=r"params has shape \(4,\); expected \(9,\)"):
        cls(made.model, chunks)(np.zeros(4))
