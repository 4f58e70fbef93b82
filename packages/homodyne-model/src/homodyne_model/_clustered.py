"""Covariance of the scores when points are not independent: clusters of frames, and what the fit took out of them.

All pairs of frames that share a frame share its photons, and neighbouring frames share their speckles, so the scores s = J w r of
the points are correlated and their covariance M is not the curvature Σ J w Jᵀ. With V the inverse curvature, V M V is the
covariance of the estimate (Huber 1967; clusters: Liang & Zeger 1986). M is measured from the residuals:

1. *Windows.* The noise of C2 at (i, j) and (k, l) is correlated where i is near k and j near l. So scores are added over all
   pairs whose later frame lies in a window of b frames, and M is the sum of their outer products over all positions of the window,
   divided by b: two points count 1 - |i - k|/b times, which is Bartlett's kernel (Newey & West 1987) and never leaves M
   indefinite. The same is done with the earlier frames, and the mean of the two is taken. A point meets itself once, so that
   independent noise gives the curvature without a correction. (Adding the scores of all pairs that contain a frame, as
   later or earlier one, counts a point twice and near the diagonal four times.)
2. *Leverage.* A window's points pulled the fit towards themselves; their residuals are smaller than their errors. The scores are
   those at the estimate without the window, (1 - H V)⁻¹ s with H the window's curvature. That makes V M V the moving-block
   jackknife (Künsch 1989), to first order in its steps; on separate clusters it is CR3 (Bell & McCaffrey 2002).
3. *Window length.* b = 0.8 τ^(2/3) n^(1/3), with τ the 1/e time of f = g1² in frames and n the number of frames, and at most n/4. That
   is Andrews' (1991) rule for scores that decay exponentially, within 0.6 τ. Every angle has its own τ.

The factor 0.8, the limit n/4 and the exponent -1 of the leverage correction were chosen by measurement on simulated speckles, on
maps of 2 to 60 decay times (``integration_tests/test_coverage.py`` has some of them). The median standard error of D(t) in the
middle is there 0.94 to 1.12 times the scatter; with the exponent -1/2, which is right for independent noise, it is 0.75 to 0.95
times. Shorter windows cut correlations off; longer ones leave too few, with leverages near 1. A window is shorter than the decay
where τ > n/4: on maps of 2 to 4 decay times, windows of n/2 made the error bars 1.4 to 1.7 times the scatter. The price is paid by
independent noise, whose error bars are too large by half the leverage: 1 % in 150 decay times, 3 to 9 % in 20, 7 to 26 % in 4.

Different angles see different speckles: their parts of M add.

References
----------
Huber, Proc. 5th Berkeley Symp. 1 (1967) 221. Liang & Zeger, Biometrika 73 (1986) 13. Newey & West, Econometrica 55 (1987) 703. Künsch, Ann. Statist. 17
(1989) 1217. Andrews, Econometrica 59 (1991) 817. Bell & McCaffrey, Survey Methodology 28 (2002) 169.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from homodyne_model._correlation import points_g1
from homodyne_model._directions import column_scale
from homodyne_model._transport import real_array
from homodyne_model._two_time_model import TwoTimeModel
from homodyne_model.errors import ModelError

# Frames from which a decay is followed, spread over the measurement.
_STARTS = 64
# Window length over τ^(2/3) n^(1/3), and the largest share of the frames.
_WINDOW, _LARGEST_SHARE = 0.8, 0.25
# Blocks that a window is moved by: finer ones gain nothing, coarser ones lose the overlap of the windows. Limits of a block, in frames and in
# number, bound what the pass costs and what its result takes.
_BLOCKS_PER_WINDOW, _LONGEST_BLOCK, _MOST_BLOCKS = 4, 64, 256
# A window without which a parameter is nearly lost says nothing about its error; its score is enlarged by no more than this leverage asks for.
_LARGEST_LEVERAGE = 0.95


def decay_frames(model: TwoTimeModel, physical) -> np.ndarray:
    """Lag at which f = g1² has fallen to 1/e, in frames, for every angle.

    Parameters
    ----------
    model : TwoTimeModel
        Geometry and choices.
    physical : array_like, (3,) or (7,)
        Physical parameters in their natural units.

    Returns
    -------
    (n_phi,)
        Of the mean of f over the frames that a lag may start from, interpolated between lags; n_t - 1 where it does not fall so far.

    Examples
    --------
    >>> import numpy as np
    >>> model = TwoTimeModel("static", q=0.01, t=np.arange(50) * 0.1, phi=[0.0])
    >>> [round(float(lag), 6) for lag in decay_frames(model, np.array([1e4, 0.0, 0.0]))]
    [10.0]
    """
    profile = np.asarray(_mean_decay(model, real_array(physical)))
    lags = np.full(model.n_phi, float(model.n_t - 1))
    for a, f in enumerate(profile):
        below = np.flatnonzero(f <= np.exp(-1))
        if len(below):
            k = below[0]  # f is 1 at lag 0
            lags[a] = k - 1 + (np.log(f[k - 1]) + 1) / (np.log(f[k - 1]) - np.log(max(f[k], 1e-300)))
    return lags


@jax.jit
def _mean_decay(model: TwoTimeModel, physical):
    """Mean of f over start frames, (n_phi, n_t lags)."""
    lag = np.arange(model.n_t)[:, None]
    share = (np.arange(_STARTS)[None, :] + 0.5) / _STARTS
    start = (share * (model.n_t - lag)).astype(int)

    def of_angle(a):
        return (points_g1(model, physical, a, start + lag, start) ** 2).mean(axis=1)

    return jax.lax.map(of_angle, jnp.arange(model.n_phi))


@dataclass(frozen=True, eq=False)
class ClusterWindow:
    """Lengths of the windows over which scores are added, made of blocks of frames.

    Parameters
    ----------
    block : int
        Frames of a block, as `frame_grams` needs it.
    n_blocks : (n_phi,) int
        Blocks of the window of every angle.
    """

    block: int
    n_blocks: np.ndarray

    @classmethod
    def of(cls, decay, n_t: int) -> "ClusterWindow":
        """Windows that decay times ask for.

        Parameters
        ----------
        decay : array_like, (n_phi,)
            1/e time of every angle [frames], from `decay_frames`.
        n_t : int
            Number of frames.

        Examples
        --------
        >>> ClusterWindow.of([2.0, 10.0], 100).frames
        array([ 6, 17])
        """
        decay = np.asarray(decay, dtype=float)
        if decay.ndim != 1 or not decay.size or not (decay > 0).all() or n_t < 2:
            raise ModelError(
                f"decay is {decay}, n_t is {n_t}; expected positive times in frames (n_phi,), and 2 or more frames."
            )
        frames = np.clip(_WINDOW * decay ** (2 / 3) * n_t ** (1 / 3), 1, max(1, _LARGEST_SHARE * n_t))
        finest = -(-n_t // _MOST_BLOCKS)
        # Powers of two: every other length of a block would be another program to compile.
        wanted = 2 ** int(np.log2(max(frames.min() / _BLOCKS_PER_WINDOW, 1.0)))
        block = int(np.clip(wanted, finest, max(finest, _LONGEST_BLOCK)))
        return cls(block, np.maximum(1, np.rint(frames / block).astype(int)))

    @property
    def frames(self) -> np.ndarray:
        """Length of every angle's window, (n_phi,) [frames]."""
        return self.block * self.n_blocks


