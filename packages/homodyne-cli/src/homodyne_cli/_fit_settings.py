"""From a `Configuration` to the settings of the fit."""

import dataclasses
import difflib
import re

from homodyne_cli._config import Configuration
from homodyne_cli._config_bounds import FORMER_NAMES
from homodyne_cli._config_fit import NLSQ
from homodyne_cli._config_keys import ConfigurationError
from homodyne_cli._config_layers import AntiDegeneracy
from homodyne_degeneracy import (
    DegeneracyConfig,
    DegeneracyError,
    GradientMonitoringConfig,
    HierarchicalConfig,
    RegularizationConfig,
    ShearWeightingConfig,
)
from homodyne_global import CMAESWrapperConfig, GlobalSearchError, MultiStartConfig
from homodyne_model import PARAMETERS, AnalysisMode
from homodyne_nlsq import HybridStreamingConfig, NLSQConfig, RecoveryConfig

_SCALING = re.compile(r"(contrast|offset)(_\d+)?")
_LAYERS = {
    "hierarchical": HierarchicalConfig,
    "regularization": RegularizationConfig,
    "gradient_monitoring": GradientMonitoringConfig,
    "shear_weighting": ShearWeightingConfig,
}
_SEARCHES = {"cmaes": CMAESWrapperConfig, "multi_start": MultiStartConfig}


def nlsq_config(configuration: Configuration) -> tuple[NLSQConfig, tuple[str, ...]]:
    """Settings for `homodyne_nlsq.fit_nlsq_jax`, and warnings.

    Parameters of the other analysis mode may stand in start values, bounds and fixed values, so that one file
    serves both modes: they are left out, with a warning.

    Raises
    ------
    ConfigurationError
        If a parameter name is unknown, values and names differ in number, a start value is outside its
        bounds, a parameter that is not active has no value, or `NLSQConfig` refuses a setting.
    """
    try:
        names = AnalysisMode.parse(configuration.analysis_mode).physical_names
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    absent: list[str] = []

    def known(name: str, where: str, *, scaling: bool = False) -> str | None:
        """Present name of a parameter, None when it belongs to the other mode."""
        current = FORMER_NAMES.get(name, name)
        if current in names or (scaling and _SCALING.fullmatch(current)):
            return current
        if current in PARAMETERS and current not in ("contrast", "offset"):
            absent.append(current)
            return None
        possible = (*names, "contrast", "offset") if scaling else names
        near = difflib.get_close_matches(name, possible, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(possible)}"
        raise ConfigurationError(f"{where}: unknown parameter {name!r}; {hint}")

    start = configuration.initial_parameters
    initial: dict[str, float] = {}
    if start.values is not None:
        listed = start.parameter_names or names
        if len(listed) != len(start.values):
            raise ConfigurationError(
                f"initial_parameters: {len(start.values)} values for {len(listed)} parameters "
                f"({', '.join(listed)})"
            )
        for name, value in zip(listed, start.values, strict=True):
            current = known(name, "initial_parameters.parameter_names")
            if current and value is not None:
                initial[current] = value
    else:
        for name in start.parameter_names or ():
            known(name, "initial_parameters.parameter_names")

    fixed: dict[str, float] = {}
    for name, value in start.fixed_parameters.items():
        current = known(name, "initial_parameters.fixed_parameters", scaling=True)
        if current:
            fixed[current] = value
    if start.active_parameters is not None:
        active = {known(name, "initial_parameters.active_parameters") for name in start.active_parameters}
        for name in names:
            if name in active or name in fixed:
                continue
            value = initial.get(name, PARAMETERS[name].default)
            if value is None:
                raise ConfigurationError(
                    f"initial_parameters: {name} is not in active_parameters and has no value; expected it "
                    "in fixed_parameters or values"
                )
            fixed[name] = value
    initial = {name: value for name, value in initial.items() if name not in fixed}

    bounds: dict[str, tuple[float, float]] = {}
    for bound in configuration.parameter_space.bounds:
        current = known(bound.name, "parameter_space.bounds", scaling=True)
        if current:
            bounds[current] = bound.interval

    nlsq = configuration.optimization.nlsq
    scaling = _per_angle_scaling(configuration)
    profile = nlsq.profile
    if profile != ("all",):
        profile = tuple(p for name in profile if (p := known(name, "optimization.nlsq.profile")))
    layers = _degeneracy_config(nlsq.anti_degeneracy)
    searches = {name: _search_config(nlsq, name) for name in _SEARCHES}
    # Where finished passes are kept is known when a fit is run.
    streaming = dataclasses.replace(nlsq.hybrid_streaming, checkpoint_dir=None)
    try:
        settings = NLSQConfig(
            analysis_mode=configuration.analysis_mode,
            shear_kernel=configuration.shear_kernel,
            quadrature=configuration.quadrature,
            initial=initial,
            fixed=fixed,
            bounds=bounds,
            recovery=RecoveryConfig(**vars(configuration.optimization.recovery)),
            **vars(nlsq)
            | {
                "per_angle_scaling": scaling,
                "profile": profile,
                "anti_degeneracy": layers,
                "hybrid_streaming": HybridStreamingConfig(**vars(streaming)),
            }
            | searches,
        )
    except (ValueError, TypeError) as error:
        raise ConfigurationError(str(error)) from None
    for name, (lower, upper) in zip(names, settings.physical_bounds().tolist(), strict=True):
        value = settings.initial.get(name)
        if value is not None and not lower <= value <= upper:
            raise ConfigurationError(
                f"initial_parameters.values: {name} starts at {value:g}; expected a value within its bounds, "
                f"{lower:g} to {upper:g}"
            )
    if not absent:
        return settings, ()
    listed = ", ".join(dict.fromkeys(absent))
    return settings, (f"{listed}: no parameters of {configuration.analysis_mode}, left out",)


