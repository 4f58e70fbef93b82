"""Arrays and dictionaries: the keys of ``.npz`` files and of the historical dictionary."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from homodyne_data._assemble import Selection, assemble
from homodyne_data._catalogue import Catalogue
from homodyne_data._checks import check_time_grid
from homodyne_data._errors import DataError
from homodyne_data._floats import native_float
from homodyne_data._hdf5 import complete_map
from homodyne_data._triangles import populated
from homodyne_data._twotime import TwoTimeData

# Historical name -> name here.
HISTORICAL = {"phi_angles_list": "phi", "c2_exp": "c2"}
KNOWN = (
    "c2", "phi", "q", "wavevector_q_list", "t", "t1", "t2", "dt", "sigma", "sigma_source",
    "mask", "L", "good_frames", "time_origin", "provenance",
)  # fmt: skip


def from_mapping(
    mapping: Mapping[str, Any],
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
    """Two-time data from a dictionary of arrays.

    Parameters
    ----------
    mapping : mapping
        ``c2`` (n_phi, n_t, n_t) [dimensionless] or (n_t, n_t); ``phi`` (n_phi,) [degrees]; ``q`` one value
        or one a map [1/Å]; the times as ``t`` (n_t,), ``dt`` [s], or ``t1`` and ``t2`` as vectors or as
        mesh grids (``t1[i, 0]``, ``t2[0, j]``); optional ``sigma``, ``mask`` (bool, True = use), ``L`` [Å],
        ``good_frames``. The historical names ``c2_exp``, ``phi_angles_list`` and ``wavevector_q_list`` are
        understood. Other keys are ignored and noted in the provenance.
    q, q_tolerance, phi_ranges, fallback_to_all_angles, start_frame, end_frame, skip_first_frames, bad_frames
        Selection, see `load_xpcs`.
    mask, sigma, dt, L, time_origin
        Replace or complete what the mapping holds, see `load_xpcs`.

    Returns
    -------
    TwoTimeData
        `c2` is not copied unless it must be converted or completed.

    Raises
    ------
    DataError, ValueError, TypeError
        See `load_xpcs`; also if a key is missing, given twice under two names, or has a shape that does not
        fit.

    Notes
    -----
    ``wavevector_q_list`` with one value for each map is taken as such; of any other length, its first value
    counts, with a warning if it holds more.

    Examples
    --------
    >>> t = 0.1 * np.arange(4)
    >>> t1, t2 = np.meshgrid(t, t, indexing="ij")
    >>> data = from_mapping({
    ...     "wavevector_q_list": [0.0054], "phi_angles_list": [0.0, 90.0], "t1": t1, "t2": t2,
    ...     "c2_exp": 1 + 0.3 * np.exp(-np.abs(t1 - t2)) * np.ones((2, 1, 1)),
    ... })
    >>> data.q, data.n_phi, round(data.dt, 3)
    (0.0054, 2, 0.1)
    """
    selection = Selection(
        q, q_tolerance, phi_ranges, fallback_to_all_angles, start_frame, end_frame, skip_first_frames,
        bad_frames, mask, sigma, dt, L, time_origin,
    )  # fmt: skip
    return assemble(catalogue_of_mapping(mapping), selection)


def catalogue_of_mapping(mapping: Mapping[str, Any]) -> Catalogue:
    """Catalogue of arrays in memory."""
    fields, ignored = known_fields(mapping)
    c2 = native_float(require(fields, "c2"))
    if c2.ndim == 2:
        c2 = c2[None]
    notes = [f"Keys that mean nothing here were ignored: {', '.join(ignored)}."] if ignored else []
    described = describe(fields, c2.shape)
    notes += described.pop("notes")
    warnings = described.pop("warnings")
    # Triangles with data in each map: 2 is a full map, 1 is half of one, 0 is none.
    triangles = [sum(populated(c2[k])) for k in range(c2.shape[0])]
    if 1 in triangles:
        warnings.append(
            f"{triangles.count(1)} of {len(triangles)} maps hold one triangle only; it was mirrored."
        )

    def read(k: int, window: slice, out: np.ndarray) -> None:
        out[:] = c2[k, window, window]
        complete_map(f"c2[{k}] (phi = {described['phi'][k]:g} degrees)", out, half=None, expected="one")

    return Catalogue(
        layout="arrays",
        source="",
        keys=tuple(f"c2[{k}]" for k in range(c2.shape[0])),
        n_frames=c2.shape[1],
        dtype=c2.dtype,
        read=read,
        whole=c2 if min(triangles) == 2 else None,
        notes=tuple(notes),
        warnings=tuple(warnings),
        **described,
    )


def known_fields(mapping: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Fields under their names here, and the keys that mean nothing."""
    if not isinstance(mapping, Mapping):
        raise TypeError(f"expected a mapping of arrays, got {type(mapping).__name__}")
    fields: dict[str, Any] = {}
    ignored = []
    for key, value in mapping.items():
        name = HISTORICAL.get(key, key)
        if name not in KNOWN:
            ignored.append(str(key))
        elif value is not None:
            if name in fields:
                raise ValueError(f"{name} is given twice, also under its historical name")
            fields[name] = value
    return fields, ignored


def require(fields: Mapping[str, Any], name: str) -> Any:
    """The field, or an error that says what there is."""
    if name not in fields:
        historical = [old for old, new in HISTORICAL.items() if new == name]
        names = " or ".join([name, *historical])
        raise DataError(f"no {names} among the data; there are: {', '.join(sorted(fields)) or 'none'}")
    return fields[name]


