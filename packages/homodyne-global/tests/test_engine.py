"""What evosax is made to do: double precision, quiet settings, costs that are not numbers, long valleys, bounds."""

import subprocess
import sys

import jax
import numpy as np
import pytest

from homodyne_global import StopReason, _engine
from homodyne_global._coordinates import SearchSpace


def run(
    cost, *, d=3, population=7, sigma=0.5, mean=None, generations=1000, limits=(1e-12, 1e-12, 1e-14), seed=1
):
    engine = _engine.algorithm(population, d)
    space = SearchSpace.within(([-5.0] * d, [5.0] * d))
    advance = _engine.generation_of(engine, space, cost, _engine.Limits(*limits))
    state = _engine.start(engine, seed, 0, np.full(d, 0.3) if mean is None else mean, sigma)
    states = [state]
    while not int(state.stop) and len(states) <= generations:
        state = advance(state, 0)
        states.append(state)
    return states, _engine.STOP_REASONS[int(state.stop)]


def sphere(p):
    return np.sum((p - 1.0) ** 2, axis=1)


def test_every_number_is_double():
    states, _ = run(sphere, generations=3)
    for state in states:
        for leaf in jax.tree.leaves((state.engine, state.history, state.best_cost)):
            assert leaf.dtype in (np.float64, np.int64, np.int32), leaf


def test_it_converges_beyond_single_precision():
    states, stop = run(sphere, limits=(1e-14, 1e-14, 1e-23))
    assert stop is StopReason.TARGET
    np.testing.assert_allclose(states[-1].best_parameters, 1.0, atol=1e-11)


@pytest.mark.parametrize("decades", [6, 10])
def test_long_valleys(decades):
    """A rotated ellipsoid; where evosax's limits on the matrix acted, those above 1e8 would not be descended."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    weights = 10.0 ** np.linspace(0, decades, 3)
    states, stop = run(lambda p: ((p - 1) @ turn) ** 2 @ weights, limits=(1e-30, 1e-30, 1e-10))
    assert stop is StopReason.TARGET
    spectrum = np.linalg.eigvalsh(np.asarray(states[-1].engine.C))
    assert spectrum[-1] / spectrum[0] > 10 ** (decades - 2)


def test_rescaling_changes_no_digit():
    with jax.enable_x64(True):
        before = _engine.start(_engine.algorithm(7, 3), 1, 0, np.zeros(3), 0.3).engine
        other = before.replace(C=before.C * 3.7e-5, p_c=before.p_c + 0.1)
        after = _engine._rescaled(other)
    assert 0.5e7 <= float(after.C[0, 0]) <= 2e7
    np.testing.assert_array_equal(after.std**2 * after.C, other.std**2 * other.C)
    np.testing.assert_array_equal(after.std * after.p_c, other.std * other.p_c)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_costs_that_are_not_finite_are_worst(bad):
    """Half of the space has none; the best are next to it, and none of its points is ever the best."""

    def cost(p):
        return np.where(p[:, 0] < 1.0, bad, np.sum((p - 0.9) ** 2, axis=1))

    states, _ = run(cost, mean=np.full(3, 0.6))
    found = np.asarray(states[-1].best_parameters)
    assert 1.0 <= found[0] < 1.0 + 1e-5
    np.testing.assert_allclose(found[1:], 0.9, atol=1e-3)


def test_a_generation_without_any_cost_changes_nothing_but_the_candidates():
    seen = []

    def cost(p):
        seen.append(p)
        return np.full(len(p), np.nan)

    states, stop = run(cost, generations=100)
    assert stop is StopReason.NOT_FINITE
    np.testing.assert_array_equal(states[-1].engine.mean, states[0].engine.mean)
    assert float(states[-1].engine.std ** 2 * states[-1].engine.C[0, 0]) == pytest.approx(0.25)
    assert not np.array_equal(seen[0], seen[1])


def test_equal_costs_do_not_drive_the_mean_away():
    """evosax gives equal costs the same weight; weights that no longer sum to one throw the mean off."""
    states, _ = run(lambda p: np.zeros(len(p)), generations=50, limits=(1e-300, 1e-12, -np.inf))
    assert np.abs(states[20].engine.mean).max() < 3


@pytest.mark.parametrize("corner", [-1.0, 1.0])
def test_a_minimum_at_the_bounds(corner):
    states, _ = run(lambda p: np.sum(5.0 - corner * p, axis=1), limits=(1e-12, 1e-12, 1e-9))
    assert float(states[-1].best_cost) < 1e-9
    assert np.all(np.abs(states[-1].best_parameters) <= 5.0)


@pytest.mark.parametrize(
    "cost, limits, expected",
    [
        (sphere, (1e-12, 1e-12, 1e-3), StopReason.TARGET),
        (lambda p: 1 + sphere(p), (1e-8, 1e-12, -np.inf), StopReason.TOL_FUN),
        (sphere, (1e-12, 1e-6, -np.inf), StopReason.TOL_X),
        (lambda p: sphere(p) - 1e3, (1e-300, 1e-300, -np.inf), StopReason.TOL_FUN),
        (lambda p: p[:, 0] ** 2 + 1e-40 * p[:, 1], (1e-300, 1e-300, -np.inf), None),
    ],
)
def test_ends(cost, limits, expected):
    _, stop = run(cost, limits=limits)
    if expected is None:
        assert stop in (StopReason.CONDITION, StopReason.NO_EFFECT, StopReason.WIDE)
    else:
        assert stop is expected


def test_every_end_has_a_sentence():
    assert all(reason.sentence.endswith(".") for reason in StopReason)


def test_the_settings_of_the_host_stay_as_they_are():
    """In a process of its own with JAX's ordinary settings, where the test suite's do not help."""
    script = """
import sys, warnings
warnings.simplefilter("error")
import homodyne_global
heavy = {"jax", "evosax", "flax", "matplotlib", "scipy"} & set(sys.modules)
assert not heavy, heavy
import jax, numpy as np
import jax.numpy as jnp
before = {key: repr(value) for key, value in jax.config.values.items()}
settings = {"seed": 1, "restart_strategy": "none", "refine_with_nlsq": True}
seen = []
def python_cost(p):
    seen.append(jnp.zeros(1).dtype)
    return float(np.sum((p - 1e-9) ** 2))
wrapper = homodyne_global.CMAESWrapper(settings)
a = wrapper.minimize(python_cost, ([-1.0, -1.0], [1.0, 1.0]), traceable=False)
b = wrapper.minimize(lambda p: jnp.sum((p - 1e-9) ** 2), ([-1.0, -1.0], [1.0, 1.0]), traceable=True)
assert set(seen) == {jnp.dtype("float32")}, set(seen)
for found in (a, b):
    assert found.parameters.dtype == float and found.chi_squared < 1e-12, found
    assert np.allclose(found.parameters, 1e-9, rtol=0, atol=1e-6), found
x = np.linspace(0, 1, 20)
c = homodyne_global.fit_with_cmaes(lambda x, a: jnp.exp(-a * x), x, np.exp(-2 * x), [1.0], ([0.1], [5.0]))
assert abs(c.parameters[0] - 2) < 1e-10, c
assert {key: repr(value) for key, value in jax.config.values.items()} == before
assert jnp.zeros(1).dtype == jnp.float32
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
