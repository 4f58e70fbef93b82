"""The APS-U layout, in files that the tests build and in the real one."""

import tracemalloc

import h5py
import numpy as np
import pytest

from homodyne_data import DataError, inspect_file, list_q, load_xpcs

Q = [0.005, 0.01]
PHI = [-90.0, 0.0, 90.0]
CELLS = [0, 2, 3, 5]  # of the 2 x 3 grid, two are missing
N = 12


@pytest.fixture
def maps(pattern):
    return pattern(4, N)


@pytest.fixture
def file(tmp_path, maps, write_apsu):
    return write_apsu(tmp_path / "a_results.hdf", maps, Q, PHI, cells=CELLS)


def test_mapping_that_is_not_the_identity(file, maps):
    first, second = load_xpcs(file, q=0.005), load_xpcs(file, q=0.01)
    assert first.phi.tolist() == [-90.0, 90.0]
    assert second.phi.tolist() == [-90.0, 90.0]
    assert np.array_equal(first.c2, maps[:2])
    assert np.array_equal(second.c2, maps[2:])
    assert first.c2.dtype == np.float32
    assert second.q == 0.01
    assert second.symmetric
    assert second.provenance.keys == ("c2_00003", "c2_00004")
    assert second.provenance.layout == "APS-U"
    assert second.provenance.size == file.stat().st_size
    assert second.provenance.mtime == file.stat().st_mtime
    assert second.provenance.notes == ()
    assert list_q(file).tolist() == Q


def test_maps_in_another_order_than_the_grid(tmp_path, maps, write_apsu):
    file = write_apsu(tmp_path / "a.hdf", maps, Q, PHI, cells=[5, 0, 3, 2])
    data = load_xpcs(file, q=0.01)
    assert data.phi.tolist() == [90.0, -90.0]
    assert np.array_equal(data.c2, maps[[0, 2]])


def test_keys_in_natural_order(tmp_path, pattern, write_apsu):
    maps = pattern(12, 5)
    file = write_apsu(tmp_path / "a.hdf", maps, [0.01], np.arange(12.0), key="c2_{}")
    assert np.array_equal(load_xpcs(file).c2, maps)


def test_absent_mapping_is_announced_and_noted(tmp_path, maps, write_apsu):
    file = write_apsu(tmp_path / "a.hdf", maps, Q, PHI[:2], mapping=False)
    with pytest.warns(UserWarning, match="dynamic_index_mapping is absent"):
        data = load_xpcs(file, q=0.01)
    assert np.array_equal(data.c2, maps[2:])
    assert any("dynamic_index_mapping is absent" in note for note in data.provenance.notes)


def test_time_step_counts_stride_and_averaging(tmp_path, maps, write_apsu):
    file = write_apsu(
        tmp_path / "a.hdf",
        maps,
        Q,
        PHI[:2],
        dt=0.1,
        scalar=(1, 1),
        stride_frame=3,
        avg_frame=2,
        begin_frame=20,
    )
    data = load_xpcs(file, q=0.01)
    assert data.dt == pytest.approx(0.6)
    assert data.t[0] == 0
    assert load_xpcs(file, q=0.01, start_frame=3).t[0] == 0
    acquisition = load_xpcs(file, q=0.01, start_frame=3, time_origin="acquisition")
    assert acquisition.t[0] == pytest.approx(20 * 0.1 + 2 * 0.6)
    assert acquisition.time_origin == "acquisition"
    given = load_xpcs(file, q=0.01, start_frame=3, skip_first_frames=1, time_origin=7.0, dt=0.5)
    assert np.allclose(given.t[:2], [7.5, 8.0])
    assert any("dt = 0.5 s was given" in note for note in given.provenance.notes)


def test_unit_of_the_frame_time_and_of_q(tmp_path, maps, write_apsu):
    file = write_apsu(tmp_path / "a.hdf", maps, [0.05, 0.1], PHI[:2], dt=5.0)
    with h5py.File(file, "a") as stored:
        stored["/entry/instrument/detector_1/frame_time"].attrs["units"] = "ms"
        stored["/xpcs/qmap/dynamic_v_list_dim0"].attrs["unit"] = "nm⁻¹"
        stored["/xpcs/qmap/dynamic_v_list_dim1"].attrs["unit"] = "deg"
    data = load_xpcs(file, q=0.01)
    assert data.q == pytest.approx(0.01)
    assert data.dt == pytest.approx(5e-3)
    assert len(data.provenance.notes) == 2


