"""Settings of the anti-degeneracy system, each with an effect, checked when they are made."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np

from homodyne_degeneracy.errors import DegeneracyError

PER_ANGLE_MODES = ("auto", "individual", "fourier", "constant")
REGULARIZATION_MODES = ("relative", "absolute", "auto")
MONITOR_RESPONSES = ("warn", "hierarchical", "reset", "abort")


@dataclass(frozen=True)
class HierarchicalConfig:
    """Settings of `HierarchicalOptimizer`.

    Parameters
    ----------
    enable : bool
        Whether the fit starts with it.
    max_outer_iterations : int
        Most pairs of stages.
    outer_tolerance : float
        It ends when a physical stage changes the model by less than this share of the residuals.
    physical_max_iterations : int
        Most evaluations of a physical stage.
    per_angle_max_iterations : int
        Most solutions of a scaling stage: one is exact, several are needed where a regularization adapts itself to the scaling.
    """

    enable: bool = False
    max_outer_iterations: int = 5
    outer_tolerance: float = 1e-6
    physical_max_iterations: int = 100
    per_angle_max_iterations: int = 50

    def __post_init__(self) -> None:
        _check_flag(self, "enable")
        for name in ("max_outer_iterations", "physical_max_iterations", "per_angle_max_iterations"):
            _check_whole(self, name, 1)
        _check_number(self, "outer_tolerance", above=0, below=1)


@dataclass(frozen=True)
class RegularizationConfig:
    """Settings of `AdaptiveRegularizer`.

    Parameters
    ----------
    enable : bool
        Whether the fit is regularized.
    mode : {"relative", "absolute", "auto"}
        Whether scatter is measured against the mean, as it is, or the one or the other as the mean lets it.
    lambda_ : float
        Factor on the strength that the targets ask for; ``lambda`` in a mapping.
    target_cv : float
        Scatter (standard deviation over mean, or standard deviation alone in mode ``absolute``) that is ordinary.
    target_contribution : float
        Share of χ² that the penalty has at that scatter; ``target_contrib`` is accepted in a mapping.
    """

    enable: bool = False
    mode: str = "relative"
    lambda_: float = 1.0
    target_cv: float = 0.10
    target_contribution: float = 0.10

    def __post_init__(self) -> None:
        _check_flag(self, "enable")
        _check_choice(self, "mode", REGULARIZATION_MODES)
        for name in ("lambda_", "target_cv", "target_contribution"):
            _check_number(self, name, above=0)


@dataclass(frozen=True)
class GradientMonitoringConfig:
    """Settings of `GradientCollapseMonitor`.

    Parameters
    ----------
    enable : bool
        Whether the gradients are watched.
    ratio_threshold : float
        Below this ratio of physical to scaling gradient an iteration counts as collapsed.
    consecutive_triggers : int
        Collapsed iterations in a row before the response.
    response : {"warn", "hierarchical", "reset", "abort"}
        What the fit does then.
    """

    enable: bool = True
    ratio_threshold: float = 0.01
    consecutive_triggers: int = 5
    response: str = "warn"

    def __post_init__(self) -> None:
        _check_flag(self, "enable")
        _check_number(self, "ratio_threshold", above=0)
        _check_whole(self, "consecutive_triggers", 1)
        _check_choice(self, "response", MONITOR_RESPONSES)


@dataclass(frozen=True)
class ShearWeightingConfig:
    """Settings of `ShearSensitivityWeighting`.

    Parameters
    ----------
    enable : bool
        Whether angles are weighted.
    min_weight : float
        Weight of an angle perpendicular to the flow beside 1 along it, before they are normalized.
    alpha : float
        Power of the cosine.
    normalize : bool
        Whether the weights are scaled to a mean of 1.
    """

    enable: bool = False
    min_weight: float = 0.3
    alpha: float = 1.0
    normalize: bool = True

    def __post_init__(self) -> None:
        _check_flag(self, "enable")
        _check_flag(self, "normalize")
        _check_number(self, "min_weight", above=0, most=1)
        _check_number(self, "alpha", above=0)


@dataclass(frozen=True)
class DegeneracyConfig:
    """Settings of the anti-degeneracy system, the section ``anti_degeneracy`` of a configuration.

    Parameters
    ----------
    enable : bool
        Whether layers act and ``per_angle_mode`` ``auto`` decides. A basis that is named holds anyway.
    per_angle_mode : {"auto", "individual", "fourier", "constant"}
        How contrast and offset vary with the angle; ``auto`` takes the smallest basis that describes the data.
    fourier_order : int
        Of the Fourier series: 2 order + 1 coefficients each.
    fourier_auto_threshold : int
        Fewest angles at which ``auto`` considers the series.
    hierarchical, regularization, gradient_monitoring, shear_weighting
        Settings of the layers.

    Raises
    ------
    DegeneracyError
        If a value is not allowed.
    """

    enable: bool = True
    per_angle_mode: str = "auto"
    fourier_order: int = 2
    fourier_auto_threshold: int = 6
    hierarchical: HierarchicalConfig = field(default_factory=HierarchicalConfig)
    regularization: RegularizationConfig = field(default_factory=RegularizationConfig)
    gradient_monitoring: GradientMonitoringConfig = field(default_factory=GradientMonitoringConfig)
    shear_weighting: ShearWeightingConfig = field(default_factory=ShearWeightingConfig)

    def __post_init__(self) -> None:
        _check_flag(self, "enable")
        _check_choice(self, "per_angle_mode", PER_ANGLE_MODES)
        _check_whole(self, "fourier_order", 1)
        _check_whole(self, "fourier_auto_threshold", 1)
        for name, kind in _SECTIONS.items():
            if not isinstance(getattr(self, name), kind):
                raise DegeneracyError(f"{name} is {getattr(self, name)!r}; expected a {kind.__name__}.")

    @classmethod
    def from_mapping(cls, mapping: Mapping) -> "DegeneracyConfig":
        """Settings from a mapping such as the section of a configuration file.

        Raises
        ------
        DegeneracyError
            For an unknown key, with the nearest known one, and for a value that is not allowed.

        Examples
        --------
        >>> config = DegeneracyConfig.from_mapping({"regularization": {"enable": True, "lambda": 2.0}})
        >>> config.regularization.lambda_, config.per_angle_mode
        (2.0, 'auto')
        """
        values = _checked(mapping, cls, "")
        for name, kind in _SECTIONS.items():
            if isinstance(values.get(name), Mapping):
                values[name] = kind(**_checked(values[name], kind, f"{name}."))
        return cls(**values)

    def to_mapping(self) -> dict:
        """The settings with the keys of `from_mapping`."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in _SECTIONS:
            section = found[name]
            found[name] = {f.name.rstrip("_"): getattr(section, f.name) for f in fields(section)}
        return found


