"""How the data are held does not change the answer: in one piece, in chunks of rows, or read from a file in every pass."""

import re

import jax
import numpy as np
import pytest

from homodyne_data import TwoTimeData, open_xpcs, save_apsu, save_npz
from homodyne_model import testing
from homodyne_nlsq import (
    FitInputError,
    LargeDatasetExecutor,
    StandardExecutor,
    StreamingExecutor,
    _held,
    fit_nlsq_jax,
)

FLOW = {"analysis_mode": "laminar_flow"}


def flow(n_phi=6, n_t=40, **changes) -> TwoTimeData:
    measurement = testing.rheometer_flow(n_phi, n_t)
    model = measurement.model
    maps = np.asarray(measurement.noisy_maps(0.02, seed=7))
    return TwoTimeData(maps, model.phi, model.t, model.q, model.L, **{"sigma": 0.02, **changes})


def with_gaps(data: TwoTimeData) -> TwoTimeData:
    maps = data.c2.copy()
    maps[1, 9, 4] = maps[1, 4, 9] = np.nan
    pairs = np.random.default_rng(1).random(maps.shape) < 0.9
    good = np.ones(data.n_t, dtype=bool)
    good[[0, 17]] = False
    return TwoTimeData(
        maps,
        data.phi,
        data.t,
        data.q,
        data.L,
        sigma=data.sigma,
        good_frames=good,
        good_pairs=pairs & pairs.swapaxes(1, 2),
    )


def independent_halves() -> TwoTimeData:
    measurement = testing.rheometer_flow(6, 40)
    maps = np.asarray(measurement.maps()) + np.random.default_rng(2).normal(0, 0.02, (6, 40, 40))
    return TwoTimeData(
        maps, measurement.model.phi, measurement.model.t, measurement.model.q, measurement.model.L, sigma=0.02
    )


CASES = {
    "sigma": (lambda: flow(sigma=np.linspace(0.01, 0.04, 6)), {}),
    "sigma of every entry": (
        lambda: flow(sigma=np.random.default_rng(3).uniform(0.01, 0.05, (6, 40, 40))),
        {},
    ),
    "estimated sigma": (lambda: flow(sigma=None), {}),
    "masks": (lambda: with_gaps(flow()), {}),
    "active bound": (flow, {"bounds": {"alpha": (-1.2, 2.0)}}),
    "scaling at a bound": (flow, {"bounds": {"contrast": (0.0, 0.299)}}),
    "common scaling": (flow, {"per_angle_scaling": False}),
    "independent halves": (independent_halves, {}),
    "soft_l1": (lambda: spoilt(flow()), {"loss": "soft_l1"}),
    "huber and masks": (lambda: spoilt(with_gaps(flow())), {"loss": "huber", "f_scale": 1.345}),
    "huber, sigma of every entry, active bound": (
        lambda: spoilt(flow(sigma=np.random.default_rng(3).uniform(0.01, 0.05, (6, 40, 40)))),
        {"loss": "huber", "bounds": {"alpha": (-1.2, 2.0)}},
    ),
    "soft_l1, independent halves": (independent_halves, {"loss": "soft_l1"}),
    "weights of angles": (flow, {"angle_weights": [0.3, 1.0, 0.7, 0.2, 1.5, 1.0]}),
    "fixed parameters": (flow, {"fixed": {"D_offset": 1500.0, "contrast_1": 0.3, "beta": -0.2}}),
}


def spoilt(data: TwoTimeData) -> TwoTimeData:
    """The same data with some pairs far off."""
    maps = data.c2.copy()
    rng = np.random.default_rng(4)
    far = np.tril(rng.random(maps.shape) < 0.02, -1) * rng.normal(0.2, 0.3, maps.shape)
    return TwoTimeData(
        maps + far + far.swapaxes(1, 2),
        data.phi,
        data.t,
        data.q,
        data.L,
        sigma=data.sigma,
        good_frames=data.good_frames,
        good_pairs=data.good_pairs,
    )


def _without_numbers(sentence: str) -> str:
    return re.sub(r"[-+\d.e]*\d", "#", sentence)


def assert_same(found, expected):
    free = np.isfinite(expected.uncertainties)
    np.testing.assert_array_equal(np.isfinite(found.uncertainties), free)
    off = np.abs(found.parameters - expected.parameters)[free] / expected.uncertainties[free]
    assert off.max() < 1e-3
    np.testing.assert_allclose(found.parameters[~free], expected.parameters[~free], rtol=1e-9)
    scale = np.outer(expected.uncertainties[free], expected.uncertainties[free])
    difference = (found.covariance - expected.covariance)[np.ix_(free, free)]
    assert np.abs(difference / scale).max() < 1e-3
    # χ² without the weights of a loss or of the angles is not stationary at their optimum.
    plain = expected.robust_cost is None and expected.settings["angle_weights"] is None
    assert found.chi_squared == pytest.approx(expected.chi_squared, rel=1e-9 if plain else 1e-6)
    assert found.robust_cost == (
        None if expected.robust_cost is None else pytest.approx(expected.robust_cost, rel=1e-9)
    )
    for name in (
        "n_points",
        "dof",
        "sigma_source",
        "at_bound",
        "convergence_status",
        "quality_flag",
    ):
        assert getattr(found, name) == getattr(expected, name), name
    assert [_without_numbers(w) for w in found.warnings] == [_without_numbers(w) for w in expected.warnings]
    assert found.provenance["dropped"] == expected.provenance["dropped"]


