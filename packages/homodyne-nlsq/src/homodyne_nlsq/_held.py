"""How the data of a fit are held, which decides where a pass finds them and nothing else.

Gram matrices add up over any division of the points, so maps in memory, chunks of their rows and maps read one by one from a file give the
same sums to rounding.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol

import jax.numpy as jnp
import numpy as np

from homodyne_data import DataError, Provenance, TwoTimeData, TwoTimeStream
from homodyne_memory import NLSQStrategy
from homodyne_model import TwoTimeModel, normal_equations, with_angle_weights
from homodyne_nlsq._checkpoint import RememberedPasses
from homodyne_nlsq._fold import FoldedMaps, fold

# 1 % of the baseline, where σ can be neither read nor estimated.
DEFAULT_SIGMA = 0.01
# Points of a chunk of rows: large enough that the loop over chunks costs nothing, small beside the data.
CHUNK_POINTS = 4_000_000


class HeldMaps(Protocol):
    """Two-time data with σ, and the pass over them.

    Attributes
    ----------
    data : TwoTimeData or StreamedData
        What is known of them without their maps.
    strategy : NLSQStrategy
        How they are held.
    n_chunks : int
        Parts that a pass reads.
    """

    data: "TwoTimeData | StreamedData"
    strategy: NLSQStrategy
    n_chunks: int

    def parts(self) -> Iterator[tuple[slice, FoldedMaps]]:
        """Folded maps of some angles after the other, with the angles."""

    def gram(self, model: TwoTimeModel, physical: np.ndarray) -> np.ndarray:
        """Weighted Gram matrices of every angle, (n_phi, n_physical + 3, n_physical + 3)."""


class WholeMaps:
    """All maps in memory, passed over at once."""

    strategy = NLSQStrategy.STANDARD
    n_chunks = 1

    def __init__(self, data: TwoTimeData) -> None:
        self.data = data
        maps = fold(data)
        # On the device once, not in every pass.
        weights = None if maps.weights is None else jnp.asarray(maps.weights)
        self._maps = replace(maps, c2=jnp.asarray(maps.c2), weights=weights)

    def parts(self) -> Iterator[tuple[slice, FoldedMaps]]:
        yield slice(None), self._maps

    def gram(self, model: TwoTimeModel, physical: np.ndarray) -> np.ndarray:
        return _weighted(normal_equations(model, physical, self._maps.c2, self._maps.weights), self._maps)


class RowChunks:
    """Maps in memory, handed to the device in chunks of rows, so that no second copy of them is made.

    Parameters
    ----------
    data : TwoTimeData
        With σ.
    chunk_points : int
        Points of a chunk, about; at least one row of every map.
    strategy : NLSQStrategy
        What the choice of chunks is called in the result.
    """

    def __init__(
        self, data: TwoTimeData, chunk_points: int = CHUNK_POINTS, strategy=NLSQStrategy.OUT_OF_CORE
    ) -> None:
        self.data, self.strategy = data, strategy
        self._maps = fold(data)
        self._n_rows = min(data.n_t, max(1, chunk_points // (data.n_phi * data.n_t)))
        self.n_chunks = -(-data.n_t // self._n_rows)

    def parts(self) -> Iterator[tuple[slice, FoldedMaps]]:
        yield slice(None), self._maps

    def gram(self, model: TwoTimeModel, physical: np.ndarray) -> np.ndarray:
        total = 0.0
        for chunk in range(self.n_chunks):
            # The last chunk is moved back to have the shape of the others, and what it repeats is masked.
            start = chunk * self._n_rows
            first = min(start, model.n_t - self._n_rows)
            rows = slice(first, first + self._n_rows)
            c2 = self._maps.c2[:, rows]
            if first < start:
                c2 = c2.copy()
                c2[:, : start - first] = np.nan
            weights = None if self._maps.weights is None else self._maps.weights[:, rows]
            total = total + np.asarray(normal_equations(model, physical, c2, weights, first_row=first))
        return _weighted(total, self._maps)


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


class StreamedMaps:
    """Maps read from their file one by one in every pass, the next while one is worked on.

    Parameters
    ----------
    stream : TwoTimeStream
        Open as long as the fit runs. Read through once here, to count its points and, where it has no σ, to estimate one.
    passes : RememberedPasses, optional
        Finished passes, kept on disk: a run that was interrupted goes on with them.
    """

    strategy = NLSQStrategy.HYBRID_STREAMING

    def __init__(self, stream: TwoTimeStream, passes: RememberedPasses | None = None) -> None:
        self._stream, self._passes = stream, passes
        self.n_chunks = stream.n_phi
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
            self._sigma = np.full(self.n_chunks, DEFAULT_SIGMA)
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
            yield slice(a, a + 1), fold(one)

    def gram(self, model: TwoTimeModel, physical: np.ndarray) -> np.ndarray:
        if self._passes is not None and (known := self._passes.recall(physical)) is not None:
            return known
        gram = np.concatenate(
            [
                _weighted(
                    normal_equations(model.at_angles(model.phi[angles]), physical, maps.c2, maps.weights),
                    maps,
                )
                for angles, maps in self.parts()
            ]
        )
        if self._passes is not None:
            self._passes.remember(physical, gram)
        return gram


def with_sigma(data: TwoTimeData) -> TwoTimeData:
    """The data with σ: given, else estimated, else 1 %."""
    if data.sigma is not None:
        return data
    try:
        return data.with_estimated_sigma()
    except DataError:
        return data.with_sigma(DEFAULT_SIGMA, source="default")


def _weighted(gram, maps: FoldedMaps) -> np.ndarray:
    gram = with_angle_weights(gram, maps.angle_weight)
    gram[:, -1, -1] += maps.constant
    return gram
