"""What all HDF5 layouts share: opening and creating with a sentence, natural order, scalars, square slices."""

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import h5py
import numpy as np

from homodyne_data._errors import DataError
from homodyne_data._triangles import complete


@contextmanager
def opened(path: str | os.PathLike) -> Iterator[h5py.File]:
    """Open for reading; whatever HDF5 says becomes a `DataError` with the file's name."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path}: cannot be opened as HDF5: {_reason(error)}") from error
    with file:
        try:
            yield file
        except (OSError, KeyError, RuntimeError) as error:
            raise DataError(f"{path}: damaged HDF5 file, reading failed: {_reason(error)}") from error


class _Sink(io.FileIO):
    """A file that takes no more after its first error, and keeps that.

    HDF5 that cannot write while it closes a file tries again at the end of the process, which that kills.
    """

    error: OSError | None = None

    def write(self, content) -> int:
        left = memoryview(content).cast("B")
        size = left.nbytes
        while left.nbytes and self.error is None:
            try:
                left = left[super().write(left) :]
            except OSError as error:
                self.error = error
        return size


@contextmanager
def created(path: str | os.PathLike) -> Iterator[h5py.File]:
    """A new file for writing; a full disk becomes the `OSError` that it is."""
    with _Sink(path, "w+") as sink:
        try:
            with h5py.File(sink, "w") as file:
                yield file
        finally:
            if sink.error is not None:
                raise sink.error


def _reason(error: Exception) -> str:
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    sizes = re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", text)
    if sizes:
        return f"the file is truncated, it has {sizes[1]} of {sizes[2]} bytes"
    return text


def natural(keys: Iterable[str]) -> list[str]:
    """Keys in natural order: c2_2 before c2_10."""
    return sorted(
        keys, key=lambda key: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", key)]
    )


def number(key: str) -> int | None:
    """The last run of digits of a key."""
    digits = re.findall(r"\d+", key)
    return int(digits[-1]) if digits else None


def dataset(file: h5py.File, path: str) -> h5py.Dataset:
    """The dataset at `path`."""
    found = file.get(path)
    if not isinstance(found, h5py.Dataset):
        what = "is missing" if found is None else "is a group, not a dataset"
        raise DataError(f"{file.filename}: {path} {what}")
    return found


def vector(file: h5py.File, path: str) -> np.ndarray:
    """Numbers at `path`, flattened."""
    values = np.asarray(dataset(file, path)[()])
    if values.dtype.kind not in "fiub":
        raise DataError(f"{file.filename}: {path} must hold numbers, got dtype {values.dtype}")
    return values.reshape(-1)


def integers(file: h5py.File, path: str) -> np.ndarray:
    """Whole numbers at `path`, flattened, as int64."""
    values = vector(file, path)
    if values.dtype.kind == "f" and not np.all(values == np.round(values)):
        raise DataError(f"{file.filename}: {path} must hold whole numbers, got {values[:5]}")
    return values.astype(np.int64)


def scalar(file: h5py.File, path: str) -> float | None:
    """The one number at `path`, stored as a scalar or an array of one; None if there is nothing."""
    if path not in file:
        return None
    values = vector(file, path)
    if values.size != 1:
        raise DataError(f"{file.filename}: {path} must hold one number, got {values.size}")
    return float(values[0])


def text(value: object) -> str:
    """A string from what h5py returns for one."""
    if isinstance(value, np.ndarray):
        value = value.reshape(-1)[0] if value.size else ""
    return value.decode(errors="replace").strip() if isinstance(value, bytes) else str(value).strip()


def units(source: h5py.Dataset) -> object:
    """The unit attribute of a dataset, under either name."""
    return source.attrs.get("units", source.attrs.get("unit"))


def square_size(file: h5py.File, source: h5py.Dataset) -> int:
    """Frames of a stored map."""
    if source.ndim != 2 or source.shape[0] != source.shape[1]:
        raise DataError(f"{file.filename}: {source.name} must be a square map, got shape {source.shape}")
    return source.shape[0]


def float_type(source: h5py.Dataset) -> np.dtype:
    """Native float type that holds the values of a stored map."""
    if source.dtype.kind not in "fiub":
        raise DataError(f"{source.file.filename}: {source.name} must hold numbers, got dtype {source.dtype}")
    small = source.dtype.kind == "f" and source.dtype.itemsize <= 4
    return np.dtype(np.float32 if small else np.float64)


def read_into(source: h5py.Dataset, selection: tuple, out: np.ndarray) -> None:
    """Read part of a dataset straight into `out`; an error names the dataset."""
    try:
        source.read_direct(out, source_sel=selection)
    except OSError as error:
        raise DataError(
            f"{source.file.filename}: {source.name} cannot be read, the file is damaged there or needs a "
            f"compression filter that is not installed: {error}"
        ) from error


def complete_map(name: str, out: np.ndarray, *, half: str | None, expected: str) -> str | None:
    """Fill the unpopulated triangle of a map that was just read.

    `half` is the triangle that the file declares, or None; `expected` ("one" | "both") what the layout
    usually holds.
    """
    stored = complete(out, half)
    if stored == "none":
        raise DataError(
            f"map {name} holds no data off the diagonal in the frames asked for: leave its angle out"
        )
    if half is not None and stored not in (half, "both"):
        return f"Map {name} is declared as its {half} half, but the {stored} half is populated and was used."
    if expected == "one" and stored == "both":
        return "Maps are stored with both triangles, which are used as they are."
    if expected == "both" and stored != "both":
        return "Maps are declared as full, but only one triangle is populated; it was mirrored."
    return None


def half_map_reader(
    file: h5py.File, group: str, keys: tuple[str, ...], phi: np.ndarray
) -> Callable[[int, slice, np.ndarray], str | None]:
    """Reader, as `Catalogue.read`, of maps that are stored one a dataset as one triangle."""
    first = dataset(file, f"{group}/{keys[0]}")

    def read(k: int, window: slice, out: np.ndarray) -> str | None:
        source = dataset(file, f"{group}/{keys[k]}")
        if source.shape != first.shape:
            raise DataError(
                f"{file.filename}: {source.name} has shape {source.shape}, {first.name} {first.shape}"
            )
        read_into(source, (window, window), out)
        return complete_map(f"{keys[k]} (phi = {phi[k]:g} degrees)", out, half=None, expected="one")

    return read
