"""Settings of the fit, checked before anything runs."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np

from homodyne_degeneracy import DegeneracyConfig
from homodyne_model import PARAMETERS, QUADRATURES, SHEAR_KERNELS, AnalysisMode, ParameterLayout
from homodyne_nlsq._loss import LOSSES
from homodyne_nlsq._search_settings import search_choice, search_settings
from homodyne_nlsq.errors import FitInputError

if TYPE_CHECKING:
    from homodyne_global import CMAESWrapperConfig, MultiStartConfig

COVARIANCE_TYPES = ("robust", "hessian")
ENGINES = ("structured", "nlsq")


@dataclass(frozen=True)
class RecoveryConfig:
    """What is tried when a fit cannot start or gets nowhere.

    Parameters
    ----------
    enable : bool
        Try other start values: the centre of the bounds (``bounds_reset``), then their geometric mean (``geometric_mean_reset``, the centre
        where a bound is not positive).
    max_attempts : int
        1 to 3, the first one included.

    Raises
    ------
    FitInputError
        If a value is not allowed.
    """

    enable: bool = True
    max_attempts: int = 3

    def __post_init__(self) -> None:
        _check_switch("recovery.enable", self.enable)
        _check_whole("recovery.max_attempts", self.max_attempts, 1)
        if self.max_attempts > 3:
            raise FitInputError(f"recovery.max_attempts is {self.max_attempts}; expected 1, 2 or 3.")


@dataclass(frozen=True)
class HybridStreamingConfig:
    """How data that stay in their file are fitted.

    Parameters
    ----------
    normalize : bool
        Warm up in parameters that run from 0 to 1 between their bounds (logarithms where both are positive). Without, in units of
        the start values.
    warmup_iterations : int
        L-BFGS iterations on the averages after which a stalled warm-up ends; 0 leaves the warm-up out.
    max_warmup_iterations : int
        Most L-BFGS iterations, stalled or not.
    gauss_newton_max_iterations : int
        Most passes over the data in the file.
    chunk_size : int
        Points that are computed at once. Small ones cost time: at 50 000, the default of older programs, a pass over maps of 6600 frames
        goes through 20 000 chunks.
    checkpoint_dir : str, optional
        Folder where finished passes are kept: the same fit, started again after an interruption, goes on with them.

    Raises
    ------
    FitInputError
        If a value is not allowed.
    """

    normalize: bool = True
    warmup_iterations: int = 100
    max_warmup_iterations: int = 500
    gauss_newton_max_iterations: int = 50
    chunk_size: int = 4_000_000
    checkpoint_dir: str | None = None

    def __post_init__(self) -> None:
        _check_switch("hybrid_streaming.normalize", self.normalize)
        for name, least in (
            ("warmup_iterations", 0),
            ("max_warmup_iterations", 0),
            ("gauss_newton_max_iterations", 1),
            ("chunk_size", 1),
        ):
            _check_whole(f"hybrid_streaming.{name}", getattr(self, name), least)
        if self.max_warmup_iterations < self.warmup_iterations:
            raise FitInputError(
                f"hybrid_streaming.max_warmup_iterations is {self.max_warmup_iterations}; expected at least "
                f"warmup_iterations, {self.warmup_iterations}."
            )


@dataclass(frozen=True)
class NLSQConfig:
    """Settings of `fit_nlsq_jax`.

    Parameters
    ----------
    analysis_mode : str
        ``static_isotropic`` (or ``static``, ``static_anisotropic``) or ``laminar_flow``.
    shear_kernel : {"gap_average", "homodyne2"}
        Published gap average, or the kernel of older programs, to reproduce their fits.
    quadrature : {"trapezoid", "exact"}
        How D(t) and the shear rate are integrated between frames.
    per_angle_scaling : bool
        Whether contrast and offset may vary with the angle; how, ``anti_degeneracy.per_angle_mode`` says.
    anti_degeneracy : DegeneracyConfig or mapping
        How contrast and offset vary with the angle (``per_angle_mode``: ``auto``, ``individual``, ``fourier`` or ``constant``), and what keeps
        them from absorbing the shear.
    covariance_type : {"robust", "hessian"}
        Which error bars are quoted: those of scores clustered by frame, which know that points of a map share photons and speckles; or the
        inverse curvature, scaled by the reduced χ² unless σ was given, which takes the points for independent. A result holds both.
    profile : sequence of str
        Physical parameters that get profile-likelihood intervals, or ``("all",)``: χ² is minimised over all the others along each.
    initial : mapping of name to value
        Start values of physical parameters; those that are left out come from the data.
    fixed : mapping of name to value
        Parameters that are held: physical ones, ``contrast``, ``offset`` (all angles) or ``contrast_0`` and so on. The value
        None holds a physical parameter at its start value in ``initial``.
    bounds : mapping of name to (lower, upper)
        Bounds that replace the defaults of `homodyne_model.PARAMETERS`; names as in ``fixed``.
    max_iterations : int
        Most passes over the data that the local fit may take.
    tolerance, xtol, gtol : float
        Where the trust region first stops: relative change of χ², of the (scaled) parameters, and size of the scaled gradient. It goes on
        with smaller ones until the optimum is less than 1e-4 standard errors away or ``max_iterations`` is reached.
    seed : int
        Of the candidates that start values from the data are chosen from.
    memory_fraction : float, optional
        Share of the memory, 0.1 to 0.9, above which data in memory are passed over in chunks; by default that of
        `homodyne_memory.memory_threshold_gb`.
    chunk_points : int, optional
        Points of a chunk of data in memory. Given, the pass goes in chunks however few the points are; the result is the same to rounding.
    loss : {"linear", "soft_l1", "huber"}
        What a residual of r standard deviations costs: r², or less beyond ``f_scale``, so that outliers pull less. χ² is reported
        unweighted.
    f_scale : float
        Residual [σ] from which points count less under a robust loss; 1.345 with ``huber`` keeps 95 % of the efficiency on normal noise.
    angle_weights : sequence of float, optional
        Positive number for every angle that its part of χ² is multiplied with. Error bars allow for it; χ² is reported unweighted.
    engine : {"structured", "nlsq"}
        Our elimination of contrast and offset, or the library nlsq on the full Jacobian (extra ``homodyne-nlsq[nlsq]``): the same
        optimum, with more memory and time.
    use_adapter : bool
        Solve by `NLSQAdapter`, and by `NLSQWrapper` where that fails.
    recovery : RecoveryConfig or mapping
        What is tried when a fit cannot start or gets nowhere.
    hybrid_streaming : HybridStreamingConfig or mapping
        How data that stay in their file are fitted.
    cmaes, multi_start : homodyne_global.CMAESWrapperConfig, homodyne_global.MultiStartConfig or mapping, optional
        A global search for start values (extra ``homodyne-nlsq[global]``): CMA-ES where it is enabled and the widest bounds are far from the
        narrowest, else multistart where that is enabled. After CMA-ES the fit is the refinement with the tolerances, passes and loss of
        ``cmaes``.

    Raises
    ------
    FitInputError
        If a value is not allowed.
    """

    analysis_mode: str = "static_isotropic"
    shear_kernel: str = "gap_average"
    quadrature: str = "trapezoid"
    per_angle_scaling: bool = True
    anti_degeneracy: DegeneracyConfig = field(default_factory=DegeneracyConfig)
    covariance_type: str = "robust"
    profile: Sequence[str] = ()
    initial: Mapping[str, float] = field(default_factory=dict)
    fixed: Mapping[str, float | None] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    max_iterations: int = 200
    tolerance: float = 1e-8
    xtol: float = 1e-8
    gtol: float = 1e-8
    seed: int = 0
    memory_fraction: float | None = None
    chunk_points: int | None = None
    loss: str = "linear"
    f_scale: float = 1.0
    angle_weights: Sequence[float] | None = None
    engine: str = "structured"
    use_adapter: bool = False
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    hybrid_streaming: HybridStreamingConfig = field(default_factory=HybridStreamingConfig)
    cmaes: "CMAESWrapperConfig | Mapping | None" = None
    multi_start: "MultiStartConfig | Mapping | None" = None

    def __post_init__(self) -> None:
        for name, section in (("recovery", RecoveryConfig), ("hybrid_streaming", HybridStreamingConfig)):
            value = getattr(self, name)
            if isinstance(value, Mapping):
                object.__setattr__(self, name, _from_mapping(section, value, f"{name}."))
            elif not isinstance(value, section):
                raise TypeError(
                    f"{name} is a {type(value).__name__}; expected a {section.__name__} or a mapping."
                )
        if isinstance(self.anti_degeneracy, Mapping):
            object.__setattr__(self, "anti_degeneracy", DegeneracyConfig.from_mapping(self.anti_degeneracy))
        elif not isinstance(self.anti_degeneracy, DegeneracyConfig):
            raise TypeError(
                f"anti_degeneracy is a {type(self.anti_degeneracy).__name__}; expected a DegeneracyConfig or a mapping."
            )
        for name in ("cmaes", "multi_start"):
            object.__setattr__(self, name, search_settings(name, getattr(self, name)))
        mode = AnalysisMode.parse(self.analysis_mode)
        object.__setattr__(self, "analysis_mode", mode.value)
        for name, allowed in (
            ("shear_kernel", SHEAR_KERNELS),
            ("quadrature", QUADRATURES),
            ("covariance_type", COVARIANCE_TYPES),
            ("loss", LOSSES),
            ("engine", ENGINES),
        ):
            if getattr(self, name) not in allowed:
                raise FitInputError(
                    f"{name} is {getattr(self, name)!r}; expected one of {', '.join(allowed)}."
                )
        for name in ("tolerance", "xtol", "gtol"):
            value = getattr(self, name)
            if not (_is_number(value) and 0 < value < 1):
                raise FitInputError(f"{name} is {value!r}; expected a number between 0 and 1.")
        fraction = self.memory_fraction
        if fraction is not None and not (_is_number(fraction) and 0.1 <= fraction <= 0.9):
            raise FitInputError(f"memory_fraction is {fraction!r}; expected a number from 0.1 to 0.9.")
        for name, least in (("max_iterations", 1), ("seed", 0)):
            _check_whole(name, getattr(self, name), least)
        if self.chunk_points is not None:
            _check_whole("chunk_points", self.chunk_points, 1)
        _check_switch("use_adapter", self.use_adapter)
        _check_switch("per_angle_scaling", self.per_angle_scaling)
        if not (_is_number(self.f_scale) and self.f_scale > 0):
            raise FitInputError(
                f"f_scale is {self.f_scale!r}; expected a positive number of standard deviations."
            )
        if self.angle_weights is not None:
            weights = tuple(self.angle_weights)
            if not weights or not all(_is_number(w) and w > 0 for w in weights):
                raise FitInputError(
                    f"angle_weights is {self.angle_weights!r}; expected a positive number for every angle."
                )
            object.__setattr__(self, "angle_weights", weights)
        physical = mode.physical_names
        self._check_profile(physical)
        self._check_engine()
        self._check_refinement()
        for name in ("initial", "fixed", "bounds"):
            mapping = getattr(self, name)
            if not isinstance(mapping, Mapping):
                raise TypeError(f"{name} is {mapping!r}; expected a mapping of parameter name to value.")
            object.__setattr__(
                self, name, dict(mapping)
            )  # what is recorded does not change with the caller's
        for name, value in self.initial.items():
            _check_name("initial", name, physical)
            if not _is_number(value):
                raise FitInputError(f"initial[{name!r}] is {value!r}; expected a finite number.")
        for name, value in self.fixed.items():
            _check_name("fixed", name, physical, scaling=True)
            if value is None and name not in self.initial:
                raise FitInputError(
                    f"fixed[{name!r}] is None, which holds the start value, but initial has no {name!r}."
                )
            if value is not None and not _is_number(value):
                raise FitInputError(f"fixed[{name!r}] is {value!r}; expected a finite number.")
        for name, pair in self.bounds.items():
            _check_name("bounds", name, physical, scaling=True)
            if np.shape(pair) != (2,) or not all(
                isinstance(b, int | float | np.number) and b == b for b in pair
            ):
                raise FitInputError(f"bounds[{name!r}] is {pair!r}; expected (lower, upper).")
            if not pair[0] < pair[1]:
                raise FitInputError(
                    f"bounds[{name!r}] is {pair[0]:g} to {pair[1]:g}; expected lower < upper (fixed holds a value)."
                )
        search_choice(self)  # which refuses what encloses nothing to search

    def _check_profile(self, physical: tuple[str, ...]) -> None:
        if isinstance(self.profile, str) or not isinstance(self.profile, Sequence):
            raise TypeError(f"profile is {self.profile!r}; expected a sequence of parameter names.")
        names = physical if tuple(self.profile) == ("all",) else tuple(self.profile)
        for name in names:
            _check_name("profile", name, physical)
        object.__setattr__(self, "profile", tuple(dict.fromkeys(names)))

    def _check_engine(self) -> None:
        """The full Jacobian has every contrast and offset among its columns, each in its box."""
        layers = self.anti_degeneracy
        if self.engine != "nlsq":
            return
        asked = {
            "anti_degeneracy.per_angle_mode 'fourier'": layers.per_angle_mode == "fourier",
            "anti_degeneracy.regularization": layers.enable and layers.regularization.enable,
            f"anti_degeneracy.gradient_monitoring.response {layers.gradient_monitoring.response!r}": layers.enable
            and layers.gradient_monitoring.enable
            and layers.gradient_monitoring.response != "warn",
        }
        for what, is_asked in asked.items():
            if is_asked:
                raise FitInputError(
                    f"{what} is not available with engine 'nlsq'; expected engine 'structured'."
                )

    def _check_refinement(self) -> None:
        """What a search's own settings and those of the fit must not contradict."""
        if self.enable_cmaes and self.cmaes.refinement_workflow == "streaming" and self.engine == "nlsq":
            raise FitInputError(
                "cmaes.refinement_workflow is 'streaming', but engine 'nlsq' holds the whole Jacobian; expected 'auto' or 'standard', or "
                "engine 'structured'."
            )
        if not self.enable_cmaes or self.cmaes.refinement_loss in ("linear", self.loss):
            return
        if self.loss != "linear":
            raise FitInputError(
                f"cmaes.refinement_loss is {self.cmaes.refinement_loss!r}, but loss is {self.loss!r}; expected one of them to be linear, or the same."
            )

    @property
    def enable_cmaes(self) -> bool:
        """Whether CMA-ES is considered."""
        return self.cmaes is not None and self.cmaes.enable

    @property
    def enable_multi_start(self) -> bool:
        """Whether multistart is considered."""
        return self.multi_start is not None and self.multi_start.enable

    @property
    def is_constant(self) -> bool:
        """Whether one contrast and offset for all angles are asked for."""
        return not self.per_angle_scaling or self.anti_degeneracy.per_angle_mode == "constant"

    @classmethod
    def from_mapping(cls, mapping: Mapping) -> "NLSQConfig":
        """Settings from a mapping of the field names; ``enable_cmaes`` and ``enable_multi_start`` stand for ``enable`` of these sections.

        Raises
        ------
        FitInputError
            For an unknown key, with the nearest known one.

        Examples
        --------
        >>> NLSQConfig.from_mapping({"analysis_mode": "static"}).analysis_mode
        'static_isotropic'
        """
        for name in ("cmaes", "multi_start"):
            if f"enable_{name}" in mapping:
                mapping = dict(mapping)
                mapping[name] = {**(mapping.get(name) or {}), "enable": mapping.pop(f"enable_{name}")}
        return _from_mapping(cls, mapping)

    def physical_bounds(self) -> np.ndarray:
        """Bounds of the physical parameters, (n_physical, 2)."""
        names = AnalysisMode(self.analysis_mode).physical_names
        return np.array(
            [self.bounds.get(n, (PARAMETERS[n].lower, PARAMETERS[n].upper)) for n in names], dtype=float
        )

    def scaling_box(self, kind: str, n_phi: int) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bound of every angle's ``contrast`` or ``offset``; equal where it is fixed.

        Raises
        ------
        FitInputError
            If a name has an angle that the data do not have.
        """
        layout = ParameterLayout(self.analysis_mode, n_phi)
        for source in ("bounds", "fixed"):
            for name in getattr(self, source):
                if name not in layout.names and name not in ("contrast", "offset"):
                    raise FitInputError(f"{source} names {name!r}, but the data have {n_phi} angles.")
                if self.is_constant and name.startswith(f"{kind}_"):
                    raise FitInputError(
                        f"{source} names {name!r}, but contrast and offset are the same for all angles; name {kind!r}."
                    )
        registry = PARAMETERS[kind]
        box = np.empty((n_phi, 2))
        for a in range(n_phi):
            box[a] = self.bounds.get(f"{kind}_{a}", self.bounds.get(kind, (registry.lower, registry.upper)))
            held = self.fixed.get(f"{kind}_{a}", self.fixed.get(kind))
            if held is not None:
                if not box[a, 0] <= held <= box[a, 1]:
                    raise FitInputError(
                        f"fixed holds {kind} of angle {a} at {held:g}; expected a value within its bounds, {box[a, 0]:g} to "
                        f"{box[a, 1]:g} (bounds[{kind!r}] widens them)."
                    )
                box[a] = held
        return box[:, 0], box[:, 1]


def _from_mapping(cls, mapping: Mapping, prefix: str = ""):
    known = [f.name for f in fields(cls)]
    for key in mapping:
        if key not in known:
            raise FitInputError(f"unknown setting {f'{prefix}{key}'!r}.{_nearest(key, known)}")
    return cls(**mapping)


def _check_switch(name: str, value) -> None:
    if not isinstance(value, bool | np.bool_):
        raise FitInputError(f"{name} is {value!r}; expected true or false.")


def _check_whole(name: str, value, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise FitInputError(f"{name} is {value!r}; expected a whole number, at least {least}.")


def _is_number(value) -> bool:
    return (
        isinstance(value, int | float | np.number)
        and not isinstance(value, bool)
        and bool(np.isfinite(value))
    )


def _check_name(where: str, name: str, physical: tuple[str, ...], *, scaling: bool = False) -> None:
    kind, _, index = name.partition("_")
    if name in physical or (
        scaling and (name in ("contrast", "offset") or (kind in ("contrast", "offset") and index.isdigit()))
    ):
        return
    known = [*physical, *(("contrast", "offset") if scaling else ())]
    reason = f"unknown parameter {name!r}"
    if name in PARAMETERS and not scaling and name in ("contrast", "offset"):
        reason = f"{name!r} has no start value: contrast and offset are solved exactly (fixed and bounds take them)"
    elif name in PARAMETERS:
        reason = f"{name!r} is no parameter of this analysis_mode"
    raise FitInputError(f"{where}: {reason}.{_nearest(name, known)}")


def _nearest(name: str, known) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(known)}."
