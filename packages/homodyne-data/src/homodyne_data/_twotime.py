"""Two-time maps of one q with everything that decides which points count."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from homodyne_data._checks import (
    angle_indices,
    angles_of_maps,
    booleans,
    check_time_origin,
    float_maps,
    positive,
    times_of_frames,
)
from homodyne_data._errors import DataError, warn
from homodyne_data._noise import estimate_sigma
from homodyne_data._selection import frame_window, select_angles
from homodyne_data._triangles import agreement, populated
from homodyne_data._units import warn_gap, warn_time_step, warn_wavevector

SIGMA_SOURCES = ("given", "estimated", "default")


@dataclass(frozen=True)
class Provenance:
    """Where two-time data come from.

    Attributes
    ----------
    source : str
        File as it was named, or what the data were made from; empty if unknown.
    size : int or None
        Size of the file [bytes].
    mtime : float or None
        Time of its last change [s since 1970].
    layout : str
        Layout of the file ("APS-U", "APS", "NXxpcs", "npz"), or "arrays".
    keys : tuple of str
        Name of the map of each angle.
    selection : dict
        What was selected: q, angles, frames.
    notes : tuple of str
        Sentences about everything that was assumed, converted or repaired.
    """

    source: str = ""
    size: int | None = None
    mtime: float | None = None
    layout: str = "arrays"
    keys: tuple[str, ...] = ()
    selection: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class TwoTimeData:
    """Measured two-time correlation maps of one q, and the one mask that all users of the data share.

    The arrays are taken as they are (no copy when they are NumPy arrays of a native float type) and shown
    read-only.

    Parameters
    ----------
    c2 : (n_phi, n_t, n_t) float32 or float64
        C2[phi, t1 (row i), t2 (column j)], dimensionless, full maps with baseline 1.
    phi : (n_phi,) float64
        Azimuthal angles [degrees].
    t : (n_t,) float64
        Frame times [s], uniform, increasing, not negative.
    q : float
        Wavevector magnitude [1/Å], > 0.
    L : float or None
        Stator-rotor gap [Å], > 0.
    sigma : None, float, (n_phi,) or (n_phi, n_t, n_t)
        Standard deviation of the noise of one entry. Must be positive where a point counts.
    sigma_source : {None, "given", "estimated", "default"}
        Filled with "given" when `sigma` is there.
    good_frames : (n_t,) bool or None
        False drops every pair with that frame.
    good_pairs : (n_phi or 1, n_t, n_t) or (n_t, n_t) bool, or None
        False drops the pair; in a symmetric map both mirror entries must be good.
    symmetric : bool or None
        The two triangles repeat each other. None: detected (they agree to rounding); a value
        that is given is trusted.
    time_origin : "selection", "acquisition" or float
        What t = 0 means: the first selected frame, the first frame of the acquisition, or the time [s] that
        was given to the first selected frame.
    provenance : Provenance
        Where the data come from.

    Raises
    ------
    DataError
        For data that cannot be used: an angle without a usable point, a half-stored map.
    ValueError, TypeError
        For arguments of a wrong shape, type or sign.

    Notes
    -----
    A point counts (`mask`) when it is finite, off the diagonal (shot noise), of good frames and a good pair,
    and, if the maps are symmetric, below the diagonal: t1 later than t2, row index i > column index j.
    Nothing is imputed.

    Examples
    --------
    >>> t = 0.1 * np.arange(5)
    >>> c2 = 1 + 0.3 * np.exp(-np.abs(t[:, None] - t))[None]
    >>> data = TwoTimeData(c2, phi=[0.0], t=t, q=0.01)
    >>> data.symmetric, data.n_points
    (True, 10)
    >>> data.n_dropped
    {'diagonal': 5, 'repeated': 10, 'bad_frames': 0, 'masked_pairs': 0, 'not_finite': 0}
    """

    c2: np.ndarray
    phi: np.ndarray
    t: np.ndarray
    q: float
    L: float | None = None
    sigma: float | np.ndarray | None = None
    sigma_source: str | None = None
    good_frames: np.ndarray | None = None
    good_pairs: np.ndarray | None = None
    symmetric: bool | None = None
    time_origin: str | float = "selection"
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        c2 = float_maps(self.c2)
        n_phi, n_t = c2.shape[:2]
        self._set("c2", _read_only(c2))
        self._set("phi", _read_only(angles_of_maps(self.phi, n_phi)))
        self._set("t", _read_only(times_of_frames(self.t, n_t)))
        self._set("q", positive("q", self.q, "1/Å"))
        warn_wavevector(self.q)
        warn_time_step(self.dt)
        if self.L is not None:
            self._set("L", positive("L", self.L, "Å"))
            warn_gap(self.L)
        self._set("time_origin", check_time_origin(self.time_origin))
        if self.good_frames is not None:
            self._set("good_frames", _read_only(booleans("good_frames", self.good_frames, [(n_t,)])))
        if self.good_pairs is not None:
            shapes = [(n_phi, n_t, n_t), (1, n_t, n_t), (n_t, n_t)]
            pairs = booleans("good_pairs", self.good_pairs, shapes)
            self._set("good_pairs", _read_only(pairs[None] if pairs.ndim == 2 else pairs))
        if self.symmetric is None:
            self._set("symmetric", _detect_symmetry(c2, self.phi))
        elif not isinstance(self.symmetric, bool | np.bool_):
            raise TypeError(f"symmetric must be a bool or None, got {self.symmetric!r}")
        else:
            self._set("symmetric", bool(self.symmetric))
        for angle in range(n_phi):
            above, below = populated(c2[angle])
            if self.symmetric and above and not below and not np.isnan(c2[angle]).any():
                raise DataError(_half_stored(angle, self.phi[angle]))
            if not (above or below or np.isnan(c2[angle]).any()):
                raise DataError(
                    f"angle {angle} (phi = {self.phi[angle]:g} degrees) holds only zeros off the "
                    "diagonal; leave it out"
                )
            if self._counts[0][angle] == 0:
                raise DataError(
                    f"angle {angle} (phi = {self.phi[angle]:g} degrees) has no usable point: "
                    f"{_why_empty(c2[angle])}; leave it out or correct the mask"
                )
        self._check_sigma()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_sigma(self) -> None:
        if self.sigma is None:
            if self.sigma_source is not None:
                raise ValueError(f"sigma_source is {self.sigma_source!r} but sigma is None")
            return
        if self.sigma_source is None:
            self._set("sigma_source", "given")
        if self.sigma_source not in SIGMA_SOURCES:
            raise ValueError(f"sigma_source must be one of {SIGMA_SOURCES}, got {self.sigma_source!r}")
        sigma = np.asarray(self.sigma)
        if sigma.dtype.kind not in "fiu":
            raise TypeError(f"sigma must be real numbers, got dtype {sigma.dtype}")
        if sigma.ndim == 0:
            self._set("sigma", positive("sigma", float(sigma), "dimensionless"))
            return
        if sigma.shape not in ((self.n_phi,), self.c2.shape):
            raise ValueError(
                f"sigma must be a number or have shape {(self.n_phi,)} or {self.c2.shape}, got {sigma.shape}"
            )
        if sigma.dtype not in (np.float32, np.float64):
            sigma = sigma.astype(np.float64)
        for angle in range(self.n_phi):
            values = sigma[angle] if sigma.ndim == 1 else sigma[angle][self.angle_mask(angle)]
            bad = ~((values > 0) & (values < np.inf))
            if np.any(bad):
                worst = np.atleast_1d(values)[np.atleast_1d(bad)][0]
                raise ValueError(
                    f"sigma must be positive and finite where a point counts, got {worst:g} at angle {angle} "
                    f"(phi = {self.phi[angle]:g} degrees)"
                )
        self._set("sigma", _read_only(sigma))

    @property
    def n_phi(self) -> int:
        """Number of angles."""
        return self.c2.shape[0]

    @property
    def n_t(self) -> int:
        """Number of frames."""
        return self.c2.shape[1]

    @property
    def dt(self) -> float:
        """Time step [s]."""
        return float(self.t[-1] - self.t[0]) / (self.t.size - 1)

    @cached_property
    def _frame_pairs(self) -> np.ndarray:
        """(n_t, n_t) bool: what diagonal, symmetry and good frames leave of every angle."""
        pairs = np.tri(self.n_t, k=-1, dtype=bool)
        if not self.symmetric:
            pairs |= pairs.T.copy()
        if self.good_frames is not None:
            pairs &= self.good_frames[:, None]
            pairs &= self.good_frames[None, :]
        return _read_only(pairs)

    def _pairs_of(self, angle: int) -> np.ndarray:
        """`_frame_pairs` with the pair mask of the angle."""
        if self.good_pairs is None:
            return self._frame_pairs
        good = self.good_pairs[angle if self.good_pairs.shape[0] > 1 else 0]
        pairs = self._frame_pairs & good
        if self.symmetric:
            pairs &= good.T
        return pairs

    def angle_mask(self, angle: int) -> np.ndarray:
        """Points of one angle that count, (n_t, n_t) bool; see `mask`. Nothing is kept."""
        return self._pairs_of(angle) & np.isfinite(self.c2[angle])

    @cached_property
    def mask(self) -> np.ndarray:
        """Points that enter every sum, (n_phi, n_t, n_t) bool, read-only.

        Computed on first use. One angle's mask is shared by all angles when they agree, so it then costs
        n_t² bytes.
        """
        first = self.angle_mask(0)
        full = None
        for angle in range(1, self.n_phi):
            mask = self.angle_mask(angle)
            if full is None and not np.array_equal(mask, first):
                full = np.empty(self.c2.shape, dtype=bool)
                full[:angle] = first
            if full is not None:
                full[angle] = mask
        return np.broadcast_to(first, self.c2.shape) if full is None else _read_only(full)

    @cached_property
    def _counts(self) -> tuple[np.ndarray, int, int]:
        """Usable points per angle, and how many the pair masks and missing values took."""
        usable = np.zeros(self.n_phi, dtype=np.int64)
        masked = not_finite = 0
        n_frame_pairs = int(np.count_nonzero(self._frame_pairs))
        for angle in range(self.n_phi):
            pairs = self._pairs_of(angle)
            n_pairs = int(np.count_nonzero(pairs))
            usable[angle] = np.count_nonzero(np.isfinite(self.c2[angle]) & pairs)
            masked += n_frame_pairs - n_pairs
            not_finite += n_pairs - int(usable[angle])
        return usable, masked, not_finite

    @property
    def n_points(self) -> int:
        """Number of points that count: the sum of `mask`."""
        return int(self._counts[0].sum())

    @property
    def n_dropped(self) -> dict[str, int]:
        """Entries of the maps that do not count, each under the first reason that applies.

        ``diagonal``, ``repeated`` (above the diagonal of symmetric maps), ``bad_frames``, ``masked_pairs``,
        ``not_finite``; together with `n_points` they add up to the size of `c2`.
        """
        _, masked, not_finite = self._counts
        triangle = self.n_t * (self.n_t - 1) // 2
        off_diagonal = triangle if self.symmetric else 2 * triangle
        return {
            "diagonal": self.n_phi * self.n_t,
            "repeated": self.n_phi * triangle if self.symmetric else 0,
            "bad_frames": self.n_phi * (off_diagonal - int(np.count_nonzero(self._frame_pairs))),
            "masked_pairs": masked,
            "not_finite": not_finite,
        }

    def weights(self, angle: int) -> np.ndarray:
        """1/sigma² of one angle's points, 0 where a point does not count, (n_t, n_t) in the dtype of `c2`.

        Raises
        ------
        ValueError
            If there is no sigma.
        """
        if self.sigma is None:
            raise ValueError("there is no sigma: use with_sigma() or with_estimated_sigma() first")
        sigma = self.sigma if np.ndim(self.sigma) == 0 else self.sigma[angle]
        mask = self.angle_mask(angle)
        weights = np.zeros(mask.shape, dtype=self.c2.dtype)
        np.divide(1.0, np.square(sigma), out=weights, where=mask, casting="same_kind")
        return weights

    def select(
        self,
        phi: Iterable[tuple[float, float] | Mapping[str, float]] | None = None,
        angles: Sequence[int] | None = None,
        frames: tuple[int, int] | None = None,
        *,
        fallback_to_all_angles: bool = False,
    ) -> "TwoTimeData":
        """Part of the data.

        Parameters
        ----------
        phi : ranges or None
            Angle ranges [degrees] as `select_angles` takes them.
        angles : sequence of int or None
            Indices of the angles to keep, from 0, in the order wanted; not together with `phi`.
        frames : (start, end) or None
            Frames of these data counted from 1, both included, end -1 = last. With the time origin
            "selection" the first kept frame gets the time that the first frame had; otherwise frames keep
            their times.
        fallback_to_all_angles : bool
            Keep all angles when `phi` matches none.

        Returns
        -------
        TwoTimeData
            A frame selection is a view; a selection of angles is a view when they are consecutive.
        """
        if phi is not None and angles is not None:
            raise ValueError("give phi (ranges) or angles (indices), not both")
        if angles is not None:
            kept = angle_indices(angles, self.n_phi)
        else:
            kept = select_angles(self.phi, phi, fallback_to_all_angles=fallback_to_all_angles)
        start, end = (1, -1) if frames is None else _frame_pair(frames)
        first, stop = frame_window(self.n_t, start, end)
        window = slice(first, stop)
        t, origin = self.t[window], self.time_origin
        if origin == "selection":
            t = t - (self.t[first] - self.t[0])
        elif not isinstance(origin, str):
            origin = float(origin + (self.t[first] - self.t[0]))
        return replace(
            self,
            c2=cut(self.c2, kept, window),
            phi=self.phi[kept],
            t=t,
            sigma=self.sigma if np.ndim(self.sigma) == 0 else cut(self.sigma, kept, window),
            good_frames=None if self.good_frames is None else self.good_frames[window],
            good_pairs=None if self.good_pairs is None else cut(self.good_pairs, kept, window),
            time_origin=origin,
            provenance=self._provenance_of(kept, first, stop),
        )

    def _provenance_of(self, kept: np.ndarray, first: int, stop: int) -> Provenance:
        """Provenance of a part, with frames counted in the source where it is known."""
        provenance = self.provenance
        selection = dict(provenance.selection)
        before = selection.get("first_frame", 1) - 1
        selection["first_frame"], selection["last_frame"] = before + first + 1, before + stop
        selection["phi"] = self.phi[kept].tolist()
        keys = provenance.keys
        return replace(
            provenance,
            selection=selection,
            keys=tuple(keys[k] for k in kept) if len(keys) == self.n_phi else keys,
        )

    def with_sigma(self, sigma: float | np.ndarray | None, *, source: str | None = "given") -> "TwoTimeData":
        """The same data with another sigma (None removes it); `source` goes to `sigma_source`."""
        return replace(self, sigma=sigma, sigma_source=None if sigma is None else source)

    def with_estimated_sigma(self) -> "TwoTimeData":
        """The same data with sigma from `estimate_sigma`, one value an angle, source "estimated".

        Raises
        ------
        DataError
            If an angle's noise cannot be estimated: too few neighbouring points, or no scatter.
        """
        sigma = estimate_sigma(self)
        missing = np.flatnonzero(~np.isfinite(sigma))
        if missing.size:
            raise DataError(
                f"the noise of angle {missing[0]} (phi = {self.phi[missing[0]]:g} degrees) "
                "cannot be estimated"
                f"{f', nor that of {missing.size - 1} more' if missing.size > 1 else ''}: "
                "too few neighbouring points (a symmetric map without gaps needs 7 frames), or "
                "no scatter at all; "
                "give sigma instead"
            )
        return self.with_sigma(sigma, source="estimated")

    def __repr__(self) -> str:
        """One line, without the arrays."""
        return (
            f"TwoTimeData(q={self.q:g} 1/Å, n_phi={self.n_phi}, n_t={self.n_t}, dt={self.dt:g} s, "
            f"symmetric={self.symmetric}, n_points={self.n_points}, sigma_source={self.sigma_source!r}, "
            f"source={self.provenance.source!r})"
        )


def cut(array: np.ndarray | None, angles: np.ndarray, window: slice) -> np.ndarray | None:
    """Angles and frames of an array whose first axis is the angle; a view where NumPy can give one."""
    if array is None:
        return None
    if array.shape[0] > 1 or angles.size == 0:
        consecutive = angles.size and np.array_equal(angles, np.arange(angles[0], angles[0] + angles.size))
        array = array[angles[0] : angles[0] + angles.size] if consecutive else array[angles]
    return array[:, window, window] if array.ndim == 3 else array


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def _frame_pair(frames: tuple[int, int]) -> tuple[int, int]:
    try:
        start, end = frames
    except (TypeError, ValueError):
        raise ValueError(f"frames must be (start, end), counted from 1, got {frames!r}") from None
    return start, end


def _detect_symmetry(c2: np.ndarray, phi: np.ndarray) -> bool:
    agree = []
    lost = 0
    for angle in range(c2.shape[0]):
        same, compared, only_above = agreement(c2[angle])
        if compared and not same:
            above, below = populated(c2[angle])
            if above != below:
                raise DataError(_half_stored(angle, phi[angle]))
        if not compared and not np.isfinite(c2[angle][~np.eye(c2.shape[1], dtype=bool)]).any():
            continue  # says nothing; it is refused where the angles are checked
        agree.append(same)
        lost += only_above
    if any(agree) and not all(agree):
        warn(
            f"{sum(agree)} of {len(agree)} maps are symmetric and the others are not: both "
            "triangles of all are used, "
            "so the points of the symmetric ones count twice"
        )
    symmetric = bool(agree) and all(agree)
    if symmetric and lost:
        warn(
            f"{lost} pairs of the symmetric maps are finite only above the diagonal; they are "
            "dropped as not finite"
        )
    return symmetric


def _half_stored(angle: int, phi: float) -> str:
    return (
        f"angle {angle} (phi = {phi:g} degrees) is stored as one triangle, the other holds zeros; "
        "from_mapping completes such maps"
    )


def _why_empty(c2: np.ndarray) -> str:
    off_diagonal = ~np.eye(c2.shape[0], dtype=bool)
    if not np.any(np.isfinite(c2[off_diagonal])):
        return "every entry off the diagonal is NaN or infinite"
    return "every finite entry is masked by frames or pairs"