def test_frames_and_skipped_frames(file, maps):
    data = load_xpcs(file, q=0.005, start_frame=3, end_frame=9, skip_first_frames=1)
    assert np.array_equal(data.c2, maps[:2, 3:9, 3:9])
    assert np.allclose(data.t, 0.1 * np.arange(1, 7))  # t = 0 is frame 3, which was skipped
    assert data.provenance.selection["first_frame"] == 4
    assert data.provenance.selection["last_frame"] == 9


def test_bad_frames_are_numbers_of_the_file(file):
    data = load_xpcs(file, q=0.005, start_frame=3, bad_frames=[1, 5])
    assert np.flatnonzero(~data.good_frames).tolist() == [2]
    assert not data.mask[:, 2].any()
    assert data.n_dropped["bad_frames"] == 2 * 9


@pytest.mark.parametrize("frames", ["file", "selection"])
@pytest.mark.parametrize("angles", ["all", "selected", "shared"])
def test_mask_and_sigma_of_the_file_or_of_the_selection(file, frames, angles):
    n = N if frames == "file" else 8
    n_phi = {"all": 2, "selected": 1, "shared": 1}[angles]
    mask = np.ones((n_phi, n, n), bool)
    mask[-1, -1, -2] = False
    sigma = np.full((n_phi, n, n), 0.1)
    sigma[-1, -1, -3] = 0.2
    data = load_xpcs(
        file,
        q=0.005,
        phi_ranges=[(80, 100)],
        start_frame=5,
        mask=mask[0] if angles == "shared" else mask,
        sigma=sigma,
    )
    assert not data.mask[0, 7, 6]
    assert data.n_dropped["masked_pairs"] == 1
    assert data.sigma[0, 7, 5] == 0.2
    assert data.sigma_source == "given"


def test_sigma_for_each_angle_of_the_q(file):
    data = load_xpcs(file, q=0.005, phi_ranges=[(80, 100)], sigma=np.array([0.1, 0.2]))
    assert data.sigma.tolist() == [0.2]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, DataError, "hold 2 values of q, choose one with q=: 0.005, 0.01"),
        (
            {"q": 0.02, "q_tolerance": 1e-3},
            DataError,
            "no q within 0.001 of 0.02 1/Å; the data hold 0.005, 0.01",
        ),
        ({"q": 0.01, "phi_ranges": [(10, 20)]}, DataError, "there are -90, 90 degrees"),
        ({"q": 0.01, "start_frame": 13}, ValueError, "start_frame must be 1 to 12"),
        ({"q": 0.01, "end_frame": 2}, ValueError, "too few frames"),
        ({"q": 0.01, "bad_frames": [13]}, ValueError, "bad_frames must be 1 to 12"),
        ({"q": 0.01, "mask": np.ones((3, 3), bool)}, ValueError, "mask must fit 2 selected angles"),
        ({"q": 0.01, "mask": np.ones((12, 12))}, TypeError, "mask must be bool"),
        ({"q": 0.01, "mask": np.ones(12, bool)}, ValueError, "mask must have shape"),
        ({"q": 0.01, "sigma": np.ones(3)}, ValueError, "sigma must fit"),
        ({"q": 0.01, "sigma": -1.0}, ValueError, "sigma must be positive"),
        ({"q": 0.01, "dt": 0.0}, ValueError, "dt must be positive"),
        ({"q": 0.01, "L": 0.0}, ValueError, "L must be positive"),
        ({"q": 0.01, "time_origin": "zero"}, ValueError, "time_origin must be one of"),
    ],
)
def test_wrong_arguments(file, arguments, error, message):
    with pytest.raises(error, match=message):
        load_xpcs(file, **arguments)


