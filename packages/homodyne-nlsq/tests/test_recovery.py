"""Fits that cannot start, that get nowhere, or that run out of memory: what is tried next, and that the result says so."""

import numpy as np
import pytest

from homodyne_data import open_xpcs, save_npz
from homodyne_nlsq import FitInputError, NLSQConfig, _executors, _held, fit_nlsq_jax

START = {"D0": 2e4, "alpha": 0.2, "D_offset": 0.0}
BOUNDS = {"D0": (1e2, 1e6), "alpha": (-1.0, 2.0), "D_offset": (-5e4, 5e4)}
CENTRE = np.array([500050.0, 0.5, 0.0])
# Where a bound is not positive the centre stands in.
MEAN = np.array([1e4, 0.5, 0.0])
SETTINGS = {"initial": START, "bounds": BOUNDS}


@pytest.fixture
def not_finite(monkeypatch):
    """Make the pass over the data give NaN wherever ``where(physical)`` holds."""
    original = _held.normal_equations

    def make(where):
        def pass_(model, physical, *args, **keywords):
            gram = np.array(original(model, physical, *args, **keywords))
            return np.full_like(gram, np.nan) if where(np.asarray(physical)) else gram

        monkeypatch.setattr(_held, "normal_equations", pass_)

    return make


def at(*points):
    return lambda physical: any(np.allclose(physical, point, rtol=1e-9, atol=1e-9) for point in points)


def test_a_start_that_is_not_finite_gives_way_to_the_centre_of_the_bounds(rest, not_finite):
    expected = fit_nlsq_jax(rest.data, SETTINGS)
    assert expected.device_info.recovery_actions == ()
    not_finite(at(list(START.values())))
    found = fit_nlsq_jax(rest.data, SETTINGS)
    assert found.device_info.recovery_actions == ("bounds_reset",)
    assert found.success
    assert "Attempt 1 (the start values) failed: the model is not finite" in found.warnings[0]
    assert found.chi_squared == pytest.approx(expected.chi_squared, rel=1e-9)
    np.testing.assert_allclose(list(found.initial.values()), CENTRE)


def test_a_centre_that_is_not_finite_gives_way_to_the_geometric_mean(rest, not_finite):
    expected = fit_nlsq_jax(rest.data, SETTINGS)
    not_finite(at(list(START.values()), CENTRE))
    found = fit_nlsq_jax(rest.data, SETTINGS)
    assert found.device_info.recovery_actions == ("bounds_reset", "geometric_mean_reset")
    assert found.success
    assert [sentence[:9] for sentence in found.warnings[:2]] == ["Attempt 1", "Attempt 2"]
    assert found.chi_squared == pytest.approx(expected.chi_squared, rel=1e-9)
    np.testing.assert_allclose(list(found.initial.values()), MEAN)


def test_a_model_that_is_finite_nowhere_fails_and_says_so(rest, not_finite, tmp_path):
    not_finite(lambda physical: True)
    found = fit_nlsq_jax(rest.data, SETTINGS)
    assert found.device_info.recovery_actions == ("bounds_reset", "geometric_mean_reset")
    assert (found.success, found.convergence_status, found.quality_flag) == (False, "failed", "poor")
    assert "Nothing was fitted" in found.message
    assert [sentence[:9] for sentence in found.warnings] == ["Attempt 1", "Attempt 2", "Attempt 3"]
    assert found.physical == START
    assert np.isnan(found.uncertainties).all()
    assert np.isnan(found.diffusion.error).all()
    assert "FAILED" in found.summary()
    assert '"chi_squared": null' in found.to_json()
    found.save(tmp_path / "result")


def test_a_fit_from_no_start_values_that_fails_can_be_saved(rest, not_finite, tmp_path):
    not_finite(lambda physical: True)
    for recovery in ({}, {"enable": False}):
        found = fit_nlsq_jax(rest.data, {"recovery": recovery})
        assert found.convergence_status == "failed"
        assert "Nothing was fitted" in found.summary()
        found.save(tmp_path / "result", overwrite=True)


@pytest.mark.parametrize(
    "recovery, actions",
    [({"enable": False}, ()), ({"max_attempts": 1}, ()), ({"max_attempts": 2}, ("bounds_reset",))],
)
def test_fewer_attempts(rest, not_finite, recovery, actions):
    not_finite(at(list(START.values()), CENTRE))
    found = fit_nlsq_jax(rest.data, SETTINGS | {"recovery": recovery})
    assert found.device_info.recovery_actions == actions
    assert found.convergence_status == "failed"


