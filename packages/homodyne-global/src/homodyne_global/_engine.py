"""Generations of CMA-ES by evosax, in double precision, with best candidates and ends of runs of our own.

What evosax's ``CMA_ES`` leaves to its caller, and what is done about it here:

- It has no bounds: a candidate beyond them is evaluated at the nearest point within (`SearchSpace`) and pays for the distance, more than what the
  costs of its generation differ by (after Hansen et al., IEEE Trans. Evol. Comput. 13, 180, 2009, with the weights from one generation).
- Its precision is that of the process: every call is made under ``jax.enable_x64``.
- It mixes types and ranks, which a host may have forbidden: its code is traced with JAX's ordinary promotion.
- NaN, infinite and equal costs: before 0.3 a NaN could be the best, and equal costs share a rank, so that their weights no longer sum to one. It is
  given the ranks of the costs instead, all different and NaN last. CMA-ES uses nothing of a cost but its rank, so this changes nothing else.
- It adds 1e-8 to the diagonal of the covariance matrix and cuts its entries at 1e8, which ends the adaptation where the matrix has become small:
  on a long valley. Step size and matrix are exchangeable, so the matrix is kept near 1e7, by powers of two, and the limits lie at a condition
  number of about 1e14.
- It never stops: the ends of a run are those of Hansen (arXiv:1604.00772, section B.3), with relative tolerances.
"""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from evosax.algorithms import CMA_ES

from homodyne_global._coordinates import SearchSpace
from homodyne_global._results import StopReason

# In the order in which they are looked at; 0 is a run that goes on.
STOP_REASONS = (
    None,
    StopReason.TARGET,
    StopReason.TOL_FUN,
    StopReason.TOL_X,
    StopReason.NOT_FINITE,
    StopReason.NO_EFFECT,
    StopReason.CONDITION,
    StopReason.WIDE,
)
# Cost of a candidate one standard deviation beyond a bound, in distances of the quartiles.
_PENALTY = 2.0
_DIAGONAL = 1e7
_WORST_CONDITION = 1e13
_WIDEST = 1e3


class Limits(NamedTuple):
    """When a run has arrived."""

    tol_fun: float
    tol_x: float
    target: float


class RunState(NamedTuple):
    """A run between two generations.

    ``history`` holds the best costs of the last generations, ``failures`` counts those in a row without a finite cost, ``stop`` is an index
    of `STOP_REASONS`.
    """

    engine: Any
    key: jax.Array
    history: jax.Array
    best_parameters: jax.Array
    best_cost: jax.Array
    generation: jax.Array
    failures: jax.Array
    stop: jax.Array


@contextmanager
def _ordinary_promotion():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@dataclass(frozen=True, eq=False)
class Algorithm:
    """An instance of evosax's algorithm, hashed by identity, and its parameters."""

    cma: CMA_ES
    defaults: Any


def _weights_of_ranks(population, ranks, state, params):
    """The recombination weights; evosax's own shaping ranks once more, which compiles slowly."""
    return params.weights[ranks.astype(jnp.int32)]


@lru_cache(maxsize=128)
def algorithm(population: int, n_parameters: int) -> Algorithm:
    """The algorithm of a population size, one object for all runs: compiled code belongs to it."""
    with jax.enable_x64(True), _ordinary_promotion():
        cma = CMA_ES(
            population_size=population,
            solution=jnp.zeros(n_parameters),
            fitness_shaping_fn=_weights_of_ranks,
            metrics_fn=lambda *_: {},
        )
        # Compiled as one: operation by operation it takes longer.
        return Algorithm(cma, jax.jit(lambda: cma.default_params)())


def start(engine: Algorithm, seed: int, run: int, mean: np.ndarray, sigma: float) -> RunState:
    """A run before its first generation."""
    with jax.enable_x64(True):
        word = np.random.SeedSequence([seed, run]).generate_state(1)[0]
        # The generator is named, lest a host's choice of another change the result.
        key = jax.random.key(word, impl="threefry2x32")
        return _started(engine, key, np.asarray(mean, dtype=float), np.float64(sigma))


