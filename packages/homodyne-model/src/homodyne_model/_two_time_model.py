"""What a prediction needs besides the parameters: geometry, frame times, and the choices of the model."""

from dataclasses import dataclass, replace
from numbers import Real
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from homodyne_model._parameters import AnalysisMode, ParameterLayout
from homodyne_model._shear_kernel import ShearKernel, shear_kernel_named
from homodyne_model._transport import QUADRATURES, Quadrature, RateIntegral, rate_integral
from homodyne_model.errors import ModelError

# Relative scatter of frame spacings that rounding of stored times explains.
_SPACING_TOLERANCE = 1e-6


class ShearPhase(NamedTuple):
    """The shear argument of each angle is ``scale[a] · (Γ_i - Γ_j)``.

    Attributes
    ----------
    scale : Array, (n_phi,)
        kernel scale · q · L · cos(φ0 - φ).
    slope : Array, (n_phi,)
        Its derivative with respect to φ0 [1/deg].
    """

    scale: jax.Array
    slope: jax.Array


@dataclass(frozen=True, eq=False)
class TwoTimeModel:
    """Model of a two-time map: C2(φ, t1, t2) for given parameters.

    Parameters
    ----------
    analysis_mode : str or AnalysisMode
        ``static_isotropic`` (3 physical parameters) or ``laminar_flow`` (7).
    q : float
        Wavevector magnitude [1/Å], positive.
    t : array_like, (n_t,)
        Frame times [s]: uniform, increasing, not negative, at least 2.
    phi : array_like, (n_phi,)
        Detector angles [deg].
    L : float, optional
        Stator-rotor gap [Å], positive; needed for ``laminar_flow``.
    shear_kernel : {"gap_average", "homodyne2"}
        The published gap average, or the kernel of older programs (to reproduce their fits).
    quadrature : {"trapezoid", "exact"}
        How rates are integrated between frames.

    Raises
    ------
    ModelError
        If an argument has a wrong value.

    Notes
    -----
    A pytree: q, t, phi and L are leaves, the choices are static, so that a jitted function of a model compiles once a shape.

    Examples
    --------
    >>> model = TwoTimeModel("static", q=0.005, t=[0.0, 0.1, 0.2], phi=[0.0, 90.0])
    >>> model.n_phi, model.n_t, round(float(model.dt), 3)
    (2, 3, 0.1)
    """

    analysis_mode: AnalysisMode
    q: float
    t: jax.Array
    phi: jax.Array
    L: float | None = None
    shear_kernel: str = "gap_average"
    quadrature: Quadrature = "trapezoid"

    def __post_init__(self) -> None:
        mode = AnalysisMode.parse(self.analysis_mode)
        shear_kernel_named(self.shear_kernel)
        if self.quadrature not in QUADRATURES:
            raise ModelError(f"quadrature is {self.quadrature!r}; expected one of {', '.join(QUADRATURES)}.")
        if mode is AnalysisMode.LAMINAR_FLOW and self.L is None:
            raise ModelError("L is missing; laminar_flow needs the stator-rotor gap in Å (200 µm is 2e6).")
        t, phi = np.asarray(self.t, dtype=float), np.atleast_1d(np.asarray(self.phi, dtype=float))
        check_positive("q", self.q, "1/Å")
        if self.L is not None:
            check_positive("L", self.L, "Å")
        check_frame_times(t)
        if phi.ndim != 1 or phi.size == 0 or not np.isfinite(phi).all():
            raise ModelError(
                f"phi has shape {phi.shape}; expected finite angles in degrees, (n_phi,), at least one."
            )
        for name, value in {"analysis_mode": mode, "q": float(self.q), "t": t, "phi": phi}.items():
            object.__setattr__(self, name, value)
        if self.L is not None:
            object.__setattr__(self, "L", float(self.L))

    @property
    def n_phi(self) -> int:
        """Number of angles."""
        return len(self.phi)

    @property
    def n_t(self) -> int:
        """Number of frames."""
        return len(self.t)

    @property
    def dt(self) -> float:
        """Frame spacing [s]."""
        return (self.t[-1] - self.t[0]) / (self.n_t - 1)

    @property
    def t_middle(self) -> float:
        """Time in the middle between a frame and the whole measurement on a logarithmic scale [s]: rates are known best near it."""
        return float((self.dt * self.t[-1]) ** 0.5)

    @property
    def layout(self) -> ParameterLayout:
        """Order of the full parameter vector for these angles."""
        return ParameterLayout(self.analysis_mode, self.n_phi)

    @property
    def n_physical(self) -> int:
        """Number of physical parameters, 3 or 7."""
        return len(self.analysis_mode.physical_names)

    @property
    def kernel(self) -> ShearKernel:
        """The chosen shear kernel."""
        return shear_kernel_named(self.shear_kernel)

    @property
    def sheared(self) -> bool:
        """Whether the model has a shear part."""
        return self.analysis_mode is AnalysisMode.LAMINAR_FLOW

    def at_angles(self, phi) -> "TwoTimeModel":
        """The same model at other angles [deg]."""
        return replace(self, phi=phi)

    def diffusion_integral(self, physical) -> RateIntegral:
        """Cumulative ∫D dt [Å²] on the frame grid with derivatives by D0, alpha, D_offset."""
        return self._integral(physical[:3])

    def shear_integral(self, physical) -> RateIntegral:
        """Cumulative ∫γ̇ dt on the frame grid with derivatives by gamma_dot_t0, beta, gamma_dot_t_offset."""
        return self._integral(physical[3:6])

    def _integral(self, rate) -> RateIntegral:
        return rate_integral(
            rate, jnp.asarray(self.t, rate.dtype), jnp.asarray(self.dt, rate.dtype), self.quadrature
        )

    def shear_phase(self, physical) -> ShearPhase:
        """Factor of Γ_i - Γ_j in the shear argument of every angle."""
        angle = jnp.deg2rad(physical[6] - jnp.asarray(self.phi, physical.dtype))
        size = self.kernel.scale * self.q * self.L
        return ShearPhase(size * jnp.cos(angle), -size * jnp.sin(angle) * (np.pi / 180))


