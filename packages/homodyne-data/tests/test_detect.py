"""Files that are no data, each refused with a sentence."""

import io
import zipfile

import h5py
import numpy as np
import pytest

from homodyne_data import DataError, inspect_file, list_q, load_xpcs


@pytest.mark.parametrize("function", [load_xpcs, list_q, inspect_file])
def test_no_file_and_no_regular_file(tmp_path, function):
    with pytest.raises(FileNotFoundError, match=r"no such file: .*gone.hdf"):
        function(tmp_path / "gone.hdf")
    with pytest.raises(IsADirectoryError, match="a file is needed"):
        function(tmp_path)


def test_empty_and_foreign_files(tmp_path):
    file = tmp_path / "data.hdf"
    file.write_bytes(b"")
    with pytest.raises(DataError, match="the file is empty"):
        load_xpcs(file)
    file.write_text("phi, c2")
    with pytest.raises(DataError, match="neither an HDF5 nor an .npz file$"):
        load_xpcs(file)
    file.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match="starts like a truncated .npz"):
        load_xpcs(file)


def test_foreign_hdf5_names_the_layouts_and_what_each_missed(tmp_path):
    file = tmp_path / "data.hdf"
    with h5py.File(file, "w") as stored:
        stored["/exchange/C2T_all/g2_00001"] = np.eye(4)
        stored["/entry/definition"] = "NXsas"
    with pytest.raises(DataError) as caught:
        load_xpcs(file)
    message = str(caught.value)
    assert "APS-U (no /xpcs/twotime/correlation_map)" in message
    assert "old APS (no /xpcs/dqlist)" in message
    assert "NXxpcs (no /entry/definition = NXxpcs)" in message


def test_one_time_results_say_so(tmp_path):
    file = tmp_path / "data.hdf"
    with h5py.File(file, "w") as stored:
        stored["/xpcs/multitau/normalized_g2"] = np.ones((3, 2))
    with pytest.raises(DataError, match=r"one-time \(multitau\) results only"):
        load_xpcs(file)


def test_nexus_without_maps(tmp_path):
    file = tmp_path / "data.nxs"
    with h5py.File(file, "w") as stored:
        stored["/scan/definition"] = "NXxpcs"
    with pytest.raises(DataError, match="NXxpcs .no /scan/twotime/two_time_corr_func"):
        load_xpcs(file)


@pytest.mark.parametrize("group", ["/xpcs/twotime/correlation_map", "/exchange/C2T_all"])
def test_no_map_at_all(tmp_path, pattern, write_apsu, group):
    file = tmp_path / "data.hdf"
    with h5py.File(file, "w") as stored:
        stored.create_group(group)
        for path in ("xpcs/twotime/processed_bins", "xpcs/dqlist", "xpcs/dphilist"):
            stored[path] = [1]
        if "xpcs" in group:
            stored["xpcs/qmap/dynamic_v_list_dim0"] = stored["xpcs/qmap/dynamic_v_list_dim1"] = [0.01]
    with pytest.raises(DataError, match="holds no map"):
        load_xpcs(file)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_hdf5_gives_a_sentence(tmp_path, pattern, write_apsu, share):
    file = write_apsu(tmp_path / "a.hdf", pattern(4, 60), [0.01], np.arange(4.0))
    content = file.read_bytes()
    kept = int(share * len(content))
    file.write_bytes(content[:kept])
    with pytest.raises(DataError, match=f"the file is truncated, it has {kept} of {len(content)} bytes"):
        load_xpcs(file)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": [1]}, "no c2 or c2_exp in this .npz file; it holds: x"),
        ({"c2": np.ones((2, 4, 4)), "c2_exp": [1]}, "c2 is there twice"),
        ({"c2": np.ones((2, 4, 4)), "phi": [0.0], "q": 0.01}, r"phi must have shape \(2,\)"),
        (
            {"c2": np.ones((1, 4, 4)), "phi": np.array([None]), "q": 0.01},
            "phi.npy cannot be read: Object arrays",
        ),
        ({"c2": np.array([None]), "phi": [0.0], "q": 0.01}, "c2 must hold real numbers, got dtype object"),
        ({"c2": np.asfortranarray(np.ones((1, 4, 4))), "phi": [0.0], "q": 0.01}, "Fortran order"),
    ],
)
def test_npz_files_that_do_not_fit(tmp_path, arrays, message):
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DataError, match=message) as caught:
        load_xpcs(tmp_path / "data.npz")
    assert "data.npz" in str(caught.value)


def test_damaged_npz(tmp_path, pattern):
    file = tmp_path / "data.npz"
    np.savez_compressed(file, c2=pattern(1, 60), phi=[0.0], q=0.01, dt=0.1)
    content = bytearray(file.read_bytes())
    content[3000:3100] = b"\x00" * 100
    file.write_bytes(content)
    with pytest.raises(DataError, match="damaged .npz"):
        load_xpcs(file)


def test_npz_that_ends_early(tmp_path):
    file = tmp_path / "data.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1, 5, 5)})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("c2.npy", header.getvalue() + np.ones(12).tobytes())
        for name, value in (("phi", np.zeros(1)), ("q", np.array(0.01)), ("dt", np.array(0.1))):
            member = io.BytesIO()
            np.save(member, value)
            archive.writestr(f"{name}.npy", member.getvalue())
    with pytest.raises(DataError, match="ends early"):
        load_xpcs(file)
