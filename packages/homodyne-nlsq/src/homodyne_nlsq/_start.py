"""Start values from the data: candidates over what a map can resolve, ranked on averages, the best ones refined there."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from homodyne_model import RateCoordinates
from homodyne_nlsq._bounds import drawn_in
from homodyne_nlsq._coarse import CoarseProblem
from homodyne_nlsq._solve import Progress, solve

_CANDIDATES = 4096
_REFINED = 16
# The same for a look whether given start values led to the wrong minimum.
_LOOKED_AT, _LOOKS, _FEW_LOOKS, _NEAR = 1024, 6, 2, 1.1
# Candidates beside the best one that must meet there.
_AGREED = 2
_PASSES = 400
# Evaluations after which candidates are compared, before the best ones go on.
_FIRST_PASSES = 20
# Relative difference of χ² below which two candidates ended at the same optimum.
_SAME = 1e-6
# An exponent of exactly zero hides the offset: the two are degenerate there.
_NOT_ZERO = 1e-3


@dataclass(frozen=True)
class Start:
    """Where the fit of all the data begins.

    Attributes
    ----------
    physical : (n_physical,)
        Optimum of the averages.
    cost : float
        χ² of the averages there.
    inside : bool
        Whether it is an optimum that no bound is in the way of.
    """

    physical: np.ndarray
    cost: float
    inside: bool


def start_from_given(
    coarse: CoarseProblem, given, fixed, bounds, *, progress: Progress | None = None
) -> Start:
    """The optimum of the averages that given start values lead to: most of the way costs no pass over the data.

    Parameters
    ----------
    coarse : CoarseProblem
        Averages of the data.
    given : (n_physical,)
        Start values inside the bounds.
    fixed : (n_physical,) bool
        Parameters that keep the given value.
    bounds : (n_physical, 2)
        Lower and upper bounds.
    progress : callable, optional
        Called after every evaluation.
    """
    return _refined(coarse, given, fixed, bounds, progress)


def is_better_elsewhere(
    coarse: CoarseProblem,
    found: Start,
    fixed,
    bounds,
    *,
    seed: int,
    progress: Progress | None = None,
) -> bool:
    """Whether the averages have a lower minimum than the one that given start values led to.

    The direction of the flow has minima of its own, across the flow above all, where contrasts and rates make up for it. A short look at the
    best of a few candidates tells, a shorter one where they come to the same minimum; without shear there is nothing to look for.
    """
    if not coarse.model.sheared or fixed.all():
        return False
    candidates, chosen = _ranked(coarse, np.where(fixed, found.physical, np.nan), bounds, seed, _LOOKED_AT)
    agreed, near = 0, False
    for looks, k in enumerate(chosen[:_LOOKS], 1):
        begun = _refined(coarse, candidates[k], fixed, bounds, progress, _FIRST_PASSES)
        if begun.cost < found.cost * (1 - _SAME):
            return True
        agreed += begun.inside and begun.cost <= found.cost * (1 + _SAME)
        near |= begun.cost < found.cost * _NEAR
        # Where nothing comes near, a wrong minimum would be far off, and the best candidates would be below it.
        if agreed == _AGREED or (looks == _FEW_LOOKS and not near):
            break
    return False


def start_from_data(
    coarse: CoarseProblem, known, fixed, bounds, *, seed: int, progress: Progress | None = None
) -> Start:
    """Start values that the data give.

    Parameters
    ----------
    coarse : CoarseProblem
        Averages of the data.
    known : (n_physical,)
        Values that are known, NaN for those that the data shall give.
    fixed : (n_physical,) bool
        Parameters that keep the known value in the fit.
    bounds : (n_physical, 2)
        Start values lie inside.
    seed : int
        Of the candidates.
    progress : callable, optional
        Called after every evaluation.
    """
    candidates, chosen = _ranked(coarse, known, bounds, seed, _CANDIDATES)
    held = fixed | np.isfinite(known)
    begun = [_refined(coarse, candidates[k], held, bounds, progress, _FIRST_PASSES) for k in chosen]
    best = Start(candidates[chosen[0]], np.inf, False)
    agreed = 0
    for begin in sorted(begun, key=lambda start: start.cost):
        found = begin if begin.inside else _refined(coarse, begin.physical, held, bounds, progress)
        agreed += found.inside and abs(found.cost - best.cost) <= _SAME * best.cost < np.inf
        if found.cost < best.cost * (1 - _SAME):
            agreed = 0
        if found.cost < best.cost:
            best = found
        if agreed == _AGREED:
            break  # so many candidates met at the best optimum so far, away from all bounds
    return best


def _ranked(coarse: CoarseProblem, known, bounds, seed: int, n: int) -> tuple[np.ndarray, list[int]]:
    """Candidates inside the bounds, and which of them are worth a start, the best first."""
    is_known = np.isfinite(known)
    candidates = np.clip(_candidates(coarse.model, seed, n), *drawn_in(bounds, 1e-3).T)
    candidates[:, is_known] = known[is_known]
    # Where no candidate has a cost, one is as good as the other, and the descent says what is wrong.
    return candidates, _distinct(candidates, coarse.costs(candidates)) or [0]


def _refined(coarse: CoarseProblem, start, held, bounds, progress, max_passes: int = _PASSES) -> Start:
    """The optimum of the averages that a start leads to, or where it is after some passes; held parameters keep their start value."""
    n_free = max(1, coarse.n_bins - 2 * coarse.model.n_phi - int((~held).sum()))
    found = solve(
        coarse,
        [start],
        bounds,
        held,
        n_free_points=n_free,
        max_passes=max_passes,
        progress=progress,
        stage="start values",
    )
    physical = np.where(held, start, np.clip(found.at.physical, *drawn_in(bounds, 1e-6).T))
    return Start(physical, found.at.fit.cost, found.converged and not found.held.any())


def _candidates(model, seed: int, count: int) -> np.ndarray:
    """Physical parameters spread over what the map can resolve, (n_candidates, n_physical).

    Decay times from a third of a frame to 30 windows, shear phases over the window from 0.1 to 100, any direction.
    """
    n = model.n_physical
    points = qmc.Sobol(n, seed=seed).random(count)
    window = model.t[-1] - model.t[0]
    block = RateCoordinates(model.t_middle)

    def rates(unit, slowest, fastest):
        u = np.empty((len(unit), 3))
        u[:, 0] = np.log(slowest) + unit[:, 0] * np.log(fastest / slowest)
        u[:, 1] = -1.5 + 3 * unit[:, 1]
        u[:, 2] = np.arcsinh(np.exp(1 - 1.3 * unit[:, 2]))
        u[:, 1] += np.where(np.abs(u[:, 1]) < _NOT_ZERO, _NOT_ZERO, 0)
        return np.array([block.to_natural(row) for row in u])

    physical = np.empty((len(points), n))
    physical[:, :3] = rates(points[:, :3], 1 / (model.q**2 * 30 * window), 3 / (model.q**2 * model.dt))
    if model.sheared:
        size = model.kernel.scale * model.q * model.L * window
        physical[:, 3:6] = rates(points[:, 3:6], 0.1 / size, 100 / size)
        physical[:, 6] = -90 + 180 * points[:, 6]
    return physical


def _distinct(candidates, cost) -> list[int]:
    """The best candidates: directions of flow at least 20 degrees apart first, then whatever is best."""
    ranked = [int(k) for k in np.argsort(cost) if np.isfinite(cost[k])]
    chosen: list[int] = []
    if candidates.shape[1] == 7:
        for k in ranked:
            apart = [abs((candidates[k, 6] - candidates[c, 6] + 90) % 180 - 90) > 20 for c in chosen]
            if all(apart) and len(chosen) < _REFINED - 2:
                chosen.append(k)
    return chosen + [k for k in ranked if k not in chosen][: _REFINED - len(chosen)]
