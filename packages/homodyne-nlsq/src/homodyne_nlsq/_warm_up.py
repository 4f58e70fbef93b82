"""The warm-up of a streamed fit: L-BFGS on the averages, so that no pass over the file is spent on a poor start."""

import numpy as np
from scipy.optimize import minimize

from homodyne_nlsq._coarse import CoarseProblem
from homodyne_nlsq._config import HybridStreamingConfig
from homodyne_nlsq._solve import Progress

# A warm-up has stalled where χ² fell by less than this share over so many iterations.
_STALLED = 1e-3
_STALL_WINDOW = 10
# Values at which the model overflows cost this many times the start.
_WALL = 1e6


def warm_up(
    coarse: CoarseProblem,
    start,
    fixed,
    bounds,
    settings: HybridStreamingConfig,
    *,
    progress: Progress | None = None,
) -> np.ndarray:
    """Physical parameters nearer to the optimum of the averages than the start.

    Parameters
    ----------
    coarse : CoarseProblem
        Averages of the data.
    start : (n_physical,)
        Inside the bounds.
    fixed : (n_physical,) bool
        Parameters that keep their start value.
    bounds : (n_physical, 2)
        Lower and upper bounds.
    settings : HybridStreamingConfig
        Normalisation and numbers of iterations.
    progress : callable, optional
        Called after every iteration.

    Returns
    -------
    (n_physical,)
        The start where the warm-up is left out or nothing was gained.
    """
    start, free = np.asarray(start, dtype=float), ~np.asarray(fixed, dtype=bool)
    if settings.warmup_iterations == 0 or not free.any():
        return start
    to_natural, slope, u0, box = _variables(
        start[free], np.asarray(bounds, dtype=float)[free], settings.normalize
    )
    first = coarse.compress(coarse.gram(start)).cost

    def cost(u):
        physical = start.copy()
        physical[free] = to_natural(u)
        gram = coarse.gram(physical)
        if not np.isfinite(gram).all():
            return _WALL, np.zeros(len(u))
        fit = coarse.compress(gram)
        return fit.cost / first, 2 * fit.gradient[free] * slope(u) / first

    costs: list[float] = []

    def stop_where_stalled(intermediate_result):
        costs.append(float(intermediate_result.fun))
        if progress is not None:
            progress("warm-up", len(costs), first * costs[-1], "")
        if len(costs) >= max(settings.warmup_iterations, _STALL_WINDOW + 1):
            before = costs[-1 - _STALL_WINDOW]
            if before - costs[-1] < _STALLED * before:
                raise StopIteration

    found = minimize(
        cost,
        u0,
        jac=True,
        method="L-BFGS-B",
        bounds=box,
        callback=stop_where_stalled,
        options={"maxiter": settings.max_warmup_iterations, "ftol": 1e-10, "gtol": 1e-10},
    )
    if not found.fun < 1:
        return start
    result = start.copy()
    result[free] = to_natural(found.x)
    return result


def _variables(start, bounds, normalize: bool):
    """Map to natural parameters, its slope, the start and the box of the warm-up's variables."""
    lower, upper = bounds.T
    finite = np.isfinite(lower) & np.isfinite(upper)
    size = np.maximum(np.abs(start), np.where(finite, 1e-6 * np.where(finite, upper - lower, 0), 1.0))
    if not normalize:
        return (
            lambda u: u * size,
            lambda u: size,
            start / size,
            np.stack([lower, upper], axis=1) / size[:, None],
        )
    log = finite & (lower > 0)
    low, span = (
        np.where(finite, lower, 0.0),
        np.where(finite, upper - lower, 180.0),
    )  # a period of phi0 where nothing bounds it
    ratio = np.where(log, upper / np.where(log, lower, 1.0), 1.0)

    def to_natural(u):
        return np.where(log, low * ratio**u, low + span * u)

    def slope(u):
        return np.where(log, low * ratio**u * np.log(ratio), span)

    with np.errstate(divide="ignore", invalid="ignore"):
        u0 = np.where(log, np.log(start / low) / np.log(ratio), (start - low) / span)
    box = np.where(finite[:, None], [0.0, 1.0], [-np.inf, np.inf])
    return to_natural, slope, np.clip(u0, *box.T), box
