"""The configuration of an analysis, as frozen dataclasses.

The classes are the single place of keys, defaults and their explanation: the reader (`_config_read`) walks
them, the template (`_config_template`) is printed from them. Defaults of the fit itself belong to
`homodyne_nlsq.NLSQConfig` and `homodyne_degeneracy.DegeneracyConfig` and are taken from there.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field
from pathlib import Path
from types import MappingProxyType

from homodyne_cli import _values as v
from homodyne_cli._units import LENGTH, TIME
from homodyne_degeneracy import (
    DegeneracyConfig,
    GradientMonitoringConfig,
    HierarchicalConfig,
    RegularizationConfig,
    ShearWeightingConfig,
)
from homodyne_memory import DEFAULT_MEMORY_FRACTION
from homodyne_model import PARAMETERS
from homodyne_model.errors import HomodyneError
from homodyne_nlsq import HybridStreamingConfig, NLSQConfig, RecoveryConfig

PLOTS = ("maps", "lag_cuts", "curves", "scaling")
"""Kinds of plots of a fit."""

PLOT_FORMATS = ("png", "pdf", "svg")
"""File formats of plots."""

FORMER_NAMES = {"gamma_dot_0": "gamma_dot_t0", "gamma_dot_offset": "gamma_dot_t_offset", "phi_0": "phi0"}
"""Parameter names of homodyne 2.1 files and what they are called since."""

_SMALL_CHUNK = 50_000


class ConfigurationError(HomodyneError, ValueError):
    """A configuration cannot be used; the message says where it is wrong and what was expected."""


def key(
    default: object,
    read: v.Reader,
    explanation: str,
    *,
    example: str | None = None,
    doubt: Callable[[object], str | None] | None = None,
    also: tuple[str, ...] = (),
):
    """Field for a key: its default, its reader, one sentence for the template.

    `example` is what the template shows instead of the default; `doubt` returns a sentence for an unusual
    value; `also` are other names of the key that are understood.
    """
    return field(
        default=default,
        metadata={
            "read": read,
            "explanation": explanation,
            "example": example,
            "doubt": doubt,
            "also": also,
        },
    )


def key_name(spec: Field) -> str:
    """The key that a field stands for: a word of the language, such as ``lambda``, has an underscore behind it."""
    return spec.name.rstrip("_")


SECTION = MappingProxyType({"section": True})
"""Metadata of a field that is a nested section; its default factory is the section's class."""


def items(cls: type, explanation: str):
    """Field for a list whose entries are sections."""
    return field(default=(), metadata={"items": cls, "explanation": explanation})


@dataclass(frozen=True)
class Scattering:
    """Which q of the file is fitted."""

    wavevector_q: tuple[float, ...] | str | None = key(
        None,
        v.wavevectors,
        "One q [1/Å], a list, or all. The nearest of the file, within 10 %, is taken. null: it holds only one.",
        doubt=v.wavevector_doubt,
    )


@dataclass(frozen=True)
class Geometry:
    """The shear cell."""

    stator_rotor_gap: float | None = key(
        None,
        LENGTH.parse,
        "Gap, a length with unit (200 um) or a number [Å]. null: from the data file, else 2e6 Å with a "
        "warning.",
        doubt=LENGTH.doubt,
    )
    sample_detector_distance: float | None = key(
        None,
        LENGTH.parse,
        "Former name of the gap in some files: used where stator_rotor_gap is not given.",
        doubt=LENGTH.doubt,
    )

    @property
    def gap(self) -> float | None:
        """The gap [Å], None to take it from the data file."""
        return self.sample_detector_distance if self.stator_rotor_gap is None else self.stator_rotor_gap


@dataclass(frozen=True)
class AnalyzerParameters:
    """Frames, times and geometry."""

    dt: float | None = key(
        None,
        TIME.parse,
        "Time between frames [s], or with unit (1.3 ms). null: from the file.",
        doubt=TIME.doubt,
    )
    start_frame: int = key(1, v.integer(1), "First frame used, counted from 1.")
    end_frame: int = key(-1, v.integer(1, -1), "Last frame used (included). -1: the last of the file.")
    skip_first_frames: int = key(
        0, v.integer(0), "Frames left out from start_frame on, without moving t = 0. 1 removes t = 0."
    )
    bad_frames: tuple[int, ...] = key(
        (), v.frames, "Frames of the file whose pairs are masked, counted from 1: [17, 120-130]."
    )
    time_origin: float | str = key(
        "selection",
        v.time_origin,
        "Where t = 0 of D(t) is: selection (at start_frame), acquisition (its first frame), or a number: the "
        "time of start_frame [s].",
    )
    scattering: Scattering = field(default_factory=Scattering, metadata=SECTION)
    geometry: Geometry = field(default_factory=Geometry, metadata=SECTION)

    def __post_init__(self) -> None:
        if self.end_frame != -1 and self.end_frame <= self.start_frame + self.skip_first_frames:
            raise ConfigurationError(
                f"end_frame is {self.end_frame}; expected more than start_frame + skip_first_frames = "
                f"{self.start_frame + self.skip_first_frames}, or -1 for the last frame"
            )


