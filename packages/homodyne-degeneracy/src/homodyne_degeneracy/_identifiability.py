"""What the data determine and what they do not, in numbers and in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from homodyne_degeneracy._advice import advice_on
from homodyne_degeneracy.errors import DegeneracyError
from homodyne_model import determined_directions, invert_identifiable

# Above this correlation two parameters are all but interchangeable: their errors are 3 times those with the other known.
STRONG_CORRELATION = 0.95
# Entries of a direction (in units of each parameter's own scale) smaller than this share of the largest are left out of its words.
_SHARE_NAMED = 0.2
# A combination whose error, in units of the parameters themselves, exceeds this is weak.
_WEAK = 0.5
# Standard errors of the logarithmic slope within which a rate counts as independent of age; an error larger than the second is none of a flat
# rate but of an unknown one.
_FLAT, _STEEP = 3.0, 0.5
# Share of a lost direction above which a combination is lost with it.
_TAKES_PART = 1e-6

# Power laws: amplitude, exponent and constant.
_RATES = {"D_offset": ("D0", "alpha"), "gamma_dot_t_offset": ("gamma_dot_t0", "beta")}


@dataclass(frozen=True)
class Combination:
    """A linear combination of parameters, each in its own unit of order one.

    Amplitudes count in shares of themselves, offsets in shares of the power law beside them, exponents as they are, angles in radians.

    Attributes
    ----------
    weights : tuple of (str, float)
        Parameters and their weights, the largest first and +1; small ones are left out.
    error : float
        Standard error of the combination, infinite where the data do not determine it.
    words : str
        The combination, written out.
    """

    weights: tuple[tuple[str, float], ...]
    error: float
    words: str

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that take part."""
        return tuple(name for name, _ in self.weights)


@dataclass(frozen=True)
class FlatRate:
    """A rate, power law plus constant, that shows no dependence on age: power law and constant are then the same thing.

    Attributes
    ----------
    amplitude, exponent, offset : str
        Names of its parameters.
    slope, error : float
        Logarithmic slope d ln(rate) / d ln(t) at the reference time, and its standard error.
    """

    amplitude: str
    exponent: str
    offset: str
    slope: float
    error: float

    def sentence(self) -> str:
        """The exactly degenerate pair, and why."""
        return (
            f"The rate {self.amplitude} t^{self.exponent} + {self.offset} shows no dependence on age (logarithmic slope "
            f"{self.slope:.2g} ± {self.error:.2g}): {self.amplitude} and {self.offset} are an exactly degenerate pair for a constant rate, of which only the "
            f"sum is known, and {self.exponent} means nothing."
        )


@dataclass(frozen=True)
class Identifiability:
    """Which parameters the data separate.

    Attributes
    ----------
    names : tuple of str
        The free parameters.
    eigenvalues : (n_free,)
        Of the correlation-scaled curvature, increasing; their mean is 1, a small one is a weak direction.
    undetermined : tuple of tuple of str
        For each direction without curvature, the parameters that take part in it.
    correlated : tuple of (str, str, float)
        Pairs with a correlation above 0.95 in size, strongest first.
    poorly_known : tuple of (str, float)
        Parameters whose standard error exceeds their size, with the ratio.
    flat : tuple of FlatRate
        Rates that show no dependence on age.
    combinations : tuple of Combination
        Independent combinations that span the free parameters, the least known first.
    advice : tuple of str
        Which parameter to fix, or which measurement would separate what is not separated.
    """

    names: tuple[str, ...]
    eigenvalues: np.ndarray
    undetermined: tuple[tuple[str, ...], ...]
    correlated: tuple[tuple[str, str, float], ...]
    poorly_known: tuple[tuple[str, float], ...]
    flat: tuple[FlatRate, ...]
    combinations: tuple[Combination, ...]
    advice: tuple[str, ...]

    @property
    def weak(self) -> tuple[Combination, ...]:
        """Combinations that are hardly known or not at all, the least known first."""
        return tuple(c for c in self.combinations if c.error > _WEAK)

    @property
    def stiff(self) -> Combination | None:
        """The best known combination; None where nothing is free."""
        return self.combinations[-1] if self.combinations else None

    def sentences(self) -> list[str]:
        """What is wrong, in words, the worst first; empty when every parameter is determined by itself."""
        said = [
            f"The data do not determine {_listed(group)} {'separately' if len(group) > 1 else 'at all'}: fix "
            f"{'one of them' if len(group) > 1 else 'it'}, or rely on the curves over time."
            for group in self.undetermined
        ]
        said += [rate.sentence() for rate in self.flat]
        said += [
            f"{a} and {b} are nearly interchangeable (correlation {r:+.4f}): quote them together or through the curve over time."
            for a, b, r in self.correlated
        ]
        said += [
            f"The standard error of {name} is {ratio:.2g} times its value."
            for name, ratio in self.poorly_known
        ]
        return said

    def report(self) -> list[str]:
        """Everything in words: what is wrong, the weak combinations and the best known one, and what would help."""
        said = self.sentences()
        for combination in self.weak:
            known = "not at all" if np.isinf(combination.error) else f"to ±{combination.error:.2g} only"
            said.append(f"Weak combination: {combination.words}, known {known}.")
        if self.stiff is not None and np.isfinite(self.stiff.error):
            said.append(f"Best known combination: {self.stiff.words}, to ±{self.stiff.error:.2g}.")
        return [*said, *self.advice]