@partial(jax.jit, static_argnums=0)
def _started(engine: Algorithm, key, mean, sigma) -> RunState:
    dims, population = len(mean), engine.cma.population_size
    # Hansen, Table B.3: TolHistFun looks at 10 + ceil(30 d / population) generations.
    window = 10 + -(-30 * dims // population)
    with _ordinary_promotion():
        state = _rescaled(engine.cma.init(key, mean, engine.defaults.replace(std_init=sigma)))
        # Every leaf has the type that it has after a generation: another one, if only a weaker, would compile everything twice.
        state = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype=jnp.asarray(leaf).dtype), state)
        return RunState(
            engine=state,
            key=key,
            history=jnp.full(window, jnp.inf, dtype=float),
            best_parameters=jnp.full(dims, jnp.nan, dtype=float),
            best_cost=jnp.asarray(jnp.inf, dtype=float),
            generation=jnp.asarray(0, dtype=int),
            failures=jnp.asarray(0, dtype=int),
            stop=jnp.asarray(0, dtype=int),
        )


def _rescaled(state):
    """The same distribution with a matrix near `_DIAGONAL`; by a power of two, so that no digit changes."""
    power = jnp.round(0.5 * jnp.log2(_DIAGONAL / jnp.max(jnp.diagonal(state.C))))
    factor = jnp.ldexp(1.0, power.astype(jnp.int32))
    return state.replace(std=state.std / factor, C=state.C * factor * factor, p_c=state.p_c * factor)


