"""Settings of the sampler, checked before anything runs."""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

import numpy as np

from homodyne_cmc._prior import Prior
from homodyne_cmc.errors import CMCInputError
from homodyne_model import PARAMETERS, QUADRATURES, SCALING_MODES, SHEAR_KERNELS, AnalysisMode

METHODS = ("cmc", "nuts", "laplace")
RATES = ("D0", "gamma_dot_t0")
NOISES = ("given", "global", "per_angle")


@dataclass(frozen=True)
class SamplerSettings:
    """How a shard is sampled.

    Parameters
    ----------
    num_warmup, num_samples, num_chains : int
        Of one shard; samples are those of one chain.
    target_accept_prob : float
        That the step size is adapted to.
    seed : int
        Of the random numbers of all shards.
    """

    num_warmup: int
    num_samples: int
    num_chains: int
    target_accept_prob: float
    seed: int


@dataclass(frozen=True)
class CMCConfig:
    """Settings of `fit_mcmc_jax`.

    Parameters
    ----------
    analysis_mode : str
        ``static_isotropic`` (or ``static``, ``static_anisotropic``) or ``laminar_flow``.
    shear_kernel : {"gap_average", "homodyne2"}
        Published gap average, or the kernel of older programs.
    quadrature : {"trapezoid", "exact"}
        How D(t) and the shear rate are integrated between frames.
    method : {"cmc", "nuts", "laplace"}
        Draws of shards, combined and certified on all the data; draws of all the data at once; or no draws but those of the certificate about
        the normal distribution at the mode.
    num_shards : int, optional
        Shards of ``cmc``; by default as many as the executor has workers, more where a shard would exceed a gigabyte. ``nuts`` and ``laplace``
        divide nothing.
    num_warmup, num_samples, num_chains : int
        Of every shard; samples are those of one chain.
    target_accept_prob : float
        That the step size is adapted to.
    certificate_draws : int
        Draws of a round of the certificate, and draws of the result.
    seed : int
        Of all random numbers. The same seed, data and settings give the same result, whoever computes which shard.
    noise : {"given", "global", "per_angle"}, optional
        σ is known; one factor is inferred; one for every angle is. By default ``given`` where the data bring a σ that was given, else
        ``per_angle`` (``global`` where angles share contrast and offset). A σ that was only estimated is not used.
    per_angle_mode : {"individual", "fourier", "constant"}, optional
        How contrast and offset vary with the angle; by default as in the warm start, else ``individual``.
    fourier_order : int
        Of the Fourier series of ``fourier``.
    fixed : mapping of name to value
        Physical parameters that are held, but for D0 and gamma_dot_t0; those that the warm start held are held at its values too.
    bounds : mapping of name to (lower, upper)
        Bounds that replace the defaults of `homodyne_model.PARAMETERS`, of physical parameters, ``contrast`` or ``offset`` (all angles).
    priors : mapping of name to prior
        Prior densities of the same parameters, as `Prior` or mappings with ``type`` (Uniform, Normal, TruncatedNormal, LogNormal, HalfNormal),
        ``mu`` and ``sigma``; uniform between the bounds where left out. They are applied once, whatever the number of shards.
    checkpoint_dir : str, optional
        Folder where finished chains are kept: the same call, started again, does not repeat them. With an executor on other machines it has to be
        on a disk that they share.
    shard_timeout : float, optional
        Longest time of a chain of a shard [s]; one that takes longer ends the run as ``failed``, with a sentence, and the finished ones are kept.
        Workers that stay silent for twice as long and a minute are taken for lost, and their chains are run again.
    robust_draws : bool
        Draw, besides, from the posterior whose likelihood is widened to the clustered covariance of the warm start (``covariances`` with ``hessian``
        and ``robust``), as `CMCResult.robust_posterior`.

    Raises
    ------
    CMCInputError
        If a value is not allowed.

    Examples
    --------
    >>> CMCConfig(priors={"D0": {"type": "Normal", "mu": 1e4, "sigma": 500.0}}).priors["D0"].sigma
    500.0
    """

    analysis_mode: str = "static_isotropic"
    shear_kernel: str = "gap_average"
    quadrature: str = "trapezoid"
    method: str = "cmc"
    num_shards: int | None = None
    num_warmup: int = 150
    num_samples: int = 250
    num_chains: int = 4
    target_accept_prob: float = 0.8
    certificate_draws: int = 2000
    seed: int = 0
    noise: str | None = None
    per_angle_mode: str | None = None
    fourier_order: int = 2
    fixed: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    priors: Mapping[str, Prior] = field(default_factory=dict)
    checkpoint_dir: str | None = None
    shard_timeout: float | None = None
    robust_draws: bool = False

    def __post_init__(self) -> None:
        mode = AnalysisMode.parse(self.analysis_mode)
        object.__setattr__(self, "analysis_mode", mode.value)
        for name, allowed, may_be_none in (
            ("shear_kernel", SHEAR_KERNELS, False),
            ("quadrature", QUADRATURES, False),
            ("method", METHODS, False),
            ("noise", NOISES, True),
            ("per_angle_mode", SCALING_MODES, True),
        ):
            value = getattr(self, name)
            if value not in allowed and not (may_be_none and value is None):
                raise CMCInputError(f"{name} is {value!r}; expected one of {', '.join(allowed)}.")
        for name, least in (
            ("num_shards", 1),
            ("num_warmup", 10),
            ("num_samples", 20),
            ("num_chains", 1),
            ("certificate_draws", 100),
            ("seed", 0),
            ("fourier_order", 1),
        ):
            value = getattr(self, name)
            if name == "num_shards" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise CMCInputError(f"{name} is {value!r}; expected a whole number, at least {least}.")
        if self.num_shards not in (None, 1) and self.method != "cmc":
            raise CMCInputError(
                f"num_shards is {self.num_shards}, but method {self.method!r} divides nothing; expected method 'cmc'."
            )
        accept = self.target_accept_prob
        if not (_is_number(accept) and 0.5 <= accept < 1):
            raise CMCInputError(f"target_accept_prob is {accept!r}; expected a number from 0.5 to below 1.")
        limit = self.shard_timeout
        if limit is not None and not (_is_number(limit) and limit > 0):
            raise CMCInputError(
                f"shard_timeout is {limit!r}; expected a positive number of seconds, or None."
            )
        if not isinstance(self.robust_draws, bool | np.bool_):
            raise CMCInputError(f"robust_draws is {self.robust_draws!r}; expected True or False.")
        if self.checkpoint_dir is not None:
            object.__setattr__(self, "checkpoint_dir", str(self.checkpoint_dir))
        for name, known in (
            ("fixed", mode.physical_names),
            ("bounds", (*mode.physical_names, "contrast", "offset")),
            ("priors", (*mode.physical_names, "contrast", "offset")),
        ):
            if not isinstance(getattr(self, name), Mapping):
                raise TypeError(f"{name} is {getattr(self, name)!r}; expected a mapping by parameter name.")
            for key in getattr(self, name):
                _check_name(name, key, known)
        for name, value in self.fixed.items():
            if name in RATES:
                raise CMCInputError(
                    f"fixed[{name!r}] cannot be held: the coordinates that are sampled need a free rate; a narrow prior does what holding does."
                )
            if not _is_number(value):
                raise CMCInputError(f"fixed[{name!r}] is {value!r}; expected a finite number.")
            if name in self.priors:
                raise CMCInputError(f"fixed[{name!r}] has a prior too (priors); expected one of them.")
        object.__setattr__(self, "fixed", {k: float(v) for k, v in self.fixed.items()})
        for name, pair in self.bounds.items():
            if np.shape(pair) != (2,) or not all(
                isinstance(b, int | float | np.number) and b == b for b in pair
            ):
                raise CMCInputError(f"bounds[{name!r}] is {pair!r}; expected (lower, upper).")
            if not pair[0] < pair[1]:
                raise CMCInputError(
                    f"bounds[{name!r}] is {pair[0]:g} to {pair[1]:g}; expected lower < upper."
                )
        object.__setattr__(self, "bounds", {k: (float(a), float(b)) for k, (a, b) in self.bounds.items()})
        object.__setattr__(self, "priors", {k: Prior.of(v, k) for k, v in self.priors.items()})
        self._check_proper(mode.physical_names)

    def _check_proper(self, physical: tuple[str, ...]) -> None:
        for name in (*physical, "contrast", "offset"):
            if name in self.fixed:
                continue
            lower, upper = self.range_of(name)
            least = self.prior_of(name).least
            if not max(lower, least) < upper:
                raise CMCInputError(
                    f"bounds[{name!r}] end at {upper:g}, but its {self.prior_of(name).type} prior needs values above {least:g}."
                )
            flat = self.prior_of(name).type == "Uniform"
            if flat and name in physical and name != "phi0" and not np.isfinite(upper - lower):
                raise CMCInputError(
                    f"bounds[{name!r}] are {lower:g} to {upper:g}: without a prior the posterior may have no limit there; expected "
                    f"finite bounds or priors[{name!r}]."
                )
        positive = [name for name in RATES if name in physical]
        for name in positive:
            if self.range_of(name)[0] < 0:
                raise CMCInputError(
                    f"bounds[{name!r}] begin at {self.range_of(name)[0]:g}; expected 0 or more: the coordinates that are sampled need a "
                    "positive rate at 1 s (an offset may have any sign)."
                )

    @classmethod
    def from_mapping(cls, mapping: Mapping) -> "CMCConfig":
        """Settings from a mapping of the field names.

        Raises
        ------
        CMCInputError
            For an unknown key, with the nearest known one.

        Examples
        --------
        >>> CMCConfig.from_mapping({"num_sample": 10})
        Traceback (most recent call last):
        homodyne_cmc.errors.CMCInputError: unknown setting 'num_sample'. Did you mean 'num_samples'?
        """
        known = [f.name for f in fields(cls)]
        for key in mapping:
            if key not in known:
                raise CMCInputError(f"unknown setting {key!r}.{_nearest(str(key), known)}")
        return cls(**mapping)

    def to_mapping(self) -> dict:
        """The settings as plain values, which `from_mapping` takes."""
        mapping = asdict(self)
        mapping["bounds"] = {name: list(pair) for name, pair in self.bounds.items()}
        mapping["priors"] = {
            name: {k: v for k, v in asdict(prior).items() if v is not None}
            for name, prior in self.priors.items()
        }
        return mapping

    def range_of(self, name: str) -> tuple[float, float]:
        """Bounds of a parameter."""
        return self.bounds.get(name, (PARAMETERS[name].lower, PARAMETERS[name].upper))

    def prior_of(self, name: str) -> Prior:
        """Prior of a parameter."""
        return self.priors.get(name, Prior())

    @property
    def sampler(self) -> SamplerSettings:
        """What a shard's sampler needs to know."""
        return SamplerSettings(
            int(self.num_warmup),
            int(self.num_samples),
            int(self.num_chains),
            float(self.target_accept_prob),
            int(self.seed),
        )


def _is_number(value) -> bool:
    return (
        isinstance(value, int | float | np.number)
        and not isinstance(value, bool)
        and bool(np.isfinite(value))
    )


def _check_name(where: str, name, known: tuple[str, ...]) -> None:
    if name in known:
        return
    reason = f"unknown parameter {name!r}"
    if name in PARAMETERS:
        reason = f"{name!r} is no parameter of this analysis_mode"
    raise CMCInputError(f"{where}: {reason}.{_nearest(str(name), known)}")


def _nearest(name: str, known) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(known)}."
