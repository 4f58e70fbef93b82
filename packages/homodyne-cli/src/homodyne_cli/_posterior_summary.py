"""The numbers of a posterior that tables, files and the terminal show."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from homodyne_cmc import Prior
from homodyne_model import PARAMETERS, diffusion_coefficient, shear_rate

if TYPE_CHECKING:
    from homodyne_cmc import CMCResult

PROBABILITIES = (0.025, 0.16, 0.5, 0.84, 0.975)
"""Of the quantiles: the ends of the 95 % and of the 68 % interval, and the median."""

SCALING = ("contrast", "offset", "sigma")
"""What is drawn for every angle; σ only where it was inferred."""

AT_WALL = 0.02
"""Share of the draws at a bound from which it is named."""


@dataclass(frozen=True)
class Marginal:
    """The posterior of one parameter.

    Attributes
    ----------
    name, unit : str
        As in `homodyne_model.PARAMETERS`.
    mean, sd : float
        Of the draws; NaN where there are none. The sd of what was held is NaN.
    quantiles : (5,) float64
        At `PROBABILITIES`; NaN as well.
    held : bool
        Whether it was held at the mean.
    robust_sd : float
        Standard error of the fit that knows that points share frames, NaN without a fit.
    widened : (5,) float64 or None
        Quantiles of the draws that are widened to those errors, where they were asked for.
    at_lower, at_upper : float
        Share of the draws at the bounds.
    prior : Prior
        What was given.
    prior_sd : float
        Its standard deviation between the bounds.
    """

    name: str
    unit: str
    mean: float
    sd: float
    quantiles: np.ndarray
    held: bool
    robust_sd: float
    widened: np.ndarray | None
    at_lower: float
    at_upper: float
    prior: Prior
    prior_sd: float

    @property
    def state(self) -> str:
        """``sampled``, ``at lower bound``, ``at upper bound``, ``at both bounds``, ``held fixed`` or ``not sampled``."""
        if math.isnan(self.mean):
            return "not sampled"
        if self.held:
            return "held fixed"
        low, high = self.at_lower > AT_WALL, self.at_upper > AT_WALL
        if low and high:
            return "at both bounds"
        return "at lower bound" if low else "at upper bound" if high else "sampled"


@dataclass(frozen=True)
class Derived:
    """The posterior of something that is computed from parameters or drawn after them.

    Attributes
    ----------
    mean, sd : float or (n_phi,) float64
        NaN where there are no draws.
    quantiles : (5,) or (5, n_phi) float64
        At `PROBABILITIES`.
    """

    mean: float | np.ndarray
    sd: float | np.ndarray
    quantiles: np.ndarray


def marginals(posterior: "CMCResult") -> list[Marginal]:
    """The physical parameters, in their order."""
    means, sds, robust = posterior.mean, posterior.sd, posterior.robust_sd or {}
    settings = posterior.settings
    nothing = np.full(len(PROBABILITIES), math.nan)
    found = []
    for name in posterior.physical_names:
        held = name in posterior.fixed
        sampled = math.isfinite(means[name])
        walls = posterior.wall_share(name) if sampled else (math.nan, math.nan)
        given = settings["priors"].get(name, {})
        found.append(
            Marginal(
                name=name,
                unit=PARAMETERS[name].unit,
                mean=means[name],
                sd=math.nan if held else sds[name],
                quantiles=nothing if held else posterior.quantiles(name, PROBABILITIES),
                held=held,
                robust_sd=math.nan if held else robust.get(name, math.nan),
                widened=_widened(posterior, name),
                at_lower=walls[0],
                at_upper=walls[1],
                prior=Prior(**given),
                prior_sd=float(posterior.tree["prior"][name].values.std()),
            )
        )
    return found


def _widened(posterior: "CMCResult", name: str) -> np.ndarray | None:
    if posterior.robust_posterior is None:
        return None
    drawn = posterior.values(name, robust=True)
    free = drawn.size and name not in posterior.fixed
    return np.quantile(drawn, PROBABILITIES) if free else np.full(len(PROBABILITIES), math.nan)


def scalings(posterior: "CMCResult") -> Mapping[str, Derived]:
    """Contrast, offset and, where it was inferred, σ of every angle."""
    return {
        name: _derived(posterior.posterior[name].values[0]) for name in SCALING if name in posterior.posterior
    }


def curves(posterior: "CMCResult") -> Mapping[str, tuple[float, Derived, str]]:
    """D and, with shear, γ̇ in the middle of the window: time [s], posterior and unit by symbol."""
    t = posterior.tree["constant_data"]["t"].values
    t_mid, dt = float(t[0] + t[-1]) / 2, float(t[-1] - t[0]) / (len(t) - 1)
    laws = {"D": (diffusion_coefficient, "Å²/s")}
    if len(posterior.physical_names) > 3:
        laws["γ̇"] = (shear_rate, "1/s")
    found = {}
    for symbol, (law, unit) in laws.items():
        with jax.enable_x64(True):
            rate = jax.vmap(lambda physical, law=law: law(physical, jnp.array([t_mid]), dt=dt)[0])
            drawn = np.asarray(rate(jnp.asarray(posterior.draws)))
        found[symbol] = t_mid, _derived(drawn), unit
    return found


def _derived(drawn: np.ndarray) -> Derived:
    """Of draws (n_draws, ...)."""
    if not len(drawn):
        nothing = np.full(drawn.shape[1:], math.nan)
        return Derived(nothing, nothing, np.full((len(PROBABILITIES), *drawn.shape[1:]), math.nan))
    return Derived(drawn.mean(0), drawn.std(0), np.quantile(drawn, PROBABILITIES, axis=0))
