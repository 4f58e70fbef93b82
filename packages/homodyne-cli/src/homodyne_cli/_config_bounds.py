"""The section ``parameter_space``: bounds of the parameters, and priors of a posterior."""

import math
from dataclasses import dataclass

from homodyne_cli import _values as v
from homodyne_cli._config_keys import ConfigurationError, items, key
from homodyne_cmc import CMCInputError, Prior
from homodyne_model import PARAMETERS

_NORMAL = ("Normal", "TruncatedNormal")

FORMER_NAMES = {"gamma_dot_0": "gamma_dot_t0", "gamma_dot_offset": "gamma_dot_t_offset", "phi_0": "phi0"}
"""Parameter names of homodyne 2.1 files and what they are called since."""


@dataclass(frozen=True)
class Bound:
    """Bounds of one parameter, and the prior of a posterior."""

    name: str | None = key(None, v.text, "Parameter.")
    min: float | None = key(None, v.number, "Lowest value. null: the default.")
    max: float | None = key(None, v.number, "Highest value. null: the default.")
    type: str | None = key(
        None,
        v.text,
        "Prior of a posterior: Uniform, Normal, TruncatedNormal, LogNormal or HalfNormal. null: TruncatedNormal "
        "where it has prior_mu and prior_sigma, else Uniform.",
    )
    prior_mu: float | None = key(
        None, v.finite, "Mean of the prior, of the logarithm for LogNormal. Not for HalfNormal."
    )
    prior_sigma: float | None = key(None, v.finite, "Standard deviation, of the logarithm for LogNormal.")

    def __post_init__(self) -> None:
        if self.name is None:
            raise ConfigurationError("an entry of bounds has no name")
        try:
            _ = self.prior
        except CMCInputError as error:
            raise ConfigurationError(f"prior of {self.name}: {error}") from None
        lower, upper = self.interval
        if not lower < upper:
            raise ConfigurationError(f"bounds of {self.name}: min {lower:g} is not below max {upper:g}")

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper bound, defaults filled in."""
        name = FORMER_NAMES.get(self.name, self.name)
        # contrast_3 has the defaults of contrast.
        default = PARAMETERS.get(name) or PARAMETERS.get(name.rpartition("_")[0])
        lower = self.min if self.min is not None else default.lower if default else -math.inf
        upper = self.max if self.max is not None else default.upper if default else math.inf
        return lower, upper

    @property
    def lacks_numbers(self) -> bool:
        """Whether it names a normal prior and says nothing about it, as older files often do."""
        return self.type in _NORMAL and self.prior_mu is None and self.prior_sigma is None

    @property
    def prior(self) -> Prior:
        """Its prior; uniform where nothing is said about another.

        Raises
        ------
        CMCInputError
            If the type is unknown or its numbers are missing or wrong.
        """
        if self.lacks_numbers or self.type is self.prior_mu is self.prior_sigma is None:
            return Prior()
        return Prior(self.type or "TruncatedNormal", self.prior_mu, self.prior_sigma)


@dataclass(frozen=True)
class ParameterSpace:
    """Bounds that differ from the defaults, and priors of a posterior."""

    bounds: tuple[Bound, ...] = items(
        Bound,
        "Entries {name, min, max}, for a posterior also {type, prior_mu, prior_sigma}: Uniform, Normal, "
        "TruncatedNormal, LogNormal (of the logarithm) or HalfNormal (without prior_mu), cut by the bounds. contrast and "
        "offset are for every angle.",
    )

    def __post_init__(self) -> None:
        listed = [bound.name for bound in self.bounds]
        if len(set(listed)) != len(listed):
            raise ConfigurationError(f"bounds names a parameter twice: {', '.join(listed)}")