@dataclass(frozen=True)
class ExperimentalData:
    """The file with the two-time maps. Paths: relative to this file; ~, ${VAR} and ${VAR:-default} work."""

    file_path: str | None = key(
        None, v.text, "Data file: HDF5 (APS-U, APS 8-ID, NXxpcs) or npz.", example="my_results.hdf"
    )
    data_folder_path: str | None = key(None, v.text, "Where file_path is not given: folder ...")
    data_file_name: str | None = key(None, v.text, "... and name of the file in it.")
    stream: bool | str = key(
        "auto",
        v.auto_or_boolean,
        "Whether the maps stay in their file while they are fitted, one in memory at a time: auto (where "
        "three times their size is more than the share optimization.nlsq.memory_fraction of the memory), true "
        "or false.",
    )

    def path(self, folder: Path) -> Path:
        """Absolute or working path of the data file; relative entries start at `folder`.

        Raises
        ------
        ConfigurationError
            If the entries name no file, or a variable in them is not set.
        """
        try:
            if self.file_path is not None:
                return v.expand(self.file_path, folder)
            if self.data_file_name is not None:
                return v.expand(self.data_file_name, v.expand(self.data_folder_path or ".", folder))
        except ValueError as error:
            raise ConfigurationError(f"experimental_data: {error}") from None
        raise ConfigurationError(
            "experimental_data: no data file; expected file_path, or data_folder_path and data_file_name"
        )


@dataclass(frozen=True)
class AngleRange:
    """A range of angles [deg]; min_angle > max_angle wraps around ±180°."""

    min_angle: float = key(-180.0, v.finite, "Lowest angle [deg].")
    max_angle: float = key(180.0, v.finite, "Highest angle [deg].")


@dataclass(frozen=True)
class PhiFiltering:
    """Which angles are fitted."""

    enabled: bool = key(False, v.boolean, "Use target_ranges. false: all angles of the q.")
    target_ranges: tuple[AngleRange, ...] = items(AngleRange, "Ranges of angles that are kept.")
    fallback_to_all_angles: bool = key(
        False, v.boolean, "Use all angles where the ranges leave none. false: an error."
    )

    def __post_init__(self) -> None:
        if self.enabled and not self.target_ranges:
            raise ConfigurationError(
                "enabled is true but target_ranges is empty; expected at least one range"
            )

    @property
    def ranges(self) -> tuple[tuple[float, float], ...] | None:
        """The ranges in use ((min, max) in degrees), None for all angles."""
        return tuple((r.min_angle, r.max_angle) for r in self.target_ranges) if self.enabled else None


@dataclass(frozen=True)
class InitialParameters:
    """Start values, and what is held fixed."""

    parameter_names: tuple[str, ...] | None = key(
        None, v.names, "Names that values refers to. null: the order of the analysis mode."
    )
    values: tuple[float | None, ...] | None = key(
        None, v.numbers, "Start values. null, for one or for all: from the data."
    )
    active_parameters: tuple[str, ...] | None = key(
        None, v.names, "Physical parameters that are fitted; the others are held at their value. null: all."
    )
    fixed_parameters: Mapping[str, float] = key(
        None,
        v.named_numbers,
        "Parameters held at a value: {alpha: 0.0, D_offset: 0.0}; contrast and offset may be held too.",
    )
    per_angle_scaling: bool | None = key(
        None,
        v.boolean,
        "Former place of optimization.nlsq.per_angle_scaling: used where that is not given.",
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "fixed_parameters", dict(self.fixed_parameters or {}))
        if self.active_parameters is not None and not self.active_parameters:
            raise ConfigurationError(
                "active_parameters is empty; expected at least one name, or null for all"
            )
        both = set(self.active_parameters or ()) & set(self.fixed_parameters)
        if both:
            raise ConfigurationError(
                f"{', '.join(sorted(both))} stands in active_parameters and in fixed_parameters"
            )


