"""Shared maps, files of every layout, and the folder with real data."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

REAL_FILE = "skbeam_c2_apsu_layout_results.hdf"


@pytest.fixture(scope="session")
def pattern():
    """Make symmetric maps: pattern(n_maps, n_frames, seed=, dtype=)."""
    return _pattern


@pytest.fixture(scope="session")
def write_apsu():
    """Write an APS-U file: write_apsu(path, maps, q, phi, cells=, mapping=, dt=, ...)."""
    return _write_apsu


def _pattern(n_maps, n, *, seed=0, dtype=np.float32):
    """Symmetric maps of which no two entries (but mirror ones) and no two maps are alike."""
    rng = np.random.default_rng(seed)
    lower = np.tril(1 + 0.3 * rng.random((n_maps, n, n)))
    return (lower + np.tril(lower, -1).transpose(0, 2, 1)).astype(dtype)


def _write_apsu(path, maps, q, phi, *, cells=None, mapping=True, dt=0.1, **options):
    """APS-U file; `cells` are the natural indices of the maps, in the order of the maps."""
    cells = np.arange(len(q) * len(phi)) if cells is None else np.asarray(cells)
    labels = np.searchsorted(np.sort(cells), cells) + 1
    with h5py.File(path, "w") as file:
        for k, c2 in enumerate(maps):
            key = options.get("key", "c2_{:05d}").format(k + 1)
            file.create_dataset(f"/xpcs/twotime/correlation_map/{key}", data=np.triu(c2), compression="lzf")
        file["/xpcs/twotime/processed_bins"] = labels.astype(np.int32)
        file["/xpcs/qmap/dynamic_v_list_dim0"] = np.asarray(q)
        file["/xpcs/qmap/dynamic_v_list_dim1"] = np.asarray(phi)
        file["/xpcs/qmap/dynamic_num_pts"] = [len(q), len(phi)]
        if mapping:
            file["/xpcs/qmap/dynamic_index_mapping"] = np.sort(cells)
        if dt is not None:
            file["/entry/instrument/detector_1/frame_time"] = np.full(options.get("scalar", ()), dt)
        for name in ("stride_frame", "avg_frame", "begin_frame"):
            file[f"/xpcs/twotime/config/{name}"] = options.get(name, 0 if name == "begin_frame" else 1)
    return path


@pytest.fixture(scope="session")
def real_file():
    """The real maps, read where they lie; never part of the repository."""
    named = os.environ.get("HOMODYNE_REAL_DATA")
    roots = [parent for parent in Path(__file__).resolve().parents if (parent / "packages").is_dir()]
    folders = [Path(named)] if named else [root.parent / "shared" / "data" for root in roots[:1]]
    for folder in folders:
        if (folder / REAL_FILE).is_file():
            return folder / REAL_FILE
    pytest.skip(f"no real data: set HOMODYNE_REAL_DATA to the folder with {REAL_FILE}")
