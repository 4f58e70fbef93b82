"""The configuration of an analysis, as frozen dataclasses.

The classes are the single place of keys, defaults and their explanation: the reader (`_config_read`) walks
them, the template (`_config_template`) is printed from them. Here are the sections on the data, the parameters and the
results; those on the fit are in `_config_fit`, with defaults that belong to the packages that fit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from homodyne_cli import _values as v
from homodyne_cli._config_bounds import ParameterSpace
from homodyne_cli._config_fit import Optimization
from homodyne_cli._config_keys import SECTION, ConfigurationError, items, key, named_path
from homodyne_cli._units import LENGTH, TIME
from homodyne_nlsq import NLSQConfig

PLOTS = ("maps", "lag_cuts", "curves", "scaling", "posterior")
"""Kinds of plots: of a fit, and all those of a posterior."""

PLOT_FORMATS = ("png", "pdf", "svg")
"""File formats of plots."""


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
    """Where the results go. Numbers and tables are always written; --method nlsq has no posterior."""

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
        return named_path(self.directory, folder, "output.directory")

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
