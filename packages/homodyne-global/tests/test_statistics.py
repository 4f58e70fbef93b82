"""How often restarts find the minimum: 20 seeds of every function, with at most 1e5 evaluations."""

import numpy as np
import pytest

from homodyne_global import CMAESWrapper

pytestmark = pytest.mark.statistics
SEEDS = 20


def rosenbrock(p):
    return (100 * (p[:, 1:] - p[:, :-1] ** 2) ** 2 + (1 - p[:, :-1]) ** 2).sum(axis=1)


def rastrigin(p):
    z = p - 1.3
    return (z**2 + 10 - 10 * np.cos(2 * np.pi * z)).sum(axis=1)


CENTRE = np.array([3e-6, -2e-4, 1e-1, 1.0, 30.0, 4e3, 1e5])
WIDTH = np.array([1e-6, 1e-3, 1e-1, 2.0, 20.0, 2e3, 1e5])


def scales(p):
    """Minima at many places, one of them the lowest; its coordinates are correlated and eleven decades apart."""
    z = (p - CENTRE) / WIDTH
    turned = z + np.roll(z, 1, axis=1)
    return (turned**2).sum(axis=1) + 0.1 * (z**2).sum(axis=1) + (1 - np.cos(4 * z)).sum(axis=1)


FUNCTIONS = {
    "rosenbrock": (rosenbrock, [-5.0] * 6, [10.0] * 6),
    "rastrigin": (rastrigin, [-5.0] * 6, [5.0] * 6),
    # The first and the last are positive over decades, so that they are searched by their logarithms.
    "scales": (
        scales,
        [1e-7, *(CENTRE - 6 * WIDTH)[1:6], 1e3],
        [3e-5, *(CENTRE + 4 * WIDTH)[1:6], 1e6],
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_minimum_is_found(name, check_restarts):
    function, lower, upper = FUNCTIONS[name]
    evaluations = []
    for seed in range(SEEDS):
        wrapper = CMAESWrapper({"seed": seed, "max_generations": 1000, "max_evaluations": 100_000})
        # The target only ends the search once the minimum is found, so that the evaluations it took are known.
        found = wrapper.minimize(function, (lower, upper), batched=True, traceable=False, target=1e-6)
        assert found.diagnostics.evaluations <= 100_000
        check_restarts(found.diagnostics.runs, 9)
        if found.chi_squared <= 1e-6:
            evaluations.append(found.diagnostics.evaluations)
    print(
        f"{name}: {len(evaluations)} of {SEEDS}, median {np.median(evaluations):.0f}, most {max(evaluations)} evaluations"
    )
    assert len(evaluations) >= 18