def check_positive(name: str, value: float, unit: str) -> None:
    """Refuse what is not a positive finite number.

    Raises
    ------
    ModelError
        Naming the argument, its value and its unit.
    """
    if not (np.ndim(value) == 0 and isinstance(np.asarray(value).item(), Real) and 0 < value < np.inf):
        raise ModelError(f"{name} is {value!r}; expected a positive number in {unit}.")


def check_frame_times(t: np.ndarray) -> None:
    """Refuse frame times that are not a uniform increasing grid from zero or later.

    Raises
    ------
    ModelError
        Saying what is wrong with them.
    """
    if t.ndim != 1 or t.size < 2:
        raise ModelError(f"t has shape {t.shape}; expected frame times in seconds, (n_t,), at least 2.")
    if not np.isfinite(t).all() or t[0] < 0:
        raise ModelError(
            "t holds negative or non-finite times; expected frame times in seconds from 0 or later."
        )
    steps = np.diff(t)
    if (steps <= 0).any():
        at = int(np.argmax(steps <= 0))
        raise ModelError(f"t is not increasing: t[{at}] = {t[at]:g} s, t[{at + 1}] = {t[at + 1]:g} s.")
    spacing = (t[-1] - t[0]) / (t.size - 1)
    worst = int(np.argmax(np.abs(steps - spacing)))
    if abs(steps[worst] - spacing) > _SPACING_TOLERANCE * max(spacing, t[-1]):
        raise ModelError(
            f"t is not uniform: the frames are {spacing:g} s apart on average, frames {worst} and {worst + 1} "
            f"{steps[worst]:g} s; mask missing frames instead of leaving them out."
        )


def _flatten(model: TwoTimeModel):
    return (model.q, model.t, model.phi, model.L), (model.analysis_mode, model.shear_kernel, model.quadrature)


def _unflatten(static, leaves) -> TwoTimeModel:
    # Inside a transformation the leaves are tracers: they were checked when the model was made.
    model = object.__new__(TwoTimeModel)
    names = ("q", "t", "phi", "L", "analysis_mode", "shear_kernel", "quadrature")
    for name, value in zip(names, (*leaves, *static), strict=True):
        object.__setattr__(model, name, value)
    return model


jax.tree_util.register_pytree_node(TwoTimeModel, _flatten, _unflatten)