def _quartiles_apart(costs, finite):
    """Distance of the quartiles of those costs that are finite; 1 where it says nothing."""
    n = jnp.sum(finite)
    ordered = jnp.sort(costs)
    apart = ordered[3 * n // 4] - ordered[n // 4]
    return jnp.where((n > 1) & (apart > 0), apart, 1.0)


def _asked(engine: Algorithm, state: RunState) -> tuple[jax.Array, RunState]:
    """Candidates of the next generation, in search coordinates without bounds."""
    key = jax.random.fold_in(state.key, state.generation)
    with _ordinary_promotion():
        points, asked = engine.cma.ask(key, state.engine, engine.defaults)
    return points, state._replace(engine=asked)


def _told(engine: Algorithm, state: RunState, points, parameters, cost, limits: Limits) -> RunState:
    """The run after a generation whose candidates have been evaluated."""
    with _ordinary_promotion():
        cost = jnp.asarray(cost, dtype=points.dtype)
        finite = jnp.isfinite(cost)
        usable = jnp.any(finite)
        worst_last = jnp.where(finite, cost, jnp.inf)
        outside = points - jnp.clip(points, -1.0, 1.0)
        variance = state.engine.std**2 * jnp.mean(jnp.diagonal(state.engine.C))
        penalty = _PENALTY * _quartiles_apart(worst_last, finite) * jnp.sum(outside**2, axis=1) / variance
        order = jnp.argsort(worst_last + penalty)
        ranks = (
            jnp.zeros(order.size, dtype=points.dtype)
            .at[order]
            .set(jnp.arange(order.size, dtype=points.dtype))
        )
        told, _ = engine.cma.tell(state.key, points, ranks, state.engine, engine.defaults)
        told = _rescaled(told)
        # Ranks of candidates that all failed mean nothing: the distribution stays and draws others.
        told = jax.tree.map(lambda new, old: jnp.where(usable, new, old), told, state.engine)

        best = jnp.argmin(worst_last)
        better = worst_last[best] < state.best_cost
        best_cost = jnp.where(better, worst_last[best], state.best_cost)
        window = state.history.size
        history = state.history.at[state.generation % window].set(worst_last[best])
        generation = state.generation + 1
        failures = jnp.where(usable, 0, state.failures + 1)

        low = jnp.min(history)
        high = jnp.maximum(jnp.max(history), jnp.max(jnp.where(finite, cost, -jnp.inf)))
        widths = told.std * jnp.sqrt(jnp.diagonal(told.C))
        axis = generation % widths.size
        step = 0.1 * told.std * told.D[axis] * told.B[:, axis]
        no_effect = jnp.any(told.mean == told.mean + 0.2 * widths) | jnp.all(told.mean == told.mean + step)
        stop = jnp.select(
            [
                best_cost <= limits.target,
                (generation >= window) & usable & (high - low <= limits.tol_fun * jnp.abs(low)),
                jnp.all(widths < limits.tol_x) & jnp.all(jnp.abs(told.std * told.p_c) < limits.tol_x),
                failures >= window,
                no_effect,
                (jnp.max(told.D) / jnp.min(told.D)) ** 2 > _WORST_CONDITION,
                jnp.max(widths) > _WIDEST,
            ],
            [jnp.asarray(code, dtype=int) for code in range(1, len(STOP_REASONS))],
            jnp.asarray(0, dtype=int),
        )
        return RunState(
            engine=told,
            key=state.key,
            history=history,
            best_parameters=jnp.where(better, parameters[best], state.best_parameters),
            best_cost=best_cost,
            generation=generation,
            failures=failures,
            stop=stop,
        )


ask = jax.jit(_asked, static_argnums=0)
tell = jax.jit(_told, static_argnums=0)


def generation_of(engine: Algorithm, space: SearchSpace, cost: Callable, limits: Limits) -> Callable:
    """A function that takes a run through one generation with a cost in Python; its second argument is for `compiled` alone."""

    def advance(state: RunState, until: int) -> RunState:
        with jax.enable_x64(True):
            points, asked = ask(engine, state)
        # The cost is called as its author would call it, under the settings of the host.
        parameters = space.parameters(np.asarray(points))
        costs = cost(parameters)
        with jax.enable_x64(True):
            return tell(engine, asked, points, parameters, costs, limits)

    return advance


def compiled(engine: Algorithm, space: SearchSpace, cost: "TracedCost", limits: Limits) -> Callable:
    """A function that takes a run through generations, up to a number, in one compiled loop."""

    @jax.jit
    def loop(state: RunState, until, data) -> RunState:
        def body(state: RunState) -> RunState:
            points, asked = _asked(engine, state)
            parameters = space.parameters(points, jnp)
            return _told(engine, asked, points, parameters, cost.function(parameters, data), limits)

        return jax.lax.while_loop(lambda s: (s.stop == 0) & (s.generation < until), body, state)

    def advance(state: RunState, until: int) -> RunState:
        with jax.enable_x64(True):
            before = int(state.generation)
            state = jax.block_until_ready(loop(state, jnp.asarray(until), cost.data))
        cost.evaluations += (int(state.generation) - before) * engine.cma.population_size
        return state

    return advance


class TracedCost:
    """A cost that JAX can trace.

    Parameters
    ----------
    cost : callable
        Of (parameters, data), with parameters (n, d) where ``batched``, else (d,).
    data : pytree
        Arrays that are passed on, so that they are not compiled into the code.
    batched : bool
        Which of the two.
    batch_size : int, optional
        Candidates evaluated at a time; all by default.
    """

    unfinished = None

    def __init__(self, cost: Callable, data: Any, *, batched: bool, batch_size: int | None = None) -> None:
        self._cost = cost if batched else jax.vmap(cost, in_axes=(0, None))
        self.data, self._batch_size = data, batch_size
        self.evaluations = 0
        self._jitted = jax.jit(self.function)

    def function(self, parameters: jax.Array, data: Any) -> jax.Array:
        """Costs of candidates, batch after batch."""
        n, size = len(parameters), self._batch_size
        if size is None or size >= n:
            return self._cost(parameters, data)
        # The last batch is filled up with its last candidate.
        rows = np.minimum(np.arange(-(-n // size) * size), n - 1).reshape(-1, size)
        return jax.lax.map(lambda part: self._cost(part, data), parameters[rows]).reshape(-1)[:n]

    def __call__(self, parameters: np.ndarray) -> np.ndarray:
        """Costs of candidates outside the loop, NaN where they are not finite.

        They are few, and their number varies: one by one they are compiled once.
        """
        with jax.enable_x64(True):
            values = np.array([self._jitted(one[None, :], self.data)[0] for one in parameters], dtype=float)
        self.evaluations += len(parameters)
        return np.where(np.isfinite(values), values, np.nan)

    @classmethod
    def attempt(
        cls,
        cost: Callable,
        data: Any,
        n_parameters: int,
        *,
        batched: bool,
        batch_size: int | None,
        demand: bool,
    ):
        """A traced cost, or None where JAX cannot trace it; its own error if tracing is demanded."""
        traced = cls(cost, data, batched=batched, batch_size=batch_size)
        n = n_parameters + 2
        try:
            with jax.enable_x64(True):
                shape = jax.eval_shape(
                    traced._cost, jax.ShapeDtypeStruct((n, n_parameters), np.float64), data
                )
            usable = shape.shape == (n,) and jnp.issubdtype(shape.dtype, jnp.floating)
        # A function made for NumPy fails in whatever way it likes; called with numbers it shows whether it is at fault itself.
        except Exception:
            if demand:
                raise
            return None
        return traced if usable else None
