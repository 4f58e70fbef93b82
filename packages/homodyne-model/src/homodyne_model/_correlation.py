"""The two-time correlation, as whole maps and at any list of points.

    C2(φ, t1, t2) = offset(φ) + contrast(φ) g1(φ, t1, t2)²
    g1 = exp(-(q²/2) ∫D dt) · [sin(x)/x]^p,     x = scale · q · L · cos(φ0 - φ) ∫γ̇ dt,     ∫ from min(t1, t2) to max(t1, t2)

He et al., PNAS 121 (2024), doi:10.1073/pnas.2401162121; PNAS 122 (2025), doi:10.1073/pnas.2514216122. The gap average has
scale 1/2 and p = 1. Nothing is floored or clipped: every derivative is the true one.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from homodyne_model._parameters import AnalysisMode
from homodyne_model._transport import real_array
from homodyne_model._two_time_model import TwoTimeModel
from homodyne_model.errors import ModelError


def _g1(model: TwoTimeModel, physical, angle, i, j):
    """g1 at indices of equal rank that broadcast: angles, and frames i and j in either order."""
    diffusion = model.diffusion_integral(physical).value
    forward = jnp.where(i >= j, 1, -1).astype(physical.dtype)
    value = jnp.exp(-(model.q**2) / 2 * forward * (diffusion[i] - diffusion[j]))
    if model.sheared:
        strain = model.shear_integral(physical).value
        value = value * model.kernel.factor(
            model.shear_phase(physical).scale[angle] * (strain[i] - strain[j])
        )
    return value


@partial(jax.jit, static_argnames="n_rows")
def rows_c2(model: TwoTimeModel, physical, contrast, offset, first_row, n_rows: int):
    """C2 of consecutive rows of maps, (n_phi, n_rows, n_t): frames ``first_row`` and the following against all frames.

    ``contrast`` and ``offset`` have shape (n_phi,).
    """
    angle, i, j = jnp.ix_(jnp.arange(model.n_phi), jnp.arange(n_rows), jnp.arange(model.n_t))
    g1 = _g1(model, physical, angle, first_row + i, j)
    return offset[:, None, None] + contrast[:, None, None] * g1**2


@jax.jit
def map_g1(model: TwoTimeModel, physical):
    """g1 of whole maps for a given model.

    Parameters
    ----------
    model : TwoTimeModel
        Geometry and choices.
    physical : Array, (3,) or (7,)
        Physical parameters in their natural units.

    Returns
    -------
    Array, (n_phi, n_t, n_t)
        Symmetric in the frames, 1 on the diagonal. The static model repeats one map for every angle.
    """
    angle, i, j = jnp.ix_(jnp.arange(model.n_phi), jnp.arange(model.n_t), jnp.arange(model.n_t))
    value = _g1(model, physical, angle, i, j)
    return jnp.broadcast_to(value, (model.n_phi, model.n_t, model.n_t))


@jax.jit
def map_c2(model: TwoTimeModel, physical, contrast, offset):
    """C2 of whole maps: ``offset + contrast · g1²`` with contrast and offset of shape (n_phi,)."""
    return offset[:, None, None] + contrast[:, None, None] * map_g1(model, physical) ** 2


def points_g1(model: TwoTimeModel, physical, angle, i, j):
    """g1 at points: angle index, frame indices i and j, each an integer array of shape (n_points,)."""
    value = _g1(model, physical, angle, i, j)
    return jnp.broadcast_to(value, jnp.shape(i))


def points_c2(model: TwoTimeModel, physical, contrast, offset, angle, i, j):
    """C2 at points given as angle index and frame indices, each of shape (n_points,)."""
    return offset[angle] + contrast[angle] * points_g1(model, physical, angle, i, j) ** 2


def _mode_of(params) -> AnalysisMode:
    by_length = {len(mode.physical_names): mode for mode in AnalysisMode}
    shape = np.shape(params)
    if len(shape) != 1 or shape[0] not in by_length:
        raise ModelError(
            f"params has shape {shape}; expected (3,) for diffusion (D0, alpha, D_offset) or (7,) for laminar "
            "flow (those, gamma_dot_t0, beta, gamma_dot_t_offset, phi0)."
        )
    return by_length[shape[0]]


def field_correlation(params, q, t, phi=None, L=None, *, shear_kernel="gap_average", quadrature="trapezoid"):
    """Field correlation g1 of diffusion, or of diffusion and laminar shear flow.

    g1 = exp(-(q²/2) ∫D dt) · sin(x)/x,  x = (q L / 2) cos(φ0 - φ) ∫γ̇ dt.

    Parameters
    ----------
    params : array_like, (3,) or (7,)
        ``D0`` [Å²/s], ``alpha`` [1], ``D_offset`` [Å²/s]; for laminar flow also ``gamma_dot_t0`` [1/s], ``beta`` [1],
        ``gamma_dot_t_offset`` [1/s], ``phi0`` [deg].
    q : float
        Wavevector magnitude [1/Å], positive.
    t : array_like, (n_t,)
        Frame times [s], uniform, increasing, not negative.
    phi : array_like, (n_phi,), optional
        Detector angles [deg]; may be left out for the 3 parameters of diffusion, which do not depend on it.
    L : float, optional
        Stator-rotor gap [Å]; needed for laminar flow.
    shear_kernel : {"gap_average", "homodyne2"}
        Published gap average, or the kernel of older programs.
    quadrature : {"trapezoid", "exact"}
        Time integrals by trapezoids on the frame grid, or in closed form.

    Returns
    -------
    Array, (n_phi, n_t, n_t), or (n_t, n_t) without ``phi``
        Dimensionless, symmetric, 1 on the diagonal, in the dtype of ``params``.

    Raises
    ------
    ModelError
        If an argument has a wrong shape or value.

    Notes
    -----
    He et al., PNAS 121 (2024), doi:10.1073/pnas.2401162121; PNAS 122 (2025), doi:10.1073/pnas.2514216122.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> field_correlation(jnp.array([100.0, 0.0, 0.0]), q=0.01, t=jnp.arange(1.0, 4.0)).shape
    (3, 3)
    """
    mode = _mode_of(params)
    if mode is AnalysisMode.LAMINAR_FLOW and phi is None:
        raise ModelError("phi is missing; laminar flow needs the detector angles in degrees.")
    model = TwoTimeModel(mode, q, t, 0.0 if phi is None else phi, L, shear_kernel, quadrature)
    g1 = map_g1(model, real_array(params))
    return g1[0] if phi is None else g1


def correlation(
    params, contrast, offset, q, t, phi, L=None, *, shear_kernel="gap_average", quadrature="trapezoid"
):
    """Two-time intensity correlation C2 = offset(φ) + contrast(φ) · g1².

    Parameters
    ----------
    params : array_like, (3,) or (7,)
        Physical parameters, as in `field_correlation`.
    contrast, offset : array_like, (n_phi,) or scalar
        Speckle contrast and baseline of every angle, dimensionless.
    q : float
        Wavevector magnitude [1/Å], positive.
    t : array_like, (n_t,)
        Frame times [s], uniform, increasing, not negative.
    phi : array_like, (n_phi,)
        Detector angles [deg].
    L : float, optional
        Stator-rotor gap [Å]; needed for laminar flow.
    shear_kernel : {"gap_average", "homodyne2"}
        Published gap average, or the kernel of older programs.
    quadrature : {"trapezoid", "exact"}
        Time integrals by trapezoids on the frame grid, or in closed form.

    Returns
    -------
    Array, (n_phi, n_t, n_t)
        C2, dimensionless, symmetric in the frames, in the dtype of ``params``.

    Raises
    ------
    ModelError
        If an argument has a wrong shape or value.

    Examples
    --------
    >>> import numpy as np
    >>> c2 = correlation(np.array([1e4, 0.0, 0.0]), 0.3, 1.0, q=0.01, t=[0.0, 1.0], phi=[0.0])
    >>> c2.shape, round(float(c2[0, 0, 1]), 4)
    ((1, 2, 2), 1.1104)
    """
    model = TwoTimeModel(_mode_of(params), q, t, phi, L, shear_kernel, quadrature)
    params = real_array(params)
    scaling = []
    for name, value in (("contrast", contrast), ("offset", offset)):
        if np.shape(value) not in ((), (1,), (model.n_phi,)):
            raise ModelError(
                f"{name} has shape {np.shape(value)}; expected a number or ({model.n_phi},), one per angle."
            )
        scaling.append(jnp.broadcast_to(jnp.asarray(value, params.dtype), (model.n_phi,)))
    return map_c2(model, params, *scaling)
