"""Round trips, and what writing refuses."""

import os
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homodyne_data import (
    DataError,
    Provenance,
    TwoTimeData,
    inspect_file,
    list_q,
    load_xpcs,
    save_apsu,
    save_npz,
)
from homodyne_data._atomic import atomic_path

N = 9

FULL_DISK = """
import resource, signal, sys
import numpy as np
from homodyne_data import TwoTimeData, save_apsu
t = np.arange(60.0)
maps = 1 + np.exp(-np.abs(t[:, None] - t)) + np.zeros((3, 1, 1))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    save_apsu(sys.argv[1], TwoTimeData(maps, phi=[0, 1, 2], t=t, q=0.01))
except OSError as error:
    print(type(error).__name__, error.strerror)
"""


def make(maps, q=0.01, **changes):
    n_phi, n = maps.shape[:2]
    arguments = {"phi": np.linspace(-90, 60, n_phi), "t": 0.1 * np.arange(n), "q": q} | changes
    return TwoTimeData(maps, **arguments)


@pytest.fixture
def data(pattern):
    return make(pattern(3, N), L=2e6)


@pytest.mark.parametrize("room", [100, 3000, 20000])
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, room):
    # In a process of its own: HDF5 left with a file that it cannot finish crashes at the end.
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "full.hdf"), str(room)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "OSError File too large\n", "")
    assert not list(tmp_path.iterdir())


@given(st.data())
def test_apsu_round_trip_with_missing_bins_and_frames(draw):
    rng = np.random.default_rng(draw.draw(st.integers(0, 2**32 - 1)))
    n_q, n_phi, n = rng.integers(1, 4), rng.integers(1, 5), int(rng.integers(4, 9))
    all_q = 0.005 * (1 + np.arange(n_q))
    all_phi = rng.permutation(np.linspace(-150, 150, n_phi))
    dtype = rng.choice([np.float32, np.float64])
    sets = []
    for q in all_q:
        kept = rng.permutation(n_phi)[: rng.integers(1, n_phi + 1)]
        lower = np.tril(1 + rng.random((kept.size, n, n))).astype(dtype)
        lower[rng.random(lower.shape) < 0.05] = np.nan
        maps = np.tril(lower) + np.tril(lower, -1).transpose(0, 2, 1)
        try:
            sets.append(
                make(maps, q, phi=all_phi[kept], L=1e6, symmetric=True, sigma=0.1, sigma_source="default")
            )
        except DataError:
            return  # every point of an angle is missing
    start = int(rng.integers(1, n - 2))
    end = int(rng.integers(start + 2, n + 1))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "round.hdf")
        save_apsu(file, sets)
        assert np.allclose(list_q(file), all_q, rtol=1e-15)
        with h5py.File(file) as stored:
            mapping = stored["/xpcs/qmap/dynamic_index_mapping"][()]
            assert np.all(np.diff(mapping) > 0)
        for item in sets:
            back = load_xpcs(file, q=item.q, q_tolerance=1e-9)
            assert np.array_equal(back.c2, item.c2, equal_nan=True)
            assert back.c2.dtype == dtype
            assert np.array_equal(back.phi, item.phi)
            assert np.allclose(back.t, item.t)
            assert (back.q, back.L, back.sigma_source) == (item.q, item.L, "default")
            assert np.allclose(back.sigma, 0.1)
            assert back.n_points == item.n_points
            try:
                expected = item.select(frames=(start, end))
            except DataError:
                continue
            part = load_xpcs(file, q=item.q, start_frame=start, end_frame=end)
            assert np.array_equal(part.c2, expected.c2, equal_nan=True)
            assert np.allclose(part.t, expected.t)


def test_missing_bins_make_the_mapping_other_than_the_identity(tmp_path, pattern):
    maps = pattern(4, N)
    save_apsu(
        tmp_path / "a.hdf",
        [make(maps[:1], 0.005, phi=[30.0]), make(maps[1:], 0.01, phi=[0.0, 30.0, 60.0])],
    )
    with h5py.File(tmp_path / "a.hdf") as stored:
        assert stored["/xpcs/qmap/dynamic_index_mapping"][()].tolist() == [0, 3, 4, 5]
        assert stored["/xpcs/twotime/processed_bins"][()].tolist() == [1, 3, 2, 4]
        half = stored["/xpcs/twotime/correlation_map/c2_00002"][()]
        assert np.all(half[np.tril_indices(N, -1)] == 0)
    assert np.array_equal(load_xpcs(tmp_path / "a.hdf", q=0.01).c2, maps[1:])


