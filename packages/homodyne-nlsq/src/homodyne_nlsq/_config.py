"""Settings of the fit, checked before anything runs."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np

from homodyne_model import PARAMETERS, QUADRATURES, SHEAR_KERNELS, AnalysisMode, ParameterLayout
from homodyne_nlsq.errors import FitInputError

PER_ANGLE_MODES = ("individual", "constant")
COVARIANCE_TYPES = ("hessian",)


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
    per_angle_mode : {"individual", "constant"}
        A contrast and offset for every angle, or one pair for all.
    covariance_type : {"hessian"}
        Inverse curvature, scaled by the reduced χ² unless σ was given. It takes the points for independent.
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
    checkpoint_dir : str, optional
        Folder where finished passes over data in a file are kept: the same fit, started again after an interruption, goes on with them.

    Raises
    ------
    FitInputError
        If a value is not allowed.
    """

    analysis_mode: str = "static_isotropic"
    shear_kernel: str = "gap_average"
    quadrature: str = "trapezoid"
    per_angle_mode: str = "individual"
    covariance_type: str = "hessian"
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
    checkpoint_dir: str | None = None

    def __post_init__(self) -> None:
        mode = AnalysisMode.parse(self.analysis_mode)
        object.__setattr__(self, "analysis_mode", mode.value)
        for name, allowed in (
            ("shear_kernel", SHEAR_KERNELS),
            ("quadrature", QUADRATURES),
            ("per_angle_mode", PER_ANGLE_MODES),
            ("covariance_type", COVARIANCE_TYPES),
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
        for name, least in (("max_iterations", 1), ("seed", 0), ("chunk_points", 1)):
            value = getattr(self, name)
            if name == "chunk_points" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise FitInputError(f"{name} is {value!r}; expected a whole number, at least {least}.")
        physical = mode.physical_names
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

    @classmethod
    def from_mapping(cls, mapping: Mapping) -> "NLSQConfig":
        """Settings from a mapping of the field names.

        Raises
        ------
        FitInputError
            For an unknown key, with the nearest known one.

        Examples
        --------
        >>> NLSQConfig.from_mapping({"analysis_mode": "static"}).analysis_mode
        'static_isotropic'
        """
        known = [f.name for f in fields(cls)]
        for key in mapping:
            if key not in known:
                raise FitInputError(f"unknown setting {key!r}.{_nearest(key, known)}")
        return cls(**mapping)

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
                if self.per_angle_mode == "constant" and name.startswith((f"{kind}_",)):
                    raise FitInputError(
                        f"{source} names {name!r}, but per_angle_mode is 'constant'; name {kind!r}."
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
