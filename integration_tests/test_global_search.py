"""Fits with a global search before them: which search is taken, what it finds, and what ends it.

How often it ends at the minimum that a fit from the truth finds takes half an hour, so only on request (``nox -s statistics``).
"""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import pytest

from homodyne_data import TwoTimeData, open_xpcs, save_apsu
from homodyne_model import PARAMETERS, RateCoordinates, TwoTimeModel
from homodyne_model.testing import Measurement, colloid
from homodyne_nlsq import FitInputError, NLSQConfig, fit_nlsq_cmaes, fit_nlsq_jax, fit_nlsq_multistart

SEEDS = 20
N_T = 200
SIGMA = 0.03
MODEL = TwoTimeModel("laminar_flow", 0.0054, 0.1 * np.arange(N_T), np.linspace(-170.0, 170.0, 23), 2e6)
# The middle of the default bounds, of their logarithms for the two rates, and of half a turn.
MIDDLE = {
    "D0": np.sqrt(PARAMETERS["D0"].lower * PARAMETERS["D0"].upper),
    "alpha": 0.0,
    "D_offset": 0.0,
    "gamma_dot_t0": np.sqrt(PARAMETERS["gamma_dot_t0"].lower * PARAMETERS["gamma_dot_t0"].upper),
    "beta": 0.0,
    "gamma_dot_t_offset": 0.0,
    "phi0": 0.0,
}
METHODS = {"cmaes": fit_nlsq_cmaes, "multi_start": fit_nlsq_multistart, "local": fit_nlsq_jax}


class Truth(NamedTuple):
    """Decay time [frames] and shear phase over the window, slopes and offsets of both rates, direction of the flow [deg]."""

    decay: float
    phase: float
    slopes: tuple[float, float]
    log_total_over_power: tuple[float, float]
    phi0: float

    def physical(self) -> np.ndarray:
        window = MODEL.t[-1]
        totals = (
            1 / (2 * MODEL.q**2 * self.decay * MODEL.dt),
            self.phase / (MODEL.kernel.scale * MODEL.q * MODEL.L * window),
        )
        block = RateCoordinates(MODEL.t_middle)
        natural = [
            block.to_natural(np.array([np.log(total), slope, np.arcsinh(np.exp(ratio))]))
            for total, slope, ratio in zip(totals, self.slopes, self.log_total_over_power, strict=True)
        ]
        return np.concatenate([*natural, [self.phi0]])


TRUTHS = (
    Truth(3, 30.0, (-0.4, 0.2), (0.3, -0.1), 2.0),
    Truth(12, 10.0, (0.3, -0.3), (-0.2, 0.2), -63.0),
    Truth(50, 3.0, (-0.6, 0.3), (0.2, 0.2), 85.0),
    Truth(200, 12.0, (0.2, 0.4), (0.2, -0.2), 31.0),
    Truth(600, 0.5, (-0.2, -0.2), (0.1, 0.1), -17.0),
)


def measured(truth: Truth, seed: int) -> TwoTimeData:
    angle = np.arange(23)
    contrast, offset = 0.3 * (1 + 0.05 * np.cos(2.0 * angle)), 1.1 + 0.01 * np.sin(3.0 * angle)
    maps = Measurement(MODEL, truth.physical(), contrast, offset).noisy_maps(SIGMA, seed=seed)
    return TwoTimeData(maps, MODEL.phi, MODEL.t, MODEL.q, MODEL.L, sigma=SIGMA)


# A search that takes a second, on maps that need no more.
QUICK = {"preset": "cmaes-fast", "max_restarts": 1, "seed": 1}
POOR = {"D0": 1e6, "alpha": 1.0, "D_offset": 0.0}


@pytest.fixture(scope="module")
def rest() -> TwoTimeData:
    truth = colloid(3, 40)
    model = truth.model
    return TwoTimeData(truth.noisy_maps(0.02, seed=1), model.phi, model.t, model.q, sigma=0.02)


def flow(phi, seed: int = 3) -> TwoTimeData:
    """Maps at a few angles of a flow in the direction of 12 degrees."""
    t = 0.1 * np.arange(50)
    model = TwoTimeModel("laminar_flow", 0.0054, t, np.array(phi), 2e6)
    physical = np.array([3e3, -0.3, 500.0, 2e-3, -0.3, 0.0, 12.0])
    truth = Measurement(model, physical, np.full(len(phi), 0.3), np.full(len(phi), 1.1))
    return TwoTimeData(truth.noisy_maps(0.02, seed=seed), phi, t, model.q, model.L, sigma=0.02)


