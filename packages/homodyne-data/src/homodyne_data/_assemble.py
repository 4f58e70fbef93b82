"""From a catalogue and a selection to `TwoTimeData`: read what is asked for, and only that."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from homodyne_data._catalogue import Catalogue
from homodyne_data._checks import check_time_origin, positive
from homodyne_data._errors import DataError, warn
from homodyne_data._selection import frame_window, good_frames, maps_at_q, select_angles
from homodyne_data._twotime import Provenance, TwoTimeData, cut


@dataclass(frozen=True, eq=False)
class Selection:
    """The keywords that `load_xpcs` and `from_mapping` share."""

    q: float | None
    q_tolerance: float | None
    phi_ranges: Iterable[tuple[float, float] | Mapping[str, float]] | None
    fallback_to_all_angles: bool
    start_frame: int
    end_frame: int
    skip_first_frames: int
    bad_frames: Sequence[int]
    mask: np.ndarray | None
    sigma: float | np.ndarray | None
    dt: float | None
    L: float | None
    time_origin: str | float


@dataclass(frozen=True, eq=False)
class Selected:
    """What a selection takes from a catalogue, before any map is read.

    Attributes
    ----------
    catalogue : Catalogue
        The source.
    maps : (n_phi,) int
        Index of the map of each selected angle.
    window : slice
        Selected frames.
    phi, t, q, L, sigma, sigma_source, good_frames, good_pairs, time_origin, provenance
        As in `TwoTimeData`.
    """

    catalogue: Catalogue
    maps: np.ndarray
    window: slice
    phi: np.ndarray
    t: np.ndarray
    q: float
    L: float | None
    sigma: float | np.ndarray | None
    sigma_source: str | None
    good_frames: np.ndarray | None
    good_pairs: np.ndarray | None
    time_origin: str | float
    provenance: Provenance

    def data(self, angles: Sequence[int], *, symmetric: bool | None = None) -> TwoTimeData:
        """Read the maps of some of the selected angles, by index."""
        angles = np.asarray(angles)
        notes = list(self.provenance.notes)
        everything = slice(0, self.window.stop - self.window.start)
        sigma = self.sigma if np.ndim(self.sigma) == 0 else np.asarray(self.sigma)
        if np.ndim(sigma):
            sigma = _cut_maps(sigma, angles, everything)
        pairs = cut(self.good_pairs, angles, everything)
        c2 = _maps(self.catalogue, self.maps[angles], self.window, notes)
        keys = tuple(self.catalogue.keys[k] for k in self.maps[angles])
        selection = {**self.provenance.selection, "phi": self.phi[angles].tolist()}
        return TwoTimeData(
            c2=c2,
            phi=self.phi[angles],
            t=self.t,
            q=self.q,
            L=self.L,
            sigma=sigma,
            sigma_source=None if sigma is None else self.sigma_source,
            good_frames=self.good_frames,
            good_pairs=pairs,
            symmetric=symmetric,
            time_origin=self.time_origin,
            provenance=replace(
                self.provenance, keys=keys, selection=selection, notes=tuple(dict.fromkeys(notes))
            ),
        )


def assemble(
    catalogue: Catalogue, selection: Selection, *, size: int | None = None, mtime: float | None = None
) -> TwoTimeData:
    """Select, read and check."""
    selected = select(catalogue, selection, size=size, mtime=mtime)
    return selected.data(range(len(selected.maps)))


def select(
    catalogue: Catalogue, selection: Selection, *, size: int | None = None, mtime: float | None = None
) -> Selected:
    """Everything about a selection that can be known, and wrong, before a map is read."""
    notes = list(catalogue.notes)
    bad_frames = selection.bad_frames
    if np.iterable(bad_frames):
        bad_frames = tuple(bad_frames)  # it is gone through twice
    # Wrong arguments are found before the long work of reading.
    check_time_origin(selection.time_origin)
    if selection.L is not None:
        positive("L", selection.L, "Å")
    for sentence in catalogue.warnings:
        warn(f"{catalogue.source}: {sentence}" if catalogue.source else sentence)
    notes.extend(catalogue.warnings)

    at_q = maps_at_q(catalogue.q, selection.q, selection.q_tolerance)
    kept = select_angles(
        catalogue.phi[at_q], selection.phi_ranges, fallback_to_all_angles=selection.fallback_to_all_angles
    )
    maps = at_q[kept]
    first, stop = frame_window(
        catalogue.n_frames, selection.start_frame, selection.end_frame, selection.skip_first_frames
    )
    window = slice(first, stop)
    good = _both(catalogue.good_frames, good_frames(catalogue.n_frames, bad_frames))
    t = _times(catalogue, selection, np.arange(first, stop), notes)
    fit = _Fit(at_q.size, kept, catalogue.n_frames, window)
    pairs = fit("mask", _pair_mask(selection.mask))
    if catalogue.good_pairs is not None:
        pairs = _both(pairs, cut(catalogue.good_pairs, maps, window))
    if selection.sigma is not None:
        sigma, sigma_source = fit("sigma", np.asarray(selection.sigma)), "given"
    else:
        sigma, sigma_source = catalogue.sigma, catalogue.sigma_source
        sigma = sigma if np.ndim(sigma) == 0 else _cut_maps(sigma, maps, window)
    if selection.L is not None and catalogue.L is not None and selection.L != catalogue.L:
        notes.append(f"L = {selection.L:g} Å was given and replaces {catalogue.L:g} Å of the source.")

    return Selected(
        catalogue=catalogue,
        maps=maps,
        window=window,
        phi=catalogue.phi[maps],
        t=t,
        q=float(catalogue.q[at_q].min()),
        L=catalogue.L if selection.L is None else selection.L,
        sigma=sigma,
        sigma_source=sigma_source,
        good_frames=None if good is None else good[window],
        good_pairs=pairs,
        time_origin=selection.time_origin,
        provenance=Provenance(
            source=catalogue.source,
            size=size,
            mtime=mtime,
            layout=catalogue.layout,
            keys=tuple(catalogue.keys[k] for k in maps),
            selection={
                "q": None if selection.q is None else float(selection.q),
                "phi": catalogue.phi[maps].tolist(),
                "first_frame": first + 1,
                "last_frame": stop,
                "skip_first_frames": int(selection.skip_first_frames),
                "bad_frames": [int(frame) for frame in bad_frames],
            },
            notes=tuple(dict.fromkeys(notes)),
        ),
    )


def _times(catalogue: Catalogue, selection: Selection, frames: np.ndarray, notes: list[str]) -> np.ndarray:
    """Times [s] of `frames`, counted from 0 in the source."""
    if selection.dt is None and catalogue.dt is None:
        raise DataError(
            f"{catalogue.source or 'the data'}: no time between frames found; give it with dt= [s]"
        )
    if selection.dt is None:
        dt = catalogue.dt
    else:
        dt = positive("dt", selection.dt, "s")
        if catalogue.dt is not None and abs(dt - catalogue.dt) > 1e-3 * catalogue.dt:
            notes.append(f"dt = {dt:g} s was given and replaces {catalogue.dt:g} s of the source.")
    origin = selection.time_origin
    if origin == "acquisition":
        return catalogue.acquisition_time + dt * frames
    # The origin moves with start_frame, not with skip_first_frames: skipping frame 0 removes t = 0.
    since_start = dt * (frames - (selection.start_frame - 1))
    if origin == "selection":
        return catalogue.first_time + since_start
    return float(origin) + since_start


def _maps(catalogue: Catalogue, maps: np.ndarray, window: slice, notes: list[str]) -> np.ndarray:
    """The selected maps, (n_phi, n, n): the only array of that size."""
    if catalogue.whole is not None:
        return cut(catalogue.whole, maps, window)
    n = window.stop - window.start
    c2 = np.empty((maps.size, n, n), dtype=catalogue.dtype)
    empty = np.zeros(n, dtype=bool)
    for angle, k in enumerate(maps):
        note = catalogue.read(int(k), window, c2[angle])
        if note:
            notes.append(note)
        empty |= ~np.any(c2[angle], axis=1)
    if empty.any():
        numbers = (np.flatnonzero(empty) + window.start + 1).tolist()
        sentence = (
            f"C2 is zero between frames {numbers[:10]}{' ...' if len(numbers) > 10 else ''} and "
            "every other frame "
            "(no photons?); the points count unless these are given as bad_frames."
        )
        warn(f"{catalogue.source}: {sentence}")
        notes.append(sentence)
    return c2


def _both(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    if first is None or second is None:
        return second if first is None else first
    return first & second


def _pair_mask(mask: Any) -> np.ndarray | None:
    """A mask as bool; 0 and 1 are accepted because many programs store them."""
    if mask is None:
        return None
    mask = np.asarray(mask)
    if mask.dtype.kind in "iu" and np.all((mask == 0) | (mask == 1)):
        mask = mask.astype(bool)
    if mask.dtype != bool:
        raise TypeError(f"mask must be bool (True = use), got dtype {mask.dtype}")
    if mask.ndim not in (2, 3):
        raise ValueError(f"mask must have shape (n_t, n_t) or (n_phi, n_t, n_t), got {mask.shape}")
    return mask[None] if mask.ndim == 2 else mask


def _cut_maps(sigma: np.ndarray, maps: np.ndarray, window: slice) -> np.ndarray:
    return sigma[maps] if sigma.ndim == 1 else cut(sigma, maps, window)


@dataclass(frozen=True, eq=False)
class _Fit:
    """Cut an array that the caller gives to the selected angles and frames.

    It may be as large as the selection, or as all angles of the q and all frames of the source.
    """

    n_angles: int
    kept: np.ndarray
    n_frames: int
    window: slice

    def __call__(self, name: str, array: np.ndarray | None) -> np.ndarray | None:
        if array is None or array.ndim == 0:
            return array
        n_window = self.window.stop - self.window.start
        if array.ndim not in (1, 3) or array.shape[0] not in (1, self.kept.size, self.n_angles):
            raise ValueError(self._wanted(name, array, n_window))
        if array.ndim == 3 and (
            array.shape[1] != array.shape[2] or array.shape[1] not in (n_window, self.n_frames)
        ):
            raise ValueError(self._wanted(name, array, n_window))
        angles = self.kept if array.shape[0] == self.n_angles else np.arange(array.shape[0])
        if array.ndim == 1:
            if array.shape[0] not in (self.kept.size, self.n_angles):
                raise ValueError(self._wanted(name, array, n_window))
            return array[angles]
        window = self.window if array.shape[1] == self.n_frames else slice(0, n_window)
        if name == "sigma" and array.shape[0] == 1 < self.kept.size:
            array, angles = (
                np.broadcast_to(array, (self.kept.size, *array.shape[1:])),
                np.arange(self.kept.size),
            )
        return cut(array, angles, window)

    def _wanted(self, name: str, array: np.ndarray, n_window: int) -> str:
        return (
            f"{name} must fit {self.kept.size} selected angles (or the {self.n_angles} of this "
            f"q) and {n_window} "
            f"selected frames (or the {self.n_frames} there are), got shape {array.shape}"
        )
