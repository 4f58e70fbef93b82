"""How the data of a fit are held, which decides where a pass finds them and nothing else.

Gram matrices add up over any division of the points, so maps in memory, chunks of their rows and maps read one by one from a file give the
same sums to rounding.
"""

import math
import mmap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import jax
import numpy as np

from homodyne_data import DataError, Provenance, TwoTimeData, TwoTimeStream
from homodyne_memory import NLSQStrategy
from homodyne_model import TwoTimeModel, frame_grams, normal_equations, with_angle_weights
from homodyne_nlsq._checkpoint import RememberedPasses
from homodyne_nlsq._fold import FoldedMaps, fold, halves
from homodyne_nlsq._loss import LossSums, Reweighting

# 1 % of the baseline, where σ can be neither read nor estimated.
DEFAULT_SIGMA = 0.01


class Rows(NamedTuple):
    """Consecutive rows of the maps of some angles: what is computed at once."""

    angles: slice
    first_row: int
    c2: np.ndarray
    weights: np.ndarray | None
    angle_weight: np.ndarray


class HeldMaps:
    """Two-time data with σ, and the passes over them.

    Attributes
    ----------
    data : TwoTimeData or StreamedData
        What is known of them without their maps.
    strategy : NLSQStrategy
        How they are held.
    n_rows : int
        Rows that are computed at once.
    n_chunks : int
        Chunks that a pass goes through.
    """

    data: "TwoTimeData | StreamedData"
    strategy: NLSQStrategy
    n_rows: int
    n_chunks: int
    _last_frame_grams: tuple[tuple, np.ndarray] | None = None

    def parts(self) -> Iterator[tuple[slice, FoldedMaps]]:
        """Maps of some angles after the other, with the angles; parts of the same angles add up."""
        raise NotImplementedError

    def gram(
        self, model: TwoTimeModel, physical: np.ndarray, reweighting: Reweighting | None = None
    ) -> np.ndarray:
        """Weighted Gram matrices of every angle, (n_phi, n_physical + 3, n_physical + 3).

        With a reweighting, its weights multiply those of the points.
        """
        size = model.n_physical + 3
        total = np.zeros((self.data.n_phi, size, size))
        for angles, maps in self.parts():
            part = model.at_angles(model.phi[angles])
            for rows in self._rows_of(angles, maps):
                weights = _weights(reweighting, part, rows)
                found = normal_equations(part, physical, rows.c2, weights, first_row=rows.first_row)
                total[angles] += with_angle_weights(found, maps.angle_weight)
            total[angles, -1, -1] += maps.constant
        return total

    def frame_grams(
        self,
        model: TwoTimeModel,
        physical: np.ndarray,
        block: int,
        reweighting: Reweighting | None = None,
    ) -> np.ndarray:
        """Weighted Gram matrices of every angle, apart by blocks of frames, (n_phi, 2, n_blocks, n_physical + 3, n_physical + 3).

        As `gram`; see `homodyne_model.frame_grams`. Those of the last call are remembered.
        """
        key = (physical.tobytes(), block, b"" if reweighting is None else reweighting.identity())
        if self._last_frame_grams is None or self._last_frame_grams[0] != key:
            self._last_frame_grams = key, self._frame_grams(model, physical, block, reweighting)
        return self._last_frame_grams[1]

    def _frame_grams(
        self, model: TwoTimeModel, physical: np.ndarray, block: int, reweighting: Reweighting | None
    ) -> np.ndarray:
        size = model.n_physical + 3
        total = np.zeros((self.data.n_phi, 2, -(-model.n_t // block), size, size))
        for angles, maps in self.parts():
            part = model.at_angles(model.phi[angles])
            for rows in self._rows_of(angles, maps):
                weights = _weights(reweighting, part, rows)
                found = frame_grams(part, physical, rows.c2, weights, block=block, first_row=rows.first_row)
                total[angles] += np.asarray(found) * maps.angle_weight[:, None, None, None, None]
        return total

    def loss_sums(self, model: TwoTimeModel, reweighting: Reweighting) -> LossSums:
        """Sums of a robust loss over the points of every angle, at the reference of its weights."""
        total = LossSums(*np.zeros((4, self.data.n_phi)))
        for angles, maps in self.parts():
            part = model.at_angles(model.phi[angles])
            for rows in self._rows_of(angles, maps):
                for sum_, found in zip(total, reweighting.sums(part, *_without_row(rows)), strict=True):
                    sum_[angles] += found
        return total

    def forget(self) -> None:
        """Remove what was kept for the case of an interruption; only data in a file keep something."""

    def _rows_of(self, angles: slice, maps: FoldedMaps) -> Iterator[Rows]:
        n_t = maps.c2.shape[2]
        n_rows = min(self.n_rows, n_t)
        if n_rows == n_t:
            yield Rows(angles, 0, maps.c2, maps.weights, maps.angle_weight)
            return
        c2, weights = self._room_for("c2", maps.c2, n_rows), self._room_for("weights", maps.weights, n_rows)
        for start in range(0, n_t, n_rows):
            # The last rows are moved back to have the shape of the others, and what they repeat is masked.
            first = min(start, n_t - n_rows)
            # Beyond the diagonal nothing is read.
            part = np.s_[:, first : first + n_rows, : first + n_rows]
            for room, whole in ((c2, maps.c2), (weights, maps.weights)):
                if room is not None:
                    room[:, :, : first + n_rows] = whole[part]
            c2[:, : start - first] = np.nan
            held = (None if room is None else jax.device_put(room) for room in (c2, weights))
            yield Rows(angles, first, *held, maps.angle_weight)

    def _room_for(self, name: str, maps: np.ndarray | None, n_rows: int) -> np.ndarray | None:
        """Room for rows of maps, one for all chunks: what is in it may change as soon as a sum over it is known.

        It begins with a page of memory, so that a processor uses it as it is: of arrays that do not begin at a multiple of 64 bytes JAX makes
        a copy.
        """
        if maps is None:
            return None
        shape = (len(maps), n_rows, maps.shape[2])
        room = self._rooms.get(name)
        if room is None or room.shape != shape or room.dtype != maps.dtype:
            pages = mmap.mmap(-1, math.prod(shape) * maps.itemsize)
            room = self._rooms[name] = np.frombuffer(pages, maps.dtype).reshape(shape)
        return room

    @cached_property
    def _rooms(self) -> dict[str, np.ndarray]:
        return {}


def _weights(reweighting: Reweighting | None, part: TwoTimeModel, rows: Rows):
    return rows.weights if reweighting is None else reweighting.weights(part, *_without_row(rows))


def _without_row(rows: Rows):
    return rows.angles, rows.c2, rows.weights, rows.angle_weight, rows.first_row


def _n_rows(chunk_points: int, n_phi: int, n_t: int) -> int:
    """Rows of ``n_phi`` maps that hold about so many points; at least one."""
    return min(n_t, max(1, chunk_points // (n_phi * n_t)))


class WholeMaps(HeldMaps):
    """All maps in memory, passed over at once.

    Parameters
    ----------
    data : TwoTimeData
        With σ.
    separate_halves : bool
        Keep two measurements of a pair apart: a robust loss judges each by itself.
    """

    strategy = NLSQStrategy.STANDARD
    n_chunks = 1

    def __init__(self, data: TwoTimeData, *, separate_halves: bool = False) -> None:
        self.data, self.n_rows = data, data.n_t
        self._parts = [_on_device(maps) for maps in _folded(data, separate_halves)]

    def parts(self) -> Iterator[tuple[slice, FoldedMaps]]:
        for maps in self._parts:
            yield slice(None), maps


class RowChunks(HeldMaps):
    """Maps in memory, handed to the device in chunks of rows, so that no second copy of them is made.

    Parameters
    ----------
    data : TwoTimeData
        With σ.
    chunk_points : int
        Points of a chunk, about; at least one row of every map.
    strategy : NLSQStrategy
        What the choice of chunks is called in the result.
    separate_halves : bool
        As for `WholeMaps`.
    """

    def __init__(
        self,
        data: TwoTimeData,
        chunk_points: int,
        strategy: NLSQStrategy = NLSQStrategy.OUT_OF_CORE,
        *,
        separate_halves: bool = False,
    ) -> None:
        self.data, self.strategy = data, strategy
        self._parts = _folded(data, separate_halves)
        self.n_rows = _n_rows(chunk_points, data.n_phi, data.n_t)
        self.n_chunks = -(-data.n_t // self.n_rows)

    def parts(self) -> Iterator[tuple[slice, FoldedMaps]]:
        for maps in self._parts:
            yield slice(None), maps


@dataclass(frozen=True)
class StreamedData:
    """What `TwoTimeData` says of itself, for maps that stay in a file; see there."""

    phi: np.ndarray
    t: np.ndarray
    q: float
    L: float | None
    time_origin: str | float
    provenance: Provenance
    sigma_source: str
    symmetric: bool
    n_points: int
    n_dropped: dict[str, int] = field(hash=False)

    @property
    def n_phi(self) -> int:
        """Number of angles."""
        return len(self.phi)

    @property
    def n_t(self) -> int:
        """Number of frames."""
        return len(self.t)


class StreamedMaps(HeldMaps):
    """Maps read from their file one by one in every pass, the next while one is worked on.

    Parameters
    ----------
    stream : TwoTimeStream
        Open as long as the fit runs. Read through once here, to count its points and, where it has no σ, to estimate one.
    chunk_points : int
        Points that are computed at once, about; at least one row of a map, at most the map.
    passes : RememberedPasses, optional
        Finished passes, kept on disk: a run that was interrupted goes on with them.
    separate_halves : bool
        As for `WholeMaps`.
    """

    strategy = NLSQStrategy.HYBRID_STREAMING

    def __init__(
        self,
        stream: TwoTimeStream,
        chunk_points: int,
        passes: RememberedPasses | None = None,
        *,
        separate_halves: bool = False,
    ) -> None:
        self._stream, self._passes, self._separate = stream, passes, separate_halves
        self.n_rows = _n_rows(chunk_points, 1, stream.n_t)
        self.n_chunks = stream.n_phi * -(-stream.n_t // self.n_rows)
        self._sigma: np.ndarray | None = None
        self.data = self._survey()

    def _survey(self) -> StreamedData:
        n_points, dropped, symmetric, sources, sigma = 0, {}, True, set(), []
        for one in self._read():
            n_points += one.n_points
            dropped = {reason: dropped.get(reason, 0) + n for reason, n in one.n_dropped.items()}
            symmetric &= one.symmetric
            one = with_sigma(one)
            sources.add(one.sigma_source)
            sigma.append(one.sigma if np.ndim(one.sigma) == 0 else one.sigma[0])
        source = "default" if "default" in sources else sources.pop()
        if source == "default":
            self._sigma = np.full(self._stream.n_phi, DEFAULT_SIGMA)
        elif source == "estimated":
            self._sigma = np.array(sigma)
        s = self._stream
        return StreamedData(
            s.phi, s.t, s.q, s.L, s.time_origin, s.provenance, source, symmetric, n_points, dropped
        )

    def _read(self) -> Iterator[TwoTimeData]:
        """Every angle's data, read ahead by one."""
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(self._stream.angle, 0)
            for a in range(self._stream.n_phi):
                one = coming.result()
                if a + 1 < self._stream.n_phi:
                    coming = reader.submit(self._stream.angle, a + 1)
                yield one

    def parts(self) -> Iterator[tuple[slice, FoldedMaps]]:
        for a, one in enumerate(self._read()):
            if self._sigma is not None:
                one = one.with_sigma(self._sigma[a], source=self.data.sigma_source)
            for maps in _folded(one, self._separate):
                yield slice(a, a + 1), maps

    def gram(
        self, model: TwoTimeModel, physical: np.ndarray, reweighting: Reweighting | None = None
    ) -> np.ndarray:
        if self._passes is None:
            return super().gram(model, physical, reweighting)
        key = physical.tobytes() + (b"" if reweighting is None else reweighting.identity())
        if (known := self._passes.recall(key)) is not None:
            return known
        gram = super().gram(model, physical, reweighting)
        self._passes.remember(key, gram)
        return gram

    def forget(self) -> None:
        if self._passes is not None:
            self._passes.forget()


def _folded(data: TwoTimeData, separate_halves: bool) -> list[FoldedMaps]:
    return list(halves(data)) if separate_halves and not data.symmetric else [fold(data)]


def _on_device(maps: FoldedMaps) -> FoldedMaps:
    """On the device once, not in every pass."""
    weights = None if maps.weights is None else jax.device_put(maps.weights)
    return replace(maps, c2=jax.device_put(maps.c2), weights=weights)


def with_sigma(data: TwoTimeData) -> TwoTimeData:
    """The data with σ: given, else estimated, else 1 %."""
    if data.sigma is not None:
        return data
    try:
        return data.with_estimated_sigma()
    except DataError:
        return data.with_sigma(DEFAULT_SIGMA, source="default")
