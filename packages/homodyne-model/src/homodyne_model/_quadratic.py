"""A convex quadratic programme with a few dozen unknowns, solved exactly by an active set.

    minimise  x·H·x - 2 b·x   subject to   lower <= G x <= upper

In coordinates x = W y with WᵀHW = 1 it asks for the point of a polyhedron that is nearest to y₀ = Wᵀb. The dual method of
Goldfarb & Idnani (Math. Programming 27 (1983) 1) starts at y₀, outside, and takes in one violated inequality after the
other: after every full step the point is the nearest one to y₀ on the faces taken in, and farther from it than before, so that no set of faces
comes back and the end is reached after finitely many steps. No feasible start is needed, and an empty polyhedron shows.
"""

import numpy as np

from homodyne_model._directions import column_scale, determined_directions

# Curvature given to directions that have none, about the last point: it has no effect once that point rests. Less of it needs
# fewer rounds and costs digits, so it is lowered only where the point comes to rest too slowly.
_PULL, _LEAST_PULL = 1e-6, 1e-9
_SLOW = 0.3
_ROUNDS = 40
# Moves of a lost direction that end the rounds, in units of the columns' norms.
_AT_REST = 1e-12
# A face whose normal lies in the span of the faces taken in, but for this share, cannot be reached along them.
_DEPENDENT = 1e-10
# Violations smaller than this many rounding errors of a row are none.
_ROUNDINGS = 64


def minimise_quadratic(curvature, linear, rows, lower, upper, rest) -> np.ndarray | None:
    """Minimise x·H·x - 2 b·x with lower <= G x <= upper.

    Parameters
    ----------
    curvature : (n, n)
        H, positive semi-definite.
    linear : (n,)
        b, in the range of H.
    rows : (m, n)
        G.
    lower, upper : (m,)
        Bounds, infinite where there are none; lower < upper.
    rest : (n,)
        Where x rests along directions without curvature, as far as the bounds let it.

    Returns
    -------
    (n,) or None
        The minimum; None if no x is within the bounds.

    Examples
    --------
    >>> import numpy as np
    >>> none = np.full(1, -np.inf)
    >>> minimise_quadratic(np.eye(2), np.array([1.0, 1.0]), np.array([[1.0, 3.0]]), none, np.full(1, 2.0), np.zeros(2))
    array([0.8, 0.4])
    """
    spread, lost = determined_directions(curvature, np.ones(len(curvature), dtype=bool))
    determined, along = spread.T @ linear, lost.T * column_scale(curvature) ** 2 @ rest
    pull, last = _PULL, np.inf
    for _ in range(_ROUNDS):
        to_x = np.concatenate([spread, lost / np.sqrt(pull)], axis=1)
        target = np.append(determined, np.sqrt(pull) * along)
        nearest = _nearest_point(target, rows @ to_x, lower, upper)
        if nearest is None:
            return None
        # A proximal point step (Rockafellar, SIAM J. Control Optim. 14 (1976) 877): where bounds tie lost directions to determined
        # ones, the pull's share of the cost vanishes from round to round.
        moved = nearest[len(determined) :] / np.sqrt(pull) - along
        along = along + moved
        size = float(np.linalg.norm(moved))
        if size <= _AT_REST * max(1.0, float(np.linalg.norm(along))):
            break
        if size > _SLOW * last:
            pull = max(pull / 10, _LEAST_PULL)
        last = size
    return to_x @ nearest


def _nearest_point(target, normals, lower, upper) -> np.ndarray | None:
    """Point with lower <= N y <= upper nearest to a target; None if there is none."""
    size = np.linalg.norm(normals, axis=1)
    # Inequalities N y >= bound, the lower ones and then the upper ones.
    signed = np.concatenate([normals, -normals])
    bound = np.concatenate([lower, -upper])
    largest = np.where(np.isfinite(bound), np.abs(bound), 0.0)
    y, taken, multipliers = np.array(target, dtype=float), [], np.zeros(0)

    # The number of steps is finite in exact arithmetic and rarely exceeds twice the number of faces that end up taken in.
    for _ in range(100 + 20 * len(signed)):
        slack = signed @ y - bound
        allowed = _ROUNDINGS * np.finfo(float).eps * (np.tile(size, 2) * np.linalg.norm(y) + largest)
        slack = np.where(allowed + slack < 0, slack, 0.0)
        slack[taken] = 0.0
        new = int(np.argmin(slack))
        if slack[new] == 0:
            return y
        multiplier = 0.0
        while True:
            along, across = _split(signed[taken], signed[new])
            reachable = np.linalg.norm(across) > _DEPENDENT * np.linalg.norm(signed[new])
            full = (bound[new] - signed[new] @ y) / (across @ across) if reachable else np.inf
            # The step after which a face that was taken in no longer pushes.
            shrinking = np.flatnonzero(along > 0)
            ratios = multipliers[shrinking] / along[shrinking]
            first = int(np.argmin(ratios)) if len(ratios) else None
            step = min(full, ratios[first] if first is not None else np.inf)
            if not np.isfinite(step):
                return None
            multipliers, multiplier = multipliers - step * along, multiplier + step
            if reachable:
                y = y + step * across
            if step == full:
                taken.append(new)
                multipliers = np.append(multipliers, multiplier)
                # Rounding does not add up over the steps: the nearest point on these faces, afresh.
                q, r = np.linalg.qr(signed[taken].T)
                y = target + q @ np.linalg.solve(r.T, bound[taken] - signed[taken] @ target)
                break
            dropped = shrinking[first]
            del taken[dropped]
            multipliers = np.delete(multipliers, dropped)
    return y


def _split(normals, normal) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of a vector's part in the span of independent rows, and the part perpendicular to them."""
    if not len(normals):
        return np.zeros(0), normal
    q, r = np.linalg.qr(normals.T)
    inside = q.T @ normal
    across = normal - q @ inside
    return np.linalg.solve(r, inside), across - q @ (q.T @ across)
