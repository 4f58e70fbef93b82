"""Prior densities of the natural parameters, as they are asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from homodyne_cmc.errors import CMCInputError

PRIOR_TYPES = ("Uniform", "Normal", "TruncatedNormal", "LogNormal", "HalfNormal")


@dataclass(frozen=True)
class Prior:
    """Prior density of one parameter; its bounds are those of the configuration.

    Parameters
    ----------
    type : {"Uniform", "Normal", "TruncatedNormal", "LogNormal", "HalfNormal"}
        Without effect of its own (flat between the bounds), normal, log-normal, or the positive half of a normal centred at 0. The
        bounds cut every one of them.
    mu, sigma : float, optional
        Mean and standard deviation, in the unit of the parameter; of the logarithm for ``LogNormal``. ``Uniform`` takes neither,
        ``HalfNormal`` only ``sigma``.

    Raises
    ------
    CMCInputError
        If the type is unknown or its numbers are missing or wrong.

    Examples
    --------
    >>> Prior("Normal", mu=1e4, sigma=500.0).type
    'Normal'
    """

    type: str = "Uniform"
    mu: float | None = None
    sigma: float | None = None

    def __post_init__(self) -> None:
        if self.type not in PRIOR_TYPES:
            raise CMCInputError(f"prior type is {self.type!r}; expected one of {', '.join(PRIOR_TYPES)}.")
        needed = {"Uniform": (), "HalfNormal": ("sigma",)}.get(self.type, ("mu", "sigma"))
        for name in ("mu", "sigma"):
            value = getattr(self, name)
            if name not in needed:
                if value is not None:
                    raise CMCInputError(f"a {self.type} prior takes no {name}, got {value!r}.")
                continue
            number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if not number or not np.isfinite(value) or (name == "sigma" and value <= 0):
                kind = "a positive number" if name == "sigma" else "a number"
                raise CMCInputError(f"{name} of a {self.type} prior is {value!r}; expected {kind}.")

    @classmethod
    def of(cls, value, name: str) -> "Prior":
        """A prior from itself or a mapping with ``type``, ``mu``, ``sigma``."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise TypeError(f"priors[{name!r}] is {value!r}; expected a Prior or a mapping.")
        known = [f.name for f in fields(cls)]
        unknown = [key for key in value if key not in known]
        if unknown:
            raise CMCInputError(f"priors[{name!r}] has {unknown[0]!r}; expected {', '.join(known)}.")
        return cls(**value)

    @property
    def least(self) -> float:
        """Smallest value that the density admits."""
        return 0.0 if self.type in ("HalfNormal", "LogNormal") else -np.inf
