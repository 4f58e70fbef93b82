"""What a file holds, at a glance."""

import math
import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from homodyne_data._catalogue import Catalogue
from homodyne_data._detect import open_catalogue
from homodyne_data._errors import DataError
from homodyne_data._noise import estimate_sigma
from homodyne_data._selection import distinct_q, maps_at_q
from homodyne_data._triangles import agreement

_BYTES_READ_BY_DEFAULT = 2**30


@dataclass(frozen=True)
class FileSummary:
    """What a file of two-time maps holds.

    Attributes
    ----------
    path, layout : str
    q : tuple of float
        Wavevectors [1/Å], increasing.
    phi : tuple of tuples of float
        Angles of each q [degrees].
    n_frames : int
    dt : float or None
        Time between frames [s]; None if the file does not say.
    n_maps, n_read : int
        Maps in the file, and maps that were read for what follows.
    n_nan : int
        Entries off the diagonal that are NaN or infinite, in the maps read.
    n_empty : int
        Maps without any data off the diagonal.
    symmetric : bool or None
        Whether the triangles of all maps read repeat each other; None if no map has data.
    noise : tuple of float
        Median over the angles of `estimate_sigma`, for each q; NaN where no map could be judged.
    contrast, baseline : tuple of float
        Mean of C2 at a delay of one frame minus the baseline, and the baseline, the mean over the longest
        fifth of the delays, for each q (median over the angles). Rough: a map that has not decayed shows a
        contrast too small.
    notes : tuple of str
        Assumptions that reading makes.
    """

    path: str
    layout: str
    q: tuple[float, ...]
    phi: tuple[tuple[float, ...], ...]
    n_frames: int
    dt: float | None
    n_maps: int
    n_read: int
    n_nan: int
    n_empty: int
    symmetric: bool | None
    noise: tuple[float, ...]
    contrast: tuple[float, ...]
    baseline: tuple[float, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: NaN becomes None."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    def __str__(self) -> str:
        """Several lines for people."""
        part = "" if self.n_read == self.n_maps else f" (in {self.n_read} of {self.n_maps} maps)"
        symmetric = {None: "unknown", True: "yes", False: "no, both triangles count"}[self.symmetric]
        lines = [
            self.path,
            f"  layout     {self.layout}",
            f"  maps       {self.n_maps} of {self.n_frames} x {self.n_frames} frames",
            f"  dt         {'not in the file' if self.dt is None else f'{self.dt:g} s'}",
            f"  NaN        {self.n_nan} entries off the diagonal{part}",
            f"  symmetric  {symmetric}",
        ]
        if self.n_empty:
            lines.insert(5, f"  empty      {self.n_empty} maps without data{part}")
        lines.append("  q [1/Å]     angles                        noise     contrast  baseline")
        for q, phi, noise, contrast, baseline in zip(
            self.q, self.phi, self.noise, self.contrast, self.baseline, strict=True
        ):
            span = f"{len(phi)}: {min(phi):g} to {max(phi):g} deg" if len(phi) > 1 else f"1: {phi[0]:g} deg"
            lines.append(
                f"  {q:<10.5g}  {span:<28}  {_short(noise)}  {_short(contrast)}  {_short(baseline)}".rstrip()
            )
        lines.extend(f"  note: {note}" for note in self.notes)
        return "\n".join(lines)


def inspect_file(path: str | os.PathLike, *, max_maps: int | None = None) -> FileSummary:
    """Summarise a file of two-time maps.

    Parameters
    ----------
    path : path-like
        File of a layout that `load_xpcs` reads.
    max_maps : int or None
        Read at most that many maps, spread over the file. None: as many as make 1 GiB, at least one a q.

    Returns
    -------
    FileSummary

    Raises
    ------
    FileNotFoundError, DataError
        As `load_xpcs`.
    ValueError
        If `max_maps` is not positive.
    """
    if max_maps is not None and not (isinstance(max_maps, int) and max_maps > 0):
        raise ValueError(f"max_maps must be a positive integer or None, got {max_maps!r}")
    with open_catalogue(path) as catalogue:
        q = distinct_q(catalogue.q)
        groups = [maps_at_q(catalogue.q, value, 0.0) for value in q]
        if max_maps is None:
            map_bytes = max(catalogue.n_frames**2 * catalogue.dtype.itemsize, 1)
            max_maps = max(_BYTES_READ_BY_DEFAULT // map_bytes, 1)
        figures = [_figures(catalogue, _spread(group, max_maps, len(groups))) for group in groups]
    notes = [*catalogue.notes, *catalogue.warnings, *(note for figure in figures for note in figure["notes"])]
    symmetric = [flag for figure in figures for flag in figure["symmetric"]]
    return FileSummary(
        path=os.fspath(path),
        layout=catalogue.layout,
        q=tuple(q.tolist()),
        phi=tuple(tuple(catalogue.phi[group].tolist()) for group in groups),
        n_frames=catalogue.n_frames,
        dt=catalogue.dt,
        n_maps=int(catalogue.q.size),
        n_read=sum(figure["n_read"] for figure in figures),
        n_nan=sum(figure["n_nan"] for figure in figures),
        n_empty=sum(figure["n_empty"] for figure in figures),
        symmetric=all(symmetric) if symmetric else None,
        noise=tuple(_median(figure["noise"]) for figure in figures),
        contrast=tuple(_median(figure["contrast"]) for figure in figures),
        baseline=tuple(_median(figure["baseline"]) for figure in figures),
        notes=tuple(dict.fromkeys(notes)),
    )


def _spread(group: np.ndarray, max_maps: int, n_groups: int) -> np.ndarray:
    """About max_maps / n_groups maps of the group, at least one, evenly spread."""
    n = min(group.size, max(max_maps // n_groups, 1))
    return group[np.linspace(0, group.size - 1, n).round().astype(int)]


def _figures(catalogue: Catalogue, maps: np.ndarray) -> dict[str, Any]:
    """Figures of some maps of one q, read one at a time."""
    found: dict[str, Any] = {name: [] for name in ("notes", "symmetric", "noise", "contrast", "baseline")}
    found |= {"n_read": maps.size, "n_nan": 0, "n_empty": 0}
    n = catalogue.n_frames
    c2 = np.empty((n, n), dtype=catalogue.dtype)
    for k in maps:
        try:
            note = catalogue.read(int(k), slice(0, n), c2)
        except DataError as error:
            found["n_empty"] += 1
            found["notes"].append(str(error))
            continue
        found["notes"].extend([note] if note else [])
        diagonal_nan = np.count_nonzero(~np.isfinite(np.diagonal(c2)))
        found["n_nan"] += int(np.count_nonzero(~np.isfinite(c2)) - diagonal_nan)
        same, compared, _ = agreement(c2)
        if compared:
            found["symmetric"].append(same)
        found["noise"].append(float(estimate_sigma(c2)[0]))
        contrast, baseline = _decay(c2)
        found["contrast"].append(contrast)
        found["baseline"].append(baseline)
    return found


def _decay(c2: np.ndarray) -> tuple[float, float]:
    """Contrast and baseline from the shortest and the longest delays."""
    n = c2.shape[0]
    # Every k-th delay suffices for a rough baseline of a large map.
    delays = np.unique(np.linspace(max(int(0.8 * n), 1), n - 1, 50).astype(int)) if n > 1 else []
    tail = np.concatenate([np.diagonal(c2, -delay) for delay in delays]) if n > 1 else np.array([])
    head = np.diagonal(c2, -1)
    baseline = _mean(tail)
    return _mean(head) - baseline, baseline


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean(dtype=np.float64)) if finite.size else math.nan


def _median(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.median(finite)) if finite else math.nan


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _short(value: float) -> str:
    return f"{'-' if math.isnan(value) else f'{value:.4g}':<8}"
