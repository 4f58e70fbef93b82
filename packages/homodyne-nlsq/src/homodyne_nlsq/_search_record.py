"""What a result says of the global search before it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class SearchRun:
    """One run of CMA-ES.

    Attributes
    ----------
    regime : str
        ``first``, ``large`` or ``small``: which part of the restart rule asked for it.
    population, generations, evaluations : int
        Candidates in a generation, generations, candidates in all.
    best_cost : float
        The lowest χ² of the averages that candidates are ranked on.
    ended : str
        Why it ended, in words.
    """

    regime: str
    population: int
    generations: int
    evaluations: int
    best_cost: float
    ended: str


@dataclass(frozen=True)
class SearchMinimum:
    """A minimum that fits from several starts led to.

    Attributes
    ----------
    physical : dict
        Physical parameters by name.
    chi_squared : float
        χ² of all the data there; NaN where the search was stopped before they were passed over.
    count : int
        Starts that led here; 0 where only the fit after the search did, from start values of the data.
    distance : float
        How far the maps that it predicts are from those of the best one [standard deviations of all points together]: below 1, nothing
        that was measured tells the two apart.
    refined : bool
        Whether it is a minimum of all the data, or of their averages only.
    """

    physical: Mapping[str, float]
    chi_squared: float
    count: int
    distance: float
    refined: bool


@dataclass(frozen=True)
class GlobalSearch:
    """The search before a fit.

    Attributes
    ----------
    method : str
        ``cmaes``, ``multi_start``, or ``local`` where a search was enabled but the bounds did not ask for it.
    choice : str
        Why this method.
    message : str
        How it went.
    stage : str
        What found the fitted values: the ``start``, the ``search``, or the ``refinement`` on all the data.
    chi_squared_by_stage : dict
        χ² of all the data after ``start``, ``search`` and ``refinement``, in plain least squares with the scaling that the fit began with.
    start : dict
        Physical parameters where it began.
    evaluations, generations, restarts : int
        Candidates and generations of all runs, and runs after the first.
    seed : int or None
        With which it can be repeated; None where nothing was drawn.
    scale_ratio : float
        Widest over narrowest distance between bounds.
    stopped : bool
        Whether search or fit were ended from outside: the parameters are the best so far.
    undecided : tuple of str
        Sentences on minima that are as good as the best: the data do not decide between them.
    runs : tuple of SearchRun
        Of CMA-ES.
    minima : tuple of SearchMinimum
        Of multistart, the best first.
    """

    method: str
    choice: str
    message: str
    stage: str
    chi_squared_by_stage: Mapping[str, float]
    start: Mapping[str, float]
    evaluations: int
    generations: int
    restarts: int
    seed: int | None
    scale_ratio: float
    stopped: bool
    undecided: tuple[str, ...]
    runs: tuple[SearchRun, ...]
    minima: tuple[SearchMinimum, ...]
