"""Reader of the APS-U 8-ID layout (boost_corr since 2023).

Map k (natural order of the keys) belongs to label ``processed_bins[k-1]``, and label b to the cell
``dynamic_index_mapping[b-1]`` of the (q, phi) grid, counted row by row from 0. The mapping is not the
identity where bins are missing, for instance under the beam stop. A map is stored as its upper triangle
with the diagonal.
"""

import h5py
import numpy as np

from homodyne_data import _hdf5
from homodyne_data._catalogue import Catalogue
from homodyne_data._errors import DataError
from homodyne_data._units import angle_factor, time_factor, wavevector_factor

MAPS = "/xpcs/twotime/correlation_map"
BINS = "/xpcs/twotime/processed_bins"
CONFIG = "/xpcs/twotime/config"
AXES = ("/xpcs/qmap/dynamic_v_list_dim0", "/xpcs/qmap/dynamic_v_list_dim1")
GRID = "/xpcs/qmap/dynamic_num_pts"
MAPPING = "/xpcs/qmap/dynamic_index_mapping"
AXIS_NAMES = "/xpcs/qmap/map_names"
FRAME_TIME = "/entry/instrument/detector_1/frame_time"
EXTENSION = "/homodyne_data"

REQUIRED = (MAPS, BINS, *AXES)


def catalogue(file: h5py.File) -> Catalogue:
    """Everything but the maps themselves."""
    notes: list[str] = []
    warnings: list[str] = []
    group = file[MAPS]
    if not isinstance(group, h5py.Group) or len(group) == 0:
        raise DataError(f"{file.filename}: {MAPS} holds no map")
    keys = tuple(_hdf5.natural(group))
    labels = _labels(file, keys, warnings)
    q, phi = _bins(file, labels, notes, warnings)
    first = _hdf5.dataset(file, f"{MAPS}/{keys[0]}")
    dt, frame_time, begin = _timing(file, notes, warnings)
    extension = _extension(file, len(keys))

    return Catalogue(
        layout="APS-U",
        source=str(file.filename),
        q=q,
        phi=phi,
        keys=keys,
        n_frames=_hdf5.square_size(file, first),
        dtype=_hdf5.float_type(first),
        read=_hdf5.half_map_reader(file, MAPS, keys, phi),
        dt=dt,
        acquisition_time=0.0 if frame_time is None else begin * frame_time,
        notes=tuple(notes),
        warnings=tuple(warnings),
        **extension,
    )


def _labels(file: h5py.File, keys: tuple[str, ...], warnings: list[str]) -> np.ndarray:
    """1-based bin label of each map."""
    bins = _hdf5.integers(file, BINS)
    if len(keys) > bins.size:
        raise DataError(f"{file.filename}: {len(keys)} maps but {bins.size} entries in {BINS}")
    if len(keys) < bins.size:
        if [_hdf5.number(key) for key in keys] != list(range(1, len(keys) + 1)):
            raise DataError(
                f"{file.filename}: {len(keys)} maps for {bins.size} entries in {BINS}, and the keys are not "
                "numbered from 1 without gaps: the maps cannot be attributed"
            )
        warnings.append(
            f"Only {len(keys)} of the {bins.size} maps in {BINS} are there (an interrupted run?); "
            "they were taken as its first entries."
        )
    return bins[: len(keys)]