def test_start_values_from_the_data_are_an_attempt_too(rest, not_finite):
    begin = fit_nlsq_jax(rest.data, {"bounds": BOUNDS}).initial
    not_finite(at(list(begin.values())))
    found = fit_nlsq_jax(rest.data, {"bounds": BOUNDS})
    assert found.device_info.recovery_actions == ("bounds_reset",)
    assert found.success


def test_fixed_parameters_keep_their_value_in_every_attempt(rest, not_finite):
    not_finite(at([2e4, 0.2, 100.0], [500050.0, 0.5, 100.0]))
    found = fit_nlsq_jax(rest.data, SETTINGS | {"fixed": {"D_offset": 100.0}})
    assert found.device_info.recovery_actions == ("bounds_reset", "geometric_mean_reset")
    assert found.physical["D_offset"] == 100.0


def test_in_every_way_to_hold_the_data(rest, not_finite, tmp_path):
    not_finite(at(list(START.values())))
    save_npz(tmp_path / "maps.npz", rest.data)
    with open_xpcs(tmp_path / "maps.npz") as stream:
        found = [
            fit_nlsq_jax(rest.data, SETTINGS | {"chunk_points": 500}),
            # The warm-up moves the start before it is evaluated on the file, so its own end is left out too.
            fit_nlsq_jax(stream, SETTINGS | {"hybrid_streaming": {"warmup_iterations": 0}}),
        ]
    assert [f.device_info.recovery_actions for f in found] == [("bounds_reset",)] * 2
    assert [f.device_info.strategy for f in found] == ["out_of_core", "hybrid"]


def test_memory_that_runs_out_leads_to_the_leaner_strategy(rest, monkeypatch):
    def no_memory(*args, **keywords):
        raise MemoryError

    expected = fit_nlsq_jax(rest.data)
    monkeypatch.setattr(_executors, "WholeMaps", no_memory)
    found = fit_nlsq_jax(rest.data)
    assert found.device_info.strategy == "out_of_core"
    assert found.device_info.recovery_actions == ("out_of_memory_standard",)
    assert "Memory ran out with the data held as standard" in found.warnings[0]
    assert found.chi_squared == pytest.approx(expected.chi_squared, rel=1e-12)

    original = _executors.RowChunks
    monkeypatch.setattr(
        _executors, "RowChunks", lambda *a, **k: original(*a, **k) if len(a) > 2 else no_memory()
    )
    found = fit_nlsq_jax(rest.data)
    assert found.device_info.strategy == "hybrid"
    assert found.device_info.recovery_actions == ("out_of_memory_standard", "out_of_memory_out_of_core")

    monkeypatch.setattr(_executors, "RowChunks", no_memory)
    with pytest.raises(MemoryError, match="ran out of memory in its leanest way, hybrid_streaming; expected"):
        fit_nlsq_jax(rest.data)


def test_other_errors_of_the_device_are_not_taken_for_memory(rest, monkeypatch):
    from jax.errors import JaxRuntimeError

    def broken(*args, **keywords):
        raise JaxRuntimeError("INTERNAL: no such thing")

    monkeypatch.setattr(_executors, "WholeMaps", broken)
    with pytest.raises(JaxRuntimeError, match="INTERNAL"):
        fit_nlsq_jax(rest.data)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"recovery": {"max_attempts": 4}}, "recovery.max_attempts is 4; expected 1, 2 or 3"),
        ({"recovery": {"enable": "yes"}}, "recovery.enable is 'yes'; expected true or false"),
        ({"recovery": {"attempts": 2}}, "unknown setting 'recovery.attempts'. Did you mean 'max_attempts'"),
        ({"hybrid_streaming": {"chunk_size": 0}}, "hybrid_streaming.chunk_size is 0"),
        (
            {"hybrid_streaming": {"warmup_iterations": 50, "max_warmup_iterations": 10}},
            "max_warmup_iterations is 10; expected at least warmup_iterations, 50",
        ),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(FitInputError, match=message):
        NLSQConfig.from_mapping(settings)


def test_a_section_must_be_a_mapping():
    with pytest.raises(TypeError, match="recovery is a bool; expected a RecoveryConfig or a mapping"):
        NLSQConfig(recovery=True)
