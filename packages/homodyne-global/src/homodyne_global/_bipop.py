"""The restart rule of BIPOP-CMA-ES.

N. Hansen, Benchmarking a BI-population CMA-ES on the BBOB-2009 function testbed, GECCO 2009, doi:10.1145/1570256.1570333. After a first run with
the default population, two kinds of restarts share the evaluations equally. Large ones double the population from restart to restart. Small
ones draw population and step size at random, and stop at half the evaluations of the last large one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from homodyne_global._results import CMAESRun


def default_population(n_parameters: int) -> int:
    """Population size of a run of plain CMA-ES: 4 + floor(3 ln d) (Hansen 2016, arXiv:1604.00772, Table 1)."""
    return 4 + math.floor(3 * math.log(n_parameters))


@dataclass(frozen=True)
class RunPlan:
    """What the next run is to be: its regime, population, step size and most generations."""

    regime: str
    population: int
    sigma: float
    generations: int


def next_run(
    done: Sequence[CMAESRun],
    *,
    population: int,
    sigma: float,
    generations: int,
    max_restarts: int,
    random: np.random.Generator,
) -> RunPlan | None:
    """Plan the run after those that are done.

    Parameters
    ----------
    done : sequence of CMAESRun
        In the order in which they ran.
    population, sigma, generations
        Of the first run; the generations are the most of any.
    max_restarts : int
        Most large runs.
    random : numpy.random.Generator
        For the small runs.

    Returns
    -------
    RunPlan or None
        None when the last large run is done and the small ones have had as many evaluations.
    """
    if not done:
        return RunPlan("first", population, sigma, generations)
    large = [run for run in done if run.regime == "large"]
    used_large = sum(run.evaluations for run in large)
    used_small = sum(run.evaluations for run in done if run.regime == "small")
    if used_small < used_large:
        exponent, decades = random.random(2)
        half = 0.5 * large[-1].population / population
        size = math.floor(population * half ** (exponent**2))
        limit = max(1, large[-1].evaluations // (2 * size))
        return RunPlan("small", size, float(sigma * 10 ** (-2 * decades)), min(generations, limit))
    if len(large) == max_restarts:
        return None
    return RunPlan("large", population * 2 ** (len(large) + 1), sigma, generations)