DIFFUSION_KNOWN = {
    "analysis_mode": "laminar_flow",
    "fixed": {"D0": 3e3, "alpha": -0.3, "D_offset": 500.0, "gamma_dot_t_offset": 0.0},
}


# The decision tree, one test a branch.


def test_no_search_unless_enabled(rest):
    assert fit_nlsq_jax(rest, {"cmaes": {"enable": False}, "multi_start": {}}).search is None


def test_cmaes_where_the_bounds_are_far_apart(rest):
    found = fit_nlsq_jax(
        rest, {"cmaes": QUICK | {"enable": True}, "multi_start": {"enable": True}}, initial_params=POOR
    )
    assert found.search.method == "cmaes"
    # D0 from 1 to 1e9, alpha from -2 to 2.
    assert found.search.scale_ratio == pytest.approx(2.5e8)
    assert "above the threshold 1000" in found.search.choice


CLOSE_BOUNDS = {"bounds": {"D0": (1.0, 10.0), "D_offset": (0.0, 10.0)}, "fixed": {"alpha": 0.0}}


def test_multistart_where_they_are_not_and_it_is_enabled(rest):
    found = fit_nlsq_jax(rest, CLOSE_BOUNDS | {"cmaes": {"enable": True}, "multi_start": {"enable": True}})
    assert found.search.method == "multi_start"
    assert found.search.choice.startswith("Multistart: the scale ratio 1.11 is not above the threshold")


def test_the_local_fit_where_they_are_not_and_multistart_is_not_enabled(rest):
    found = fit_nlsq_jax(rest, CLOSE_BOUNDS | {"cmaes": {"enable": True}})
    assert found.search.method == "local"
    assert "multistart is not enabled" in found.search.choice
    assert found.search.choice in found.summary()


def test_a_threshold_that_is_lower_asks_for_cmaes(rest):
    settings = {"cmaes": QUICK | {"enable": True, "scale_threshold": 1.1}, "multi_start": {"enable": True}}
    assert fit_nlsq_jax(rest, CLOSE_BOUNDS | settings).search.method == "cmaes"


def test_cmaes_whatever_the_bounds_without_auto_select(rest):
    settings = {"cmaes": QUICK | {"enable": True, "auto_select": False}}
    assert fit_nlsq_jax(rest, CLOSE_BOUNDS | settings).search.method == "cmaes"


def test_multistart_alone(rest):
    assert fit_nlsq_jax(rest, {"enable_multi_start": True}).search.method == "multi_start"


# What is found.


@pytest.mark.parametrize("fit", [fit_nlsq_cmaes, fit_nlsq_multistart])
def test_a_search_ends_where_the_fit_from_the_truth_does(rest, fit):
    start = dict(zip(POOR, colloid(3, 40).physical.tolist(), strict=True))
    best = fit_nlsq_jax(rest, initial_params=start)
    found = fit(rest, {"cmaes": QUICK, "initial": POOR})
    assert found.success
    assert found.chi_squared == pytest.approx(best.chi_squared, rel=1e-9)
    by_stage = found.search.chi_squared_by_stage
    assert by_stage["start"] > by_stage["search"] >= by_stage["refinement"]
    assert found.search.start == POOR
    assert found.initial == POOR


def test_two_angles_leave_two_directions_and_both_are_reported():
    """cos(φ0 - φ) enters by its size: at two angles its ratio fixes φ0 up to its sign, in closed form."""
    phi = np.array([0.0, 40.0])
    data = flow(phi)
    found = fit_nlsq_multistart(data, DIFFUSION_KNOWN | {"multi_start": {"n_starts": 24}})
    first, second, *others = found.search.minima
    a, b = np.cos(np.deg2rad(first.physical["phi0"] - phi))
    # tan φ0 of the direction with the sizes of these two and one sign turned.
    other = np.rad2deg(np.arctan((-b / a - np.cos(np.deg2rad(40.0))) / np.sin(np.deg2rad(40.0))))
    assert second.physical["phi0"] == pytest.approx(other, abs=0.2)
    assert min(abs(m.physical["phi0"] - 12) for m in (first, second)) < 3
    assert second.chi_squared == pytest.approx(first.chi_squared, rel=1e-9)
    assert second.distance < 0.01
    assert all(m.chi_squared > first.chi_squared + 100 for m in others)
    (sentence,) = found.search.undecided
    assert "The data do not decide between them" in sentence
    assert sentence in found.warnings
    assert found.quality_flag == "marginal"
    assert first.refined
    assert second.refined
    assert "minimum 2: χ²" in found.summary()