@dataclass(frozen=True)
class Bound:
    """Bounds of one parameter."""

    name: str | None = key(None, v.text, "Parameter.")
    min: float | None = key(None, v.number, "Lowest value. null: the default.")
    max: float | None = key(None, v.number, "Highest value. null: the default.")

    def __post_init__(self) -> None:
        if self.name is None:
            raise ConfigurationError("an entry of bounds has no name")
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


@dataclass(frozen=True)
class ParameterSpace:
    """Bounds that differ from the defaults."""

    bounds: tuple[Bound, ...] = items(
        Bound, "Entries {name, min, max}; contrast and offset are for every angle."
    )

    def __post_init__(self) -> None:
        listed = [bound.name for bound in self.bounds]
        if len(set(listed)) != len(listed):
            raise ConfigurationError(f"bounds names a parameter twice: {', '.join(listed)}")


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
        try:
            return None if self.checkpoint_dir is None else v.expand(self.checkpoint_dir, folder)
        except ValueError as error:
            raise ConfigurationError(f"optimization.nlsq.hybrid_streaming.checkpoint_dir: {error}") from None


@dataclass(frozen=True)
class Hierarchical:
    """A fit that starts with stages: physical parameters with the scaling held, then the scaling."""

    enable: bool = key(HierarchicalConfig.enable, v.boolean, "Whether the fit starts with such stages.")
    max_outer_iterations: int = key(
        HierarchicalConfig.max_outer_iterations, v.integer(1), "Most pairs of stages."
    )
    outer_tolerance: float = key(
        HierarchicalConfig.outer_tolerance,
        v.positive,
        "The stages end when a physical one changes the model by less than this share of the residuals.",
    )
    physical_max_iterations: int = key(
        HierarchicalConfig.physical_max_iterations, v.integer(1), "Most evaluations of a physical stage."
    )
    per_angle_max_iterations: int = key(
        HierarchicalConfig.per_angle_max_iterations,
        v.integer(1),
        "Most solutions of a scaling stage; without a regularization that adapts itself one is exact.",
    )


@dataclass(frozen=True)
class Regularization:
    """A penalty on contrasts and offsets that scatter over the angles."""

    enable: bool = key(RegularizationConfig.enable, v.boolean, "Whether there is one.")
    mode: str = key(
        RegularizationConfig.mode,
        v.text,
        "What the scatter is measured against: relative (the mean), absolute (nothing) or auto (the mean where "
        "it is large enough).",
    )
    lambda_: float = key(
        RegularizationConfig.lambda_, v.positive, "Factor on the strength that the two targets ask for."
    )
    target_cv: float = key(
        RegularizationConfig.target_cv,
        v.positive,
        "Scatter that is ordinary: standard deviation over mean, or standard deviation alone.",
    )
    target_contribution: float = key(
        RegularizationConfig.target_contribution,
        v.positive,
        "Share of χ² that the penalty has at that scatter (also target_contrib).",
        also=("target_contrib",),
    )


@dataclass(frozen=True)
class GradientMonitoring:
    """A watch on the gradient of the physical parameters, which collapses where the scaling absorbs the shear."""

    enable: bool = key(GradientMonitoringConfig.enable, v.boolean, "Whether the gradient is watched.")
    ratio_threshold: float = key(
        GradientMonitoringConfig.ratio_threshold,
        v.positive,
        "Ratio of physical to scaling gradient below which an iteration counts as collapsed.",
    )
    consecutive_triggers: int = key(
        GradientMonitoringConfig.consecutive_triggers,
        v.integer(1),
        "Collapsed iterations in a row before the response.",
    )
    response: str = key(
        GradientMonitoringConfig.response,
        v.text,
        "What is done then: warn, hierarchical (stages), reset (again from the start values, first with one contrast "
        "and offset for all angles) or abort.",
    )


@dataclass(frozen=True)
class ShearWeighting:
    """Weights that let angles along the flow count more."""

    enable: bool = key(ShearWeightingConfig.enable, v.boolean, "Whether angles are weighted.")
    min_weight: float = key(
        ShearWeightingConfig.min_weight,
        v.positive,
        "Weight of an angle across the flow beside 1 along it, at most 1.",
    )
    alpha: float = key(
        ShearWeightingConfig.alpha, v.positive, "Power of the cosine of the angle to the flow."
    )
    normalize: bool = key(
        ShearWeightingConfig.normalize, v.boolean, "Whether the weights are scaled to a mean of 1."
    )