def describe(fields: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Everything of a catalogue but the maps, whose shape is given."""
    if len(shape) != 3 or shape[1] != shape[2] or shape[0] == 0:
        raise ValueError(f"c2 must have shape (n_phi, n_t, n_t) or (n_t, n_t), got {shape}")
    n_maps, n_frames = shape[:2]
    notes: list[str] = []
    warnings: list[str] = []
    phi = np.atleast_1d(_numbers("phi", require(fields, "phi")))
    if phi.shape != (n_maps,):
        raise ValueError(f"phi must have shape {(n_maps,)} (one angle a map), got {phi.shape}")
    t, dt = _grid(fields, n_frames)
    first_time = 0.0 if t is None else float(t[0])
    sigma = fields.get("sigma")
    if sigma is not None:
        sigma = _numbers("sigma", sigma)
        if sigma.shape not in ((), (n_maps,), (n_maps, n_frames, n_frames)):
            raise ValueError(
                f"sigma must be a number or have shape {(n_maps,)} or "
                f"{(n_maps, n_frames, n_frames)}, got {sigma.shape}"
            )
    origin = fields.get("time_origin")
    gap = fields.get("L")
    return {
        "q": _wavevectors(fields, n_maps, warnings),
        "phi": phi,
        "dt": dt,
        # Saved with times that count from the acquisition: frame 1 is then not the selection's origin.
        "first_time": 0.0 if origin is not None and str(origin) == "acquisition" else first_time,
        "acquisition_time": first_time,
        "L": None if gap is None else _number("L", gap),
        "sigma": float(sigma) if sigma is not None and sigma.ndim == 0 else sigma,
        "sigma_source": None if sigma is None else str(fields.get("sigma_source", "given")),
        "good_frames": _flags("good_frames", fields.get("good_frames"), [(n_frames,)]),
        "good_pairs": _pairs(fields.get("mask"), n_maps, n_frames),
        "notes": notes,
        "warnings": warnings,
    }


def _wavevectors(fields: Mapping[str, Any], n_maps: int, warnings: list[str]) -> np.ndarray:
    if "q" in fields and "wavevector_q_list" in fields:
        raise ValueError("q is given twice, also as wavevector_q_list")
    historical = "wavevector_q_list" in fields
    name = "wavevector_q_list" if historical else "q"
    if not historical:
        require(fields, "q")
    q = _numbers(name, fields[name]).reshape(-1)
    if q.size == n_maps:
        return q
    if q.size == 1 or (historical and q.size):
        if q.size > 1:
            warnings.append(
                f"wavevector_q_list has {q.size} values for {n_maps} maps; the first, {q[0]:g} 1/Å, counts."
            )
        return np.full(n_maps, q[0])
    raise ValueError(f"{name} must be one value or one a map ({n_maps}), got {q.size}")


def _grid(fields: Mapping[str, Any], n_frames: int) -> tuple[np.ndarray | None, float | None]:
    """Times of the frames and their step [s], from t, t1 and t2, or dt."""
    times = {name: _time_vector(name, fields[name]) for name in ("t", "t1", "t2") if name in fields}
    for name, t in times.items():
        if t.shape != (n_frames,):
            raise ValueError(f"{name} must have {n_frames} times (frames of c2), got {t.size}")
        check_time_grid(t)
    given = None if "dt" not in fields else _number("dt", fields["dt"])
    if given is not None and not (np.isfinite(given) and given > 0):
        raise ValueError(f"dt must be positive and finite [s], got {given}")
    if not times:
        return None, given
    first, *others = times.items()
    step = float(first[1][-1] - first[1][0]) / max(n_frames - 1, 1)
    for name, t in others:
        if np.abs(t - first[1]).max() > 1e-3 * step:
            raise ValueError(f"{first[0]} and {name} must be the same times")
    if given is not None and abs(given - step) > 1e-3 * step:
        raise ValueError(f"dt = {given:g} s does not fit {first[0]}, whose step is {step:g} s")
    return first[1], step


def _time_vector(name: str, times: Any) -> np.ndarray:
    """A vector as it is; of a mesh grid (indexing "ij") its one varying axis."""
    t = _numbers(name, times)
    if t.ndim != 2:
        return t.reshape(-1) if t.size == 1 else t
    vector, grid = (t[:, 0], t[:, :1]) if name == "t1" else (t[0, :], t[:1, :])
    if name == "t" or not np.array_equal(np.broadcast_to(grid, t.shape), t):
        raise ValueError(
            f"{name} is not a mesh grid with t1 along rows (first index) and t2 along columns; "
            "make both with "
            'np.meshgrid(t, t, indexing="ij")'
        )
    return vector


def _numbers(name: str, values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be real numbers, got dtype {array.dtype}")
    if array.dtype == np.float32 and array.ndim == 3:
        return array
    return array.astype(np.float64, copy=False)


def _number(name: str, value: Any) -> float:
    array = _numbers(name, value)
    if array.size != 1:
        raise ValueError(f"{name} must be one number, got shape {array.shape}")
    return float(array.reshape(-1)[0])


def _flags(name: str, values: Any, shapes: list[tuple[int, ...]]) -> np.ndarray | None:
    if values is None:
        return None
    flags = np.asarray(values)
    if flags.dtype != bool:
        if flags.dtype.kind not in "iu" or not np.all((flags == 0) | (flags == 1)):
            raise TypeError(f"{name} must be bool (True = use), got dtype {flags.dtype}")
        flags = flags.astype(bool)
    if flags.shape not in shapes:
        raise ValueError(f"{name} must have shape {' or '.join(map(str, shapes))}, got {flags.shape}")
    return flags


def _pairs(values: Any, n_maps: int, n_frames: int) -> np.ndarray | None:
    square = (n_frames, n_frames)
    pairs = _flags("mask", values, [(n_maps, *square), (1, *square), square])
    return pairs[None] if pairs is not None and pairs.ndim == 2 else pairs
