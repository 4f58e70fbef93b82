"""Robust losses, by weights that are frozen while the trust region works and renewed when it has stopped.

With z = (r / f)², r the residual in units of σ and f the `f_scale`, the cost is f² Σ ρ(z):

    linear    ρ = z
    soft_l1   ρ = 2 (√(1 + z) - 1)
    huber     ρ = z where z <= 1, else 2 √z - 1

Its gradient is that of Σ w r² with w = ρ'(z) held, so a fit with frozen weights that does not move any more is at the optimum of
the robust cost (iteratively reweighted least squares: Holland & Welsch, Commun. Stat. A 6 (1977) 813). Error bars are Huber's
(Proc. 5th Berkeley Symp. 1 (1967) 221): the inverse curvature without the weights times Σψ² / dof / (Σψ' / n)², with ψ = r ρ'(z).
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from homodyne_model import TwoTimeModel, rows_c2

LOSSES = ("linear", "soft_l1", "huber")


def _linear(z):
    return z, jnp.ones_like(z), jnp.ones_like(z)


def _soft_l1(z):
    root = jnp.sqrt(1 + z)
    return 2 * (root - 1), 1 / root, 1 / root**3


def _huber(z):
    inside = z <= 1
    root = jnp.sqrt(jnp.where(inside, 1, z))
    return jnp.where(inside, z, 2 * root - 1), 1 / root, jnp.where(inside, 1.0, 0.0)


# ρ, ρ' and dψ/dr of each loss.
_RHO = dict(zip(LOSSES, (_linear, _soft_l1, _huber), strict=True))


class LossSums(NamedTuple):
    """Sums over the points of every angle, (n_phi,) each, residuals in units of σ.

    Attributes
    ----------
    cost : f² Σ ρ
    chi_squared : Σ r²
    psi_squared : Σ ψ²
    slope : Σ dψ/dr
    """

    cost: np.ndarray
    chi_squared: np.ndarray
    psi_squared: np.ndarray
    slope: np.ndarray


@dataclass(frozen=True, eq=False)
class Reweighting:
    """Weights of a robust loss at reference parameters.

    Attributes
    ----------
    loss : str
        One of `LOSSES`.
    f_scale : float
        Residual [σ] from which points count less.
    physical : (n_physical,)
    contrast, offset : (n_phi,)
        Where the residuals are taken.
    """

    loss: str
    f_scale: float
    physical: np.ndarray
    contrast: np.ndarray
    offset: np.ndarray

    def identity(self) -> bytes:
        """What distinguishes these weights from others of the same data."""
        numbers = np.concatenate([[self.f_scale], self.physical, self.contrast, self.offset])
        return self.loss.encode() + numbers.tobytes()

    def weights(self, model: TwoTimeModel, angles: slice, c2, weights, angle_weight, first_row: int):
        """Weights of rows of maps with the loss multiplied in; (n_phi, n_rows, n_t), beside those of the angles."""
        return _reweighted(
            model,
            *self._reference(angles),
            c2,
            weights,
            angle_weight,
            first_row,
            self.f_scale,
            loss=self.loss,
        )

    def sums(self, model: TwoTimeModel, angles: slice, c2, weights, angle_weight, first_row: int) -> LossSums:
        """Sums over rows of maps at the reference."""
        sums = _sums(
            model,
            *self._reference(angles),
            c2,
            weights,
            angle_weight,
            first_row,
            self.f_scale,
            loss=self.loss,
        )
        return LossSums(*map(np.asarray, sums))

    def _reference(self, angles: slice):
        return (
            jnp.asarray(self.physical),
            jnp.asarray(self.contrast[angles]),
            jnp.asarray(self.offset[angles]),
        )


def _squared_residuals(model, physical, contrast, offset, c2, weights, angle_weight, first_row, f_scale):
    """Z of every entry; 0 where an entry does not count."""
    fitted = rows_c2(model, physical, contrast, offset, first_row, c2.shape[1])
    z = angle_weight[:, None, None] / f_scale**2 * (c2.astype(fitted.dtype) - fitted) ** 2
    return z if weights is None else z * weights.astype(z.dtype)


@partial(jax.jit, static_argnames="loss")
def _reweighted(model, physical, contrast, offset, c2, weights, angle_weight, first_row, f_scale, *, loss):
    z = _squared_residuals(model, physical, contrast, offset, c2, weights, angle_weight, first_row, f_scale)
    factor = jnp.where(jnp.isfinite(z), _RHO[loss](z)[1], 0)
    # As exact as the data: the weights of a loss are a choice, and the sums over them are in 64 bits.
    return factor.astype(c2.dtype) if weights is None else factor.astype(weights.dtype) * weights


@partial(jax.jit, static_argnames="loss")
def _sums(model, physical, contrast, offset, c2, weights, angle_weight, first_row, f_scale, *, loss):
    z = _squared_residuals(model, physical, contrast, offset, c2, weights, angle_weight, first_row, f_scale)
    later = first_row + jnp.arange(c2.shape[1])[:, None] > jnp.arange(c2.shape[2])[None, :]
    counts = later[None] & jnp.isfinite(z)
    if weights is not None:
        counts &= weights > 0
    rho, slope, curvature = _RHO[loss](jnp.where(counts, z, 0))

    def total(values):
        return jnp.where(counts, values, 0).sum((1, 2))

    square = f_scale**2
    return square * total(rho), square * total(z), square * total(z * slope**2), total(curvature)
