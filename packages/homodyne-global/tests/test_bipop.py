"""The published restart rule, on runs that are made up; test_cmaes.py looks at those of searches."""

import numpy as np
import pytest

from homodyne_global import CMAESRun, StopReason, default_population
from homodyne_global._bipop import next_run


def carry_out(*, population=9, sigma=0.5, generations=100, max_restarts=9, seed=0, used=lambda plan: 1.0):
    """Runs until the rule ends them; each takes a share of its generations."""
    random, done = np.random.default_rng(seed), []
    while True:
        plan = next_run(
            done,
            population=population,
            sigma=sigma,
            generations=generations,
            max_restarts=max_restarts,
            random=random,
        )
        if plan is None:
            return done
        took = max(1, int(used(plan) * plan.generations))
        done.append(
            CMAESRun(
                plan.regime, plan.population, plan.sigma, took, took * plan.population, 1.0, StopReason.TOL_X
            )
        )


@pytest.mark.parametrize("d, size", [(1, 4), (2, 6), (3, 7), (6, 9), (7, 9), (10, 10), (20, 12)])
def test_default_population(d, size):
    assert default_population(d) == size


@pytest.mark.parametrize("seed", range(5))
def test_sizes_and_budgets(seed, check_restarts):
    shares = np.random.default_rng(seed)
    runs = carry_out(seed=seed, used=lambda plan: shares.uniform(0.2, 1))
    large, used = check_restarts(runs, 9)
    assert [run.population for run in large] == [9 * 2**k for k in range(1, 10)]
    assert used["small"] >= used["large"]
    assert used["small"] - used["large"] <= large[-1].evaluations // 2


def test_small_runs_are_drawn_by_the_published_formula():
    """λs = floor(λ (λl / 2λ)^(U²)) and σ 10^(-2U), U uniform: their quantiles are known."""
    runs = carry_out(population=100, sigma=1.0, generations=1000, max_restarts=3, used=lambda plan: 1.0)
    for seed in range(1, 400):
        runs += carry_out(population=100, sigma=1.0, generations=1000, max_restarts=3, seed=seed)
    last = 0
    sizes, decades = [], []
    for run in runs:
        last = run.population if run.regime == "large" else last
        if run.regime == "small":
            decades.append(-np.log10(run.sigma) / 2)
            if last == 800:
                sizes.append(run.population)
    assert len(sizes) > 1000
    u = (np.arange(9) + 1) / 10
    np.testing.assert_allclose(np.quantile(decades, u), u, atol=0.03)
    np.testing.assert_allclose(np.quantile(sizes, u), np.floor(100 * 4 ** (u**2)), rtol=0.04)


def test_no_restarts():
    assert [run.regime for run in carry_out(max_restarts=0)] == ["first"]
    assert [run.regime for run in carry_out(max_restarts=1)][:2] == ["first", "large"]
