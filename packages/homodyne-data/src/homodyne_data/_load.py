"""Read two-time maps from a file of any known layout."""

import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from homodyne_data._assemble import Selection, assemble
from homodyne_data._detect import open_catalogue
from homodyne_data._selection import distinct_q
from homodyne_data._twotime import TwoTimeData


def load_xpcs(
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
) -> TwoTimeData:
    """Two-time maps of one q from a file.

    Layouts: APS-U 8-ID, old APS 8-ID, NeXus NXxpcs (HDF5), and ``.npz``; the content decides, not the name.
    Only the maps and frames asked for are read.

    Parameters
    ----------
    path : path-like
        File.
    q : float or None
        Wavevector [1/Å]; the nearest that the file holds is taken, with all its angles. None if the file
        holds one q.
    q_tolerance : float or None
        Largest distance [1/Å] to the nearest q. None: any, with a warning beyond 10 % of `q`.
    phi_ranges : sequence of (min, max) [degrees] or of {"min_angle", "max_angle"}, or None
        Angles to keep, see `select_angles`.
    fallback_to_all_angles : bool
        Keep every angle, with a warning, when none lies in the ranges.
    start_frame, end_frame : int
        Frames to keep, counted from 1, both included; -1 is the last.
    skip_first_frames : int
        Leave out the first frames of that selection without moving the time origin: skipping 1
        removes t = 0.
    bad_frames : sequence of int
        Frames of the file, counted from 1, whose pairs do not count.
    mask : bool array or None
        Pairs to use (True = use), (n_t, n_t) or (n_phi, n_t, n_t), of the selection or of all angles of the q
        and all frames.
    sigma : None, float, (n_phi,) or (n_phi, n_t, n_t)
        Noise of one entry; sizes as for `mask`. None: what the file holds.
    dt : float or None
        Time between the frames of a map [s] (stride and averaging included). None: from the file.
    L : float or None
        Stator-rotor gap [Å]. None: from the file, where it has it.
    time_origin : "selection", "acquisition" or float
        t = 0 is frame `start_frame`, or the first frame of the acquisition; a number is the time [s] of
        frame `start_frame`.

    Returns
    -------
    TwoTimeData
        With everything that was assumed or repaired in ``provenance.notes``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If the file has no known layout (the message names the layouts and the first path each
        missed), is truncated or contradicts itself, holds several q and none is asked for, or nothing matches
        (the message lists what it holds).
    ValueError, TypeError
        For frames outside the file, too few frames, shapes that do not fit, values of a wrong sign.

    Warns
    -----
    UserWarning
        For assumptions that may be wrong: no bin mapping, ambiguous numbering, a q far from the one asked
        for, values that look like another unit, frames without photons.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> t = 0.1 * np.arange(6)
    >>> maps = 1 + 0.3 * np.exp(-np.abs(t[:, None] - t)) * np.ones((2, 1, 1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "example.npz")
    ...     np.savez(file, c2=maps, phi=[0.0, 90.0], q=0.0054, dt=0.1)
    ...     data = load_xpcs(file, phi_ranges=[(80, 100)], start_frame=2)
    >>> data.phi.tolist(), data.n_t, data.t[0].item()
    ([90.0], 5, 0.0)
    """
    selection = Selection(
        q, q_tolerance, phi_ranges, fallback_to_all_angles, start_frame, end_frame, skip_first_frames,
        bad_frames, mask, sigma, dt, L, time_origin,
    )  # fmt: skip
    with open_catalogue(path) as catalogue:
        status = os.stat(path)
        return assemble(catalogue, selection, size=status.st_size, mtime=status.st_mtime)


def list_q(path: str | os.PathLike) -> np.ndarray:
    """Wavevectors that a file holds; no map is read.

    Parameters
    ----------
    path : path-like
        File of a layout that `load_xpcs` reads.

    Returns
    -------
    (n_q,) float64
        Increasing [1/Å].

    Raises
    ------
    FileNotFoundError, DataError
        As `load_xpcs`.
    """
    with open_catalogue(path) as catalogue:
        return distinct_q(catalogue.q)
