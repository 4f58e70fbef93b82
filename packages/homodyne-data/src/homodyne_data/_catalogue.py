"""What a source holds, before anything is selected or read."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from homodyne_data._errors import DataError


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Every map of a file or of arrays in memory, with a way to read one.

    Attributes
    ----------
    layout, source : str
        As in `Provenance`.
    q, phi : (n_maps,) float64
        Wavevector [1/Å] and angle [degrees] of each map.
    keys : tuple of str
        Name of each map.
    n_frames : int
        Frames of every map.
    dtype : numpy dtype
        Native float32 or float64.
    read : callable (k, window, out) -> str or None
        Fill `out`, (n, n) with n the length of the slice `window`, with map k, complete and with baseline 1;
        a sentence when something was repaired.
    dt : float or None
        Time between the frames of a map [s].
    first_time, acquisition_time : float
        Time of frame 1 [s] counted from the selection's and from the acquisition's origin.
    L, sigma, sigma_source, good_frames, good_pairs
        As in `TwoTimeData`, with n_maps for n_phi.
    whole : (n_maps, n_frames, n_frames) array or None
        The maps, when they are in memory.
    notes, warnings : tuple of str
        Sentences for the provenance; `warnings` are also issued as Python warnings.
    """

    layout: str
    source: str
    q: np.ndarray
    phi: np.ndarray
    keys: tuple[str, ...]
    n_frames: int
    dtype: np.dtype
    read: Callable[[int, slice, np.ndarray], str | None]
    dt: float | None
    first_time: float = 0.0
    acquisition_time: float = 0.0
    L: float | None = None
    sigma: float | np.ndarray | None = None
    sigma_source: str | None = None
    good_frames: np.ndarray | None = None
    good_pairs: np.ndarray | None = None
    whole: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        bad = np.flatnonzero(~(np.isfinite(self.q) & (self.q > 0)))
        if bad.size:
            raise DataError(
                f"{self.source}: q must be positive and finite, map {self.keys[bad[0]]} has "
                f"{self.q[bad[0]]} 1/Å"
            )
        bad = np.flatnonzero(~np.isfinite(self.phi))
        if bad.size:
            raise DataError(
                f"{self.source}: phi must be finite, map {self.keys[bad[0]]} has {self.phi[bad[0]]}"
            )
        if self.dt is not None and not (np.isfinite(self.dt) and self.dt > 0):
            raise DataError(
                f"{self.source}: the time between frames must be positive and finite, got {self.dt} s"
            )
