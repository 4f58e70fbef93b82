"""Write two-time data, atomically."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict

import h5py
import numpy as np

from homodyne_data import _apsu, _hdf5
from homodyne_data._atomic import atomic_path
from homodyne_data._selection import distinct_q
from homodyne_data._twotime import TwoTimeData


def save_apsu(
    path: str | os.PathLike, data: TwoTimeData | Sequence[TwoTimeData], *, overwrite: bool = False
) -> None:
    """Write maps in the APS-U layout, which `load_xpcs` and other programs read.

    Each map is stored as its upper triangle with the diagonal. Data of several q share one file.

    Parameters
    ----------
    path : path-like
        File to write; it appears complete or not at all.
    data : TwoTimeData or sequence of them
        Symmetric data of different q, with the same times.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is false.
    ValueError
        If the layout cannot hold the data: triangles that differ, a full-size sigma, a pair mask; or if the
        data do not belong together (times, gap, good frames, the same q and angle twice). `save_npz` holds
        everything.

    Notes
    -----
    The group ``/homodyne_data`` is ours: the gap, sigma of each map, good frames, and the first time
    where it is not 0. Times counted from the acquisition are kept as ``begin_frame`` and come back with
    ``time_origin="acquisition"``.
    """
    sets = [data] if isinstance(data, TwoTimeData) else list(data)
    _check_fit(sets)
    q_axis, phi_axis = (_axis([getattr(item, name) for item in sets]) for name in ("q", "phi"))
    if distinct_q(q_axis).size != q_axis.size:
        raise ValueError(f"q values closer than 1e-5 of themselves would be read as one: {q_axis.tolist()}")
    cells = np.array(
        [_index(q_axis, item.q) * phi_axis.size + _index(phi_axis, phi) for item in sets for phi in item.phi]
    )
    mapping = np.unique(cells)
    if mapping.size != cells.size:
        raise ValueError("two maps have the same q and the same angle")
    first = sets[0]
    begin = _begin_frame(first)
    with atomic_path(path, overwrite=overwrite) as temporary, _hdf5.created(temporary) as file:
        maps = file.create_group(_apsu.MAPS)
        k = 0
        for item in sets:
            # Of symmetric data the triangle t1 > t2 counts; its transpose is the layout's upper triangle.
            for c2 in item.c2:
                k += 1
                maps.create_dataset(f"c2_{k:05d}", data=np.tril(c2).T, compression="lzf")
        file[_apsu.BINS] = (np.searchsorted(mapping, cells) + 1).astype(np.int32)
        for axis, values, name, unit in zip(
            _apsu.AXES, (q_axis, phi_axis), ("q", "phi"), ("Å⁻¹", "deg"), strict=True
        ):
            file[axis] = values
            file[axis].attrs["name"], file[axis].attrs["unit"] = name, unit
        file[_apsu.GRID] = np.array([q_axis.size, phi_axis.size])
        file[_apsu.MAPPING] = mapping
        file[_apsu.AXIS_NAMES] = ["q", "phi"]
        file[_apsu.FRAME_TIME] = first.dt
        for name, value in (("stride_frame", 1), ("avg_frame", 1), ("begin_frame", begin), ("end_frame", -1)):
            file[f"{_apsu.CONFIG}/{name}"] = value
        _write_extension(file, sets)


def _check_fit(sets: list[TwoTimeData]) -> None:
    if not sets or not all(isinstance(item, TwoTimeData) for item in sets):
        raise TypeError("data must be TwoTimeData or a non-empty sequence of them")
    first = sets[0]
    for item in sets:
        if not item.symmetric:
            raise ValueError(
                f"the two triangles of q = {item.q:g} 1/Å differ and the APS-U layout stores "
                "one; use save_npz"
            )
        if item.good_pairs is not None or np.ndim(item.sigma) == 3:
            raise ValueError(
                "the APS-U layout has no place for a pair mask or a sigma of every entry; use "
                "save_npz, or take "
                "them off first"
            )
        if item.n_t != first.n_t or np.abs(item.t - first.t).max() > 1e-6 * first.dt:
            raise ValueError("data in one file must have the same times")
        if item.time_origin != first.time_origin:
            raise ValueError("data in one file must have the same time_origin")
        if item.L != first.L or item.sigma_source != first.sigma_source:
            raise ValueError("data in one file must have the same L and the same sigma_source")
        flags = [np.ones(d.n_t, bool) if d.good_frames is None else d.good_frames for d in (item, first)]
        if not np.array_equal(*flags):
            raise ValueError("data in one file must have the same good_frames")


def _axis(values: list) -> np.ndarray:
    """Distinct values in the order in which they first occur."""
    flat = np.concatenate([np.atleast_1d(value) for value in values])
    return np.array(list(dict.fromkeys(flat.tolist())))


def _index(axis: np.ndarray, value: float) -> int:
    return int(np.flatnonzero(axis == value)[0])


def _begin_frame(data: TwoTimeData) -> int:
    """Frames before the first one, if the times count from the acquisition."""
    if data.time_origin != "acquisition":
        return 0
    begin = round(data.t[0] / data.dt)
    if abs(data.t[0] - begin * data.dt) > 1e-6 * data.dt:
        raise ValueError(
            f"the first time, {data.t[0]:g} s since the acquisition began, is not a multiple of "
            f"dt = {data.dt:g} s, which "
            "the APS-U layout needs; use save_npz"
        )
    return begin


def _write_extension(file: h5py.File, sets: list[TwoTimeData]) -> None:
    first = sets[0]
    group = file.create_group(_apsu.EXTENSION)
    group.attrs["version"] = 1
    if first.L is not None:
        group["L"] = first.L
        group["L"].attrs["unit"] = "Å"
    if first.time_origin != "acquisition" and first.t[0] != 0:
        group["first_time"] = first.t[0]
        group["first_time"].attrs["unit"] = "s"
    if first.good_frames is not None:
        group["good_frames"] = first.good_frames
    if first.sigma is not None:
        group["sigma"] = np.concatenate(
            [np.broadcast_to(item.sigma, item.n_phi).astype(float) for item in sets]
        )
        group["sigma"].attrs["source"] = first.sigma_source


def save_npz(path: str | os.PathLike, data: TwoTimeData, *, overwrite: bool = False) -> None:
    """Write everything that `data` hold as an uncompressed ``.npz`` file without pickle.

    Parameters
    ----------
    path : path-like
        File to write, with any suffix; it appears complete or not at all.
    data : TwoTimeData
        Data of one q.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is false.

    Notes
    -----
    Keys: ``c2``, ``phi``, ``q``, ``t``, ``time_origin``, ``provenance`` (JSON), and where the data have
    them ``L``, ``sigma``, ``sigma_source``, ``mask`` (pairs, True = use), ``good_frames``.
    """
    if not isinstance(data, TwoTimeData):
        raise TypeError(f"data must be TwoTimeData, got {type(data).__name__}")
    optional = {
        "L": data.L,
        "sigma": data.sigma,
        "sigma_source": data.sigma_source,
        "mask": data.good_pairs,
        "good_frames": data.good_frames,
    }
    with atomic_path(path, overwrite=overwrite) as temporary, open(temporary, "wb") as stream:
        np.savez(
            stream,
            c2=np.ascontiguousarray(data.c2) if np.isfortran(data.c2) else data.c2,
            phi=data.phi,
            q=np.float64(data.q),
            t=data.t,
            time_origin=np.array(str(data.time_origin)),
            provenance=np.array(json.dumps(asdict(data.provenance))),
            **{name: np.asarray(value) for name, value in optional.items() if value is not None},
        )