def test_two_minima_of_which_one_is_better_are_told_apart():
    data = flow([0.0, 40.0, 75.0])
    found = fit_nlsq_multistart(data, DIFFUSION_KNOWN | {"multi_start": {"n_starts": 24}})
    best, *others = found.search.minima
    assert best.physical["phi0"] == pytest.approx(12, abs=3)
    assert best.chi_squared == pytest.approx(found.chi_squared, rel=1e-6)
    assert others
    assert all(
        m.chi_squared > best.chi_squared + 100 and m.distance > 10 and abs(m.physical["phi0"] - 12) > 5
        for m in others
    )
    # χ² of the other minimum is one: a fit that starts there stays.
    other = next(m for m in others if m.refined)
    stays = fit_nlsq_jax(
        data,
        DIFFUSION_KNOWN | {"bounds": {"phi0": (other.physical["phi0"] - 3, other.physical["phi0"] + 3)}},
        initial_params={name: other.physical[name] for name in ("gamma_dot_t0", "beta", "phi0")},
    )
    assert stays.chi_squared == pytest.approx(other.chi_squared, rel=1e-6)
    assert found.search.undecided == ()
    assert found.quality_flag == "good"


def test_the_best_minima_are_refined_and_the_others_are_said_not_to_be():
    settings = DIFFUSION_KNOWN | {"multi_start": {"n_starts": 24, "refine_top_k": 1}}
    found = fit_nlsq_multistart(flow([0.0, 40.0, 75.0]), settings)
    assert [m.refined for m in found.search.minima][:2] == [True, False]
    assert ", of the averages only" in found.summary()


def test_a_search_is_never_worse_than_its_start(rest):
    """One generation finds nothing; the start is the optimum."""
    best = fit_nlsq_jax(rest)
    settings = {"cmaes": {"max_generations": 1, "max_restarts": 0, "seed": 1, "refine_with_nlsq": False}}
    found = fit_nlsq_cmaes(rest, settings, initial_params=best.physical)
    assert found.chi_squared == pytest.approx(best.chi_squared, rel=1e-12)
    assert found.search.stage == "start"
    assert found.convergence_status != "converged"
    assert "not refined" in found.message


def test_the_direction_of_the_flow_is_searched_over_half_a_turn():
    start = {"gamma_dot_t0": 1e-3, "beta": 0.0, "phi0": 170.0}
    found = fit_nlsq_cmaes(flow([0.0, 40.0, 75.0]), DIFFUSION_KNOWN | {"cmaes": QUICK}, initial_params=start)
    assert found.search.start["phi0"] == pytest.approx(-10.0)
    assert found.physical["phi0"] == pytest.approx(12, abs=3)


# The same seed.


def numbers(value) -> list[float]:
    """All numbers in nested results, in order."""
    match value:
        case dict():
            return numbers(list(value.values()))
        case list() | tuple():
            return [number for item in value for number in numbers(item)]
        case int() | float():
            return [value]
        case _:
            return []


def assert_same(found, plain) -> None:
    """The same search and the same fit, but for what linear algebra rounds differently with where its arrays lie in memory."""
    assert found.search.message == plain.search.message
    assert [(m.count, m.refined) for m in found.search.minima] == [
        (m.count, m.refined) for m in plain.search.minima
    ]
    mine, theirs = (
        numbers(asdict(result.search)) + list(result.physical.values()) for result in (found, plain)
    )
    assert mine == pytest.approx(theirs, rel=1e-6, abs=1e-6)


def test_a_seed_gives_the_same_with_any_executor(rest):
    settings = {"multi_start": {"n_starts": 6, "seed": 5}, "initial": POOR}
    plain = fit_nlsq_multistart(rest, settings)
    with ThreadPoolExecutor(2) as threads:
        assert_same(fit_nlsq_multistart(rest, settings, executor=threads), plain)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as processes:
        assert_same(fit_nlsq_multistart(rest, settings, executor=processes), plain)


def test_a_seed_gives_the_same_with_any_batch_size(rest):
    plain, batched = (
        fit_nlsq_cmaes(rest, {"cmaes": QUICK | {"population_batch_size": n}, "initial": POOR})
        for n in (None, 3)
    )
    assert batched.search.runs == plain.search.runs
    assert_same(batched, plain)


