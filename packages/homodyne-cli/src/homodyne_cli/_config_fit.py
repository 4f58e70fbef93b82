"""The section ``optimization``: how the parameters are found, with the defaults of `homodyne_nlsq`."""

from dataclasses import dataclass, field
from pathlib import Path

from homodyne_cli import _values as v
from homodyne_cli._config_cmc import CMC
from homodyne_cli._config_keys import SECTION, key, named_path
from homodyne_cli._config_layers import AntiDegeneracy
from homodyne_cli._config_search import CMAES, MultiStart
from homodyne_memory import DEFAULT_MEMORY_FRACTION
from homodyne_nlsq import HybridStreamingConfig, NLSQConfig, RecoveryConfig

_SMALL_CHUNK = 50_000


def _small_chunks(value: object) -> str | None:
    """What is unusual about the points that a streamed fit computes at once."""
    if v.integer(1)(value) >= _SMALL_CHUNK:
        return None
    return (
        f"so few points at once, {value}, make a streamed fit several times slower (default: "
        f"{HybridStreamingConfig.chunk_size})"
    )


@dataclass(frozen=True)
class HybridStreaming:
    """The fit of maps that stay in their file, see experimental_data.stream."""

    normalize: bool = key(
        HybridStreamingConfig.normalize,
        v.boolean,
        "Warm up in parameters that run from 0 to 1 between their bounds. false: in units of the start "
        "values.",
    )
    warmup_iterations: int = key(
        HybridStreamingConfig.warmup_iterations,
        v.integer(0),
        "L-BFGS iterations on averages of the data, from start values that are given, after which a stalled "
        "warm-up ends. 0: no warm-up.",
    )
    max_warmup_iterations: int = key(
        HybridStreamingConfig.max_warmup_iterations, v.integer(0), "Most L-BFGS iterations, stalled or not."
    )
    gauss_newton_max_iterations: int = key(
        HybridStreamingConfig.gauss_newton_max_iterations,
        v.integer(1),
        "Most passes over the data in the file (max_iterations counts too).",
    )
    chunk_size: int = key(
        HybridStreamingConfig.chunk_size,
        v.integer(1),
        "Points that are computed at once, at least one row of a map.",
        doubt=_small_chunks,
    )
    checkpoint_dir: str | None = key(
        HybridStreamingConfig.checkpoint_dir,
        v.text,
        "Where finished passes are kept until the fit has converged, relative to this file: an interrupted "
        "fit, started again, goes on with them. null: passes/ in the results folder.",
    )

    def path(self, folder: Path) -> Path | None:
        """The folder for finished passes, None where it is not named; relative entries start at `folder`.

        Raises
        ------
        ConfigurationError
            If a variable in the name is not set.
        """
        return named_path(self.checkpoint_dir, folder, "optimization.nlsq.hybrid_streaming.checkpoint_dir")


@dataclass(frozen=True)
class NLSQ:
    """The least-squares fit."""

    max_iterations: int = key(NLSQConfig.max_iterations, v.integer(1), "Most passes over the data.")
    tolerance: float = key(
        NLSQConfig.tolerance,
        v.positive,
        "Relative change of χ² at which the trust region first stops; it goes on until the optimum is close.",
    )
    xtol: float = key(NLSQConfig.xtol, v.positive, "The same for the relative change of the parameters.")
    gtol: float = key(NLSQConfig.gtol, v.positive, "The same for the scaled gradient.")
    per_angle_scaling: bool | None = key(
        None,
        v.boolean,
        "Whether contrast and offset may vary with the angle, as anti_degeneracy.per_angle_mode says; false: one "
        f"of each for all angles. null: {str(NLSQConfig.per_angle_scaling).lower()}, or as in initial_parameters.",
    )
    covariance_type: str = key(
        NLSQConfig.covariance_type,
        v.text,
        "Which uncertainties are quoted: robust (points of a map share photons and speckles) or hessian (points "
        "taken for independent). The results have both.",
    )
    profile: tuple[str, ...] = key(
        tuple(NLSQConfig.profile),
        v.names_or_all,
        "Physical parameters that get profile-likelihood intervals: a list of names, or all. Each takes several "
        "more fits.",
    )
    loss: str = key(
        NLSQConfig.loss,
        v.text,
        "What a residual costs: linear, its square; soft_l1 or huber, less than that beyond f_scale, so that "
        "outliers pull less.",
    )
    f_scale: float = key(
        NLSQConfig.f_scale,
        v.positive,
        "Residual, in standard deviations of the noise, from which soft_l1 and huber count points less.",
    )
    engine: str = key(
        NLSQConfig.engine,
        v.text,
        "structured: contrast and offset are eliminated. nlsq: the library of that name on the full "
        "Jacobian, for maps in memory; the same optimum, with more memory and time.",
    )
    use_adapter: bool = key(
        NLSQConfig.use_adapter, v.boolean, "Fit by the library nlsq, and as structured where that fails."
    )
    memory_fraction: float | None = key(
        NLSQConfig.memory_fraction,
        v.number,
        "Share of the memory that a fit may take, 0.1 to 0.9: beyond it data in memory are passed over in "
        f"chunks, and maps stay in their file. null: NLSQ_MEMORY_FRACTION, else {DEFAULT_MEMORY_FRACTION}.",
    )
    chunk_points: int | None = key(
        NLSQConfig.chunk_points,
        v.integer(1),
        "Points of a chunk of data in memory, however few there are. null: chunks where there are many.",
    )
    anti_degeneracy: AntiDegeneracy = field(default_factory=AntiDegeneracy, metadata=SECTION)
    hybrid_streaming: HybridStreaming = field(default_factory=HybridStreaming, metadata=SECTION)
    cmaes: CMAES = field(default_factory=CMAES, metadata=SECTION)
    multi_start: MultiStart = field(default_factory=MultiStart, metadata=SECTION)


@dataclass(frozen=True)
class Recovery:
    """What is tried when a fit cannot start or gets nowhere."""

    enable: bool = key(
        RecoveryConfig.enable,
        v.boolean,
        "Start again from the centre of the bounds, then from their geometric mean.",
    )
    max_attempts: int = key(
        RecoveryConfig.max_attempts, v.integer(1), "Most attempts, 1 to 3, the first one included."
    )


@dataclass(frozen=True)
class Optimization:
    """How the parameters are found."""

    method: str = key(
        "nlsq",
        v.method,
        "nlsq: least squares; cmc: the posterior, which starts from a least-squares fit; both: the two, as results. "
        "--method goes first.",
    )
    nlsq: NLSQ = field(default_factory=NLSQ, metadata=SECTION)
    recovery: Recovery = field(default_factory=Recovery, metadata=SECTION)
    cmc: CMC = field(default_factory=CMC, metadata=SECTION)