def _per_angle_scaling(configuration: Configuration) -> bool:
    """Whether contrast and offset may vary with the angle, from the two places where a file can say so."""
    nlsq, former = configuration.optimization.nlsq, configuration.initial_parameters.per_angle_scaling
    here, name = nlsq.per_angle_scaling, "optimization.nlsq.per_angle_scaling"
    if here is not None and former is not None and here != former:
        raise ConfigurationError(
            f"{name} is {str(here).lower()}, but initial_parameters.per_angle_scaling is {str(former).lower()}; "
            "expected the same, or one of them"
        )
    if here is None and former is not None:
        here, name = former, "initial_parameters.per_angle_scaling"
    if here is None:
        return NLSQConfig.per_angle_scaling
    mode = nlsq.anti_degeneracy.per_angle_mode
    if not here and mode in ("individual", "fourier"):
        raise ConfigurationError(
            f"{name} is false, but optimization.nlsq.anti_degeneracy.per_angle_mode is {mode!r}; expected one of "
            "them to give way"
        )
    return here


def _degeneracy_config(section: AntiDegeneracy) -> DegeneracyConfig:
    """Settings of the anti-degeneracy system; errors name the dotted key."""
    where = "optimization.nlsq.anti_degeneracy."
    layers: dict[str, object] = {}
    try:
        for name, kind in _LAYERS.items():
            where = f"optimization.nlsq.anti_degeneracy.{name}."
            layers[name] = kind(**vars(getattr(section, name)))
        where = "optimization.nlsq.anti_degeneracy."
        return DegeneracyConfig(**vars(section) | layers)
    except DegeneracyError as error:
        raise ConfigurationError(f"{where}{error}") from None


def _search_config(nlsq: NLSQ, name: str) -> CMAESWrapperConfig | MultiStartConfig:
    """Settings of one global search; errors name the dotted key."""
    try:
        return _SEARCHES[name](**vars(getattr(nlsq, name)))
    except GlobalSearchError as error:
        raise ConfigurationError(f"optimization.nlsq.{name}.{error}") from None
