import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homodyne_cmc._problem import FullPosterior
from homodyne_cmc._shards import make_shards
from homodyne_model import map_g1

pytestmark = pytest.mark.usefixtures("as_inside_a_fit")


@pytest.mark.parametrize(
    "name, noise", [("rest", "given"), ("rest", "global"), ("rest", "per_angle"), ("flow", "global")]
)
def test_gradient_is_that_of_automatic_differentiation_through_the_maps(
    name, noise, request, data_of, problem_of
):
    truth = request.getfixturevalue(name)
    data = data_of(truth)
    problem, v = problem_of(truth, data, noise=noise)
    shards = make_shards(data, 3, known_noise=noise == "given")
    v = v + 0.003 * np.random.default_rng(1).normal(size=len(v))
    y, inside = jnp.asarray(data.c2) - 1, jnp.tril(jnp.ones((40, 40)), -1)[None]
    weight = 1 / 0.005**2 if noise == "given" else 1.0

    def plain(v):
        f = map_g1(problem.model, problem.coordinates.to_natural(v)) ** 2 * inside
        sums = weight * jnp.stack([f.sum((1, 2)), (f * f).sum((1, 2)), (f * y).sum((1, 2))], -1)
        return problem.collapsed.log_likelihood(sums, shards.moments, 1.0) + problem.smooth_log_prior(v)

    value, gradient = FullPosterior(problem, shards).value_and_gradient(v)
    expected, slope = jax.value_and_grad(plain)(jnp.asarray(v))
    assert value == pytest.approx(float(expected), rel=1e-10)
    np.testing.assert_allclose(gradient, slope, rtol=1e-7, atol=1e-7 * np.abs(slope).max())


def test_value_and_gradient_do_not_depend_on_the_division(flow, flow_data, problem_of):
    problem, v = problem_of(flow, flow_data)
    found = [
        FullPosterior(problem, make_shards(flow_data, k, known_noise=True)).value_and_gradient(v)
        for k in (1, 4)
    ]
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-11)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-7)


def test_shards_are_shares_of_the_posterior_when_sigma_is_known_and_the_scaling_is_fixed_by_the_data(
    rest, data_of, problem_of
):
    """The sum of the shards differs from the whole only by what each shard fits of the scaling, a few units of log density."""
    data = data_of(rest)
    problem, v = problem_of(rest, data)
    shards = make_shards(data, 4, known_noise=True)

    def both(v):
        parts = sum(float(problem.shard_log_density(jnp.asarray(v), s.load(), 0.25)) for s in shards.shards)
        return parts, FullPosterior(problem, shards).value_and_gradient(v)[0]

    here, there = np.array(both(v)), np.array(both(v + np.array([0.02, 0.0, 0.0])))
    assert abs((there - here)[0] - (there - here)[1]) < 0.2 * abs((there - here)[1]) + 1.0


def test_curvature_is_minus_the_second_derivative(rest, data_of, problem_of):
    data = data_of(rest)
    problem, v = problem_of(rest, data)
    full = FullPosterior(problem, make_shards(data, 2, known_noise=True))
    curvature = full.curvature(v, np.full(3, 1e-4))
    step = np.array([3e-3, -1e-3, 2e-3])
    values = [full.value_and_gradient(v + t * step)[0] for t in (-1, 0, 1)]
    assert -(values[0] - 2 * values[1] + values[2]) == pytest.approx(step @ curvature @ step, rel=0.02)


def test_beyond_the_numbers_there_is_no_density(rest, data_of, problem_of):
    data = data_of(rest)
    problem, v = problem_of(rest, data)
    value, gradient = FullPosterior(problem, make_shards(data, 1, known_noise=True)).value_and_gradient(
        v + 800.0
    )
    assert value == -np.inf
    assert (gradient == 0).all()
