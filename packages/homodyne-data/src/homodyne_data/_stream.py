"""Two-time maps that stay in their file: one map in memory at a time."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack

import numpy as np

from homodyne_data._assemble import Selected, Selection, select
from homodyne_data._detect import open_catalogue
from homodyne_data._twotime import Provenance, TwoTimeData


class TwoTimeStream:
    """Two-time maps of one q in a file, read angle by angle whenever they are needed.

    What does not depend on the size of the maps is known at once; a map is read by `angle`. Made by
    `open_xpcs`; use it in a ``with`` block, or call `close`.

    Attributes
    ----------
    phi : (n_phi,) float64
        Angles [degrees].
    t : (n_t,) float64
        Frame times [s].
    q : float
        Wavevector [1/Å].
    L : float or None
        Stator-rotor gap [Å].
    time_origin : str or float
        As in `TwoTimeData`.
    provenance : Provenance
        Where the maps come from.
    """

    phi: np.ndarray
    t: np.ndarray
    q: float
    L: float | None
    time_origin: str | float
    provenance: Provenance

    def __init__(self, path: str | os.PathLike, selection: Selection) -> None:
        self._stack = ExitStack()
        try:
            catalogue = self._stack.enter_context(open_catalogue(path))
            status = os.stat(path)
            self._selected: Selected = select(
                catalogue, selection, size=status.st_size, mtime=status.st_mtime
            )
        except BaseException:
            self._stack.close()
            raise
        self._symmetric: dict[int, bool] = {}
        for name in ("phi", "t", "q", "L", "time_origin", "provenance"):
            setattr(self, name, getattr(self._selected, name))

    def __enter__(self) -> "TwoTimeStream":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; maps cannot be read afterwards."""
        self._stack.close()

    def __repr__(self) -> str:
        """One line."""
        return (
            f"TwoTimeStream(q={self.q:g} 1/Å, n_phi={self.n_phi}, n_t={self.n_t}, "
            f"source={self.provenance.source!r})"
        )

    @property
    def n_phi(self) -> int:
        """Number of angles."""
        return len(self.phi)

    @property
    def n_t(self) -> int:
        """Number of frames."""
        return len(self.t)

    @property
    def dt(self) -> float:
        """Time step [s]."""
        return float(self.t[-1] - self.t[0]) / (self.n_t - 1)

    def identity(self) -> str:
        """Hash of everything that the maps, their mask and their noise depend on: file, selection, arrays given.

        Two streams with the same identity give the same points, unless the file was changed within the
        resolution of its time stamp.
        """
        s = self._selected
        digest = hashlib.sha256(repr((s.provenance, s.phi.tolist(), s.q, s.L, s.sigma_source)).encode())
        for array in (s.maps, s.t, s.sigma, s.good_frames, s.good_pairs):
            digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def angle(self, index: int) -> TwoTimeData:
        """The data of one angle, read now.

        Parameters
        ----------
        index : int
            Which angle, from 0.

        Returns
        -------
        TwoTimeData
            With one angle. Whether its triangles repeat each other is looked at once.

        Raises
        ------
        DataError
            If the map cannot be used, as `load_xpcs` says it.
        """
        data = self._selected.data([index], symmetric=self._symmetric.get(index))
        self._symmetric[index] = data.symmetric
        return data


def open_xpcs(
    path: str | os.PathLike,
    *,
    q: float | None = None,
    q_tolerance: float | None = None,
    phi_ranges: Iterable[tuple[float, float] | Mapping[str, float]] | None = None,
    fallback_to_all_angles: bool = False,
    start_frame: int = 1,
    end_frame: int = -1,
    skip_first_frames: int = 0,
    bad_frames: Sequence[int] = (),
    mask: np.ndarray | None = None,
    sigma: float | np.ndarray | None = None,
    dt: float | None = None,
    L: float | None = None,
    time_origin: str | float = "selection",
) -> TwoTimeStream:
    """Open the two-time maps of one q without reading them.

    For files that do not fit into memory, or need not. Everything that is wrong with the selection is said
    at once.

    Parameters
    ----------
    path : path-like
        File of a layout that `load_xpcs` reads.
    q, q_tolerance, phi_ranges, fallback_to_all_angles, start_frame, end_frame, skip_first_frames, \
bad_frames, mask, sigma, dt, L, time_origin
        As for `load_xpcs`.

    Returns
    -------
    TwoTimeStream
        To be used in a ``with`` block.

    Raises
    ------
    FileNotFoundError, DataError, ValueError, TypeError
        As `load_xpcs`; what is wrong with a map itself is found when it is read.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> t = 0.1 * np.arange(6)
    >>> maps = 1 + 0.3 * np.exp(-np.abs(t[:, None] - t)) * np.ones((2, 1, 1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "example.npz")
    ...     np.savez(file, c2=maps, phi=[0.0, 90.0], q=0.0054, dt=0.1)
    ...     with open_xpcs(file) as stream:
    ...         [data.n_points for data in map(stream.angle, range(stream.n_phi))]
    [15, 15]
    """
    return TwoTimeStream(
        path,
        Selection(
            q, q_tolerance, phi_ranges, fallback_to_all_angles, start_frame, end_frame, skip_first_frames,
            bad_frames, mask, sigma, dt, L, time_origin,
        ),
    )  # fmt: skip
