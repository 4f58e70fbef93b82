"""Shards of two-time maps: every K-th row of every angle, so that each one knows all angles, ages and lags.

All shards have the same shape (short ones are filled with rows that count nothing), so one compilation serves them all. A shard is held in
memory or in a file of its own that a worker reads.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np

from homodyne_cmc._collapsed import Moments
from homodyne_data import TwoTimeData, TwoTimeStream


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ShardData:
    """The points of one shard.

    Attributes
    ----------
    c2 : (n_phi, n_rows, n_t)
        Rows of the maps; what is masked is not finite.
    weights : (n_phi, n_rows, n_t) or None
        Weight of every entry beside that of the angle.
    frames : (n_rows,)
        Frame of every row.
    angle_weight : (n_phi,)
        Weight of every angle, such as 1/σ².
    moments : Moments
        Of the points, weights included.
    """

    c2: np.ndarray
    weights: np.ndarray | None
    frames: np.ndarray
    angle_weight: np.ndarray
    moments: Moments


@dataclass(frozen=True)
class StoredShard:
    """A shard and where its maps are.

    Attributes
    ----------
    index : int
        Which one, from 0.
    data : ShardData
        With arrays, or with the paths of ``.npy`` files in place of ``c2`` and ``weights``.
    """

    index: int
    data: ShardData

    def load(self) -> ShardData:
        """The shard with its arrays; a file is read now."""
        read = lambda held: np.load(held, allow_pickle=False) if isinstance(held, str) else held  # noqa: E731
        return replace(self.data, c2=read(self.data.c2), weights=read(self.data.weights))


@dataclass(frozen=True)
class ShardSet:
    """All shards of a measurement.

    Attributes
    ----------
    shards : tuple of StoredShard
    moments : Moments
        Of all the data.
    sigma : (n_phi,) or None
        σ that the points are weighed by; None where they weigh 1, or each has its own.
    identity : str
        Hash of the points with their weights.
    """

    shards: tuple[StoredShard, ...]
    moments: Moments
    sigma: np.ndarray | None
    identity: str

    def __len__(self) -> int:
        return len(self.shards)

    @property
    def n_points(self) -> int:
        """Points that count."""
        return int(np.asarray(self.moments.n_points).sum())


def frames_of_shard(k: int, n_shards: int, n_t: int) -> np.ndarray:
    """Frames of the rows of shard k, (n_rows,); rows that only fill the shape repeat the last frame."""
    n_rows = -(-n_t // n_shards)
    return np.minimum(k + n_shards * np.arange(n_rows), n_t - 1)


def make_shards(
    data: TwoTimeData | TwoTimeStream, n_shards: int, *, known_noise: bool, folder: Path | None = None
) -> ShardSet:
    """Divide two-time maps.

    Parameters
    ----------
    data : TwoTimeData or TwoTimeStream
        Maps in memory, or in a file that is read angle by angle.
    n_shards : int
        Number of shards K, at most the number of frames minus 1.
    known_noise : bool
        Weigh the points by 1/σ²; else all points weigh 1.
    folder : path, optional
        Keep the shards there as files; without, in memory.
    """
    n_phi, n_t = data.n_phi, data.n_t
    n_rows = -(-n_t // n_shards)
    store = _Store(folder, n_shards, (n_phi, n_rows, n_t))
    angle_weight, sigma = np.ones(n_phi), np.full(n_phi, np.nan)
    sums, n_points = np.zeros((n_shards, n_phi, 3)), np.zeros((n_shards, n_phi))
    constants = np.zeros((n_shards, n_phi))
    digest = hashlib.sha256()
    for a in range(n_phi):
        one = data.select(angles=[a]) if isinstance(data, TwoTimeData) else data.angle(a)
        c2, weights, angle_weight[a], scatter, counts = _folded(one, known_noise)
        if known_noise and np.ndim(one.sigma) < 2:
            sigma[a] = np.atleast_1d(one.sigma)[0]
        for part in (c2, weights, angle_weight[a : a + 1]):
            digest.update(b"-" if part is None else np.ascontiguousarray(part).tobytes())
        for k in range(n_shards):
            rows = np.arange(k, n_t, n_shards)
            store.put(k, a, c2[rows], None if weights is None else weights[rows])
            y = c2[rows].astype(float) - 1.0
            used = (rows[:, None] > np.arange(n_t)) & np.isfinite(y)
            w = used.astype(float) if weights is None else np.where(used, weights[rows], 0.0)
            y = np.where(used, y, 0.0)
            sums[k, a] = angle_weight[a] * np.array([w.sum(), (w * y).sum(), (w * y * y).sum()])
            n_points[k, a], constants[k, a] = counts[rows].sum(), scatter[rows].sum()
    shards = []
    for k in range(n_shards):
        c2, weights = store.get(k)
        moments = Moments(sums[k], constants[k], n_points[k])
        frames = frames_of_shard(k, n_shards, n_t)
        shards.append(StoredShard(k, ShardData(c2, weights, frames, angle_weight, moments)))
    total = Moments(sums.sum(0), constants.sum(0), n_points.sum(0))
    return ShardSet(tuple(shards), total, sigma if np.isfinite(sigma).all() else None, digest.hexdigest())


class _Store:
    """Arrays of all shards, filled angle by angle; weights exist once an angle needs them."""

    def __init__(self, folder: Path | None, n_shards: int, shape: tuple[int, int, int]) -> None:
        self.folder, self.n_shards, self.shape = folder, n_shards, shape
        self.c2: list[np.ndarray] = []
        self.weights: list[np.ndarray] | None = None

    def _arrays(self, name: str, dtype, fill) -> list[np.ndarray]:
        arrays = []
        for k in range(self.n_shards):
            if self.folder is None:
                array = np.empty(self.shape, dtype)
            else:
                self.folder.mkdir(parents=True, exist_ok=True)
                path = self.folder / f"{name}-{k:04d}.npy"
                array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=self.shape)
            array[:] = fill
            arrays.append(array)
        return arrays

    def put(self, k: int, angle: int, c2: np.ndarray, weights: np.ndarray | None) -> None:
        if not self.c2:
            self.c2 = self._arrays("c2", c2.dtype, np.nan)
        self.c2[k][angle, : len(c2)] = c2
        if weights is not None and self.weights is None:
            self.weights = self._arrays("weights", np.float64, 1.0)
        if self.weights is not None:
            self.weights[k][angle, : len(c2)] = 1.0 if weights is None else weights

    def get(self, k: int):
        held = (self.c2[k], None if self.weights is None else self.weights[k])
        if self.folder is None:
            return held
        for array in held:
            if array is not None:
                array.flush()
        return tuple(None if array is None else str(Path(array.filename).resolve()) for array in held)


def _folded(data: TwoTimeData, known_noise: bool):
    """One angle on the triangle t1 > t2.

    Returns C2 with NaN where masked, weights of entries or None, weight of the angle, and for every row the part of the cost that no model
    changes and the number of points.
    """
    mask, c2 = data.angle_mask(0), data.c2[0]
    sigma = np.asarray(data.sigma if known_noise else 1.0, dtype=float)
    uniform = sigma.ndim < 2
    angle_weight = float(1 / sigma.reshape(-1)[0] ** 2) if uniform else 1.0
    if data.symmetric:
        weights = None if uniform else np.where(mask, 1 / np.where(mask, sigma[0], 1.0) ** 2, 0.0)
        return (
            np.where(mask, c2, np.asarray(np.nan, c2.dtype)),
            weights,
            angle_weight,
            np.zeros(data.n_t),
            mask.sum(1),
        )
    # Two measurements of a pair act as their weighted mean; their scatter about it is the same for every model.
    w = mask.astype(float) if uniform else np.where(mask, 1 / np.where(mask, sigma[0], 1.0) ** 2, 0.0)
    y = np.where(mask, c2, 1.0) - 1.0
    w_low, w_up, y_low, y_up = np.tril(w, -1), np.triu(w, 1).T, y, y.T
    total = w_low + w_up
    moment = w_low * y_low + w_up * y_up
    mean = np.divide(moment, total, out=np.zeros_like(moment), where=total > 0)
    scatter = angle_weight * (w_low * (y_low - mean) ** 2 + w_up * (y_up - mean) ** 2).sum(1)
    counts = (np.tril(mask, -1).astype(int) + np.triu(mask, 1).T).sum(1)
    folded = np.where(total > 0, mean + 1.0, np.nan).astype(c2.dtype)
    return folded, total, angle_weight, scatter, counts
