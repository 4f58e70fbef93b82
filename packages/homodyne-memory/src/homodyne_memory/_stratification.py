"""Chunks of points in which every angle is present.

With a contrast and an offset for each angle, a chunk that lacks an angle says nothing about that angle's
scaling: its gradient is zero there and the fit does not move. So the points are dealt like cards: angle after
angle, each point to the next chunk in turn. Every point lands in exactly one chunk, the chunks differ by at
most one point in size, and as long as no angle has fewer points than there are chunks, each chunk has all the
angles.

The points of one angle usually lie one after the other in memory. Then a chunk's share of an angle is a
stride through a run of points, and the whole assignment is a handful of numbers for each run; a chunk's
indices are made when it is asked for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from homodyne_memory._counts import whole_number

_STRATIFICATION_MIN_POINTS = 100_000
_SCAN_POINTS = 1_000_000  # points looked at together: bounds what the search for runs holds
_POINTS_PER_RUN = 100  # with shorter runs than this on average, an order of the points is stored instead


@dataclass(frozen=True)
class StratificationDecision:
    """Whether to stratify, and why; true in a condition exactly when ``use`` is.

    Parameters
    ----------
    use : bool
        Whether chunks should be stratified by angle.
    reason : str
        The decision in a sentence.
    n_points, n_angles : int
        Size of the data.
    imbalance_ratio : float
        Points of the largest angle over those of the smallest.
    """

    use: bool
    reason: str
    n_points: int
    n_angles: int
    imbalance_ratio: float

    def __bool__(self) -> bool:
        return self.use


def should_use_stratification(
    angle_counts, *, per_angle_scaling: bool = True, max_imbalance_ratio: float = 5.0
) -> StratificationDecision:
    """Decide whether chunks should be stratified by angle.

    No below 100 000 points (one chunk), without scaling per angle (nothing to lose), with a single angle, and
    with angles so unequal that chunks would hold hardly a point of the smallest.

    Parameters
    ----------
    angle_counts : (n_phi,) integers
        Points of each angle, >= 1.
    per_angle_scaling : bool
        Whether each angle has a contrast and an offset of its own.
    max_imbalance_ratio : float
        Largest allowed ratio between the counts of two angles, >= 1.

    Returns
    -------
    StratificationDecision
        The decision with its reason.

    Raises
    ------
    TypeError
        If the counts are not integers.
    ValueError
        If there are no counts, one is below 1, or the ratio is below 1.

    Examples
    --------
    >>> should_use_stratification([60_000, 60_000]).reason
    '120000 points of 2 angles with a scaling each: every chunk should hold all angles.'
    >>> bool(should_use_stratification([60_000]))
    False
    """
    counts = _checked_counts(angle_counts)
    if not max_imbalance_ratio >= 1:
        raise ValueError(f"max_imbalance_ratio is {max_imbalance_ratio!r}; expected a number of at least 1")
    n_points, n_angles = int(counts.sum()), counts.size
    imbalance = float(counts.max() / counts.min())
    if n_points < _STRATIFICATION_MIN_POINTS:
        use, reason = (
            False,
            f"{n_points} points are fewer than {_STRATIFICATION_MIN_POINTS}: one chunk holds them all.",
        )
    elif not per_angle_scaling:
        use, reason = False, "The angles share their scaling: a chunk that lacks an angle loses nothing."
    elif n_angles == 1:
        use, reason = False, "There is one angle only."
    elif imbalance > max_imbalance_ratio:
        use = False
        reason = (
            f"The largest angle has {imbalance:.3g} times the points of the smallest, more than "
            f"{max_imbalance_ratio:g}: chunks cannot represent all angles well."
        )
    else:
        use = True
        reason = (
            f"{n_points} points of {n_angles} angles with a scaling each: every chunk should hold all angles."
        )
    return StratificationDecision(use, reason, n_points, n_angles, imbalance)


@dataclass(frozen=True, eq=False)
class StratifiedIndices:
    """A sequence of chunks, each an array of 64-bit point indices made when it is asked for.

    Made by `create_angle_stratified_indices`, or by `from_counts` for data that lie angle after angle.

    Parameters
    ----------
    angles : (n_phi,) array
        The distinct angles in increasing order, as they were given.
    counts : (n_phi,) int64
        Points of each angle.
    n_chunks : int
        Number of chunks; also ``len()`` of this object.
    """

    angles: np.ndarray
    counts: np.ndarray
    n_chunks: int
    # Runs of consecutive positions, in the order in which they are dealt: all those of the first angle, then
    # the next. `_starts` is where a run begins in the data, `_dealt` how many points were dealt before it.
    _starts: np.ndarray
    _lengths: np.ndarray
    _dealt: np.ndarray
    # The points sorted by angle, where they do not form runs; the runs then refer to positions in this array.
    _order: np.ndarray | None = None

    @classmethod
    def from_counts(cls, angle_counts, target_chunk_size: int = 100_000) -> "StratifiedIndices":
        """Chunks of data that lie angle after angle, without an array of the length of the data.

        Parameters
        ----------
        angle_counts : (n_phi,) integers
            Points of each angle, >= 1, in the order of the data. ``angles`` will be 0, 1, ...
        target_chunk_size : int
            Points of a chunk, >= 1, as in `create_angle_stratified_indices`.

        Raises
        ------
        TypeError, ValueError
            If the counts are not integers of at least 1, or the target is not.

        Examples
        --------
        >>> [chunk.tolist() for chunk in StratifiedIndices.from_counts([4, 2], target_chunk_size=3)]
        [[0, 2, 4], [1, 3, 5]]
        """
        counts = _checked_counts(angle_counts)
        ends = np.cumsum(counts)
        return cls(
            angles=np.arange(counts.size),
            counts=counts,
            n_chunks=_number_of_chunks(counts, target_chunk_size),
            _starts=ends - counts,
            _lengths=counts,
            _dealt=ends - counts,
        )

    @property
    def n_points(self) -> int:
        """Number of points in all chunks together."""
        return int(self.counts.sum())

    @property
    def nbytes(self) -> int:
        """Bytes that this object holds."""
        arrays = (self.angles, self.counts, self._starts, self._lengths, self._dealt, self._order)
        return sum(array.nbytes for array in arrays if array is not None)

    def __len__(self) -> int:
        return self.n_chunks

    def __getitem__(self, k: int) -> np.ndarray:
        """Point indices of chunk ``k``, (n_k,) int64, angle after angle."""
        if not -self.n_chunks <= k < self.n_chunks:
            raise IndexError(f"chunk {k} of {self.n_chunks}")
        # The point at offset j of a run was number dealt + j to be dealt, and number m went to chunk m mod
        # n_chunks.
        first = (k - self._dealt) % self.n_chunks
        # Points of each run in this chunk, 0 where the run ends before its turn.
        taken = np.maximum(-(-(self._lengths - first) // self.n_chunks), 0)
        ends = np.cumsum(taken)
        within = np.arange(ends[-1], dtype=np.int64) - np.repeat(ends - taken, taken)
        positions = np.repeat(self._starts + first, taken) + within * self.n_chunks
        return positions if self._order is None else self._order[positions]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[k] for k in range(self.n_chunks))


def create_angle_stratified_indices(phi, target_chunk_size: int = 100_000) -> StratifiedIndices:
    """Chunks that hold every angle, as indices into the data.

    Every point is in exactly one chunk. The number of chunks is the number of points over
    ``target_chunk_size``, rounded up, but no more than the smallest angle has points: rather larger chunks
    than one that lacks an angle.

    Parameters
    ----------
    phi : (n,) array of floats or integers
        Angle [any unit] or index of the angle of every point; equal values are one angle. Only looked at
        here, not kept.
    target_chunk_size : int
        Points of a chunk, >= 1.

    Returns
    -------
    StratifiedIndices
        Lazy. It holds 24 bytes for each run of points of equal angle, with runs of 100 points and more (maps
        stored angle after angle have one for each angle) below 1 % of a copy of phi, t1, t2 and C2. Data in
        which angles alternate more often than that cost 8 bytes a point, a quarter of a copy.

    Raises
    ------
    TypeError
        If ``target_chunk_size`` is not an integer.
    ValueError
        If ``phi`` is not a vector of at least one finite number, or the target is below 1.

    Examples
    --------
    >>> chunks = create_angle_stratified_indices([0.0, 0.0, 0.0, 0.0, 90.0, 90.0], target_chunk_size=3)
    >>> [chunk.tolist() for chunk in chunks]
    [[0, 2, 4], [1, 3, 5]]
    """
    phi = np.asarray(phi)
    if phi.ndim != 1 or phi.size == 0 or phi.dtype.kind not in "iuf":
        raise ValueError(
            f"phi has shape {phi.shape} and dtype {phi.dtype}; expected a vector of at least one number"
        )
    starts, values = _runs(phi)
    order = None
    if starts.size * _POINTS_PER_RUN > max(phi.size, _STRATIFICATION_MIN_POINTS):
        order = np.argsort(phi, kind="stable").astype(np.int64, copy=False)
        starts, values = _runs(phi[order])
    lengths = np.diff(starts, append=phi.size)
    by_angle = np.argsort(values, kind="stable")
    starts, values, lengths = starts[by_angle], values[by_angle], lengths[by_angle]
    angles, first_run = np.unique(values, return_index=True)
    counts = np.add.reduceat(lengths, first_run)
    return StratifiedIndices(
        angles=angles,
        counts=counts,
        n_chunks=_number_of_chunks(counts, target_chunk_size),
        _starts=starts,
        _lengths=lengths,
        _dealt=np.cumsum(lengths) - lengths,
        _order=order,
    )


@dataclass(frozen=True, eq=False)
class StratifiedData:
    """Arrays reordered so that each chunk is a contiguous piece.

    Parameters
    ----------
    arrays : mapping of str to (n, ...) arrays
        Copies in the order of the chunks.
    boundaries : (n_chunks + 1,) int64
        Chunk ``k`` is ``boundaries[k]:boundaries[k + 1]``.
    indices : StratifiedIndices
        Where each point came from.
    """

    arrays: Mapping[str, np.ndarray]
    boundaries: np.ndarray
    indices: StratifiedIndices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, k: int) -> dict[str, np.ndarray]:
        """Chunk ``k``: views of the arrays, by name."""
        if not -len(self) <= k < len(self):
            raise IndexError(f"chunk {k} of {len(self)}")
        k %= len(self)
        piece = slice(self.boundaries[k], self.boundaries[k + 1])
        return {name: array[piece] for name, array in self.arrays.items()}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return (self[k] for k in range(len(self)))


def create_angle_stratified_data(
    phi, arrays: Mapping[str, np.ndarray], target_chunk_size: int = 100_000
) -> StratifiedData:
    """Copy arrays into the order of chunks that hold every angle.

    For data small enough to be held twice; otherwise `create_angle_stratified_indices`, which copies nothing.

    Parameters
    ----------
    phi : (n,) array of floats or integers
        Angle or index of the angle of every point.
    arrays : mapping of str to (n, ...) arrays
        What is known of every point; include ``phi`` itself to have it reordered too.
    target_chunk_size : int
        Points of a chunk, >= 1, as in `create_angle_stratified_indices`.

    Returns
    -------
    StratifiedData
        The copies, with views of each chunk.

    Raises
    ------
    TypeError
        If ``target_chunk_size`` is not an integer.
    ValueError
        If ``phi`` is no vector of finite numbers, or an array has another length.

    Examples
    --------
    >>> data = create_angle_stratified_data([0, 0, 1, 1], {"c2": [1.0, 2.0, 3.0, 4.0]}, target_chunk_size=2)
    >>> [chunk["c2"].tolist() for chunk in data]
    [[1.0, 3.0], [2.0, 4.0]]
    """
    indices = create_angle_stratified_indices(phi, target_chunk_size)
    sources = {name: np.asarray(array) for name, array in arrays.items()}
    for name, source in sources.items():
        if source.shape[:1] != (indices.n_points,):
            raise ValueError(
                f"{name} has shape {source.shape}; expected ({indices.n_points}, ...), as long as phi"
            )
    copies = {name: np.empty_like(source, order="C") for name, source in sources.items()}
    boundaries = np.zeros(len(indices) + 1, dtype=np.int64)
    for k, chosen in enumerate(indices):
        boundaries[k + 1] = boundaries[k] + chosen.size
        for name, source in sources.items():
            copies[name][boundaries[k] : boundaries[k + 1]] = source[chosen]
    return StratifiedData(arrays=copies, boundaries=boundaries, indices=indices)


def _checked_counts(angle_counts) -> np.ndarray:
    """Return the counts of the angles as (n_phi,) int64, or say what is wrong with them."""
    counts = np.asarray(angle_counts)
    if counts.ndim != 1 or counts.size == 0:
        raise ValueError(f"angle_counts has shape {counts.shape}; expected the points of at least one angle")
    if counts.dtype.kind not in "iu":
        raise TypeError(f"angle_counts has dtype {counts.dtype}; expected integers")
    if counts.min() < 1:
        raise ValueError(f"angle_counts holds {counts.min()}; expected at least 1 point of each angle")
    return counts.astype(np.int64)


def _number_of_chunks(counts: np.ndarray, target_chunk_size: int) -> int:
    """Chunks of about the wanted size, but no more than the smallest angle has points."""
    target = whole_number("target_chunk_size", target_chunk_size, at_least=1)
    return int(min(-(-counts.sum() // target), counts.min()))


def _runs(phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts, (n_runs,) int64, and values of the runs of equal neighbours in ``phi``."""
    starts = [np.zeros(1, dtype=np.int64)]
    for begin in range(0, phi.size, _SCAN_POINTS):
        # One point of overlap, so that a change at the seam is seen.
        piece = phi[begin : begin + _SCAN_POINTS + 1]
        if not np.isfinite(piece).all():
            raise ValueError("phi holds NaN or infinity; expected an angle for every point")
        starts.append(np.flatnonzero(piece[1:] != piece[:-1]) + begin + 1)
    joined = np.concatenate(starts)
    return joined, phi[joined]