_SECTIONS = {
    "hierarchical": HierarchicalConfig,
    "regularization": RegularizationConfig,
    "gradient_monitoring": GradientMonitoringConfig,
    "shear_weighting": ShearWeightingConfig,
}
_ALIASES = {"target_contrib": "target_contribution"}


def _checked(mapping, kind, where: str) -> dict:
    """Values by field name."""
    if not isinstance(mapping, Mapping):
        raise DegeneracyError(f"{where.rstrip('.') or 'anti_degeneracy'} is {mapping!r}; expected a mapping.")
    known = {f.name.rstrip("_"): f.name for f in fields(kind)}
    values = {}
    for key, value in mapping.items():
        name = _ALIASES.get(key, key) if kind is RegularizationConfig else key
        if name not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"Did you mean {where}{near[0]!s}?" if near else f"Known: {', '.join(known)}."
            raise DegeneracyError(f"unknown setting {where}{key}. {hint}")
        if known[name] in values:
            raise DegeneracyError(f"{where}{name} is given twice, as {name!r} and under its other name.")
        values[known[name]] = value
    return values


def _check_flag(config, name: str) -> None:
    if not isinstance(getattr(config, name), bool | np.bool_):
        raise DegeneracyError(f"{name} is {getattr(config, name)!r}; expected true or false.")


def _check_choice(config, name: str, allowed) -> None:
    if getattr(config, name) not in allowed:
        raise DegeneracyError(f"{name} is {getattr(config, name)!r}; expected one of {', '.join(allowed)}.")


def _check_whole(config, name: str, least: int) -> None:
    value = getattr(config, name)
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise DegeneracyError(f"{name} is {value!r}; expected a whole number, at least {least}.")


def _check_number(config, name: str, *, above: float, below: float = np.inf, most: float = np.inf) -> None:
    value = getattr(config, name)
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not (above < value < below and value <= most and np.isfinite(value)):
        limit = (
            f" and below {below:g}" if below < np.inf else f" and at most {most:g}" if most < np.inf else ""
        )
        raise DegeneracyError(f"{name.rstrip('_')} is {value!r}; expected a number above {above:g}{limit}.")
