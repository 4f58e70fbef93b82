"""A few hundred averages of each map that keep fast and slow decays: for start values only.

Lags and ages are taken on a logarithmic scale (single ones where the decay or the rates may change fast), and C2 is averaged over
neighbouring lags and ages. The model is averaged over two lags and two ages, at the mean of those that went in plus and minus their standard
deviation, which is exact where it is a cubic: the optimum is near that of the data, not on it.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from homodyne_model import Compression, ScalingBounds, TwoTimeModel, compress
from homodyne_nlsq._problem import Problem

# Blocks of ages a bin: the rates are power laws of the age.
_AGES = 12
# Averaged lags a bin: beyond, neighbouring lags add little that is new.
_LAGS = 8
# Averages that candidates are ranked on, about: every so many of them.
_RANKED = 300


@dataclass(frozen=True, eq=False)
class CoarseProblem:
    """The same problem on averages.

    Attributes
    ----------
    model : TwoTimeModel
        Geometry and choices.
    later, earlier : (4, n_bins)
        Frame indices, not whole numbers, at which the model is averaged.
    c2 : (n_phi, n_bins)
        Averages.
    weights : (n_phi, n_bins)
        Sums of the weights that went in; zero where nothing did.
    scaling : ScalingBounds
    columns : (n_phi, n_coef) or None
        How contrast and offset vary with the angle, as in `Problem`.
    """

    model: TwoTimeModel
    later: np.ndarray
    earlier: np.ndarray
    c2: np.ndarray
    weights: np.ndarray
    scaling: ScalingBounds
    columns: np.ndarray | None

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
        lag = np.concatenate([np.broadcast_to(b.lag_nodes, (4, len(b.edges) - 1)) for b in bins], axis=1)
        age = np.concatenate([b.age_nodes for b in bins], axis=1)
        return cls(
            problem.model,
            age + lag,
            age,
            np.divide(moment, total, out=np.ones_like(moment), where=total > 0),
            total,
            problem.scaling,
            problem.columns,
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
        return compress(gram, self.scaling, basis=self.columns)

    def predicted(self, physical) -> np.ndarray:
        """Averages that the model predicts with the best contrast and offset, (n_phi, n_bins)."""
        fit = self.compress(self.gram(physical))
        f = np.asarray(_mean_squared_g1(self.model, jnp.asarray(physical), self.later, self.earlier))
        return fit.contrast[:, None] * f + fit.offset[:, None]

    def costs(self, candidates) -> np.ndarray:
        """χ² of many sets of physical parameters (n_candidates, n_physical), contrast and offset solved for; inf where not finite.

        Offsets are left free, contrasts are clipped to their box, every angle has its own where the basis is more than one value for all,
        some averages are left out, and the model is taken at their middle: a ranking, not the exact bounded minimum.
        """
        box = self.scaling.arrays(self.model.n_phi)[:, 0]
        some = slice(None, None, max(1, round(self.c2.shape[1] / _RANKED)))
        cost = _costs(
            self.model,
            jnp.asarray(candidates),
            self.later.mean(axis=0, keepdims=True)[:, some],
            self.earlier.mean(axis=0, keepdims=True)[:, some],
            self.c2[:, some],
            self.weights[:, some],
            box,
            self.columns is not None and self.columns.shape[1] == 1,
        )
        return np.nan_to_num(np.asarray(cost), nan=np.inf)


class _Bin(NamedTuple):
    """Averages of the same lags: the lags, and the edges between blocks of earlier frames."""

    lags: np.ndarray
    edges: np.ndarray

    @property
    def lag_nodes(self) -> np.ndarray:
        """Lags at which the model is averaged, (4, 1)."""
        return (self.lags.mean() + np.array([-1, 1, -1, 1]) * self.lags.std())[:, None]

    @property
    def age_nodes(self) -> np.ndarray:
        """Earlier frames at which the model is averaged, (4, n_blocks)."""
        size = np.diff(self.edges)
        middle = (self.edges[:-1] + self.edges[1:] - 1) / 2
        return middle + np.array([-1, -1, 1, 1])[:, None] * np.sqrt((size**2 - 1) / 12)


def _bins(n_t: int) -> list[_Bin]:
    """Bins that widen with the lag, of blocks that widen with the age."""
    bins, first = [], 1
    while first < n_t:
        last = min(n_t - 1, max(first, int(first * 1.25)))
        lags = np.unique(np.linspace(first, last, min(_LAGS, last - first + 1)).round().astype(int))
        n_ages = n_t - last
        edges = np.unique(
            np.concatenate([[0], np.geomspace(1, n_ages, min(_AGES, n_ages)).round().astype(int)])
        )
        bins.append(_Bin(lags, edges))
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


def _between(model: TwoTimeModel, later, earlier, integral):
    """Difference of a cumulative integral (..., n_t) between frames that need not be whole, linear from frame to frame."""

    def at(frames):
        before = jnp.clip(jnp.floor(frames), 0, model.n_t - 2)
        k = before.astype(int)
        low, high = integral[..., k], integral[..., k + 1]
        share = jnp.clip(frames - before, 0, 1)
        return low + share[(None,) * (integral.ndim - 1)] * (high - low)

    return at(later) - at(earlier)


def _squared_g1(model: TwoTimeModel, physical, later, earlier):
    """g1² averaged over pairs of frames (n_nodes, n_bins), (n_phi, n_bins)."""
    decay = jnp.exp(-(model.q**2) * _between(model, later, earlier, model.diffusion_integral(physical).value))
    if not model.sheared:
        return jnp.broadcast_to(decay.mean(0), (model.n_phi, later.shape[1]))
    strain = _between(model, later, earlier, model.shear_integral(physical).value)
    x = model.shear_phase(physical).scale[:, None, None] * strain[None]
    return (decay[None] * model.kernel.factor(x) ** 2).mean(1)


def _columns(model: TwoTimeModel, physical, later, earlier):
    """Derivatives of the averaged g1² by the physical parameters, and itself, (n_physical + 1, n_phi, n_bins)."""
    diffusion = model.diffusion_integral(physical)
    decay = jnp.exp(-(model.q**2) * _between(model, later, earlier, diffusion.value))
    basis = _between(model, later, earlier, diffusion.derivatives)
    shape = model.n_phi, later.shape[1]
    if not model.sheared:
        columns = jnp.concatenate([-(model.q**2) * decay[None] * basis, decay[None]]).mean(1)
        return jnp.broadcast_to(columns[:, None], (len(columns), *shape))
    shear = model.shear_integral(physical)
    strain = _between(model, later, earlier, shear.value)
    phase = model.shear_phase(physical)
    x = phase.scale[:, None, None] * strain[None]
    factor, slope = jax.jvp(lambda x: model.kernel.factor(x) ** 2, (x,), (jnp.ones_like(x),))
    f, v = decay[None] * factor, decay[None] * slope
    strain_basis = _between(model, later, earlier, shear.derivatives)
    by_diffusion = -(model.q**2) * jnp.einsum("anb,knb->kab", f, basis) / len(later)
    by_shear = jnp.einsum("a,anb,knb->kab", phase.scale, v, strain_basis) / len(later)
    by_phi0 = jnp.einsum("a,anb,nb->ab", phase.slope, v, strain) / len(later)
    return jnp.concatenate([by_diffusion, by_shear, by_phi0[None], f.mean(1)[None]])


@jax.jit
def _gram(model, physical, later, earlier, c2, weights):
    columns = _columns(model, physical, later, earlier)
    columns = jnp.concatenate([columns, jnp.stack([jnp.ones_like(c2), c2 - 1])])
    return jnp.einsum("kab,lab,ab->akl", columns, columns, weights)


_mean_squared_g1 = jax.jit(_squared_g1)


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

    return jax.lax.map(cost, candidates, batch_size=16)