def edit(file, path, value):
    with h5py.File(file, "a") as stored:
        if path in stored:
            del stored[path]
        if value is not None:
            stored[path] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("/xpcs/twotime/processed_bins", [1, 2, 3], "4 maps but 3 entries"),
        ("/xpcs/twotime/processed_bins", [1, 2, 3, 5], "labels .* must be 1 to 4 .* got 1 to 5"),
        ("/xpcs/twotime/processed_bins", [0, 1, 2, 3], "got 0 to 3"),
        ("/xpcs/twotime/processed_bins", [1, 2, 2, 3], "two maps belong to the same bin"),
        ("/xpcs/twotime/processed_bins", [1.5, 2, 3, 4], "whole numbers"),
        ("/xpcs/qmap/dynamic_index_mapping", [0, 2, 3, 6], "points outside the grid of 2 x 3"),
        ("/xpcs/qmap/dynamic_num_pts", [3, 2], "dynamic_num_pts says"),
        ("/xpcs/qmap/dynamic_v_list_dim0", ["a", "b"], "must hold numbers"),
        ("/xpcs/qmap/dynamic_v_list_dim0", [0.005, np.nan], "q must be positive and finite"),
        ("/xpcs/qmap/dynamic_v_list_dim1", [0, np.nan, np.nan], "phi must be finite"),
        ("/xpcs/qmap/map_names", ["x", "y"], "a grid of x and y, q and phi are needed"),
        ("/xpcs/twotime/config/stride_frame", 0, "stride_frame must be 1 or more"),
        ("/xpcs/twotime/config/avg_frame", [1, 2], "must hold one number, got 2"),
        ("/entry/instrument/detector_1/frame_time", -1.0, "time between frames must be positive"),
        ("/entry/instrument/detector_1/frame_time", None, "no time between frames found; give it with dt="),
        ("/xpcs/twotime/correlation_map/c2_00004", np.ones((5, 5)), "has shape"),
        ("/xpcs/twotime/correlation_map/c2_00001", np.ones((5, 6)), "must be a square map"),
        (
            "/xpcs/twotime/correlation_map/c2_00004",
            np.zeros((N, N), "f4"),
            r"c2_00004 \(phi = 90 degrees\) holds no",
        ),
        ("/xpcs/twotime/correlation_map/c2_00004/x", None, "damaged|not a dataset"),
    ],
)
def test_files_that_contradict_themselves(file, path, value, message):
    if path.endswith("/x"):
        edit(file, path[:-2], None)
        edit(file, path, 1.0)
    else:
        edit(file, path, value)
    with pytest.raises(DataError, match=message) as caught:
        load_xpcs(file, q=0.01)
    assert file.name in str(caught.value) or "map " in str(caught.value)


def test_grid_with_phi_first(file, maps):
    edit(file, "/xpcs/qmap/map_names", ["phi", "q"])
    edit(file, "/xpcs/qmap/dynamic_v_list_dim0", PHI[:2])
    edit(file, "/xpcs/qmap/dynamic_v_list_dim1", [0.005, 0.01, 0.02])
    data = load_xpcs(file, q=0.005)
    assert data.phi.tolist() == [-90.0, 0.0]
    assert np.array_equal(data.c2, maps[[0, 2]])


def test_maps_of_an_interrupted_run(file, maps):
    edit(file, "/xpcs/twotime/correlation_map/c2_00004", None)
    with pytest.warns(UserWarning, match="Only 3 of the 4 maps"):
        data = load_xpcs(file, q=0.01)
    assert np.array_equal(data.c2, maps[2:3])
    edit(file, "/xpcs/twotime/correlation_map/c2_00002", None)
    with pytest.raises(DataError, match="cannot be attributed"):
        load_xpcs(file, q=0.01)


def test_full_maps_are_not_doubled(file, maps):
    edit(file, "/xpcs/twotime/correlation_map/c2_00003", maps[2])
    data = load_xpcs(file, q=0.01)
    assert np.array_equal(data.c2, maps[2:])
    assert any("both triangles" in note for note in data.provenance.notes)


def test_missing_values_stay_missing(file, maps):
    half = np.triu(maps[2])
    half[1, 4] = np.nan
    edit(file, "/xpcs/twotime/correlation_map/c2_00003", half)
    data = load_xpcs(file, q=0.01)
    assert data.n_dropped["not_finite"] == 1
    assert not data.mask[0, 4, 1]
    assert data.mask[1, 4, 1]


def test_frame_without_photons_is_announced(file, maps):
    half = np.triu(maps[2])
    half[5], half[:, 5] = 0, 0
    edit(file, "/xpcs/twotime/correlation_map/c2_00003", half)
    with pytest.warns(UserWarning, match=r"zero between frames \[6\] and every other"):
        load_xpcs(file, q=0.01)


def test_only_the_wanted_maps_and_frames_are_read(file, maps, monkeypatch):
    read = []
    original = h5py.Dataset.read_direct

    def spy(self, out, source_sel=None, dest_sel=None):
        read.append((self.name.rsplit("/", 1)[1], source_sel))
        return original(self, out, source_sel, dest_sel)

    def forbidden(self, key, new_dtype=None):
        assert "correlation_map" not in self.name, f"{self.name} was read outside read_direct"
        return get_item(self, key)

    get_item = h5py.Dataset.__getitem__
    monkeypatch.setattr(h5py.Dataset, "read_direct", spy)
    monkeypatch.setattr(h5py.Dataset, "__getitem__", forbidden)
    data = load_xpcs(file, q=0.01, phi_ranges=[(80, 100)], start_frame=4, end_frame=8)
    assert np.array_equal(data.c2, maps[3:, 3:8, 3:8])
    assert read == [("c2_00004", (slice(3, 8), slice(3, 8)))]
    list_q(file)
    assert len(read) == 1