class ClusteredMeat(NamedTuple):
    """Covariance of the scores.

    Attributes
    ----------
    matrix : (size, size)
        Symmetric, positive semi-definite, in the order ``[contrast_0.., offset_0.., *physical]``: ``meat`` of `joint_covariance`.
    leverage : float
        Largest share, 0 to 1, that the points of one window have in what is known of a combination of parameters. Near 1, the data repeat
        too little for their scatter to tell an error.
    """

    matrix: np.ndarray
    leverage: float


def clustered_meat(grams, contrast, offset, inverse_curvature, window: ClusterWindow) -> ClusteredMeat:
    """Covariance of the scores Σ J w r, clustered by frame.

    Parameters
    ----------
    grams : array_like, (n_phi, 2, n_blocks, n_physical + 3, n_physical + 3)
        From `frame_grams` at the estimate with blocks of ``window.block`` frames, multiplied by the weight of each angle where
        there is one.
    contrast, offset : array_like, (n_phi,)
        The estimate.
    inverse_curvature : array_like, (size, size)
        V: `joint_covariance(...).determined` without ``meat``, of the same data and weights, not scaled by χ²; zero for parameters that do not vary.
    window : ClusterWindow
        Lengths of the windows.

    Returns
    -------
    ClusteredMeat
        V · matrix · V is the covariance of the estimate, whatever the scale of the weights: nothing is to be multiplied by reduced χ².

    Raises
    ------
    ModelError
        If shapes do not fit.

    Notes
    -----
    The formulas and their sources are at the top of this module. The error bars are themselves uncertain, by some 10 % of their value or more where
    the angles and windows are few.

    Examples
    --------
    >>> import numpy as np
    >>> from homodyne_model import compress, frame_grams, joint_covariance, testing
    >>> truth = testing.colloid(n_phi=3, n_t=60)
    >>> window = ClusterWindow.of(decay_frames(truth.model, truth.physical), 60)
    >>> grams = frame_grams(truth.model, truth.physical, truth.noisy_maps(0.02, seed=1), block=window.block)
    >>> whole = np.asarray(grams)[:, 0].sum(axis=1)
    >>> fit, free = compress(whole), np.ones(3, dtype=bool)
    >>> usual = joint_covariance(whole, fit, free)
    >>> meat = clustered_meat(grams, fit.contrast, fit.offset, usual.determined, window)
    >>> robust = joint_covariance(whole, fit, free, meat=meat.matrix)
    >>> robust.determined.shape
    (9, 9)
    """
    grams, v = np.asarray(grams, dtype=float), np.asarray(inverse_curvature, dtype=float)
    contrast, offset = np.asarray(contrast, dtype=float), np.asarray(offset, dtype=float)
    n_phi = len(grams)
    if grams.ndim != 5 or grams.shape[1] != 2 or grams.shape[3] != grams.shape[4] or grams.shape[3] < 4:
        raise ModelError(
            f"grams have shape {grams.shape}; expected (n_phi, 2, n_blocks, n_physical + 3, n_physical + 3)."
        )
    n_physical = grams.shape[3] - 3
    size = 2 * n_phi + n_physical
    expected = {
        "contrast": (n_phi,),
        "offset": (n_phi,),
        "inverse_curvature": (size, size),
        "window": (n_phi,),
    }
    given = (contrast, offset, v, window.n_blocks)
    for (name, shape), value in zip(expected.items(), given, strict=True):
        if np.shape(value) != shape:
            raise ModelError(f"{name} has shape {np.shape(value)}; expected {shape}.")
    matrix, leverage = np.zeros((size, size)), 0.0
    for a in range(n_phi):
        own = np.r_[a, n_phi + a, 2 * n_phi : size]
        part, largest = _of_angle(grams[a], contrast[a], offset[a], v[np.ix_(own, own)], window.n_blocks[a])
        matrix[np.ix_(own, own)] += part
        leverage = max(leverage, largest)
    return ClusteredMeat(matrix, leverage)


