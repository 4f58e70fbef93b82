"""The summary of a file."""

import json

import numpy as np
import pytest

from homodyne_data import inspect_file, simulate_two_time

N = 40


@pytest.fixture
def file(tmp_path, write_apsu):
    t = np.arange(N)
    clean = 1.1 + 0.3 * np.exp(-0.3 * np.abs(t[:, None] - t)) * np.ones((5, 1, 1))
    maps = simulate_two_time(clean, 0.02, seed=1)
    maps[1, 3, 7] = maps[1, 7, 3] = np.nan
    maps[4] = 0
    return write_apsu(tmp_path / "a.hdf", maps, [0.005, 0.01], [0.0, 45.0, 90.0], cells=[0, 1, 2, 4, 5])


def test_figures(file):
    summary = inspect_file(file)
    assert (summary.layout, summary.n_maps, summary.n_read, summary.n_frames) == ("APS-U", 5, 5, N)
    assert summary.q == (0.005, 0.01)
    assert summary.phi == ((0.0, 45.0, 90.0), (45.0, 90.0))
    assert summary.dt == pytest.approx(0.1)
    assert summary.n_nan == 2
    assert summary.n_empty == 1
    assert summary.symmetric
    assert np.allclose(summary.noise, 0.02, rtol=0.2)
    assert np.allclose(summary.contrast, 0.3 * np.exp(-0.3), atol=0.02)
    assert np.allclose(summary.baseline, 1.1, atol=0.01)
    assert any("holds no data" in note for note in summary.notes)


def test_text_and_json(file):
    text = str(inspect_file(file))
    for word in (
        "APS-U",
        "5 of 40 x 40 frames",
        "0.1 s",
        "3: 0 to 90 deg",
        "symmetric  yes",
        "empty      1 maps",
    ):
        assert word in text
    plain = inspect_file(file).to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["phi"] == [[0.0, 45.0, 90.0], [45.0, 90.0]]


def test_at_most_some_maps_are_read(file):
    summary = inspect_file(file, max_maps=2)
    assert summary.n_read == 2
    assert summary.n_maps == 5
    assert "in 2 of 5 maps" in str(summary)
    with pytest.raises(ValueError, match="max_maps must be a positive integer"):
        inspect_file(file, max_maps=0)


def test_a_file_with_nothing_to_judge(tmp_path, write_apsu):
    file = write_apsu(tmp_path / "a.hdf", np.zeros((1, 3, 3)), [0.01], [0.0], mapping=False, dt=None)
    summary = inspect_file(file)
    assert summary.symmetric is None
    assert summary.dt is None
    assert summary.to_dict()["noise"] == [None]
    assert "not in the file" in str(summary)
    assert any("dynamic_index_mapping is absent" in note for note in summary.notes)