def test_another_seed_searches_elsewhere(rest):
    plain, other = (
        fit_nlsq_cmaes(rest, {"cmaes": QUICK | {"seed": seed}, "initial": POOR}).search.runs
        for seed in (1, 2)
    )
    assert plain != other


# Settings.


def never(*_):
    raise AssertionError("the fit began")


def test_the_refinement_has_the_settings_of_cmaes(rest):
    own = {
        "refinement_ftol": 1e-6,
        "refinement_xtol": 1e-7,
        "refinement_gtol": 1e-5,
        "refinement_max_nfev": 40,
        "refinement_loss": "huber",
        "data_chunk_size": 500,
    }
    found = fit_nlsq_cmaes(rest, {"cmaes": QUICK | own, "initial": POOR})
    used = {name: found.settings[name] for name in ("tolerance", "xtol", "gtol", "max_iterations", "loss")}
    assert used == {"tolerance": 1e-6, "xtol": 1e-7, "gtol": 1e-5, "max_iterations": 40, "loss": "huber"}
    assert found.loss == "huber"
    assert found.robust_cost is not None
    assert found.device_info.strategy == "out_of_core"
    assert found.device_info.n_chunks > 1


@pytest.mark.parametrize(
    "settings, strategy",
    [
        ({}, "standard"),
        ({"refinement_workflow": "standard"}, "standard"),
        ({"refinement_workflow": "streaming"}, "hybrid"),
        ({"memory_limit_gb": 1e-6}, "out_of_core"),
    ],
)
def test_how_the_refinement_holds_the_data(rest, settings, strategy):
    found = fit_nlsq_cmaes(rest, {"cmaes": QUICK | settings, "initial": POOR})
    assert found.device_info.strategy == strategy


def test_maps_in_a_file_are_searched_on_their_averages_too(rest, tmp_path):
    save_apsu(tmp_path / "maps.hdf", rest)
    in_memory = fit_nlsq_cmaes(rest, {"cmaes": QUICK, "initial": POOR})
    with open_xpcs(tmp_path / "maps.hdf") as maps:
        found = fit_nlsq_cmaes(maps, {"cmaes": QUICK, "initial": POOR})
        standard = {"cmaes": QUICK | {"refinement_workflow": "standard"}}
        with pytest.raises(
            FitInputError, match=r"refinement_workflow is 'standard', but data are maps in a file"
        ):
            fit_nlsq_cmaes(maps, standard, progress=never)
    assert found.device_info.strategy == "hybrid"
    assert found.physical["D0"] == pytest.approx(in_memory.physical["D0"], rel=1e-4)


def test_few_passes_end_the_refinement_in_words(rest):
    found = fit_nlsq_cmaes(rest, {"cmaes": QUICK | {"refinement_max_nfev": 1}, "initial": POOR})
    assert found.convergence_status == "partial"
    assert "topped at max_iterations (1 passes" in found.message


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"cmaes": {"presett": "cmaes"}}, r"cmaes: unknown setting cmaes.presett. Did you mean preset\?"),
        ({"cmaes": {"sigma": -1}}, "cmaes: sigma is -1"),
        ({"multi_start": {"n_starts": 0}}, "multi_start: n_starts is 0"),
        (
            {"loss": "huber", "cmaes": {"enable": True, "refinement_loss": "soft_l1"}},
            "cmaes.refinement_loss is 'soft_l1', but loss is 'huber'",
        ),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(FitInputError, match=message):
        NLSQConfig.from_mapping(settings)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"bounds": {"D0": (1.0, np.inf)}}, r"bounds\['D0'\] is 1 to inf; expected finite bounds"),
        (
            {"fixed": {"D0": 1e4, "alpha": 0.0, "D_offset": 0.0}},
            "multi_start is enabled, but fixed holds every physical parameter",
        ),
    ],
)
def test_bounds_that_enclose_nothing_to_search_are_refused(rest, settings, message):
    with pytest.raises(FitInputError, match=message):
        fit_nlsq_multistart(rest, settings, progress=never)


# A χ² that says nothing.


def test_a_constant_cost_is_refused_in_words(rest):
    """With no contrast the model is flat, whatever the parameters."""
    for fit, name in ((fit_nlsq_cmaes, "cmaes"), (fit_nlsq_multistart, "multi_start")):
        with pytest.raises(FitInputError, match=f"{name}: cost is constant"):
            fit(rest, {"fixed": {"contrast": 0.0}, "cmaes": QUICK, "initial": POOR})


