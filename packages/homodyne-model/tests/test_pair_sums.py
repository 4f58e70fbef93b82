"""The sums of a likelihood and their gradient, against plain formulas, automatic differentiation and the Gram matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homodyne_model import ModelError, TwoTimeModel, map_g1, normal_equations, pair_sums
from homodyne_model.testing import colloid, rheometer_flow

CASES = {
    "static": lambda: colloid(3, 41),
    "laminar": lambda: rheometer_flow(5, 41),
    "older kernel": lambda: rheometer_flow(4, 33, shear_kernel="homodyne2"),
    "many tiles": lambda: rheometer_flow(23, 130),
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request):
    return request.param()


def plain_sums(model, physical, c2, weights, frames):
    """The same from the whole map, differentiable by JAX."""
    f = map_g1(model, physical)[:, frames] ** 2
    inside = (np.asarray(frames)[:, None] > np.arange(model.n_t))[None] & np.isfinite(c2)
    w = np.where(inside, 1.0 if weights is None else weights, 0.0)
    y = np.where(inside, c2, 1.0) - 1.0
    return jnp.stack([(w * f).sum((1, 2)), (w * f**2).sum((1, 2)), (w * f * y).sum((1, 2))], axis=-1)


def measured(case, *, first=0, step=1, weighted=False):
    c2, rng = case.noisy_maps(0.05, seed=3), np.random.default_rng(5)
    c2[rng.random(c2.shape) < 0.05] = np.nan
    frames = np.arange(first, case.model.n_t, step)
    c2 = c2[:, frames]
    weights = rng.choice([0.0, 0.5, 2.0], c2.shape) if weighted else None
    return c2, weights, frames


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("first, step", [(0, 1), (2, 4)])
def test_sums_are_those_of_the_map(case, first, step, weighted):
    c2, weights, frames = measured(case, first=first, step=step, weighted=weighted)
    found = pair_sums(case.model, case.physical, c2, weights, frames=frames)
    expected = plain_sums(case.model, case.physical, c2, weights, frames)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("first, step", [(3, 5)])
def test_gradient_is_that_of_automatic_differentiation(case, first, step, weighted):
    c2, weights, frames = measured(case, first=first, step=step, weighted=weighted)
    toward = jnp.asarray(np.random.default_rng(1).normal(size=(case.model.n_phi, 3)))

    def ours(physical):
        return (toward * pair_sums(case.model, physical, c2, weights, frames=frames)).sum()

    def plain(physical):
        return (toward * plain_sums(case.model, physical, c2, weights, frames)).sum()

    physical = jnp.asarray(case.physical)
    found, expected = jax.grad(ours)(physical), jax.grad(plain)(physical)
    np.testing.assert_allclose(found * physical, expected * physical, rtol=1e-9, atol=1e-9)


def test_gradient_is_the_finite_difference():
    case = rheometer_flow(5, 41)
    c2, _, frames = measured(case, first=1, step=3)
    toward = np.random.default_rng(1).normal(size=(5, 3))

    def total(physical):
        return (toward * pair_sums(case.model, physical, c2, frames=frames)).sum()

    gradient = jax.grad(total)(jnp.asarray(case.physical))
    for k, value in enumerate(case.physical):
        step = np.zeros(7)
        step[k] = 1e-5 * abs(value)
        slope = float(total(case.physical + step) - total(case.physical - step)) / (2 * step[k])
        assert float(gradient[k]) * value == pytest.approx(slope * value, rel=1e-6, abs=1e-5)


def test_sums_are_entries_of_the_gram_matrices(case):
    c2, weights, _ = measured(case, weighted=True)
    gram = normal_equations(case.model, case.physical, c2, weights)
    sums = pair_sums(case.model, case.physical, c2, weights)
    np.testing.assert_allclose(sums[:, 0], gram[:, -3, -2], rtol=1e-10)
    np.testing.assert_allclose(sums[:, 1], gram[:, -3, -3], rtol=1e-10)
    np.testing.assert_allclose(sums[:, 2], gram[:, -3, -1], rtol=1e-10)


def test_shares_of_every_kth_row_add_up(case):
    c2, weights, _ = measured(case, weighted=True)
    whole = pair_sums(case.model, case.physical, c2, weights)
    shares = [
        pair_sums(
            case.model, case.physical, c2[:, k::4], weights[:, k::4], frames=range(k, case.model.n_t, 4)
        )
        for k in range(4)
    ]
    np.testing.assert_allclose(sum(shares), whole, rtol=1e-11, atol=1e-10)


def test_single_precision_data_sum_in_double_precision(case):
    c2, _, frames = measured(case)
    single = c2.astype(np.float32)
    found = pair_sums(case.model, case.physical, single, frames=frames)
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(
        found,
        plain_sums(case.model, case.physical, single.astype(float), None, frames),
        rtol=1e-10,
        atol=1e-8,
    )


def test_it_works_under_vmap():
    case = rheometer_flow(3, 30)
    c2 = case.noisy_maps(0.05, seed=1)
    many = jnp.asarray(case.physical * np.linspace(0.99, 1.01, 3)[:, None])
    value = lambda p: pair_sums(case.model, p, c2).sum()  # noqa: E731
    for f in (value, jax.grad(value)):
        np.testing.assert_allclose(jax.vmap(f)(many), jnp.stack([f(p) for p in many]), rtol=1e-12)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"c2": np.ones((2, 4, 5))}, "c2 has shape"),
        ({"physical": np.ones(7)}, "physical has shape"),
        ({"weights": np.ones((2, 3, 4))}, "weights has shape"),
        ({"frames": [0, 1]}, "frames has shape"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(change, message):
    model = TwoTimeModel("static", q=0.005, t=np.arange(4) * 0.1, phi=[0.0, 90.0])
    arguments = {"physical": np.ones(3), "c2": np.ones((2, 4, 4)), **change}
    with pytest.raises(ModelError, match=message):
        pair_sums(model, **arguments)