def test_apsu_keeps_frames_and_times(tmp_path, data):
    good = np.arange(N) != 4
    file = tmp_path / "a.hdf"
    save_apsu(
        file, make(data.c2, good_frames=good, sigma=[0.1, 0.2, 0.3], sigma_source="estimated", t=data.t + 0.1)
    )
    back = load_xpcs(file, start_frame=3)
    assert back.good_frames.tolist() == good[2:].tolist()
    assert back.sigma.tolist() == [0.1, 0.2, 0.3]
    assert back.sigma_source == "estimated"
    assert back.t[0] == pytest.approx(0.1)
    save_apsu(file, make(data.c2, t=data.t + 0.5, time_origin="acquisition"), overwrite=True)
    assert load_xpcs(file).t[0] == 0
    assert np.allclose(load_xpcs(file, time_origin="acquisition").t, data.t + 0.5)


def test_apsu_refuses_what_the_layout_cannot_hold(tmp_path, data, pattern):
    file = tmp_path / "a.hdf"
    full = np.ones((3, N, N), bool)
    rough = 1 + np.random.default_rng(0).random((1, N, N))
    cases = [
        (make(rough), "triangles .* differ"),
        (make(data.c2, good_pairs=full), "pair mask"),
        (make(data.c2, sigma=np.full(data.c2.shape, 0.1)), "sigma of every entry"),
        (make(data.c2, t=data.t + 0.15, time_origin="acquisition"), "not a multiple of dt"),
        ([data, make(pattern(2, N - 1), 0.02)], "same times"),
        ([data, make(pattern(2, N), 0.02)], "same L"),
        ([data, make(pattern(2, N), 0.02, L=2e6, good_frames=np.arange(N) > 0)], "same good_frames"),
        ([data, make(pattern(2, N), 0.02, L=2e6, time_origin="acquisition")], "same time_origin"),
        ([data, data], "same q and the same angle"),
        ([data, make(pattern(1, N), 0.01000001, L=2e6, phi=[7.0])], "read as one"),
    ]
    for wrong, message in cases:
        with pytest.raises(ValueError, match=message):
            save_apsu(file, wrong)
    for wrong in ([], [1], None):
        with pytest.raises(TypeError):
            save_apsu(file, wrong)
    assert list(tmp_path.iterdir()) == []