def test_a_region_where_the_model_overflows_is_worse_than_anything(rest):
    """Above an exponent of 500 or so, 4 s to that power is more than the largest number."""
    best = fit_nlsq_jax(rest)
    settings = {"bounds": {"alpha": (-2.0, 900.0)}, "initial": POOR, "cmaes": QUICK}
    for fit in (fit_nlsq_cmaes, fit_nlsq_multistart):
        assert fit(rest, settings).chi_squared == pytest.approx(best.chi_squared, rel=1e-9)


def test_a_model_that_overflows_everywhere_is_refused_in_words(rest):
    settings = {"bounds": {"alpha": (800.0, 900.0)}, "initial": POOR | {"alpha": 850.0}, "cmaes": QUICK}
    for fit, name in ((fit_nlsq_cmaes, "cmaes"), (fit_nlsq_multistart, "multi_start")):
        with pytest.raises(FitInputError, match=f"{name}: cost is not finite at any of .* within the bounds"):
            fit(rest, settings)


# Ctrl-C.


class Interrupt:
    """Progress that raises KeyboardInterrupt at the n-th report of a stage."""

    def __init__(self, stage: str, number: int) -> None:
        self.stage, self.left = stage, number

    def __call__(self, stage, *_) -> None:
        self.left -= stage == self.stage
        if self.left == 0:
            self.left = -1
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "fit, stage, number",
    [
        (fit_nlsq_cmaes, "global search", 20),
        (fit_nlsq_cmaes, "start values", 2),
        (fit_nlsq_cmaes, "fit", 2),
        (fit_nlsq_multistart, "global search", 3),
        (fit_nlsq_multistart, "fit", 2),
    ],
)
def test_ctrl_c_keeps_the_best_so_far(rest, fit, stage, number):
    found = fit(rest, {"cmaes": QUICK, "initial": POOR}, progress=Interrupt(stage, number))
    assert found.search.stopped
    assert found.convergence_status == "partial"
    assert "topped from outside; this is the best so far" in found.message
    by_stage = found.search.chi_squared_by_stage
    assert found.chi_squared * (1 - 1e-9) < by_stage["search"] < by_stage["start"]


def test_ctrl_c_without_a_search_interrupts(rest):
    with pytest.raises(KeyboardInterrupt):
        fit_nlsq_jax(rest, initial_params=POOR, progress=Interrupt("fit", 2))


@pytest.mark.statistics
def test_searches_end_where_a_fit_from_the_truth_does(capsys):
    same = {method: np.zeros((len(TRUTHS), SEEDS), dtype=bool) for method in METHODS}
    by_itself = {method: np.zeros((len(TRUTHS), SEEDS), dtype=bool) for method in METHODS}
    seconds = dict.fromkeys(METHODS, 0.0)
    names = list(MIDDLE)
    for k, truth in enumerate(TRUTHS):
        for seed in range(SEEDS):
            data = measured(truth, 1000 * k + seed)
            flow = {"analysis_mode": "laminar_flow"}
            start = dict(zip(names, truth.physical().tolist(), strict=True))
            reference = fit_nlsq_jax(data, flow | {"initial": start}).chi_squared
            for method, fit in METHODS.items():
                settings = flow | {"initial": MIDDLE}
                if method != "local":
                    settings[method] = {"seed": seed}
                began = time.perf_counter()
                found = fit(data, settings)
                seconds[method] += time.perf_counter() - began
                same[method][k, seed] = found.chi_squared < reference * (1 + 1e-6)
                by_itself[method][k, seed] = "data_start" not in found.device_info.recovery_actions
    with capsys.disabled():
        print(
            f"\nof {SEEDS} seeds each, from the middle of the bounds: at the χ² of a fit from the truth (so without start values from the data)"
        )
        print("".join(f"{t.decay:g} frames, {t.phase:g} | " for t in TRUTHS) + "s a fit")
        for method in METHODS:
            reached = zip(same[method], by_itself[method], strict=True)
            row = " | ".join(f"{both.sum()} ({(both & own).sum()})" for both, own in reached)
            print(f"{method}: {row} | {seconds[method] / SEEDS / len(TRUTHS):.2f}")
    for method in ("cmaes", "multi_start"):
        assert same[method].mean() >= 0.95