def test_a_damaged_map_harms_only_those_who_read_it(tmp_path, maps):
    file = tmp_path / "a.hdf"
    with h5py.File(file, "w") as stored:
        for k, c2 in enumerate(maps):
            stored.create_dataset(
                f"/xpcs/twotime/correlation_map/c2_{k + 1:05d}",
                data=np.triu(c2),
                chunks=(6, 6),
                fletcher32=True,
            )
        stored["/xpcs/twotime/processed_bins"] = [1, 2, 3, 4]
        stored["/xpcs/qmap/dynamic_v_list_dim0"] = Q
        stored["/xpcs/qmap/dynamic_v_list_dim1"] = PHI
        stored["/xpcs/qmap/dynamic_index_mapping"] = CELLS
        stored["/entry/instrument/detector_1/frame_time"] = 0.1
        offset = stored["/xpcs/twotime/correlation_map/c2_00002"].id.get_chunk_info(0).byte_offset
    content = bytearray(file.read_bytes())
    content[offset : offset + 8] = b"\xff" * 8
    file.write_bytes(content)
    load_xpcs(file, q=0.01)
    load_xpcs(file, q=0.005, phi_ranges=[(-100, -80)])
    assert np.array_equal(load_xpcs(file, q=0.005, start_frame=7).c2, maps[:2, 6:, 6:])
    with pytest.raises(DataError, match="c2_00002 cannot be read, the file is damaged there or"):
        load_xpcs(file, q=0.005)


def test_memory_stays_at_one_copy_of_the_maps(tmp_path, pattern, write_apsu):
    file = write_apsu(tmp_path / "a.hdf", pattern(12, 200), [0.01], np.arange(12.0))
    tracemalloc.start()
    try:
        data = load_xpcs(file)
        assert data.mask.any()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    one_map = data.c2[0].nbytes
    assert peak < data.c2.nbytes + 4 * one_map


def test_real_file_every_map_has_the_q_and_phi_of_its_pixels(real_file):
    with h5py.File(real_file) as stored:
        qmap = stored["xpcs/qmap"]
        roi = qmap["dynamic_roi_map"][()]
        x0, y0 = qmap["beam_center_x"][()], qmap["beam_center_y"][()]
        distance, pixel = qmap["detector_distance"][()], qmap["pixel_size"][()]
        wavelength = 12.398419843320026 / qmap["energy"][()]
        labels = stored["xpcs/twotime/processed_bins"][()]
        keys = sorted(stored["xpcs/twotime/correlation_map"])
        halves = {key: stored[f"xpcs/twotime/correlation_map/{key}"][()] for key in keys}
    rows, columns = np.indices(roi.shape)
    radius = np.hypot(columns - x0, rows - y0) * pixel
    q_pixel = 4 * np.pi / wavelength * np.sin(np.arctan(radius / distance) / 2)
    # Angles run anticlockwise as one sees the image: rows count downwards.
    phi_pixel = np.degrees(np.arctan2(y0 - rows, columns - x0))
    seen = []
    for q in list_q(real_file):
        data = load_xpcs(real_file, q=q)
        for angle, key in enumerate(data.provenance.keys):
            pixels = roi == labels[keys.index(key)]
            assert q_pixel[pixels].mean() == pytest.approx(data.q, rel=0.02)
            off = (phi_pixel[pixels] - data.phi[angle] + 180) % 360 - 180
            assert np.all(np.abs(off) <= 15.001)
            half = halves[key]
            assert np.array_equal(np.triu(data.c2[angle]), half)
            assert np.array_equal(data.c2[angle], data.c2[angle].T)
            seen.append(key)
    assert sorted(seen) == keys
    assert len(seen) == 44


def test_real_file_summary(real_file):
    summary = inspect_file(real_file)
    assert summary.layout == "APS-U"
    assert summary.n_maps == summary.n_read == 44
    assert [len(phi) for phi in summary.phi] == [11, 11, 11, 11]
    assert summary.dt == pytest.approx(1.30068e-3)
    assert summary.n_nan == 0
    assert summary.symmetric
    assert np.all((np.array(summary.noise) > 0.01) & (np.array(summary.noise) < 0.4))
    assert np.all((np.array(summary.contrast) > 0.05) & (np.array(summary.contrast) < 0.2))
