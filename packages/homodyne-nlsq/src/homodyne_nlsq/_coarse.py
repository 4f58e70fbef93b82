"""A few hundred averages of each map that keep fast and slow decays: for start values only.

Lags are taken on a logarithmic scale (single lags where the decay may be fast), ages in a few blocks, and C2 is averaged over
neighbouring lags and ages. The model is evaluated at the middle of each average, so the optimum is near that of the data and not on it.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from homodyne_model import Compression, ScalingBounds, TwoTimeModel, compress
from homodyne_nlsq._problem import Problem

_AGES = 12
# Averaged lags a bin: beyond, neighbouring lags add little that is new.
_LAGS = 8


@dataclass(frozen=True, eq=False)
class CoarseProblem:
    """The same problem on averages.

    Attributes
    ----------
    model : TwoTimeModel
        Geometry and choices.
    later, earlier : (n_bins,)
        Frame indices, not whole numbers, of the middle of the averages.
    c2 : (n_phi, n_bins)
        Averages.
    weights : (n_phi, n_bins)
        Sums of the weights that went in; zero where nothing did.
    scaling : ScalingBounds
    common_scaling : bool
    """

    model: TwoTimeModel
    later: np.ndarray
    earlier: np.ndarray
    c2: np.ndarray
    weights: np.ndarray
    scaling: ScalingBounds
    common_scaling: bool

    @classmethod
    def of(cls, problem: Problem) -> "CoarseProblem":
        """Averages of the data of a problem."""
        bins = _bins(problem.model.n_t)
        moment, total = (
            np.zeros((problem.model.n_phi, sum(len(b.edges) - 1 for b in bins))) for _ in range(2)
        )
        for angles, maps in problem.maps.parts():
            weight = (maps.angle_weight * problem.angle_weight[angles])[:, None]
            sums = [_averaged(np.asarray(maps.c2), maps.weights, b) for b in bins]
            for sum_, found in zip((total, moment), np.concatenate(sums, axis=2), strict=True):
                sum_[angles] += weight * found
        return cls(
            problem.model,
            np.concatenate([b.earlier + b.lags.mean() for b in bins]),
            np.concatenate([b.earlier for b in bins]),
            np.divide(moment, total, out=np.ones_like(moment), where=total > 0),
            total,
            problem.scaling,
            problem.common_scaling,
        )

    @property
    def n_bins(self) -> int:
        """Number of averages that any point went into."""
        return int(np.count_nonzero(self.weights))

    def gram(self, physical) -> np.ndarray:
        """Gram matrices of the averages; as `Problem.gram`."""
        return np.asarray(
            _gram(self.model, jnp.asarray(physical), self.later, self.earlier, self.c2, self.weights)
        )

    def compress(self, gram) -> Compression:
        """The compressed problem of Gram matrices."""
        return compress(gram, self.scaling, common_scaling=self.common_scaling)

    def costs(self, candidates) -> np.ndarray:
        """χ² of many sets of physical parameters (n_candidates, n_physical), contrast and offset solved for; inf where not finite.

        Offsets are left free and contrasts are clipped to their box: a ranking, not the exact bounded minimum.
        """
        box = self.scaling.arrays(self.model.n_phi)[:, 0]
        cost = _costs(
            self.model,
            jnp.asarray(candidates),
            self.later,
            self.earlier,
            self.c2,
            self.weights,
            box,
            self.common_scaling,
        )
        return np.nan_to_num(np.asarray(cost), nan=np.inf)


class _Bin(NamedTuple):
    """Averages of the same lags: the lags, and the edges between blocks of earlier frames."""

    lags: np.ndarray
    edges: np.ndarray

    @property
    def earlier(self) -> np.ndarray:
        """Middle of each block."""
        return (self.edges[:-1] + self.edges[1:] - 1) / 2


def _bins(n_t: int) -> list[_Bin]:
    """Bins that widen with the lag."""
    bins, first = [], 1
    while first < n_t:
        last = min(n_t - 1, max(first, int(first * 1.25)))
        lags = np.unique(np.linspace(first, last, min(_LAGS, last - first + 1)).round().astype(int))
        blocks = max(1, min(_AGES, n_t - last))
        bins.append(_Bin(lags, np.linspace(0, n_t - last, blocks + 1).round().astype(int)))
        first = last + 1
    return bins


def _averaged(c2, weights, bin_: _Bin) -> np.ndarray:
    """Sums of w and w · C2 over the lags and blocks of a bin, (2, n_phi, n_blocks)."""
    sums = np.zeros((2, len(c2), len(bin_.edges) - 1))
    n = bin_.edges[-1]
    for lag in bin_.lags:
        y = np.diagonal(c2, -lag, axis1=1, axis2=2)[:, :n].astype(float)
        w = np.isfinite(y).astype(float)
        if weights is not None:
            w *= np.diagonal(weights, -lag, axis1=1, axis2=2)[:, :n]
        sums[0] += np.add.reduceat(w, bin_.edges[:-1], axis=1)
        sums[1] += np.add.reduceat(w * np.where(w > 0, y, 0.0), bin_.edges[:-1], axis=1)
    return sums


def _squared_g1(model: TwoTimeModel, physical, later, earlier):
    """g1² between frames that need not be whole, (n_phi, n_bins)."""
    frames = jnp.arange(model.n_t, dtype=physical.dtype)

    def between(integral):
        return jnp.interp(later, frames, integral) - jnp.interp(earlier, frames, integral)

    decay = jnp.exp(-(model.q**2) * between(model.diffusion_integral(physical).value))
    if not model.sheared:
        return jnp.broadcast_to(decay, (model.n_phi, len(later)))
    strain = between(model.shear_integral(physical).value)
    x = model.shear_phase(physical).scale[:, None] * strain[None]
    return decay[None] * model.kernel.factor(x) ** 2


@jax.jit
def _gram(model, physical, later, earlier, c2, weights):
    f = _squared_g1(model, physical, later, earlier)
    derivatives = jax.jacfwd(_squared_g1, argnums=1)(model, physical, later, earlier)
    columns = jnp.concatenate([jnp.moveaxis(derivatives, -1, 0), jnp.stack([f, jnp.ones_like(f), c2 - 1])])
    return jnp.einsum("kab,lab,ab->akl", columns, columns, weights)


@partial(jax.jit, static_argnames="common_scaling")
def _costs(model, candidates, later, earlier, c2, weights, contrast_box, common_scaling):
    def cost(physical):
        f, y = _squared_g1(model, physical, later, earlier), c2 - 1
        sums = jnp.stack([(weights * p).sum(1) for p in (jnp.ones_like(f), f, f * f, y, f * y, y * y)])
        low, high = contrast_box.T
        if common_scaling:
            sums, low, high = sums.sum(1, keepdims=True), low[:1], high[:1]
        one, f1, ff, y1, fy, yy = sums
        spread = ff - f1 * f1 / one
        covariation = fy - f1 * y1 / one
        contrast = jnp.clip(covariation / jnp.where(spread > 0, spread, 1), low, high)
        return (yy - y1 * y1 / one - 2 * contrast * covariation + contrast**2 * spread).sum()

    return jax.lax.map(cost, candidates, batch_size=64)
