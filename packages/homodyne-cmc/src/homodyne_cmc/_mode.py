"""Where sampling begins: the mode of the smooth posterior of all the data, and its curvature, which whitens the coordinates.

From a warm start the values are kept where the posterior agrees with them to some standard deviations; else Newton steps on gradients of one
pass and differences of them. Without one, candidates over everything a map can resolve are ranked on some rows of the maps, the best ones
descend there, and the best of those is polished on all the data.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize
from scipy.stats import qmc

from homodyne_cmc._collapsed import Moments
from homodyne_cmc._coordinates import PosteriorCoordinates, wrapped_direction
from homodyne_cmc._open_shares import OpenShares, open_places, stand_in
from homodyne_cmc._problem import FullPosterior, Problem
from homodyne_cmc._shards import ShardData, ShardSet
from homodyne_cmc._warm_start import WarmStart

# Largest standard deviation of a coordinate that whitening admits: what the data leave open is walked through, not run away with.
_WIDEST = {"log": 3.0, "slope": 1.5, "exponent": 1.5, "share": 2.0, "phi0": 45.0}
_STEPS = {"log": 1e-4, "slope": 1e-4, "exponent": 1e-4, "share": 1e-3, "phi0": 1e-2}
_NEWTON = 25
_OF_RATE = {"share_D": "D(t)", "share_rate": "the shear rate"}
# Newton's decrement gᵀH⁻¹g [sd²] below which the mode is found.
_AT_MODE = 1e-3
# A warm start is kept where the gradient is less than so many standard deviations and the curvature within this factor of its own.
_NEAR, _ALIKE = 3.0, 16.0
_CANDIDATES, _DESCENTS, _ROWS = 2048, 8, 32


@dataclass(frozen=True)
class Start:
    """Centre and whitening of the coordinates.

    Attributes
    ----------
    problem : Problem
        With coordinates that can describe the centre, and walls as wide as the posterior there.
    mu : (d,)
        The centre.
    root : (d, d)
        L with L Lᵀ = H⁻¹.
    notes : tuple of str
        What was done, in sentences.
    """

    problem: Problem
    mu: np.ndarray
    root: np.ndarray
    notes: tuple[str, ...]

    @classmethod
    def at(cls, problem: Problem, mu, root, notes: Sequence[str] = ()) -> "Start":
        """A start at known coordinates, those of ``problem``."""
        spread = np.asarray(problem.coordinates.tangent(mu)) @ root
        priors = _walls(problem.priors, np.sqrt((spread**2).sum(1)))
        problem = replace(problem, priors=_without(priors, problem.open_shares))
        return cls(problem, mu, root, tuple(notes))


def find_start(problem: Problem, shards: ShardSet, warm: WarmStart | None, *, seed: int) -> Start:
    """Centre and whitening for a posterior.

    Parameters
    ----------
    problem : Problem
        Its coordinates are replaced by those that can describe the centre.
    shards : ShardSet
    warm : WarmStart, optional
    seed : int
        Of the candidates.
    """
    notes: list[str] = []
    problem = replace(problem, priors=_first_walls(problem.priors))
    model = problem.model
    v, precision = None, None
    if warm is not None:
        problem, v, precision = _from_warm_start(problem, warm)
        if v is None:
            notes.append(
                "the warm start has no positive power law in one of its rates, which the coordinates need: a start was looked for in the data."
            )
    if v is None:
        physical = _cold_start(problem, shards, seed)
        times = (model.t_middle,) * (model.n_physical // 3)
        coordinates = PosteriorCoordinates.about(physical, times, problem.coordinates.held)
        problem = replace(problem, coordinates=coordinates)
        v = np.array(coordinates.from_natural(jnp.asarray(physical)))
        notes.append("the mode was looked for in the data.")
    full = FullPosterior(problem, shards)
    if precision is None or not _agrees(full, v, precision):
        if not notes:
            notes.append("the start was moved to the mode of this posterior, and whitened by its curvature.")
        v, precision = _newton(full, v)
        at_mode = v
        root = _root(v, precision, problem.coordinates)
        physical = np.asarray(problem.coordinates.to_natural(jnp.asarray(v)))
        tangent = np.asarray(problem.coordinates.tangent(v)) @ root
        suited = PosteriorCoordinates.suited_to(
            physical, tangent @ tangent.T, _times(model), problem.coordinates.held
        )
        v = np.array(suited.from_natural(jnp.asarray(physical)))
        by_prior = -np.asarray(jax.hessian(problem.smooth_log_prior)(jnp.asarray(at_mode)))
        if places := open_places(problem.coordinates, precision - by_prior):
            sd = np.sqrt(np.diag(root @ root.T))
            suited, open_shares = stand_in(suited, problem.priors, v, sd, places)
            problem = replace(problem, open_shares=open_shares, priors=_without(problem.priors, open_shares))
            v = np.where(np.isfinite(open_shares.spread), open_shares.center, v)
            notes.append(
                f"the data leave open how {_OF_RATE[suited.names[places[0]]]} divides into power law and offset: the bounds decide."
            )
        problem = replace(problem, coordinates=suited)
        v, precision = _newton(FullPosterior(problem, shards), v)
    return Start.at(problem, v, _root(v, precision, problem.coordinates), notes)


def _times(model) -> np.ndarray:
    """Times that the rates may be described at [s]."""
    return np.geomspace(float(model.dt), float(model.t[-1]), 200)


def _from_warm_start(problem: Problem, warm: WarmStart):
    """Problem, coordinates and precision of a warm start; no coordinates where it has none, no precision where its covariance gives none."""
    model, held = problem.model, problem.coordinates.held
    if warm.is_spread:
        coordinates = PosteriorCoordinates.suited_to(warm.physical, warm.covariance, _times(model), held)
    else:
        times = (model.t_middle,) * (model.n_physical // 3)
        coordinates = PosteriorCoordinates.about(warm.physical, times, held)
    v = np.array(coordinates.from_natural(jnp.asarray(warm.physical)))
    if not np.isfinite(v).all():
        return problem, None, None
    precision = warm.precision(np.asarray(coordinates.tangent(v))) if warm.is_spread else None
    return replace(problem, coordinates=coordinates), v, precision


def _by_kind(coordinates: PosteriorCoordinates, table) -> np.ndarray:
    return np.array([table[name.partition("_")[0]] for name in coordinates.names])


def _first_walls(priors):
    range_ = np.asarray(priors.upper) - np.asarray(priors.lower)
    # A range of nothing is a parameter that is held.
    return replace(priors, width=np.where(np.isfinite(range_) & (range_ > 0), 0.01 * range_, np.inf))


def _walls(priors, sd):
    """Walls that give way over half a standard deviation, at most over a tenth of the range."""
    range_ = np.asarray(priors.upper) - np.asarray(priors.lower)
    width = np.minimum(0.5 * sd, np.where(np.isfinite(range_), 0.1 * range_, np.inf))
    return replace(priors, width=np.where(range_ > 0, width, np.inf))


def _without(priors, open_shares: OpenShares):
    """Priors without the walls that normal densities stand in for."""
    return replace(priors, width=np.where(open_shares.rates, np.inf, priors.width))


def _root(v, precision, coordinates) -> np.ndarray:
    """L with L Lᵀ = H⁻¹; directions that are hardly determined, or not at all, end at the widest admitted."""
    size = _by_kind(coordinates, _WIDEST)
    scaled = size[:, None] * precision * size
    value, vector = np.linalg.eigh((scaled + scaled.T) / 2)
    covariance = (vector / np.maximum(value, 1.0)) @ vector.T
    return np.linalg.cholesky(size[:, None] * covariance * size)


def _steps(v, precision, coordinates) -> np.ndarray:
    """Steps of differences: a tenth of a conditional standard deviation, at most the usual one."""
    usual = _by_kind(coordinates, _STEPS)
    if precision is None:
        return usual
    width = 0.1 / np.sqrt(np.maximum(np.diag(precision), 1e-300))
    return np.clip(width, 1e-3 * usual, usual)


def _agrees(full: FullPosterior, v, precision) -> bool:
    root = _root(v, precision, full.problem.coordinates)
    value, gradient = full.value_and_gradient(v)
    if not np.isfinite(value) or np.linalg.norm(root.T @ gradient) > _NEAR:
        return False
    found = np.linalg.eigvalsh(
        root.T @ full.curvature(v, _steps(v, precision, full.problem.coordinates)) @ root
    )
    return bool(found[0] > 1 / _ALIKE and found[-1] < _ALIKE)


def _newton(full: FullPosterior, v) -> tuple[np.ndarray, np.ndarray]:
    """Mode and curvature."""
    coordinates, precision = full.problem.coordinates, None
    widest = _by_kind(coordinates, _WIDEST)
    value, gradient = full.value_and_gradient(v)
    for _ in range(_NEWTON):
        precision = full.curvature(v, _steps(v, precision, coordinates))
        root = _root(v, precision, coordinates)
        step = root @ (root.T @ gradient)
        if step @ gradient < _AT_MODE:
            break
        step *= min(1.0, 1.0 / np.max(np.abs(step) / widest))
        for _ in range(12):
            new_value, new_gradient = full.value_and_gradient(v + step)
            if new_value > value:
                break
            step = step / 4
        else:
            break
        v, value, gradient = v + step, new_value, new_gradient
    return v, precision


def _cold_start(problem: Problem, shards: ShardSet, seed: int) -> np.ndarray:
    """Physical parameters of the best optimum on some rows of the maps."""
    coordinates = problem.coordinates
    some = jax.tree.map(jnp.asarray, _some_rows(shards, problem.model.n_t))
    candidates = _candidates(problem, seed)
    values = np.nan_to_num(np.asarray(_values(problem, some, jnp.asarray(candidates))), nan=-np.inf)
    size = _by_kind(coordinates, _WIDEST)

    def cost(u):
        value, gradient = _value_and_gradient(problem, some, jnp.asarray(u * size))
        if not np.isfinite(value):
            return 1e300, np.zeros(len(u))
        return -float(value), -np.asarray(gradient) * size

    found = [
        minimize(cost, candidates[k] / size, jac=True, method="BFGS")
        for k in _apart(candidates, values, coordinates.names)
    ]
    best = min(found, key=lambda one: one.fun).x * size
    if coordinates.names[-1] == "phi0":
        best[-1] = wrapped_direction(best[-1])
    return np.asarray(coordinates.to_natural(jnp.asarray(best)))


@jax.jit
def _values(problem: Problem, shard: ShardData, candidates):
    return jax.lax.map(lambda v: problem.shard_log_density(v, shard, 1.0), candidates)


@jax.jit
def _value_and_gradient(problem: Problem, shard: ShardData, v):
    return jax.value_and_grad(lambda v: problem.shard_log_density(v, shard, 1.0))(v)


def _some_rows(shards: ShardSet, n_t: int) -> ShardData:
    """Evenly spread rows of the maps as a shard of their own; the last rows, which know most pairs, are among them."""
    n_shards = len(shards)
    frames = np.unique(np.linspace(n_t - 1, min(2, n_t - 1), min(_ROWS, n_t)).round().astype(int))
    loaded = {k: shards.shards[k].load() for k in set(frames % n_shards)}
    any_ = next(iter(loaded.values()))
    pick = lambda name: np.stack(  # noqa: E731
        [getattr(loaded[f % n_shards], name)[:, f // n_shards] for f in frames], axis=1
    )
    c2 = pick("c2")
    weights = None if any_.weights is None else pick("weights")
    y = c2.astype(float) - 1
    used = (frames[:, None] > np.arange(n_t))[None] & np.isfinite(y)
    w = np.where(used, 1.0 if weights is None else weights, 0.0) * any_.angle_weight[:, None, None]
    y = np.where(used, y, 0.0)
    sums = np.stack([(w * part).sum((1, 2)) for part in (np.ones_like(y), y, y * y)], axis=-1)
    moments = Moments(sums, np.zeros(len(y)), used.sum((1, 2)).astype(float))
    return ShardData(c2, weights, frames, any_.angle_weight, moments)


def _candidates(problem: Problem, seed: int) -> np.ndarray:
    """Coordinates spread over what a map can resolve, (n_candidates, d).

    Decays from a third of a frame to 30 windows, shear phases over the window from 0.1 to 100, any direction.
    """
    model = problem.model
    window, names = model.t[-1] - model.t[0], problem.coordinates.names
    unit = qmc.Sobol(len(names), seed=seed).random(_CANDIDATES)
    slowest, fastest = 1 / (model.q**2 * 30 * window), 3 / (model.q**2 * model.dt)
    ranges = {"slope": (-1.5, 1.5), "exponent": (-1.5, 1.5), "share": (-0.8, 4.0), "phi0": (-90.0, 90.0)}
    ranges["log_D_ref"] = (np.log(slowest), np.log(fastest))
    if model.n_physical == 7:
        size = model.kernel.scale * model.q * model.L * window
        ranges["log_rate_ref"] = (np.log(0.1 / size), np.log(100 / size))
    limits = [ranges.get(name) or ranges[name.partition("_")[0]] for name in names]
    return qmc.scale(unit, *zip(*limits, strict=True))


def _apart(candidates, values, names: Sequence[str]) -> list[int]:
    """The best candidates, with directions of flow at least 20 degrees apart first."""
    ranked = [int(k) for k in np.argsort(-values) if np.isfinite(values[k])] or [0]
    chosen: list[int] = []
    if names[-1] == "phi0":
        for k in ranked:
            apart = [
                abs(float(wrapped_direction(candidates[k, -1] - candidates[c, -1]))) > 20 for c in chosen
            ]
            if all(apart) and len(chosen) < _DESCENTS - 2:
                chosen.append(k)
    return chosen + [k for k in ranked if k not in chosen][: _DESCENTS - len(chosen)]