@given(st.data())
def test_npz_round_trip_keeps_everything(draw):
    rng = np.random.default_rng(draw.draw(st.integers(0, 2**32 - 1)))
    n_phi, n = int(rng.integers(1, 4)), int(rng.integers(4, 8))
    maps = 1 + rng.random((n_phi, n, n))
    if rng.integers(2):
        maps = maps + maps.transpose(0, 2, 1)
    maps[rng.random(maps.shape) < 0.1] = np.nan
    options = {
        "sigma": [None, 0.1, 0.1 + rng.random(n_phi), 0.1 + rng.random(maps.shape)][rng.integers(4)],
        "good_frames": [None, np.arange(n) != 1][rng.integers(2)],
        "good_pairs": [None, rng.random((n_phi, n, n)) > 0.1][rng.integers(2)],
        "L": [None, 3e6][rng.integers(2)],
        "t": 0.1 * np.arange(n) + rng.integers(3),
        "phi": rng.uniform(-180, 180, n_phi),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pairs that are finite on one side only
        try:
            data = make(maps.astype(rng.choice([np.float32, np.float64])), **options)
        except DataError:
            return  # an angle without a usable point
        with tempfile.TemporaryDirectory() as folder:
            save_npz(Path(folder, "data.npz"), data)
            back = load_xpcs(Path(folder, "data.npz"))
    assert np.array_equal(back.c2, data.c2, equal_nan=True)
    assert back.c2.dtype == data.c2.dtype
    assert np.array_equal(back.phi, data.phi)
    assert np.allclose(back.t, data.t)
    assert np.array_equal(back.mask, data.mask)
    assert (back.q, back.L, back.symmetric, back.sigma_source) == (
        data.q,
        data.L,
        data.symmetric,
        data.sigma_source,
    )
    assert np.array_equal(np.asarray(back.sigma, float), np.asarray(data.sigma, float), equal_nan=True)


def test_npz_holds_no_pickle_and_remembers_the_source(tmp_path, data):
    named = TwoTimeData(
        data.c2,
        data.phi,
        data.t,
        data.q,
        provenance=Provenance("raw.hdf", layout="APS-U", notes=("A note.",)),
    )
    save_npz(tmp_path / "data", named.select(angles=[2, 0]))
    with np.load(tmp_path / "data", allow_pickle=False) as stored:
        assert all(stored[name].dtype != object for name in stored)
    back = load_xpcs(tmp_path / "data", phi_ranges=[(50, 70)])
    assert np.array_equal(back.c2[0], data.c2[2])
    assert back.provenance.notes == ("Saved from raw.hdf (APS-U).", "A note.")


@pytest.mark.parametrize("save", [save_apsu, save_npz])
def test_existing_files_are_replaced_only_on_request(tmp_path, data, save):
    file = tmp_path / "data.npz"
    save(file, data)
    before = file.read_bytes()
    other = data.select(angles=[0])
    with pytest.raises(FileExistsError, match="pass overwrite=True"):
        save(file, other)
    assert file.read_bytes() == before
    save(file, other, overwrite=True)
    assert load_xpcs(file).n_phi == 1
    with pytest.raises(FileNotFoundError, match="does not exist"):
        save(tmp_path / "nowhere" / "data.npz", data)
    with pytest.raises(IsADirectoryError):
        save(tmp_path, data, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["data.npz"]


def test_a_crash_leaves_the_old_file_and_no_other(tmp_path):
    file = tmp_path / "data"
    file.write_text("old")

    def crash():
        with atomic_path(file, overwrite=True) as temporary:
            temporary.write_text("half")
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        crash()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path):
    file = tmp_path / "data"

    def race():
        with atomic_path(file, overwrite=False) as temporary:
            temporary.write_text("mine")
            file.write_text("theirs")

    with pytest.raises(FileExistsError):
        race()
    assert file.read_text() == "theirs"


def test_permissions_follow_the_umask_and_links_survive(tmp_path, data):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link.npz"
    link.symlink_to(tmp_path / "elsewhere" / "real.npz")
    save_npz(link, data)
    assert link.is_symlink()
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "elsewhere" / "real.npz").stat().st_mode & 0o777 == 0o666 & ~umask


def test_only_npz_data():
    with pytest.raises(TypeError, match="data must be TwoTimeData, got list"):
        save_npz("x.npz", [1])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_of_other_programs(tmp_path, pattern, save):
    maps = pattern(4, N)
    file = tmp_path / "cache.npz"
    save(file, c2_exp=maps, phi_angles_list=np.arange(4.0), wavevector_q_list=[0.01], t1=0.1 * np.arange(N))
    data = load_xpcs(file, phi_ranges=[(1, 3)], start_frame=2)
    assert np.array_equal(data.c2, maps[1:, 1:, 1:])
    assert data.provenance.layout == "npz"
    assert list_q(file).tolist() == [0.01]
    assert inspect_file(file).n_maps == 4


def test_npz_reads_only_the_wanted_rows(tmp_path, pattern, monkeypatch):
    maps = pattern(4, 100)
    file = tmp_path / "data.npz"
    np.savez(file, c2=maps, phi=np.arange(4.0), q=0.01, dt=0.1)
    n_bytes = 0
    original = zipfile.ZipExtFile.read

    def counting(self, n=-1):
        nonlocal n_bytes
        content = original(self, n)
        n_bytes += len(content)
        return content

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counting)
    data = load_xpcs(file, phi_ranges=[(2, 2)], start_frame=91)
    assert np.array_equal(data.c2, maps[2:3, 90:, 90:])
    assert n_bytes < 10 * 400 + 4000
