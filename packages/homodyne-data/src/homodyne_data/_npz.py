"""Reader of ``.npz`` files: the maps are streamed one by one, never the whole stack at once."""

import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from homodyne_data._arrays import HISTORICAL, KNOWN, describe, known_fields
from homodyne_data._catalogue import Catalogue
from homodyne_data._errors import DataError
from homodyne_data._hdf5 import complete_map

_MAPS = ("c2", *(old for old, new in HISTORICAL.items() if new == "c2"))


@contextmanager
def opened(path: str | os.PathLike) -> Iterator[Catalogue]:
    """Catalogue of an ``.npz`` file, usable inside the block."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
            stack = _name_of_maps(path, names)
            member = names.pop(stack)
            known = {name for name in names if HISTORICAL.get(name, name) in KNOWN}
            ignored = sorted(names.keys() - known)
            arrays = {name: _array(path, archive, names[name]) for name in known}
            # Last, and then alone: some versions of zipfile seek wrongly in one member after reading
            # another.
            with archive.open(member) as stream:
                yield _catalogue(path, arrays, ignored, stack, stream)
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged .npz file: {error}") from error


def _name_of_maps(path: str | os.PathLike, names: Iterable[str]) -> str:
    stacks = [name for name in _MAPS if name in names]
    if not stacks:
        raise DataError(
            f"{path}: no {' or '.join(_MAPS)} in this .npz file; it holds: {', '.join(names) or 'nothing'}"
        )
    if len(stacks) > 1:
        raise DataError(f"{path}: c2 is there twice, as {' and '.join(stacks)}")
    return stacks[0]


def _catalogue(
    path: str | os.PathLike, arrays: dict[str, np.ndarray], ignored: list[str], stack: str, stream: BinaryIO
) -> Catalogue:
    shape, dtype, begin = _header(path, stack, stream)
    if len(shape) == 2:
        shape = (1, *shape)
    try:
        fields, _ = known_fields(arrays)
        described = describe(fields, shape)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: {error}") from error
    notes = [*described.pop("notes"), *_recorded_notes(fields.get("provenance"))]
    if ignored:
        notes.append(f"Keys that mean nothing here were ignored: {', '.join(ignored)}.")

    def read(k: int, window: slice, out: np.ndarray) -> str | None:
        row_bytes = shape[2] * dtype.itemsize
        stream.seek(begin + (k * shape[1] + window.start) * row_bytes)
        for i in range(window.stop - window.start):
            row = stream.read(row_bytes)
            if len(row) != row_bytes:
                raise DataError(f"{path}: {stack} ends early, the file is truncated")
            out[i] = np.frombuffer(row, dtype=dtype)[window]
        return complete_map(
            f"{stack}[{k}] (phi = {described['phi'][k]:g} degrees)", out, half=None, expected="both"
        )

    return Catalogue(
        layout="npz",
        source=os.fspath(path),
        keys=tuple(f"{stack}[{k}]" for k in range(shape[0])),
        n_frames=shape[1],
        dtype=np.dtype(np.float32 if dtype.kind == "f" and dtype.itemsize <= 4 else np.float64),
        read=read,
        notes=tuple(notes),
        warnings=tuple(described.pop("warnings")),
        **described,
    )


def _array(path: str | os.PathLike, archive: zipfile.ZipFile, member: str) -> np.ndarray:
    with archive.open(member) as stream:
        try:
            return np.lib.format.read_array(stream, allow_pickle=False)
        except ValueError as error:
            raise DataError(f"{path}: {member} cannot be read: {error}") from error


def _header(path: str | os.PathLike, name: str, stream: BinaryIO) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type and offset of the values of an array in the stream."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran, dtype = readers[version](stream)
    except (ValueError, KeyError) as error:
        raise DataError(f"{path}: {name} is not a NumPy array that can be read: {error}") from error
    if dtype.kind not in "fiub":
        raise DataError(f"{path}: {name} must hold real numbers, got dtype {dtype}")
    if fortran and len(shape) > 1:
        raise DataError(f"{path}: {name} is stored in Fortran order; save it with np.ascontiguousarray")
    return shape, dtype, stream.tell()


def _recorded_notes(provenance: Any) -> list[str]:
    """What `save_npz` recorded about the data's own source."""
    if provenance is None:
        return []
    try:
        recorded = json.loads(str(provenance))
        return [f"Saved from {recorded['source'] or 'arrays'} ({recorded['layout']}).", *recorded["notes"]]
    except (ValueError, KeyError, TypeError):
        return ["The recorded provenance could not be read."]
