"""The published restart rule, as a check of runs."""

import pytest


def check_restarts(runs, population, sigma=0.5):
    """Sizes, step sizes, budgets and the order of runs after Hansen (2009); returns the large ones and the evaluations used by regime.

    Only the last run may have been cut short.
    """
    assert (runs[0].regime, runs[0].population, runs[0].sigma) == ("first", population, sigma)
    large, used = [], {"large": 0, "small": 0}
    for run in runs[1:]:
        assert run.regime == ("small" if used["small"] < used["large"] else "large")
        if run.regime == "large":
            large.append(run)
            assert (run.population, run.sigma) == (population * 2 ** len(large), sigma)
        else:
            assert population <= run.population <= large[-1].population // 2
            assert 0.01 * sigma < run.sigma <= sigma
            assert run.evaluations <= max(run.population, large[-1].evaluations // 2)
        assert run.evaluations == run.generations * run.population
        used[run.regime] += run.evaluations
    return large, used


@pytest.fixture(name="check_restarts")
def check_restarts_fixture():
    """`check_restarts`."""
    return check_restarts
