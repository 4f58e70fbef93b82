"""What `fit_mcmc_jax` takes, checked and completed before anything is computed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from homodyne_cmc._collapsed import Collapsed
from homodyne_cmc._config import RATES, CMCConfig
from homodyne_cmc._coordinates import PosteriorCoordinates
from homodyne_cmc._open_shares import OpenShares
from homodyne_cmc._priors import PriorArrays
from homodyne_cmc._problem import Problem
from homodyne_cmc._warm_start import WarmStart
from homodyne_cmc.errors import CMCInputError
from homodyne_data import TwoTimeData, TwoTimeStream, from_mapping, from_points
from homodyne_model import AnalysisMode, ScalingBasis, TwoTimeModel

# A shard beyond this [bytes] is divided further unless num_shards says otherwise.
_SHARD_BYTES = 2**30


def as_data(data, pooled: Mapping) -> TwoTimeData | TwoTimeStream:
    """Two-time data from maps, a mapping, or pooled points with their keywords."""
    named = [name for name, value in pooled.items() if value is not None]
    if isinstance(data, TwoTimeData | TwoTimeStream | Mapping):
        if named:
            raise CMCInputError(
                f"{', '.join(named)} belong to pooled points, but data is a {type(data).__name__} that holds them."
            )
        return from_mapping(data) if isinstance(data, Mapping) else data
    missing = [name for name in ("t1", "t2", "phi", "q") if pooled[name] is None]
    if missing:
        raise CMCInputError(
            f"data is a {type(data).__name__}; expected a TwoTimeData, a TwoTimeStream, a mapping, or pooled points with t1, t2, phi and q "
            f"({', '.join(missing)} missing)."
        )
    return from_points(data, **pooled)


def as_config(config, cmc_config, analysis_mode) -> CMCConfig:
    """Settings from what `fit_mcmc_jax` takes."""
    if config is not None and cmc_config is not None:
        raise CMCInputError("config and cmc_config are both given; expected one of them, they mean the same.")
    config = cmc_config if config is None else config
    config = {} if config is None else config
    if isinstance(config, Mapping):
        change = {} if analysis_mode is None else {"analysis_mode": analysis_mode}
        return CMCConfig.from_mapping({**config, **change})
    if not isinstance(config, CMCConfig):
        raise TypeError(
            f"config is a {type(config).__name__}; expected a CMCConfig or a mapping of its fields."
        )
    return config if analysis_mode is None else replace(config, analysis_mode=analysis_mode)


@dataclass(frozen=True)
class Request:
    """Settings with everything decided that data and warm start decide.

    Attributes
    ----------
    config : CMCConfig
        With noise and per_angle_mode.
    warm : WarmStart or None
    n_shards : int
    """

    config: CMCConfig
    warm: WarmStart | None
    n_shards: int

    @classmethod
    def of(
        cls, data: TwoTimeData | TwoTimeStream, config: CMCConfig, nlsq_result, n_workers: int
    ) -> "Request":
        """Decide, and refuse what does not fit together."""
        if config.analysis_mode == AnalysisMode.LAMINAR_FLOW:
            if data.L is None:
                raise CMCInputError(
                    "data have no L: laminar_flow needs the stator-rotor gap in Å (200 µm is 2e6)."
                )
            if data.n_phi < 2:
                raise CMCInputError("data hold one angle: the flow direction phi0 needs several.")
        warm = None if nlsq_result is None else WarmStart.of(nlsq_result, config.analysis_mode)
        config, warm = _agreed(config, warm)
        if config.robust_draws and (warm is None or not warm.is_robust):
            raise CMCInputError(
                "robust_draws needs an nlsq_result with covariances, 'hessian' and 'robust', both finite and positive definite."
            )
        mode = config.per_angle_mode or (warm.per_angle_mode if warm is not None else None) or "individual"
        # What a stream brings is known from its first angle.
        first = data if isinstance(data, TwoTimeData) else data.angle(0)
        given = first.sigma is not None and first.sigma_source == "given"
        noise = config.noise
        if noise is None:
            noise = "given" if given else ("per_angle" if mode == "individual" else "global")
        if noise == "given" and not given:
            raise CMCInputError(
                f"noise is 'given', but the data's sigma is {first.sigma_source or 'missing'}; expected data with a given sigma, or noise "
                "'global' or 'per_angle'."
            )
        if noise == "per_angle" and mode != "individual":
            raise CMCInputError(
                f"noise is 'per_angle' and per_angle_mode {mode!r}: angles that share contrast and offset share the noise too; expected noise "
                "'given' or 'global', or per_angle_mode 'individual'."
            )
        config = replace(config, noise=noise, per_angle_mode=mode)
        ScalingBasis(mode, config.fourier_order).matrix(data.phi)
        return cls(config, warm, _shard_count(data, config, n_workers))

    @property
    def held(self) -> tuple[float | None, ...]:
        """Values of the physical parameters that are held, None for the free ones."""
        return tuple(
            self.config.fixed.get(name) for name in AnalysisMode(self.config.analysis_mode).physical_names
        )

    @property
    def known_noise(self) -> bool:
        """Whether points are weighed by a given σ (whose common factor may be unknown)."""
        return self.config.noise == "given"

    def problem(self, data: TwoTimeData | TwoTimeStream) -> Problem:
        """Model, likelihood and priors; coordinates and walls are those of the start, which is not known yet."""
        config = self.config
        model = TwoTimeModel(
            config.analysis_mode, data.q, data.t, data.phi, data.L, config.shear_kernel, config.quadrature
        )
        basis = None
        if config.per_angle_mode != "individual":
            basis = ScalingBasis(config.per_angle_mode, config.fourier_order).matrix(data.phi)
        names = model.analysis_mode.physical_names
        priors = PriorArrays.of(
            [config.prior_of(name) for name in names],
            np.array([(config.fixed[n],) * 2 if n in config.fixed else config.range_of(n) for n in names]),
            np.array([180.0 if name == "phi0" else 0.0 for name in names]),
        )
        n_rates = len(names) // 3
        coordinates = PosteriorCoordinates(
            (model.t_middle,) * n_rates, (1.0,) * n_rates, (1.0,) * n_rates, self.held
        )
        return Problem(
            model, Collapsed(config.noise, basis), coordinates, priors, OpenShares.none(coordinates)
        )

    def scaling_priors(self) -> PriorArrays:
        """Priors of contrast and offset of one angle."""
        names = ("contrast", "offset")
        return PriorArrays.of(
            [self.config.prior_of(name) for name in names],
            np.array([self.config.range_of(name) for name in names]),
            np.zeros(2),
        )


def _agreed(config: CMCConfig, warm: WarmStart | None) -> tuple[CMCConfig, WarmStart | None]:
    """What the settings or the fit hold is held in both; the settings' values count."""
    if warm is None:
        return config, None
    names = AnalysisMode(config.analysis_mode).physical_names
    by_fit = {n: float(v) for n, v, held in zip(names, warm.physical, warm.held, strict=True) if held}
    if rates := [name for name in by_fit if name in RATES]:
        raise CMCInputError(
            f"nlsq_result held {', '.join(rates)} fixed; the coordinates that are sampled need it free: a narrow prior does what holding does."
        )
    if clash := [name for name in by_fit if name in config.priors]:
        raise CMCInputError(
            f"nlsq_result held {', '.join(clash)} fixed, and priors gives it a density; expected one of them."
        )
    fixed = {**by_fit, **config.fixed}
    return replace(config, fixed=fixed), warm.holding({names.index(n): v for n, v in config.fixed.items()})


def _shard_count(data, config: CMCConfig, n_workers: int) -> int:
    most = data.n_t - 1
    if config.method != "cmc":
        return 1
    if config.num_shards is not None:
        if config.num_shards > most:
            raise CMCInputError(
                f"num_shards is {config.num_shards}; expected at most {most}, the frames minus 1, so that every shard has points."
            )
        return config.num_shards
    # A map is held as floats of 4 or 8 bytes; 8 is the cautious guess for maps in a file.
    size = data.c2.itemsize if isinstance(data, TwoTimeData) else 8
    return min(most, max(n_workers, -(-data.n_phi * data.n_t**2 * size // _SHARD_BYTES)))
