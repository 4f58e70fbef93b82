"""NXxpcs: every storage mode, baseline, origin and populated half."""

import h5py
import numpy as np
import pytest

from homodyne_data import DataError, load_xpcs

Q_LIST = [0.005, 0.005, 0.01, 0.01, 0.01]
PHI_LIST = [0.0, 90.0, -60.0, 0.0, 60.0]
N = 8


@pytest.fixture
def write(tmp_path, pattern):
    def write(
        mode="one_array_q_first",
        baseline=1,
        origin="upper_left",
        populated="all",
        fill=0.0,
        entry="entry",
        maps=None,
        **other,
    ):
        file = tmp_path / "nexus.h5"
        maps = pattern(5, N) if maps is None else maps
        stack = maps - (1 - baseline)
        if origin == "lower_left":
            stack = stack[:, ::-1]
        # Above or below the line t1 = t2 as it lies in the stored array.
        rows, columns = np.indices((N, N))
        over = columns - (N - 1 - rows if origin == "lower_left" else rows)
        if origin == "lower_left":
            over = -over
        keep = {"all": over == over, "upper_half": over >= 0, "lower_half": over <= 0}[populated]
        stack = np.where(keep, stack, np.float32(fill)).astype(np.float32)
        path = f"{entry}/twotime/two_time_corr_func"
        with h5py.File(file, "w") as stored:
            stored[f"{entry}/definition"] = "NXxpcs"
            if mode == "data_exchange_keys":
                for k, c2 in enumerate(stack):
                    stored[f"{path}/{other.get('key', 'c2_{}').format(k + 1)}"] = c2
            else:
                stored[path] = stack if mode == "one_array_q_first" else stack.transpose(1, 2, 0)
            attributes = stored[path].attrs
            attributes["storage_mode"] = mode
            attributes["baseline_reference"] = baseline
            attributes["time_origin_location"] = origin
            attributes["populated_elements"] = populated
            stored[f"{entry}/instrument/masks/dynamic_q_list"] = Q_LIST
            stored[f"{entry}/instrument/masks/dynamic_phi_list"] = PHI_LIST
            stored[f"{entry}/instrument/detector_1/frame_time"] = 0.1
        return file, maps

    return write


def attribute(file, name, value):
    with h5py.File(file, "a") as stored:
        attributes = stored["entry/twotime/two_time_corr_func"].attrs
        if value is None:
            del attributes[name]
        else:
            attributes[name] = value


def replace(file, path, value, **attributes):
    with h5py.File(file, "a") as stored:
        del stored[path]
        if value is not None:
            stored[path] = value
            stored[path].attrs.update(attributes)


@pytest.mark.parametrize("mode", ["one_array_q_first", "one_array_q_last", "data_exchange_keys"])
@pytest.mark.parametrize("baseline", [0, 1])
@pytest.mark.parametrize("origin", ["upper_left", "lower_left"])
@pytest.mark.parametrize(
    ("populated", "fill"), [("all", 0), ("upper_half", 0), ("lower_half", np.nan), ("upper_half", 7)]
)
def test_every_way_to_store(write, mode, baseline, origin, populated, fill):
    file, maps = write(mode, baseline, origin, populated, fill)
    data = load_xpcs(file, q=0.01, start_frame=2, end_frame=6)
    assert data.provenance.layout == "NXxpcs"
    assert data.phi.tolist() == [-60.0, 0.0, 60.0]
    assert np.allclose(data.c2, maps[2:, 1:6, 1:6], rtol=0, atol=2e-7)
    assert data.symmetric
    assert data.dt == pytest.approx(0.1)
    assert any("baseline 0" in note for note in data.provenance.notes) == (baseline == 0)


@pytest.mark.parametrize("mode", ["one_array_q_first", "one_array_q_last"])
def test_turned_rows_of_independent_halves(write, mode):
    maps = (1 + np.random.default_rng(2).random((5, N, N))).astype(np.float32)
    file, _ = write(mode, origin="lower_left", maps=maps)
    data = load_xpcs(file, q=0.01, start_frame=3)
    assert not data.symmetric
    assert np.array_equal(data.c2, maps[2:, 2:, 2:])


def test_ten_keys_in_natural_order(write):
    file, maps = write("data_exchange_keys")
    with h5py.File(file, "a") as stored:
        group = stored["entry/twotime/two_time_corr_func"]
        group.move("c2_2", "c2_10")
    replace(file, "entry/instrument/masks/dynamic_q_list", [0.01] * 10)
    replace(file, "entry/instrument/masks/dynamic_phi_list", 10.0 * np.arange(10))
    data = load_xpcs(file)
    assert data.phi.tolist() == [0.0, 20.0, 30.0, 40.0, 90.0]
    assert np.array_equal(data.c2, maps[[0, 2, 3, 4, 1]])