def _of_angle(grams, contrast, offset, v, width):
    """Covariance of the scores of one angle, over contrast, offset and physical parameters; and the largest leverage."""
    n_physical = grams.shape[-1] - 3
    order = np.r_[n_physical, n_physical + 1, :n_physical]
    scale = np.r_[1.0, 1.0, np.full(n_physical, contrast)]
    residual = np.array([contrast, offset - 1, -1.0])  # over the columns f, 1, C2 - 1
    score = scale * (grams[:, :, :, -3:] @ residual)[:, :, order]
    curvature = scale[:, None] * scale * grams[:, :, order[:, None], order]
    score, curvature = _over_windows(score, width), _over_windows(curvature, width)
    # V = L Lᵀ; then (1 - H V)⁻¹ s = s + H L (1 - LᵀHL)⁻¹ Lᵀ s.
    size = column_scale(v)
    values, vectors = np.linalg.eigh(v / np.outer(size, size))
    root = size[:, None] * vectors * np.sqrt(np.maximum(values, 0.0))
    share, basis = np.linalg.eigh(root.T @ curvature @ root)
    kept = 1 - np.clip(share, 0.0, _LARGEST_LEVERAGE)
    along = np.einsum("swji,swj->swi", basis, score @ root) / kept
    pull = np.einsum("swij,swj->swi", basis, along) @ root.T
    score = score + np.einsum("swij,swj->swi", curvature, pull)
    return np.einsum("swi,swj->ij", score, score) / (2 * width), float(share.max(initial=0.0))


def _over_windows(blocks, width: int):
    """Sums over ``width`` consecutive blocks at all positions, those that stick out at the ends too; (2, n_blocks + width - 1, ...)."""
    n_blocks = blocks.shape[1]
    sums = np.zeros((2, n_blocks + width - 1, *blocks.shape[2:]))
    for shift in range(width):
        sums[:, shift : shift + n_blocks] += blocks
    return sums
