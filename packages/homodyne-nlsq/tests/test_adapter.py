"""The adapter without its library: every fit falls back, and the result says why."""

import sys

import numpy as np
import pytest

from homodyne_data import open_xpcs, save_npz
from homodyne_nlsq import CurveFitError, FitInputError, NLSQAdapter, _adapter, fit_nlsq_jax


@pytest.fixture
def without_nlsq(monkeypatch):
    monkeypatch.setitem(sys.modules, "nlsq", None)


def test_without_the_library_our_solver_takes_over(rest, without_nlsq):
    expected = fit_nlsq_jax(rest.data)
    found = fit_nlsq_jax(rest.data, {"use_adapter": True})
    assert found.device_info.fallback_occurred
    assert not expected.device_info.fallback_occurred
    assert found.device_info.adapter == "structured"
    assert "The fit by nlsq failed, and our own solver took over" in found.warnings[0]
    assert 'pip install "homodyne-nlsq[nlsq]"' in found.warnings[0]
    np.testing.assert_array_equal(found.parameters, expected.parameters)


def test_without_fallback_the_library_is_missed(rest, without_nlsq):
    with pytest.raises(ImportError, match='pip install "homodyne-nlsq'):
        fit_nlsq_jax(rest.data, {"engine": "nlsq"})


def test_the_library_takes_no_maps_in_a_file(rest, tmp_path):
    save_npz(tmp_path / "maps.npz", rest.data)
    with (
        open_xpcs(tmp_path / "maps.npz") as stream,
        pytest.raises(FitInputError, match="takes maps in memory"),
    ):
        fit_nlsq_jax(stream, {"engine": "nlsq"})


def test_data_in_a_file_fall_back(rest, tmp_path):
    save_npz(tmp_path / "maps.npz", rest.data)
    with open_xpcs(tmp_path / "maps.npz") as stream:
        found = NLSQAdapter().fit(stream)
    assert found.device_info.fallback_occurred
    assert found.device_info.strategy == "hybrid"


def test_a_failure_inside_the_library_falls_back(rest, monkeypatch):
    def fails(*args, **keywords):
        raise CurveFitError("it gave up")

    adapter = NLSQAdapter()
    monkeypatch.setattr(adapter._executor, "_local_solver", fails)
    found = adapter.fit(rest.data)
    assert found.success
    assert "it gave up" in found.warnings[0]


def test_wrong_input_is_refused_not_fallen_back_from(rest, without_nlsq):
    with pytest.raises(FitInputError, match="fixed"):
        NLSQAdapter().fit(rest.data, {"fixed": {"D0": 1e12}})


def test_a_jacobian_beyond_the_memory_is_refused(rest, monkeypatch):
    monkeypatch.setattr("homodyne_nlsq._executors.memory_threshold_gb", lambda fraction: 1e-4)
    with pytest.raises(FitInputError, match="engine 'nlsq' holds the full Jacobian: 5,310 points need about"):
        fit_nlsq_jax(rest.data, {"engine": "nlsq"})
    assert _adapter.NLSQAdapter().fit(rest.data).device_info.fallback_occurred
