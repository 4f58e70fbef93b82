"""A few hundred averages of each map that keep fast and slow decays: for start values only.

Lags are taken on a logarithmic scale (single lags where the decay may be fast), ages in a few blocks, and C2 is averaged over
neighbouring lags and ages. The model is evaluated at the middle of each average, so the optimum is near that of the data and not on it.
"""

from dataclasses import dataclass
from functools import partial

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
        maps, n_t = problem.maps, problem.model.n_t
        c2, weights = np.asarray(maps.c2), None if maps.weights is None else np.asarray(maps.weights)
        bins = []
        for first, last in _lag_bins(n_t):
            lags = np.unique(np.linspace(first, last, min(_LAGS, last - first + 1)).round().astype(int))
            blocks = max(1, min(_AGES, n_t - last))
            edges = np.linspace(0, n_t - last, blocks + 1).round().astype(int)
            sums = np.zeros((2, len(c2), blocks))
            for lag in lags:
                y = np.diagonal(c2, -lag, axis1=1, axis2=2)[:, : n_t - last].astype(float)
                w = np.isfinite(y).astype(float)
                if weights is not None:
                    w *= np.diagonal(weights, -lag, axis1=1, axis2=2)[:, : n_t - last]
                sums[0] += np.add.reduceat(w, edges[:-1], axis=1)
                sums[1] += np.add.reduceat(w * np.where(w > 0, y, 0.0), edges[:-1], axis=1)
            earlier = (edges[:-1] + edges[1:] - 1) / 2
            bins.append((earlier + lags.mean(), earlier, sums))
        later, earlier = (np.concatenate([b[k] for b in bins]) for k in (0, 1))
        total, moment = np.concatenate([b[2] for b in bins], axis=2)
        mean = np.divide(moment, total, out=np.ones_like(moment), where=total > 0)
        return cls(
            problem.model,
            later,
            earlier,
            mean,
            total * maps.angle_weight[:, None],
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


def _lag_bins(n_t: int) -> list[tuple[int, int]]:
    """First and last lag of bins that widen with the lag."""
    bins, first = [], 1
    while first < n_t:
        last = min(n_t - 1, max(first, int(first * 1.25)))
        bins.append((first, last))
        first = last + 1
    return bins


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
