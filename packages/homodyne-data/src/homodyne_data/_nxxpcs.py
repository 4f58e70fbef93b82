"""Reader of the NeXus application definition NXxpcs.

Source: NXxpcs, NeXus International Advisory Committee, manual.nexusformat.org. Attributes of
``two_time_corr_func`` say how the maps are stored; ``dynamic_q_list`` and ``dynamic_phi_list`` hold one
value for each bin label, from 1.

With ``time_origin_location`` = ``lower_left`` the row t1 = 0 is the last one, so rows are turned over. The
elements above the line t1 = t2 (``upper_half``) are then those with t1 > t2: the lower triangle of the
turned map.
"""

import h5py
import numpy as np

from homodyne_data import _hdf5
from homodyne_data._catalogue import Catalogue
from homodyne_data._errors import DataError
from homodyne_data._units import angle_factor, time_factor, wavevector_factor

DEFINITION = "definition"
MAPS = "twotime/two_time_corr_func"
Q_LIST = "instrument/masks/dynamic_q_list"
PHI_LIST = "instrument/masks/dynamic_phi_list"

_MODES = ("one_array_q_first", "one_array_q_last", "data_exchange_keys")
_ORIGINS = ("upper_left", "lower_left")
_POPULATED = {"all": None, "upper_half": "upper", "lower_half": "lower"}


def entry_of(file: h5py.File) -> str | None:
    """Name of the first group, ``/entry`` before others, whose definition is NXxpcs."""
    for name in sorted(file, key=lambda name: (name != "entry", name)):
        definition = file.get(f"{name}/{DEFINITION}")
        if isinstance(definition, h5py.Dataset) and _hdf5.text(definition[()]) == "NXxpcs":
            return name
    return None


def catalogue(file: h5py.File, entry: str) -> Catalogue:
    """Everything but the maps themselves."""
    notes: list[str] = []
    warnings: list[str] = []
    source = file[f"/{entry}/{MAPS}"]
    mode = _mode(file, source, warnings)
    baseline = _baseline(file, source, warnings)
    turned = _choice(file, source, "time_origin_location", _ORIGINS, "upper_left", warnings) == "lower_left"
    populated = _choice(file, source, "populated_elements", tuple(_POPULATED), "all", warnings)
    half = _POPULATED[populated]
    if turned and half:
        half = "lower" if half == "upper" else "upper"

    if mode == "data_exchange_keys":
        if not isinstance(source, h5py.Group) or len(source) == 0:
            raise DataError(f"{file.filename}: {source.name} must be a group of maps (data_exchange_keys)")
        keys = tuple(_hdf5.natural(source))
        labels = np.array([_hdf5.number(key) or 0 for key in keys])
        sample = _hdf5.dataset(file, f"{source.name}/{keys[0]}")
        n_frames = _hdf5.square_size(file, sample)
    else:
        sample = _hdf5.dataset(file, source.name)
        n_maps, n_frames = _stack_size(file, sample, mode)
        labels = np.arange(1, n_maps + 1)
        keys = tuple(f"{MAPS}[{k}]" for k in range(n_maps))
    q, phi = _bins(file, entry, labels, notes)

    def read(k: int, window: slice, out: np.ndarray) -> str | None:
        rows = slice(n_frames - window.stop, n_frames - window.start) if turned else window
        if mode == "data_exchange_keys":
            stored = _hdf5.dataset(file, f"{source.name}/{keys[k]}")
            if stored.shape != sample.shape:
                raise DataError(
                    f"{file.filename}: {stored.name} has shape {stored.shape}, {sample.name} {sample.shape}"
                )
            selection = (rows, window)
        else:
            stored = sample
            selection = (k, rows, window) if mode == "one_array_q_first" else (rows, window, k)
        _hdf5.read_into(stored, selection, out)
        if turned:
            out[:] = out[::-1].copy()
        note = _hdf5.complete_map(
            f"{keys[k]} (phi = {phi[k]:g} degrees)", out, half=half, expected="one" if half else "both"
        )
        if baseline == 0:
            out += 1
        return note

    return Catalogue(
        layout="NXxpcs",
        source=str(file.filename),
        q=q,
        phi=phi,
        keys=keys,
        n_frames=n_frames,
        dtype=_hdf5.float_type(sample),
        read=read,
        dt=_time_step(file, entry, notes),
        notes=(*notes, *(["The stored maps have baseline 0; 1 was added."] if baseline == 0 else [])),
        warnings=tuple(warnings),
    )