@pytest.mark.parametrize("case", CASES)
def test_chunks_and_stream_agree_with_the_whole(case, tmp_path):
    make, changes = CASES[case]
    data, settings = make(), FLOW | changes
    whole = fit_nlsq_jax(data, settings)
    assert (whole.device_info.strategy, whole.device_info.n_chunks) == ("standard", 1)
    chunked = fit_nlsq_jax(data, settings | {"chunk_points": 7 * 240})
    assert chunked.device_info.n_chunks == 6
    assert_same(chunked, whole)
    save_npz(tmp_path / "maps.npz", data)
    with open_xpcs(tmp_path / "maps.npz") as stream:
        streamed = fit_nlsq_jax(stream, settings)
        in_rows = fit_nlsq_jax(stream, settings | {"hybrid_streaming": {"chunk_size": 700}})
    assert (streamed.device_info.strategy, streamed.device_info.n_chunks) == ("hybrid", 6)
    assert_same(streamed, whole)
    assert in_rows.device_info.n_chunks == 18
    assert_same(in_rows, whole)


def test_any_chunk_size_gives_the_same_answer():
    fixed = {"D_offset": 1710.0, "gamma_dot_t_offset": 0.0}
    data, settings = spoilt(flow(3, 30)), FLOW | {"loss": "soft_l1", "fixed": fixed}
    whole = fit_nlsq_jax(data, settings)
    for rows in (1, 4, 29, 30):
        found = LargeDatasetExecutor(rows * 90).fit(data, settings)
        assert found.device_info.n_chunks == -(-30 // rows)
        assert_same(found, whole)


@pytest.mark.parametrize("chunk_points", [1, 240, 11 * 240, 39 * 240, 10**9])
def test_any_chunk_size_gives_the_same_sums(chunk_points):
    data = with_gaps(flow())
    model, physical = testing.rheometer_flow(6, 40).model, np.asarray(testing.rheometer_flow(6, 40).physical)
    whole = _held.WholeMaps(data).gram(model, physical)
    chunks = _held.RowChunks(data, chunk_points)
    found = chunks.gram(model, physical)
    scale = np.sqrt(np.einsum("akk->ak", whole))
    assert np.abs((found - whole) / scale[:, :, None] / scale[:, None, :]).max() < 1e-12
    assert chunks.n_chunks == -(-40 // min(40, max(1, chunk_points // 240)))


def test_half_stored_maps_of_a_beamline_stream(tmp_path):
    data = flow()
    save_apsu(tmp_path / "maps.hdf", data)
    with open_xpcs(tmp_path / "maps.hdf") as stream:
        assert_same(fit_nlsq_jax(stream, FLOW), fit_nlsq_jax(data, FLOW))


def test_many_points_go_in_chunks(monkeypatch):
    # The memory decides, not the number of points alone: here the full Jacobian would not fit.
    monkeypatch.setenv("NLSQ_MEMORY_FRACTION", "0.1")
    monkeypatch.setattr("homodyne_memory._system.total_memory_gb", lambda: 1e-3)
    result = fit_nlsq_jax(flow(3, 20), FLOW)
    assert result.device_info.strategy in ("out_of_core", "hybrid")


class _Stop(Exception):
    pass


def test_an_interrupted_stream_goes_on_where_it_was(tmp_path):
    path, kept = tmp_path / "maps.npz", tmp_path / "passes"
    save_npz(path, flow())
    settings = FLOW | {"hybrid_streaming": {"checkpoint_dir": str(kept)}}
    with open_xpcs(path) as stream:
        uninterrupted = fit_nlsq_jax(stream, settings)
    assert list(kept.glob("*")) == []  # a finished fit leaves nothing behind

    seen = []

    def stop_after_three(stage, passes, chi_squared, message):
        if stage == "fit":
            seen.append(chi_squared)
        if len(seen) == 3:
            raise _Stop

    with open_xpcs(path) as stream, pytest.raises(_Stop):
        fit_nlsq_jax(stream, settings, progress=stop_after_three)
    assert len(list(kept.glob("*.npz"))) == 1

    computed = []
    original = _held.normal_equations
    with open_xpcs(path) as stream, pytest.MonkeyPatch.context() as patch:
        patch.setattr(_held, "normal_equations", lambda *a, **k: computed.append(1) or original(*a, **k))
        resumed = fit_nlsq_jax(stream, settings)
    assert len(computed) == 6 * (uninterrupted.iterations - 3)  # six angles, and three passes were remembered
    np.testing.assert_array_equal(resumed.parameters, uninterrupted.parameters)
    np.testing.assert_array_equal(resumed.covariance, uninterrupted.covariance)


def test_passes_of_other_data_are_not_taken(tmp_path):
    names = set()
    for k, sigma in enumerate((0.02, 0.03)):
        path, kept = tmp_path / f"{k}.npz", tmp_path / "passes"
        save_npz(path, flow(sigma=sigma))
        with open_xpcs(path) as stream:
            fit_nlsq_jax(
                stream, FLOW | {"hybrid_streaming": {"checkpoint_dir": str(kept)}, "max_iterations": 1}
            )
        names |= {p.name for p in kept.glob("*.npz")}
    assert len(names) == 2


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"memory_fraction": 0.95}, r"memory_fraction is 0.95; expected a number from 0.1 to 0.9"),
        (
            {"hybrid_streaming": {"checkpoint_dir": "passes"}},
            r"checkpoint_dir is 'passes', but the data are in memory",
        ),
        ({"chunk_points": 0}, r"chunk_points is 0; expected a whole number, at least 1"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(FitInputError, match=message):
        fit_nlsq_jax(flow(3, 20), FLOW | settings)


def test_executors_by_name(tmp_path):
    data = flow()
    save_npz(tmp_path / "maps.npz", data)
    results = {
        "standard": StandardExecutor().fit(data, FLOW),
        "out_of_core": LargeDatasetExecutor(7 * 240).fit(data, FLOW),
        "hybrid": StreamingExecutor().fit(data, FLOW | {"hybrid_streaming": {"chunk_size": 3 * 240}}),
    }
    assert {name: result.device_info.strategy for name, result in results.items()} == {n: n for n in results}
    for result in results.values():
        assert_same(result, results["standard"])
    with open_xpcs(tmp_path / "maps.npz") as stream:
        for executor in (StandardExecutor(), LargeDatasetExecutor()):
            with pytest.raises(
                FitInputError, match="takes maps in memory; expected the result of .* or StreamingExecutor"
            ):
                executor.fit(stream, FLOW)
    with pytest.raises(FitInputError, match="engine is 'fast'; expected one of structured, nlsq"):
        StandardExecutor("fast")
    with pytest.raises(FitInputError, match="chunk_points is 0; expected a whole number"):
        LargeDatasetExecutor(0)


@pytest.mark.parametrize("normalize", [True, False])
def test_the_warm_up_of_a_stream_saves_refinement(normalize, tmp_path):
    """It ends nearer to the optimum than the start, stops where told, and changes no answer."""
    data = flow()
    save_npz(tmp_path / "maps.npz", data)
    start = {
        "D0": 2e5, "alpha": -0.8, "D_offset": 500.0, "gamma_dot_t0": 3e-3, "beta": 0.2, "gamma_dot_t_offset": 0.0, "phi0": 30.0,
    }  # fmt: skip
    costs = {}

    def record(stage, passes, chi_squared, message):
        costs.setdefault(stage, []).append(chi_squared)

    with open_xpcs(tmp_path / "maps.npz") as stream:
        results = {}
        for most in (0, 3, 100):
            costs.clear()
            settings = {"normalize": normalize, "warmup_iterations": most, "max_warmup_iterations": most}
            results[most] = fit_nlsq_jax(
                stream, FLOW | {"initial": start, "hybrid_streaming": settings}, progress=record
            )
            assert len(costs.get("warm-up", [])) <= most
            if most == 100:
                assert costs["warm-up"][-1] < 0.2 * costs["warm-up"][0]
    for result in results.values():
        assert_same(result, results[0])


def test_a_stream_stops_at_its_own_number_of_passes(tmp_path):
    save_npz(tmp_path / "maps.npz", flow())
    with open_xpcs(tmp_path / "maps.npz") as stream:
        found = fit_nlsq_jax(stream, FLOW | {"hybrid_streaming": {"gauss_newton_max_iterations": 2}})
    assert found.iterations == 2
    assert not found.success
    assert "max_iterations (2 passes" in found.message


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="another device has memory of its own")
def test_all_chunks_use_one_room_and_no_copy_of_it():
    maps = _held.RowChunks(flow(), 7 * 240)
    with jax.enable_x64(True):
        chunks = [rows.c2 for angles, folded in maps.parts() for rows in maps._rows_of(angles, folded)]
    assert len(chunks) == 6
    assert {chunk.unsafe_buffer_pointer() for chunk in chunks} == {maps._rooms["c2"].ctypes.data}