def _bins(
    file: h5py.File, labels: np.ndarray, notes: list[str], warnings: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Wavevector and angle of each label."""
    axes = [_hdf5.vector(file, path).astype(np.float64) for path in AXES]
    shape = tuple(axis.size for axis in axes)
    if GRID in file and tuple(_hdf5.integers(file, GRID)) != shape:
        raise DataError(f"{file.filename}: {GRID} says {_hdf5.integers(file, GRID)}, the axes have {shape}")
    if MAPPING in file:
        mapping = _hdf5.integers(file, MAPPING)
    else:
        mapping = np.arange(shape[0] * shape[1])
        warnings.append(
            f"{MAPPING} is absent: bins are taken as the full grid in order. If bins are missing "
            "(beam stop), "
            "every later map carries a wrong q and phi."
        )
    if labels.min() < 1 or labels.max() > mapping.size:
        raise DataError(
            f"{file.filename}: labels in {BINS} must be 1 to {mapping.size} (the bins that the map of bins "
            f"knows), got {labels.min()} to {labels.max()}"
        )
    cells = mapping[labels - 1]
    if cells.min() < 0 or cells.max() >= shape[0] * shape[1]:
        raise DataError(f"{file.filename}: {MAPPING} points outside the grid of {shape[0]} x {shape[1]} bins")
    if np.unique(cells).size != cells.size:
        raise DataError(f"{file.filename}: two maps belong to the same bin of the (q, phi) grid")
    values = [axes[0][cells // shape[1]], axes[1][cells % shape[1]]]
    q_axis = _q_axis(file)
    q_path, phi_path = AXES[q_axis], AXES[1 - q_axis]
    q_factor, q_note = wavevector_factor(_hdf5.units(_hdf5.dataset(file, q_path)), q_path)
    phi_factor, phi_note = angle_factor(_hdf5.units(_hdf5.dataset(file, phi_path)), phi_path)
    notes.extend(note for note in (q_note, phi_note) if note)
    return values[q_axis] * q_factor, values[1 - q_axis] * phi_factor


def _q_axis(file: h5py.File) -> int:
    """Which of the two grid axes is q; the file's own names decide, where it has them."""
    names = [_hdf5.text(_hdf5.dataset(file, path).attrs.get("name", "")).lower() for path in AXES]
    if not all(names) and isinstance(file.get(AXIS_NAMES), h5py.Dataset) and file[AXIS_NAMES].size == 2:
        names = [_hdf5.text(name).lower() for name in np.reshape(file[AXIS_NAMES][()], -1)]
    if not all(names) or names == ["q", "phi"]:
        return 0
    if names == ["phi", "q"]:
        return 1
    raise DataError(
        f"{file.filename}: the bins are a grid of {names[0]} and {names[1]}, q and phi are needed"
    )


def _timing(
    file: h5py.File, notes: list[str], warnings: list[str]
) -> tuple[float | None, float | None, float]:
    """Time between the frames of a map, between raw frames, and the raw frames before the first."""
    factors = {}
    for name in ("stride_frame", "avg_frame"):
        value = _hdf5.scalar(file, f"{CONFIG}/{name}")
        if value is None:
            notes.append(f"{CONFIG}/{name} is absent and was taken as 1.")
        factors[name] = 1.0 if value is None else value
        if factors[name] < 1:
            raise DataError(f"{file.filename}: {CONFIG}/{name} must be 1 or more, got {factors[name]:g}")
    begin = _hdf5.scalar(file, f"{CONFIG}/begin_frame") or 0.0
    frame_time = _hdf5.scalar(file, FRAME_TIME)
    if frame_time is None:
        return None, None, 0.0
    factor, note = time_factor(_hdf5.units(_hdf5.dataset(file, FRAME_TIME)), FRAME_TIME)
    if note:
        notes.append(note)
    if begin < 0:
        warnings.append(f"{CONFIG}/begin_frame is {begin:g} and was taken as 0.")
        begin = 0.0
    frame_time *= factor
    return frame_time * factors["stride_frame"] * factors["avg_frame"], frame_time, begin


def _extension(file: h5py.File, n_maps: int) -> dict:
    """What `save_apsu` adds to the layout: gap, sigma, good frames, time of the first frame."""
    if EXTENSION not in file:
        return {}
    found: dict = {}
    for name, path in (("L", "L"), ("first_time", "first_time")):
        value = _hdf5.scalar(file, f"{EXTENSION}/{path}")
        if value is not None:
            found[name] = value
    if f"{EXTENSION}/sigma" in file:
        sigma = _hdf5.vector(file, f"{EXTENSION}/sigma").astype(np.float64)
        if sigma.size != n_maps:
            raise DataError(f"{file.filename}: {EXTENSION}/sigma has {sigma.size} values for {n_maps} maps")
        found["sigma"] = sigma
        found["sigma_source"] = _hdf5.text(file[f"{EXTENSION}/sigma"].attrs.get("source", "given"))
    if f"{EXTENSION}/good_frames" in file:
        found["good_frames"] = _hdf5.vector(file, f"{EXTENSION}/good_frames").astype(bool)
    return found