def test_entry_of_another_name_and_si_units(write):
    file, _ = write(entry="scan_7")
    replace(file, "scan_7/instrument/masks/dynamic_q_list", np.array(Q_LIST) * 1e10, units="1/m")
    replace(file, "scan_7/instrument/masks/dynamic_phi_list", np.radians(PHI_LIST), units="rad")
    replace(file, "scan_7/instrument/detector_1/frame_time", 100.0, units="ms")
    data = load_xpcs(file, q=0.01)
    assert data.q == pytest.approx(0.01)
    assert np.allclose(data.phi, [-60, 0, 60])
    assert data.dt == pytest.approx(0.1)
    assert len(data.provenance.notes) == 3


def test_unknown_unit_is_noted(write):
    file, _ = write()
    replace(file, "entry/instrument/detector_1/frame_time", 0.1, units="fortnight")
    assert any("'fortnight'" in note for note in load_xpcs(file, q=0.01).provenance.notes)


@pytest.mark.parametrize(
    "name", ["storage_mode", "baseline_reference", "time_origin_location", "populated_elements"]
)
def test_absent_attributes_are_assumed_aloud(write, name):
    file, maps = write("one_array_q_last")
    attribute(file, name, None)
    with pytest.warns(UserWarning, match=f"has no attribute {name}; .* assumed"):
        assert np.array_equal(load_xpcs(file, q=0.01).c2, maps[2:])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("storage_mode", "other", "storage_mode .* must be one of .* got 'other'"),
        ("storage_mode", "one_array_q_last", r"must have shape \(t, t, q\)"),
        ("storage_mode", "data_exchange_keys", "must be a group of maps"),
        ("baseline_reference", 2, "must be 0 or 1, got 2"),
        ("time_origin_location", "centre", "must be one of"),
        ("populated_elements", "some", "must be one of"),
    ],
)
def test_attributes_that_do_not_fit(write, name, value, message):
    file, _ = write()
    attribute(file, name, value)
    with pytest.raises(DataError, match=message):
        load_xpcs(file, q=0.01)


def test_declared_half_that_is_empty(write):
    file, maps = write(populated="upper_half")
    attribute(file, "populated_elements", "lower_half")
    data = load_xpcs(file, q=0.01)
    assert np.array_equal(data.c2, maps[2:])
    assert any("declared as its lower half, but the upper half" in note for note in data.provenance.notes)


def test_lists_that_do_not_fit(write):
    file, _ = write()
    replace(file, "entry/instrument/masks/dynamic_phi_list", [0.0])
    with pytest.raises(DataError, match="dynamic_q_list has 5 values, .* 1"):
        load_xpcs(file, q=0.01)
    replace(file, "entry/instrument/masks/dynamic_q_list", [0.01])
    with pytest.raises(DataError, match="has 1 values, one for each bin label; the maps have labels 1 to 5"):
        load_xpcs(file)


def test_without_angles_phi_is_zero(write):
    file, _ = write()
    replace(file, "entry/instrument/masks/dynamic_phi_list", None)
    replace(file, "entry/instrument/masks/dynamic_q_list", [0.01, 0.02, 0.03, 0.04, 0.05])
    data = load_xpcs(file, q=0.03)
    assert data.phi.tolist() == [0.0]
    assert any("phi was set to 0" in note for note in data.provenance.notes)


def test_without_frame_time(write):
    file, _ = write()
    replace(file, "entry/instrument/detector_1/frame_time", None)
    assert load_xpcs(file, q=0.01, dt=0.2).dt == pytest.approx(0.2)
    with pytest.raises(DataError, match="give it with dt="):
        load_xpcs(file, q=0.01)


def test_only_the_wanted_part_of_a_stack_is_read(write, monkeypatch):
    file, _ = write("one_array_q_last")
    read = []
    original = h5py.Dataset.read_direct

    def spy(self, out, source_sel=None, dest_sel=None):
        read.append(source_sel)
        return original(self, out, source_sel, dest_sel)

    monkeypatch.setattr(h5py.Dataset, "read_direct", spy)
    load_xpcs(file, q=0.01, phi_ranges=[(50, 70)], start_frame=4)
    assert read == [(slice(3, 8), slice(3, 8), 4)]
