"""The quadratic programme against enumeration of active sets, first-order conditions, SciPy and linear programming."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize, nnls

from homodyne_model._quadratic import minimise_quadratic


def programme(rng, n, m, *, rank=None, tight=1.0):
    """A random one with a point inside; some bounds infinite, some rows equal."""
    root = rng.normal(size=(rank or n + 2, n)) * 10 ** rng.uniform(-1, 1, size=n)
    rows = rng.normal(size=(m, n))
    if m > 2:
        rows[1] = rows[0]
    width = tight * 10 ** rng.uniform(-3, 0.5, size=m)
    lower = rows @ rng.normal(size=n) - width * rng.random(m)
    upper = lower + width
    lower[rng.random(m) < 0.2] = -np.inf
    upper[rng.random(m) < 0.2] = np.inf
    return root, 5 * rng.normal(size=len(root)), rows, lower, upper


def cost(root, target, x):
    return np.sum((root @ x - target) ** 2)


def solve(root, target, rows, lower, upper, rest=None):
    rest = np.zeros(root.shape[1]) if rest is None else rest
    return minimise_quadratic(root.T @ root, root.T @ target, rows, lower, upper, rest)


@pytest.mark.parametrize("seed", range(40))
def test_against_all_active_sets(seed):
    rng = np.random.default_rng(seed)
    root, target, rows, lower, upper = programme(rng, int(rng.integers(1, 4)), int(rng.integers(1, 6)))
    rows[1:2] += 1e-3  # equations of equal rows have no solution
    best = np.inf
    for choice in itertools.product((-1, 0, 1), repeat=len(rows)):
        bound = np.where(np.array(choice) < 0, lower, upper)
        active = np.array(choice) != 0
        if active.sum() > rows.shape[1] or not np.isfinite(bound[active]).all():
            continue
        n, k = rows.shape[1], int(active.sum())
        system = np.block([[root.T @ root, rows[active].T], [rows[active], np.zeros((k, k))]])
        x = np.linalg.solve(system, np.concatenate([root.T @ target, bound[active]]))[:n]
        if (rows @ x >= lower - 1e-9).all() and (rows @ x <= upper + 1e-9).all():
            best = min(best, cost(root, target, x))
    x = solve(root, target, rows, lower, upper)
    assert cost(root, target, x) == pytest.approx(best, rel=1e-9)


@given(seed=st.integers(0, 10**6), n=st.integers(1, 12), m=st.integers(1, 40), deficit=st.integers(0, 3))
def test_first_order_conditions(seed, n, m, deficit):
    """The slope is a push of the bounds that are reached, which for a convex problem is enough; also where H is singular."""
    rng = np.random.default_rng(seed)
    root, target, rows, lower, upper = programme(rng, n, m, rank=max(1, n - deficit))
    x = solve(root, target, rows, lower, upper)
    at = rows @ x
    # The way leads from the minimum without bounds, whose digits it keeps.
    free = np.linalg.lstsq(root, target)[0]
    size = 1 + np.abs(at) + np.linalg.norm(rows, axis=1) * (np.linalg.norm(x) + np.linalg.norm(free))
    # Along directions without curvature the pull, 1e-6 of the curvature, costs six digits.
    digits = 1e-11 if deficit == 0 else 1e-8
    assert (at >= lower - digits * size).all()
    assert (at <= upper + digits * size).all()
    pushes = np.concatenate([rows[at - lower < 1e-8 * size], -rows[upper - at < 1e-8 * size]])
    norm = np.linalg.norm(root, axis=0)
    slope = root.T @ (root @ x - target) / norm
    left = nnls((pushes / norm).T, slope, maxiter=2000)[1] if len(pushes) else np.linalg.norm(slope)
    assert left < 1e-6 * (np.linalg.norm(target) + np.linalg.norm(root @ x))


@pytest.mark.parametrize("seed", range(5))
def test_against_scipy(seed):
    rng = np.random.default_rng(seed)
    root, target, rows, lower, upper = programme(rng, 10, 46, tight=0.3)
    constraints = []
    for bound, sign in ((lower, 1.0), (upper, -1.0)):
        use = np.isfinite(bound)
        constraints.append(
            {
                "type": "ineq",
                "fun": lambda x, use=use, bound=bound, sign=sign: sign * (rows[use] @ x - bound[use]),
                "jac": lambda x, use=use, sign=sign: sign * rows[use],
            }
        )
    x = solve(root, target, rows, lower, upper)
    other = minimize(
        lambda y: cost(root, target, y),
        x + 0.1,
        jac=lambda y: 2 * root.T @ (root @ y - target),
        method="SLSQP",
        constraints=constraints,
        options={"maxiter": 1000, "ftol": 1e-14},
    )
    assert cost(root, target, x) == pytest.approx(other.fun, rel=1e-6)
    assert cost(root, target, x) <= other.fun * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(30))
def test_an_empty_polyhedron_is_told_as_linear_programming_tells_it(seed):
    rng = np.random.default_rng(seed)
    root, target, rows, lower, upper = programme(rng, 4, 12)
    centre = rng.normal(scale=[0.1, 1.0][seed % 2], size=12) + rows @ rng.normal(size=4)
    lower, upper = centre - 0.5, centre + 0.5
    stacked, limits = np.concatenate([rows, -rows]), np.concatenate([upper, -lower])
    empty = linprog(np.zeros(4), A_ub=stacked, b_ub=limits, bounds=(None, None)).status == 2
    assert (solve(root, target, rows, lower, upper) is None) == empty


def test_without_curvature_x_rests_where_it_is_told():
    everywhere = np.full(2, np.inf)
    rest = np.array([0.7, -0.2])
    found = minimise_quadratic(np.zeros((2, 2)), np.zeros(2), np.eye(2), -everywhere, everywhere, rest)
    np.testing.assert_allclose(found, rest, rtol=1e-9)
    # The nearest point that the bounds let it.
    found = minimise_quadratic(
        np.zeros((2, 2)), np.zeros(2), np.ones((1, 2)), np.ones(1), np.full(1, 2.0), rest
    )
    np.testing.assert_allclose(found, rest + 0.25, rtol=1e-9)
    # Curvature along one direction only: the other rests.
    found = minimise_quadratic(np.ones((2, 2)), np.full(2, 3.0), np.eye(2), -everywhere, everywhere, rest)
    np.testing.assert_allclose(found, [1.95, 1.05], rtol=1e-9)


def test_many_unknowns_on_bounds():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(150, 60))
    target = root @ rng.normal(scale=3, size=60)
    box = np.ones(60)
    x = solve(root, target, np.eye(60), -box, box)
    slope = root.T @ (root @ x - target)
    assert (np.abs(x) > 1 - 1e-12).sum() > 30
    assert (slope[x > 1 - 1e-12] < 0).all()
    assert (slope[x < -1 + 1e-12] > 0).all()
    assert np.abs(slope[np.abs(x) < 1 - 1e-12]).max() < 1e-9 * np.abs(root.T @ target).max()
