"""The section ``optimization.nlsq.anti_degeneracy``, with the defaults of `homodyne_degeneracy`."""

from dataclasses import dataclass, field

from homodyne_cli import _values as v
from homodyne_cli._config_keys import SECTION, key
from homodyne_degeneracy import (
    DegeneracyConfig,
    GradientMonitoringConfig,
    HierarchicalConfig,
    RegularizationConfig,
    ShearWeightingConfig,
)


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
