"""Reader of the old APS 8-ID layout (xpcs-eigen, XPCSGUI, early boost_corr).

q and phi are listed per bin. What the number in a map's key means depends on the program: in xpcs-eigen it
is the bin's label, in boost_corr a running number whose label stands in ``/xpcs/qphi_bin_to_process``. Both
count from 1. The keys and that list tell them apart, except where nothing is missing (then both say the
same) or where the list is absent.
"""

import h5py
import numpy as np

from homodyne_data import _hdf5
from homodyne_data._catalogue import Catalogue
from homodyne_data._errors import DataError
from homodyne_data._units import angle_factor, time_factor, wavevector_factor

MAPS = "/exchange/C2T_all"
Q_LIST = "/xpcs/dqlist"
PHI_LIST = "/xpcs/dphilist"
BINS = "/xpcs/qphi_bin_to_process"
PERIOD = "/measurement/instrument/detector/exposure_period"
FACTORS = ("/xpcs/stride_frames", "/xpcs/avg_frames")

REQUIRED = (MAPS, Q_LIST, PHI_LIST)


def catalogue(file: h5py.File) -> Catalogue:
    """Everything but the maps themselves."""
    notes: list[str] = []
    warnings: list[str] = []
    group = file[MAPS]
    if not isinstance(group, h5py.Group) or len(group) == 0:
        raise DataError(f"{file.filename}: {MAPS} holds no map")
    keys = tuple(_hdf5.natural(group))
    q_list, phi_list = (_hdf5.vector(file, path).astype(np.float64) for path in (Q_LIST, PHI_LIST))
    if q_list.size != phi_list.size:
        raise DataError(f"{file.filename}: {Q_LIST} has {q_list.size} bins, {PHI_LIST} {phi_list.size}")
    for values, path, factor_of in ((q_list, Q_LIST, wavevector_factor), (phi_list, PHI_LIST, angle_factor)):
        factor, note = factor_of(_hdf5.units(_hdf5.dataset(file, path)), path)
        values *= factor
        notes.extend([note] if note else [])
    labels = _labels(file, keys, q_list.size, notes, warnings)
    q, phi = q_list[labels - 1], phi_list[labels - 1]
    first = _hdf5.dataset(file, f"{MAPS}/{keys[0]}")

    return Catalogue(
        layout="APS",
        source=str(file.filename),
        q=q,
        phi=phi,
        keys=keys,
        n_frames=_hdf5.square_size(file, first),
        dtype=_hdf5.float_type(first),
        read=_hdf5.half_map_reader(file, MAPS, keys, phi),
        dt=_time_step(file, notes),
        notes=tuple(notes),
        warnings=tuple(warnings),
    )


def _labels(
    file: h5py.File, keys: tuple[str, ...], n_bins: int, notes: list[str], warnings: list[str]
) -> np.ndarray:
    """1-based bin label of each map, and a sentence on how it was found."""
    numbers = [_hdf5.number(key) for key in keys]
    if None in numbers or len(set(numbers)) != len(numbers):
        raise DataError(
            f"{file.filename}: the keys of {MAPS} must carry different numbers, got {list(keys[:5])}"
        )
    n_maps = len(numbers)
    in_sequence = numbers == list(range(1, n_maps + 1))
    bins = _hdf5.integers(file, BINS) if BINS in file else np.array([], dtype=np.int64)
    if not in_sequence:
        labels = np.array(numbers)
        if bins.size and not set(numbers) <= set(bins.tolist()):
            warnings.append(
                f"The numbers of the keys in {MAPS} and the labels in {BINS} differ; the keys are used."
            )
        notes.append("The numbers of the map keys have gaps: they are bin labels (xpcs-eigen).")
    elif bins.size == 0:
        labels = np.array(numbers)
        if n_maps == n_bins:
            notes.append("Every bin has a map: numbers of the map keys are labels and sequence at once.")
        else:
            warnings.append(
                f"{n_maps} maps numbered from 1 for {n_bins} bins and no {BINS}: they are taken as the first "
                f"{n_maps} bins. If this is a running number (boost_corr), q and phi may be wrong."
            )
    elif bins.size < n_maps:
        labels = np.array(numbers)
        warnings.append(
            f"{BINS} has {bins.size} entries for {n_maps} maps and was ignored; the numbers of "
            "the map keys are "
            "taken as bin labels."
        )
    elif set(bins[:n_maps].tolist()) == set(numbers):
        labels = np.array(numbers)
        notes.append(f"{BINS} lists the numbers of the map keys: labels and sequence agree.")
    else:
        labels = bins[:n_maps]
        notes.append(f"The map keys are a running number (boost_corr): labels come from {BINS}.")
        if bins.size > n_maps:
            warnings.append(
                f"Only {n_maps} of the {bins.size} bins in {BINS} have maps; taken as the first ones."
            )
    if labels.min() < 1 or labels.max() > n_bins:
        raise DataError(
            f"{file.filename}: bin labels must be 1 to {n_bins} (the size of {Q_LIST}), got "
            f"{labels.min()} to {labels.max()}"
        )
    if np.unique(labels).size != labels.size:
        raise DataError(f"{file.filename}: {BINS} lists a bin twice")
    return labels


def _time_step(file: h5py.File, notes: list[str]) -> float | None:
    period = _hdf5.scalar(file, PERIOD)
    if period is None:
        return None
    factor, note = time_factor(_hdf5.units(_hdf5.dataset(file, PERIOD)), PERIOD)
    notes.extend([note] if note else [])
    dt = period * factor
    for path in FACTORS:
        value = _hdf5.scalar(file, path)
        if value is None:
            notes.append(f"{path} is absent and was taken as 1.")
            continue
        if value < 1:
            raise DataError(f"{file.filename}: {path} must be 1 or more, got {value:g}")
        dt *= value
    return dt
