"""Which layout a file has, decided by its content."""

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from homodyne_data import _aps_legacy, _apsu, _hdf5, _npz, _nxxpcs
from homodyne_data._catalogue import Catalogue
from homodyne_data._errors import DataError


@contextmanager
def open_catalogue(path: str | os.PathLike) -> Iterator[Catalogue]:
    """Catalogue of a file of any known layout; its maps can be read inside the block.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    DataError
        If the file is empty, truncated, of no known layout (each layout is named with the first path it
        misses), or contradicts itself.
    """
    file_path = Path(path)
    if file_path.is_dir():
        raise IsADirectoryError(f"{path} is a directory, a file is needed")
    if not file_path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    if file_path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    if h5py.is_hdf5(file_path):
        with _hdf5.opened(file_path) as file:
            yield _hdf5_catalogue(file)
    elif zipfile.is_zipfile(file_path):
        with _npz.opened(file_path) as found:
            yield found
    else:
        with open(file_path, "rb") as stream:
            start = stream.read(8)
        hint = " (it starts like a truncated .npz file)" if start.startswith(b"PK") else ""
        raise DataError(f"{path}: neither an HDF5 nor an .npz file{hint}")


def _hdf5_catalogue(file: h5py.File) -> Catalogue:
    missed = {}
    for name, module in (("APS-U", _apsu), ("old APS", _aps_legacy)):
        missing = [path for path in module.REQUIRED if path not in file]
        if not missing:
            return module.catalogue(file)
        missed[name] = missing[0]
    entry = _nxxpcs.entry_of(file)
    if entry is None:
        missed["NXxpcs"] = "/entry/definition = NXxpcs"
    else:
        missing = [path for path in (_nxxpcs.MAPS, _nxxpcs.Q_LIST) if f"{entry}/{path}" not in file]
        if not missing:
            return _nxxpcs.catalogue(file, entry)
        missed["NXxpcs"] = f"/{entry}/{missing[0]}"
    tried = ", ".join(f"{name} (no {path})" for name, path in missed.items())
    hint = (
        "; it holds one-time (multitau) results only"
        if "/xpcs/multitau" in file and "/xpcs/twotime" not in file
        else ""
    )
    raise DataError(f"{file.filename}: no two-time maps in a known layout; tried {tried}{hint}")