def identifiability(
    hessian,
    names: Sequence[str] | None = None,
    values=None,
    free=None,
    noise: float | None = None,
    *,
    covariance=None,
    t_ref: float | None = None,
    at_bound=None,
) -> Identifiability:
    """Analyse the curvature of χ² at the optimum.

    Parameters
    ----------
    hessian : array_like (n, n), or a result
        Reduced curvature JᵀwJ, contrast and offset eliminated. Or the result of a fit, an object with ``hessian``, ``physical_names``,
        ``parameters``, ``at_bound``, ``fixed``, ``sigma_source``, ``reduced_chi_squared``, ``covariance`` and ``t``, such as
        `homodyne_nlsq.OptimizationResult`; it gives all that follows.
    names : sequence of str
        Names of the n parameters.
    values : array_like, (n,)
        Best values.
    free : array_like of bool, (n,)
        Parameters that were fitted and are not at a bound.
    noise : float, optional
        What the inverse curvature is multiplied with (1, the default, where σ was given, else the reduced χ²).
    covariance : array_like, (n, n), optional
        Of the parameters, for the errors; where it is NaN, and by default, the inverse curvature.
    t_ref : float, optional
        Time [s] at which a power law is compared with the constant beside it; 1 s, and of a result √(dt · t_max).
    at_bound : array_like of bool, (n,), optional
        Parameters that were fitted and ended at a bound.

    Returns
    -------
    Identifiability
        Numbers, and words by `Identifiability.sentences` and `Identifiability.report`.

    Raises
    ------
    DegeneracyError
        If something is missing or the sizes do not agree.

    Notes
    -----
    Combinations are the eigenvectors of the curvature in parameters scaled to order one: stiff and sloppy directions as in
    Transtrum et al., J. Chem. Phys. 143 (2015) 010901.

    Examples
    --------
    >>> import numpy as np
    >>> found = identifiability([[1.0, 0.999], [0.999, 1.0]], ["D0", "D_offset"], [10.0, 10.0], [True, True])
    >>> [(a, b, round(r, 3)) for a, b, r in found.correlated]
    [('D0', 'D_offset', -0.999)]
    >>> found.weak[0].words, round(found.weak[0].error, 2)
    ('δD0/D0 - δD_offset/(D0 t^alpha)', 4.47)
    """
    if hasattr(hessian, "hessian"):
        if any(given is not None for given in (names, values, free)):
            raise DegeneracyError(
                "a result brings its own names, values and free parameters; expected nothing else."
            )
        result = hessian
        hessian, names, values, free, at_bound = _of_result(result)
        n = len(names)
        noise = (
            (1.0 if result.sigma_source == "given" else result.reduced_chi_squared)
            if noise is None
            else noise
        )
        covariance = np.asarray(result.covariance)[-n:, -n:] if covariance is None else covariance
        t_ref = float(np.sqrt((result.t[1] - result.t[0]) * result.t[-1])) if t_ref is None else t_ref
    elif names is None or values is None or free is None:
        raise DegeneracyError("names, values and free are missing; expected them beside a Hessian.")
    hessian, values, free = (
        np.asarray(hessian, dtype=float),
        np.asarray(values, dtype=float),
        np.asarray(free, dtype=bool),
    )
    n = len(names)
    if hessian.shape != (n, n) or values.shape != (n,) or free.shape != (n,):
        raise DegeneracyError(
            f"hessian, values and free have shapes {hessian.shape}, {values.shape}, {free.shape}; expected ({n}, {n}), "
            f"({n},), ({n},) for {n} names."
        )
    noise = 1.0 if noise is None else noise
    covariance = np.full((n, n), np.nan) if covariance is None else np.asarray(covariance, dtype=float)
    if covariance.shape != (n, n):
        raise DegeneracyError(f"covariance has shape {covariance.shape}; expected ({n}, {n}) for {n} names.")
    kept = np.flatnonzero(free)
    part = hessian[np.ix_(kept, kept)]
    scale = np.sqrt(np.where(np.diag(part) > 0, np.diag(part), 1.0))
    undetermined = []
    for direction in determined_directions(hessian, free).lost.T:
        size = np.abs(direction[kept]) * scale
        undetermined.append(
            tuple(names[k] for k, s in zip(kept, size, strict=True) if s > _SHARE_NAMED * size.max())
        )
    inverse = invert_identifiable(hessian, free)
    width = np.sqrt(np.diag(inverse))
    pairs = [
        (names[a], names[b], float(inverse[a, b] / (width[a] * width[b])))
        for i, a in enumerate(kept)
        for b in kept[i + 1 :]
        if np.isfinite(inverse[a, b])
    ]
    error = np.sqrt(np.where(np.isnan(np.diag(covariance)), noise * np.diag(inverse), np.diag(covariance)))
    correlated = sorted((p for p in pairs if abs(p[2]) > STRONG_CORRELATION), key=lambda p: -abs(p[2]))
    # A direction has no zero that its error could be measured against.
    poor = [
        (names[k], float(error[k] / abs(values[k])))
        for k in kept
        if names[k] != "phi0" and error[k] > abs(values[k]) > 0
    ]
    eigenvalues = np.linalg.eigvalsh(part / np.outer(scale, scale)) if len(kept) else np.zeros(0)
    combinations = _combinations(
        hessian, names, values, free, noise, covariance, 1.0 if t_ref is None else t_ref
    )
    own = np.isfinite(np.diag(covariance)) & np.isfinite(width) & (width > 0)
    # What clustered error bars are to those of independent points, where both are known.
    inflation = float(np.median(np.diag(covariance)[own] / width[own] ** 2)) if own.any() else noise
    flat = _flat_rates(
        tuple(names),
        values,
        free | (np.zeros(n, dtype=bool) if at_bound is None else np.asarray(at_bound, dtype=bool)),
        hessian,
        inflation,
        1.0 if t_ref is None else t_ref,
    )
    groups = [*undetermined, *((a, b) for a, b, _ in correlated)]
    groups += [c.names for c in combinations if c.error > _WEAK]
    return Identifiability(
        tuple(names[k] for k in kept),
        eigenvalues,
        tuple(undetermined),
        tuple(correlated),
        tuple(poor),
        flat,
        combinations,
        advice_on(
            groups, dict(zip(names, values.tolist(), strict=True)), [(r.amplitude, r.offset) for r in flat]
        ),
    )


