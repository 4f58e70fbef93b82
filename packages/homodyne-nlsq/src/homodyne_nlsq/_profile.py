"""Profile-likelihood intervals: how far a parameter can go while all the others make up for it.

With χ²(v) the least χ² with the parameter held at v, the interval at level p holds the v with

    χ²(v) - χ²_min  <=  noise · z_p²,     z_p the normal quantile (1 for 68.3 %, 1.96 for 95 %)

(Venzon & Moolgavkar, Appl. Statist. 37 (1988) 87). It is not symmetric where χ² is not a parabola, and open where the data set no limit. Points of a map
are correlated, so noise is the squared error bar over the inverse curvature of the cost (the adjusted likelihood ratio of Kent, Biometrika 69 (1982) 19): the
variance of a point for independent ones.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri

from homodyne_model import invert_identifiable
from homodyne_nlsq._problem import Problem
from homodyne_nlsq._solve import Solution

LEVELS = (0.683, 0.95)
# Fall of χ², in units of the noise, that is more than the minima along the way are uncertain by.
_Z_TOLERANCE = 0.005
# Factors by which a search for a limit goes farther out at once, and how often.
_BEYOND, _EXPANSION, _EXPANSIONS = 1.1, 4.0, 30
# Share of its distance to which a limit is found.
_CLOSE_TO_LIMIT = 1e-3
# An error bar that is not known is taken to be this share of the value, to begin with.
_FIRST_SHARE = 0.3
# Distance from the optimum [standard errors] of the minima along the way: 1e-2 changes z by 5e-5.
_CLOSE = 1e-2


@dataclass(frozen=True)
class ProfileInterval:
    """A profile-likelihood interval of one parameter.

    Attributes
    ----------
    name, unit : str
        Of the parameter.
    level : float
        Confidence, such as 0.95.
    lower, upper : float
        Limits; -inf or inf where the data set none within the bounds.
    note : str
        Why there is no limit, or why the profile is not to be trusted; empty otherwise.
    """

    name: str
    unit: str
    level: float
    lower: float
    upper: float
    note: str


def profile_intervals(
    result, problem: Problem, solution: Solution, names, local_solver, bounds, fixed, options
) -> tuple[ProfileInterval, ...]:
    """Intervals of parameters of a converged fit, at all `LEVELS`.

    Parameters
    ----------
    result : OptimizationResult
        Of the fit.
    problem : Problem
        With everything frozen that follows the solution; it stays frozen along the profile.
    solution : Solution
        Its solution.
    names : sequence of str
        Physical parameters.
    local_solver, bounds, fixed, options
        What the fit was solved with.
    """
    found = []
    for name in names:
        k = result.physical_names.index(name)
        unit = result.units[2 * result.n_phi + k]
        if fixed[k]:
            note = f"{name} was fixed, so it has no profile."
            found += [ProfileInterval(name, unit, level, np.nan, np.nan, note) for level in LEVELS]
            continue
        profile = _Profile(result, problem, solution, k, local_solver, bounds, fixed, options)
        for level in LEVELS:
            z = float(ndtri((1 + level) / 2))
            lower, upper = profile.limit(-1, z), profile.limit(1, z)
            found.append(ProfileInterval(name, unit, level, lower, upper, profile.note(lower, upper)))
    return tuple(found)


def _noise(result, solution: Solution, free, k: int) -> float:
    """What a squared deviation of one costs in χ²: squared error bar over the inverse curvature of what is minimised."""
    errors = result.uncertainties[2 * result.n_phi :]
    inverse = np.diag(invert_identifiable(solution.at.fit.hessian, free))
    own = np.isfinite(errors) & np.isfinite(inverse) & (inverse > 0)
    if own[k]:
        return float(errors[k] ** 2 / inverse[k])
    # At a bound or not determined: as for the others.
    return float(np.median(errors[own] ** 2 / inverse[own])) if own.any() else result.chi_squared / result.dof


class _Profile:
    """χ² along one parameter."""

    def __init__(
        self, result, problem: Problem, solution: Solution, k: int, local_solver, bounds, fixed, options
    ) -> None:
        self.name, self.best, self.k = result.physical_names[k], solution, k
        self.bounds, self.fixed = bounds, fixed | (np.arange(len(fixed)) == k)
        self.options = options
        self.solve = partial(local_solver, problem, bounds=bounds, fixed=self.fixed, close=_CLOSE)
        error = result.uncertainties[2 * result.n_phi + k]
        value = solution.at.physical[k]
        self.value = value
        self.noise = _noise(result, solution, ~fixed & (solution.held == 0), k)
        self.error = error if np.isfinite(error) else _FIRST_SHARE * abs(value) or 1.0
        self.known = {0.0: solution.at.physical}  # minima along the way, by their distance
        self.roots = {0.0: 0.0}
        self.problems: list[str] = []

    def root(self, away: float) -> float:
        """Signed distance in units of the noise's deviation: √((χ² - χ²_min) / noise)."""
        if away in self.roots:
            return self.roots[away]
        nearest = min(self.known, key=lambda other: abs(other - away))
        start = self.known[nearest].copy()
        start[self.k] = self.value + away
        found = self.solve([start], stage=f"profile of {self.name}", **self.options)
        if not found.converged:
            self._say("a minimum along the way did not converge")
        self.known[away] = found.at.physical
        gained = found.at.fit.cost - self.best.at.fit.cost
        if gained < -_Z_TOLERANCE * self.noise:
            self._say("a smaller χ² was found along the way, so the fit is not at the best minimum")
        self.roots[away] = float(np.sqrt(max(gained, 0.0) / self.noise))
        return self.roots[away]

    def limit(self, side: int, z: float) -> float:
        """Where the root reaches z on one side; infinite if it does not within the bounds."""
        low, high = self.bounds[self.k]
        farthest = (high - self.value) if side > 0 else (self.value - low)
        inside, trial = 0.0, min(z * self.error, farthest)
        for _ in range(_EXPANSIONS):
            r = self.root(side * trial)
            if r >= z:
                break
            if trial >= farthest:
                return side * np.inf
            inside = trial
            # Nearly a straight line through the optimum, so a little farther than where it would meet z.
            trial = min(
                trial * float(np.clip(_BEYOND * z / r if r > 0 else np.inf, _BEYOND, _EXPANSION)), farthest
            )
        else:
            return side * np.inf
        away = brentq(
            lambda distance: self.root(side * distance) - z, inside, trial, xtol=_CLOSE_TO_LIMIT * trial
        )
        return float(self.value + side * away)

    def note(self, lower: float, upper: float) -> str:
        """What is to be said of an interval."""
        open_sides = [side for side, value in (("below", lower), ("above", upper)) if np.isinf(value)]
        said = [f"the data set no limit {' and '.join(open_sides)}"] if open_sides else []
        said += self.problems
        return "; ".join(said)

    def _say(self, problem: str) -> None:
        if problem and problem not in self.problems:
            self.problems.append(problem)
