"""The old APS layout and its two conventions for the numbers of the maps."""

import h5py
import numpy as np
import pytest

from homodyne_data import DataError, load_xpcs

Q_LIST = [[0.005, 0.005, 0.005, 0.01, 0.01, 0.01]]
PHI_LIST = [[-90.0, 0.0, 90.0, -90.0, 0.0, 90.0]]
N = 8


@pytest.fixture
def write(tmp_path, pattern):
    def write(numbers, *, bins=None, key="g2_{:05d}", half=np.triu, **other):
        file = tmp_path / "old.hdf"
        maps = pattern(len(numbers), N)
        with h5py.File(file, "w") as stored:
            for number, c2 in zip(numbers, maps, strict=True):
                stored["/exchange/C2T_all/" + key.format(number)] = half(c2)
            stored["/xpcs/dqlist"] = Q_LIST
            stored["/xpcs/dphilist"] = PHI_LIST
            stored["/measurement/instrument/detector/exposure_period"] = [[0.02]]
            stored["/xpcs/stride_frames"] = [[2]]
            stored["/xpcs/avg_frames"] = [[3]]
            if bins is not None:
                stored["/xpcs/qphi_bin_to_process"] = np.array(bins)[:, None]
            for path, value in other.items():
                name = path.replace("__", "/")
                if name in stored:
                    del stored[name]
                if value is not None:
                    stored[name] = value
        return file, maps

    return write


@pytest.mark.parametrize("key", ["g2_{:05d}", "c2_{:05d}", "{}"])
@pytest.mark.parametrize("half", [np.triu, np.tril])
def test_all_bins(write, key, half):
    file, maps = write(range(1, 7), key=key, half=half)
    data = load_xpcs(file, q=0.01)
    assert data.provenance.layout == "APS"
    assert data.phi.tolist() == [-90.0, 0.0, 90.0]
    assert np.array_equal(data.c2, maps[3:])
    assert data.dt == pytest.approx(0.12)
    assert any("labels and sequence at once" in note for note in data.provenance.notes)


def test_numbers_with_gaps_are_labels(write):
    file, maps = write([2, 4, 6])
    data = load_xpcs(file, q=0.01)
    assert data.phi.tolist() == [-90.0, 90.0]
    assert np.array_equal(data.c2, maps[1:])
    assert any("bin labels (xpcs-eigen)" in note for note in data.provenance.notes)


def test_running_numbers_with_their_list(write):
    file, maps = write([1, 2, 3], bins=[2, 4, 6])
    data = load_xpcs(file, q=0.01)
    assert data.phi.tolist() == [-90.0, 90.0]
    assert np.array_equal(data.c2, maps[1:])
    assert any("running number (boost_corr)" in note for note in data.provenance.notes)


def test_list_that_agrees_with_the_numbers(write):
    file, maps = write([1, 2, 3], bins=[1, 2, 3])
    data = load_xpcs(file)
    assert data.phi.tolist() == [-90.0, 0.0, 90.0]
    assert np.array_equal(data.c2, maps)
    assert any("agree" in note for note in data.provenance.notes)


@pytest.mark.parametrize(
    ("numbers", "bins", "message"),
    [
        ([1, 2, 3], None, "3 maps numbered from 1 for 6 bins"),
        ([1, 2, 3], [1], "1 entries for 3 maps and was ignored"),
        ([1, 2, 3], [1, 2, 4, 5], "Only 3 of the 4 bins"),
        ([2, 4], [1, 2], "differ; the keys are used"),
    ],
)
def test_what_cannot_be_told_apart_is_announced(write, numbers, bins, message):
    file, _ = write(numbers, bins=bins)
    with pytest.warns(UserWarning, match=message):
        data = load_xpcs(file, q=0.005)
    assert any(message.split()[-1] in note for note in data.provenance.notes)


@pytest.mark.parametrize(
    ("numbers", "other", "message"),
    [
        ([5, 6, 7], {}, "bin labels must be 1 to 6 .* got 5 to 7"),
        ([0, 1, 2], {}, "got 0 to 2"),
        ([1, 2], {"bins": [3, 3]}, "lists a bin twice"),
        ([1, 2], {"xpcs__dphilist": [[0.0]]}, "dqlist has 6 bins, .* 1"),
        (range(1, 7), {"xpcs__avg_frames": 0}, "avg_frames must be 1 or more"),
        (range(1, 7), {"exchange__C2T_all__extra": 1.0}, "must carry different numbers"),
        (range(1, 7), {"measurement__instrument__detector__exposure_period": None}, "give it with dt="),
    ],
)
def test_files_that_contradict_themselves(write, numbers, other, message):
    file, _ = write(numbers, **other)
    with pytest.raises(DataError, match=message):
        load_xpcs(file, q=0.01)


def test_absent_factors_are_noted(write):
    file, _ = write(range(1, 7), xpcs__avg_frames=None)
    data = load_xpcs(file, q=0.01)
    assert data.dt == pytest.approx(0.04)
    assert any("avg_frames is absent" in note for note in data.provenance.notes)