def _flat_rates(names, values, varies, hessian, variance: float, t_ref: float) -> tuple[FlatRate, ...]:
    """Rates whose logarithmic slope at the reference time is within a few errors of zero.

    The slope is known where amplitude, exponent and offset are not: near a constant rate they trade without end, and end at bounds, which
    therefore do not count as knowledge here.
    """
    found, known = [], dict(zip(names, values.tolist(), strict=True))
    spread = np.sqrt(variance) * determined_directions(hessian, varies & (np.diag(hessian) > 0)).spread
    for offset, (amplitude, exponent) in _RATES.items():
        group = [names.index(n) for n in (amplitude, exponent, offset) if n in known]
        if len(group) < 3 or not varies[group].any() or (known[exponent] == 0 and not varies[group[1]]):
            continue
        p, constant = known[exponent], known[offset]
        shape = t_ref**p
        power = known[amplitude] * shape
        total = power + constant
        if total == 0:
            continue
        by_exponent = power / total * (1 + p * np.log(t_ref) * constant / total)
        gradient = np.array([p * shape * constant / total**2, by_exponent, -p * power / total**2])
        error = float(np.linalg.norm(gradient @ spread[group]))
        slope = p * power / total
        if abs(slope) < _FLAT * error < _FLAT * _STEEP:
            found.append(FlatRate(amplitude, exponent, offset, float(slope), error))
    return tuple(found)