def _mode(file: h5py.File, source: h5py.Dataset | h5py.Group, warnings: list[str]) -> str:
    if isinstance(source, h5py.Group):
        default = "data_exchange_keys"
    elif source.ndim == 3 and source.shape[0] == source.shape[1] != source.shape[2]:
        default = "one_array_q_last"
    else:
        default = "one_array_q_first"
    return _choice(file, source, "storage_mode", _MODES, default, warnings)


def _choice(
    file: h5py.File,
    source: h5py.Dataset | h5py.Group,
    name: str,
    known: tuple[str, ...],
    default: str,
    warnings: list[str],
) -> str:
    if name not in source.attrs:
        warnings.append(f"{source.name} has no attribute {name}; {default} was assumed.")
        return default
    value = _hdf5.text(source.attrs[name])
    if value not in known:
        raise DataError(
            f"{file.filename}: attribute {name} of {source.name} must be one of {known}, got {value!r}"
        )
    return value


def _baseline(file: h5py.File, source: h5py.Dataset | h5py.Group, warnings: list[str]) -> int:
    if "baseline_reference" not in source.attrs:
        warnings.append(f"{source.name} has no attribute baseline_reference; 1 was assumed.")
        return 1
    value = _hdf5.text(source.attrs["baseline_reference"])
    if value not in ("0", "1", "0.0", "1.0"):
        raise DataError(
            f"{file.filename}: attribute baseline_reference of {source.name} must be 0 or 1, got {value}"
        )
    return int(float(value))


def _stack_size(file: h5py.File, stack: h5py.Dataset, mode: str) -> tuple[int, int]:
    """Number of maps and of frames of one three-dimensional array."""
    if stack.ndim == 3:
        sizes = (
            stack.shape if mode == "one_array_q_first" else (stack.shape[2], stack.shape[0], stack.shape[1])
        )
        if sizes[1] == sizes[2] and sizes[0] > 0:
            return sizes[0], sizes[1]
    wanted = "(q, t, t)" if mode == "one_array_q_first" else "(t, t, q)"
    raise DataError(f"{file.filename}: {stack.name} must have shape {wanted} ({mode}), got {stack.shape}")


def _bins(file: h5py.File, entry: str, labels: np.ndarray, notes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Wavevector and angle of each label."""
    q_path, phi_path = f"/{entry}/{Q_LIST}", f"/{entry}/{PHI_LIST}"
    q = _hdf5.vector(file, q_path).astype(np.float64)
    factor, note = wavevector_factor(_hdf5.units(_hdf5.dataset(file, q_path)), q_path)
    q *= factor
    notes.extend([note] if note else [])
    if labels.min() < 1 or labels.max() > q.size:
        raise DataError(
            f"{file.filename}: {q_path} has {q.size} values, one for each bin label; the maps have labels "
            f"{labels.min()} to {labels.max()}"
        )
    if phi_path not in file:
        notes.append(f"{phi_path} is absent; phi was set to 0.")
        return q[labels - 1], np.zeros(labels.size)
    phi = _hdf5.vector(file, phi_path).astype(np.float64)
    if phi.size != q.size:
        raise DataError(f"{file.filename}: {q_path} has {q.size} values, {phi_path} {phi.size}")
    factor, note = angle_factor(_hdf5.units(_hdf5.dataset(file, phi_path)), phi_path)
    notes.extend([note] if note else [])
    return q[labels - 1], phi[labels - 1] * factor


def _time_step(file: h5py.File, entry: str, notes: list[str]) -> float | None:
    """Frame time [s] of the first detector that has one."""
    instrument = file.get(f"/{entry}/instrument")
    if not isinstance(instrument, h5py.Group):
        return None
    for name in ["", *_hdf5.natural(instrument)]:
        path = "/".join(part for part in (f"/{entry}/instrument", name, "frame_time") if part)
        if isinstance(file.get(path), h5py.Dataset):
            factor, note = time_factor(_hdf5.units(file[path]), path)
            notes.extend([note] if note else [])
            value = _hdf5.scalar(file, path)
            return None if value is None else value * factor
    return None