@dataclass(frozen=True)
class AntiDegeneracy:
    """How contrast and offset vary with the angle, and what keeps them from absorbing the shear."""

    enable: bool = key(
        DegeneracyConfig.enable,
        v.boolean,
        "Whether the layers below act, and auto decides by the data: in laminar flow with enough angles. A mode "
        "that is named holds anyway.",
    )
    per_angle_mode: str = key(
        DegeneracyConfig.per_angle_mode,
        v.text,
        "individual: contrast and offset of every angle; fourier: series in the angle; constant: one contrast "
        "and one offset for all; auto: the smallest of these that describes the data.",
    )
    fourier_order: int = key(
        DegeneracyConfig.fourier_order,
        v.integer(1),
        "Order n of the series: 2 n + 1 coefficients each for contrast and offset.",
    )
    fourier_auto_threshold: int = key(
        DegeneracyConfig.fourier_auto_threshold,
        v.integer(1),
        "Fewest angles at which auto considers the series.",
    )
    hierarchical: Hierarchical = field(default_factory=Hierarchical, metadata=SECTION)
    regularization: Regularization = field(default_factory=Regularization, metadata=SECTION)
    gradient_monitoring: GradientMonitoring = field(default_factory=GradientMonitoring, metadata=SECTION)
    shear_weighting: ShearWeighting = field(default_factory=ShearWeighting, metadata=SECTION)


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

    nlsq: NLSQ = field(default_factory=NLSQ, metadata=SECTION)
    recovery: Recovery = field(default_factory=Recovery, metadata=SECTION)


@dataclass(frozen=True)
class Noise:
    """The noise σ of single C2 entries."""

    sigma: float | None = key(
        None,
        v.positive,
        "One σ for all entries. null: from the file, else estimated from the data.",
        doubt=v.sigma_doubt,
    )


@dataclass(frozen=True)
class Output:
    """Where the results go. result.json, arrays.npz and parameters.csv are always written."""

    directory: str | None = key(
        None,
        v.text,
        "Results folder, relative to this file. null: <name of this file>-results in the current folder.",
    )
    formats: tuple[str, ...] = key(("png",), v.subset(*PLOT_FORMATS), "File formats of plots: png, pdf, svg.")
    plots: tuple[str, ...] = key(
        PLOTS, v.subset(*PLOTS), f"Which plots: all, none, or a list of {', '.join(PLOTS)}."
    )
    fitted_maps: bool | str = key(
        "auto",
        v.auto_or_boolean,
        "Whether fitted maps and residuals, each as large as the data, are written: auto (where the data are "
        "in memory: into arrays.npz), true (also from a file: c2_fitted.npy and residuals.npy) or false.",
    )

    def path(self, folder: Path) -> Path | None:
        """The results folder, None where it is not named; relative entries start at `folder`.

        Raises
        ------
        ConfigurationError
            If a variable in the name is not set.
        """
        try:
            return None if self.directory is None else v.expand(self.directory, folder)
        except ValueError as error:
            raise ConfigurationError(f"output.directory: {error}") from None

    def __post_init__(self) -> None:
        if self.plots and not self.formats:
            raise ConfigurationError("formats is empty; expected at least one, or plots: none")


@dataclass(frozen=True)
class Configuration:
    """A whole analysis.

    Raises
    ------
    ConfigurationError
        If a mode or parameter is unknown, or values and names do not belong together.
    """

    analysis_mode: str = key(
        NLSQConfig.analysis_mode,
        v.text,
        "static_isotropic (3 physical parameters; also static, static_anisotropic) or laminar_flow (7).",
    )
    shear_kernel: str = key(
        NLSQConfig.shear_kernel,
        v.text,
        "gap_average (published formula) or homodyne2 (as homodyne 2.x computes: rates 2.2 to 3.1 times "
        "larger).",
    )
    quadrature: str = key(
        NLSQConfig.quadrature, v.text, "Time integrals: trapezoid (on the frames) or exact."
    )
    analyzer_parameters: AnalyzerParameters = field(default_factory=AnalyzerParameters, metadata=SECTION)
    experimental_data: ExperimentalData = field(default_factory=ExperimentalData, metadata=SECTION)
    phi_filtering: PhiFiltering = field(default_factory=PhiFiltering, metadata=SECTION)
    initial_parameters: InitialParameters = field(default_factory=InitialParameters, metadata=SECTION)
    parameter_space: ParameterSpace = field(default_factory=ParameterSpace, metadata=SECTION)
    optimization: Optimization = field(default_factory=Optimization, metadata=SECTION)
    noise: Noise = field(default_factory=Noise, metadata=SECTION)
    output: Output = field(default_factory=Output, metadata=SECTION)