def _of_result(result):
    """Hessian, names, values, free parameters and those at a bound, of the physical block of a result."""
    names = tuple(result.physical_names)
    n = len(names)
    at_bound = np.array([bound != "" for bound in result.at_bound[-n:]])
    free = ~np.asarray(result.fixed)[-n:] & ~at_bound
    return result.hessian, names, np.asarray(result.parameters)[-n:], free, at_bound


def _combinations(hessian, names, values, free, noise, covariance, t_ref) -> tuple[Combination, ...]:
    kept = np.flatnonzero(free)
    if not len(kept):
        return ()
    units = [_unit(names[k], dict(zip(names, values, strict=True)), t_ref) for k in kept]
    unit = np.array([size for size, _ in units])
    spread, lost = (matrix[kept] for matrix in determined_directions(hessian, free))
    vectors = np.linalg.eigh(hessian[np.ix_(kept, kept)] * np.outer(unit, unit))[1]
    covariance = covariance[np.ix_(kept, kept)]
    found = []
    for vector in vectors.T:
        vector = vector / vector[np.argmax(np.abs(vector))]
        slope = vector / unit
        share = np.abs(slope @ lost) > _TAKES_PART * (np.abs(slope) @ np.abs(lost))
        error = np.sqrt(noise) * np.linalg.norm(slope @ spread)
        if np.isfinite(covariance).all():
            error = np.sqrt(max(slope @ covariance @ slope, 0.0))
        order = [k for k in np.argsort(-np.abs(vector), kind="stable") if abs(vector[k]) >= _SHARE_NAMED]
        found.append(
            Combination(
                tuple((names[kept[k]], float(vector[k])) for k in order),
                float("inf") if share.any() else float(error),
                _written([(vector[k], units[k][1]) for k in order]),
            )
        )
    return tuple(sorted(found, key=lambda c: -c.error))


def _unit(name: str, values, t_ref: float) -> tuple[float, str]:
    """Size of a parameter that counts as one, and how its change in that unit is written."""
    if name in ("alpha", "beta"):
        return 1.0, f"δ{name}"
    if name == "phi0":
        return float(np.rad2deg(1)), "δphi0 [rad]"
    amplitude, exponent = _RATES.get(name, (None, None))
    if values.get(amplitude):
        power = abs(values[amplitude]) * t_ref ** values.get(exponent, 0.0)
        if np.isfinite(power) and power > 0:
            at = "" if t_ref == 1 else f" at {t_ref:.2g} s"
            return float(power), f"δ{name}/({amplitude} t^{exponent}{at})"
    return (abs(values[name]), f"δ{name}/{name}") if values[name] else (1.0, f"δ{name}")


def _written(terms) -> str:
    said = ""
    for weight, symbol in terms:
        size = "" if f"{abs(weight):.2f}" == "1.00" else f"{abs(weight):.2f} "
        sign = ("- " if weight < 0 else "+ ") if said else ("-" if weight < 0 else "")
        said += f"{' ' if said else ''}{sign}{size}{symbol}"
    return said


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
