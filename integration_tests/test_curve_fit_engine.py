"""The engine that fits through the library nlsq: it agrees with the engine of our own, and leaves the process alone."""

import gc
import importlib.util
import os
import subprocess
import sys
import weakref
from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from homodyne_data import TwoTimeData
from homodyne_model import joint_covariance
from homodyne_model.testing import colloid, rheometer_flow
from homodyne_nlsq import NLSQAdapter, NLSQConfig, fit_nlsq_jax
from homodyne_nlsq._curve_fit import Variables, fitted_model, points_of, solve_by_curve_fit
from homodyne_nlsq._execution import controller_of
from homodyne_nlsq._held import WholeMaps
from homodyne_nlsq._problem import Problem
from homodyne_nlsq._solve import solve
from homodyne_nlsq.errors import CurveFitError

SIGMA = 0.005


@pytest.fixture(scope="module", autouse=True)
def library():
    """A suite that skips itself where it should run would hide that the engine is broken."""
    if importlib.util.find_spec("nlsq") is None:
        if os.environ.get("HOMODYNE_WITHOUT_NLSQ") == "1":
            pytest.skip("nlsq is not installed, and HOMODYNE_WITHOUT_NLSQ=1 says that this is meant")
        pytest.fail(
            "nlsq is not installed (homodyne-nlsq[nlsq]); HOMODYNE_WITHOUT_NLSQ=1 leaves these tests out"
        )


@pytest.fixture
def compiled():
    """Number of programs that XLA compiled since the last call."""
    count = [0]

    def listen(event, duration, **_):
        count[0] += event == "/jax/core/compile/backend_compile_duration"

    def since_last_call():
        n, count[0] = count[0], 0
        return n

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield since_last_call
    jax.monitoring.unregister_event_duration_listener(listen)


def posed(truth, *, seed=1, maps=None, sigma=SIGMA, start=None, settings=None, **data):
    """A problem, and the arguments that both engines take with it."""
    model = truth.model
    maps = truth.noisy_maps(SIGMA, seed=seed) if maps is None else maps
    data = TwoTimeData(maps, model.phi, model.t, model.q, model.L, sigma=sigma, **data)
    config = NLSQConfig(model.analysis_mode.value, model.shear_kernel, **(settings or {}))
    names, bounds = model.layout.physical_names, config.physical_bounds()
    fixed = np.array([name in config.fixed for name in names])
    start = truth.physical * np.linspace(1.2, 0.9, len(names)) if start is None else start
    start = np.where(fixed, [config.fixed.get(name, 0.0) for name in names], np.clip(start, *bounds.T))
    problem = Problem.of(WholeMaps(data), config, controller_of(config, data.phi))
    dof = data.n_points - 2 * model.n_phi - len(names)
    keywords = {"n_free_points": dof, "max_passes": 200}
    return SimpleNamespace(
        problem=problem, arguments=(problem, [start], bounds, fixed), keywords=keywords, free=~fixed
    )


def standard_errors(case, solution) -> np.ndarray:
    """Of all parameters; NaN for what does not vary."""
    at, free = solution.at, case.free & (solution.held == 0)
    covariance = joint_covariance(at.gram, at.fit, free, basis=case.problem.columns).quoted()
    return np.sqrt(np.diag(covariance))


def everything(solution) -> np.ndarray:
    return np.concatenate([solution.at.fit.contrast, solution.at.fit.offset, solution.at.physical])


def assert_same(case, found, expected):
    """Parameters to 1e-3 standard errors, χ² to 1e-8, the same bounds, and both sure of it."""
    assert expected.converged, expected.message
    assert found.converged, found.message
    np.testing.assert_array_equal(found.held, expected.held)
    np.testing.assert_array_equal(found.at.fit.state, expected.at.fit.state)
    assert found.at.fit.cost == pytest.approx(expected.at.fit.cost, rel=1e-8)
    errors, off = standard_errors(case, expected), np.abs(everything(found) - everything(expected))
    known = np.isfinite(errors)
    assert (off[known] / errors[known]).max() < 1e-3
    np.testing.assert_allclose(everything(found)[~known], everything(expected)[~known], rtol=1e-8)


def with_sigma_of_every_entry():
    truth, rng = colloid(3, 40), np.random.default_rng(3)
    sigma = rng.uniform(0.01, 0.05, (3, 40, 40))
    sigma = np.tril(sigma) + np.tril(sigma, -1).swapaxes(1, 2)
    noise = np.tril(sigma * rng.standard_normal(sigma.shape), -1)
    return posed(truth, maps=truth.maps() + noise + noise.swapaxes(1, 2), sigma=sigma)


def with_missing_entries():
    truth, rng = colloid(3, 40), np.random.default_rng(7)
    maps = truth.noisy_maps(SIGMA, seed=6)
    for a, i, j in rng.integers(0, [3, 40, 40], (60, 3)):
        maps[a, i, j] = maps[a, j, i] = rng.choice([np.nan, np.inf])
    return posed(truth, maps=maps, good_frames=rng.random(40) > 0.1, symmetric=True)


def with_two_measurements_of_every_pair():
    truth = colloid(3, 40)
    return posed(truth, maps=truth.maps() + SIGMA * np.random.default_rng(4).normal(size=(3, 40, 40)))


def with_common_scaling():
    truth = rheometer_flow(5, 40)._replace(contrast=np.full(5, 0.3), offset=np.full(5, 1.1))
    return posed(truth, settings={"per_angle_scaling": False})


CASES = {
    "laminar flow": lambda: posed(rheometer_flow(5, 40)),
    "static": lambda: posed(colloid(3, 40)),
    "a physical bound": lambda: posed(
        rheometer_flow(5, 40), settings={"bounds": {"D_offset": (3000.0, 1e5)}}
    ),
    "a bound of contrast": lambda: posed(
        rheometer_flow(5, 40), settings={"bounds": {"contrast_2": (0.1, 0.28)}}
    ),
    "bounds of all contrasts": lambda: posed(colloid(3, 40), settings={"bounds": {"contrast": (0.1, 0.29)}}),
    "sigma of every entry": with_sigma_of_every_entry,
    "missing entries": with_missing_entries,
    "two measurements of every pair": with_two_measurements_of_every_pair,
    "common scaling": with_common_scaling,
    "fixed physical parameters": lambda: posed(
        rheometer_flow(5, 40), settings={"fixed": {"alpha": -1.3, "gamma_dot_t_offset": -2.5e-4}}
    ),
    "fixed scaling": lambda: posed(
        colloid(3, 40), settings={"fixed": {"contrast_1": 0.31, "offset_0": 1.105, "offset_2": 1.108}}
    ),
    "older kernel": lambda: posed(rheometer_flow(5, 40, shear_kernel="homodyne2")),
}


@pytest.mark.parametrize("pose", CASES.values(), ids=CASES)
def test_the_optimum_is_that_of_the_other_engine(pose):
    case = pose()
    found = solve_by_curve_fit(*case.arguments, **case.keywords)
    assert_same(case, found, solve(*case.arguments, **case.keywords))


def test_the_best_start_is_taken():
    truth = colloid(3, 40)
    case = posed(truth)
    problem, (start,), bounds, fixed = case.arguments
    far = start * [30.0, -1.0, 1.0]
    found = solve_by_curve_fit(problem, [far, start], bounds, fixed, **case.keywords)
    assert found.first.fit.cost == solve(problem, [start], bounds, fixed, **case.keywords).first.fit.cost


def test_its_covariance_is_ours():
    case = posed(rheometer_flow(5, 40))
    solution = solve(*case.arguments, **case.keywords)
    problem, _, bounds, _ = case.arguments
    box = np.concatenate([problem.scaling.arrays(5).swapaxes(0, 1).reshape(-1, 2), bounds])
    variables = Variables(everything(solution), box, np.ones(17, dtype=bool))
    model = fitted_model(problem.model, problem.basis.mode == "constant", variables)
    tolerances = dict.fromkeys(("ftol", "xtol", "gtol"), 1e-10)
    fitted = model.fit(points_of(problem), variables, max_passes=50, tolerances=tolerances)
    errors = standard_errors(case, solution)
    np.testing.assert_allclose(np.sqrt(np.diag(fitted.covariance)), errors, rtol=1e-3)
    at = solution.at
    ours = joint_covariance(at.gram, at.fit, case.free).quoted()
    np.testing.assert_allclose(
        fitted.covariance / np.outer(errors, errors), ours / np.outer(errors, errors), atol=1e-3
    )


def test_a_second_fit_of_the_same_shapes_compiles_nothing(compiled):
    truth = colloid(3, 40, q=0.0057)
    cases = [posed(truth, seed=seed) for seed in (1, 2)]
    expected = [solve(*case.arguments, **case.keywords) for case in cases]
    compiled()
    keep = set()
    found = [solve_by_curve_fit(*cases[0].arguments, **cases[0].keywords, keep=keep)]
    assert compiled() > 0
    found.append(solve_by_curve_fit(*cases[1].arguments, **cases[1].keywords, keep=keep))
    assert compiled() == 0
    for case, one, other in zip(cases, found, expected, strict=True):
        assert_same(case, one, other)
    (model,) = map(weakref.ref, keep)
    keep.clear()
    for k in range(8):  # the last ones used live on
        other = truth.model.at_angles(truth.model.phi + k + 1)
        fitted_model(other, False, Variables(np.zeros(9), np.zeros((9, 2)), np.ones(9, dtype=bool)))
    gc.collect()
    assert model() is None


def test_models_that_differ_in_their_values_alone_are_not_confused():
    """Same shapes, same code, other q and other angles."""
    truth = rheometer_flow(3, 24)
    model = truth.model
    at_other_q = truth._replace(model=replace(model, q=0.0041))
    at_other_angles = truth._replace(model=model.at_angles(model.phi + 25.0))
    answers = []
    for one in (truth, at_other_q, at_other_angles, truth):
        # The same maps: what differs is the model that is fitted to them.
        case = posed(one, maps=truth.noisy_maps(SIGMA, seed=1), start=truth.physical * 1.02)
        found = solve_by_curve_fit(*case.arguments, **case.keywords)
        assert_same(case, found, solve(*case.arguments, **case.keywords))
        answers.append(found.at.physical)
    first, other_q, other_angles, again = answers
    np.testing.assert_array_equal(first, again)
    # D ∝ 1/q², and the direction of the flow turns with the angles.
    assert other_q[0] / first[0] == pytest.approx((0.0054 / 0.0041) ** 2, rel=1e-3)
    assert other_angles[6] - first[6] == pytest.approx(25.0, abs=1e-3)


def test_a_limit_of_passes_ends_the_fit_and_is_said():
    case = posed(rheometer_flow(5, 40))
    found = solve_by_curve_fit(*case.arguments, **case.keywords | {"max_passes": 5})
    assert not found.converged
    assert found.passes <= 5
    assert "max_iterations (5 passes" in found.message
    assert found.at.fit.cost < found.first.fit.cost


def test_progress_is_reported_and_its_exceptions_come_through():
    case, calls = posed(colloid(3, 40)), []
    found = solve_by_curve_fit(*case.arguments, **case.keywords, progress=lambda *call: calls.append(call))
    passes = [call[1] for call in calls]
    assert passes == sorted(passes)
    assert passes[-1] == found.passes
    assert {call[0] for call in calls} == {"fit"}
    assert calls[-1][2] == pytest.approx(found.at.fit.cost, rel=1e-6)

    def stop(stage, passes, chi_squared, message):
        if passes > 2:
            raise InterruptedError("enough")

    with pytest.raises(InterruptedError, match="enough"):
        solve_by_curve_fit(*case.arguments, **case.keywords, progress=stop)


@pytest.mark.parametrize(
    "outcome, said",
    [
        (RuntimeError("no memory"), "RuntimeError: no memory"),
        (SimpleNamespace(success=False, status=-3, message="inner loop"), "inner loop"),
        (SimpleNamespace(success=True, status=1, x=np.full(9, np.nan)), "not finite or not in their bounds"),
        (SimpleNamespace(success=True, status=1, x=np.full(9, 1e30)), "not finite or not in their bounds"),
    ],
    ids=["exception", "no success", "not finite", "outside"],
)
def test_a_failure_of_nlsq_is_told(monkeypatch, outcome, said):
    case = posed(colloid(3, 40))

    def fails(*_, **__):
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr("nlsq.CurveFit.curve_fit", fails)
    with pytest.raises(CurveFitError, match=said):
        solve_by_curve_fit(*case.arguments, **case.keywords)


# A program with settings of its own, none of them those of this suite.
SCRIPT = """
import faulthandler, logging, os, signal, sys, tempfile, threading, warnings
import jax, numpy as np
from homodyne_data import TwoTimeData
from homodyne_model.testing import colloid
from homodyne_nlsq import NLSQAdapter, NLSQConfig, fit_nlsq_jax
from homodyne_nlsq._execution import controller_of
from homodyne_nlsq._curve_fit import solve_by_curve_fit
from homodyne_nlsq._held import WholeMaps
from homodyne_nlsq._problem import Problem
warnings.simplefilter("error")
host = sys.argv[1]
if host == "with logging":
    logging.basicConfig(level=logging.DEBUG)
    logging.getLogger("jax").setLevel(logging.WARNING)
    faults = tempfile.TemporaryFile()
    faulthandler.enable(faults)
if host == "with nlsq":
    import nlsq

def state():
    nlsq = logging.getLogger("nlsq")
    return {
        "environment": dict(os.environ),
        "jax": {name: repr(value) for name, value in jax.config.values.items()},
        "root logger": (list(logging.root.handlers), logging.root.level),
        "nlsq logger": (list(nlsq.handlers), nlsq.level, nlsq.propagate, nlsq.disabled),
        "warnings": (list(warnings.filters), warnings.showwarning),
        "faults": (faulthandler.is_enabled(), faulthandler.enable),
        "hooks": (sys.excepthook, sys.displayhook, threading.excepthook),
        "signals": {s: signal.getsignal(s) for s in signal.valid_signals()},
        "floating point": np.geterr(),
        "threads": threading.active_count(),
    }

truth = colloid(3, 30)
with jax.enable_x64(True):
    data = TwoTimeData(truth.noisy_maps(0.005, seed=1), truth.model.phi, truth.model.t, truth.model.q, sigma=0.005)
    problem = Problem.of(WholeMaps(data), config := NLSQConfig(), controller_of(config, data.phi))
    arguments = (problem, [truth.physical * 1.1], config.physical_bounds(), np.zeros(3, dtype=bool))
    problem.gram(truth.physical)
before = state()
with jax.enable_x64(True):
    for _ in range(2):
        found = solve_by_curve_fit(*arguments, n_free_points=data.n_points, max_passes=100)
        assert found.converged, found.message
assert "nlsq" in sys.modules
after = state()
changed = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
assert not changed, changed
assert jax.numpy.ones(1).dtype == ("float64" if host == "with nlsq" else "float32")
"""


@pytest.mark.parametrize("host", ["plain", "with logging", "with nlsq"])
def test_the_process_is_left_as_it_was(tmp_path, host):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("NLSQ", "XLA_PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, host],
        env=env | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    if host == "plain":
        assert done.stderr == ""
        assert not list(tmp_path.rglob("*nlsq*"))
    assert "curve fit" not in done.stderr


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"loss": "huber"},
        {"loss": "soft_l1", "angle_weights": [0.5, 1.0, 2.0]},
        {"bounds": {"alpha": (-0.4, 2.0)}, "loss": "huber"},
    ],
    ids=["plain", "huber", "soft_l1 and weights of angles", "huber at a bound"],
)
def test_whole_fits_agree(settings):
    truth = colloid(3, 40)
    rng = np.random.default_rng(8)
    maps = truth.noisy_maps(SIGMA, seed=6) + np.tril(rng.random((3, 40, 40)) < 0.02, -1) * 0.1
    maps = np.tril(maps) + np.tril(maps, -1).swapaxes(1, 2)
    data = TwoTimeData(maps, truth.model.phi, truth.model.t, truth.model.q, sigma=SIGMA)
    ours, theirs = fit_nlsq_jax(data, settings), NLSQAdapter().fit(data, settings)
    assert not theirs.device_info.fallback_occurred
    assert (ours.device_info.adapter, theirs.device_info.adapter) == ("structured", "nlsq")
    assert theirs.success
    assert theirs.at_bound == ours.at_bound
    known = np.isfinite(ours.uncertainties)
    assert (np.abs(theirs.parameters - ours.parameters) / ours.uncertainties)[known].max() < 1e-3
    np.testing.assert_allclose(theirs.uncertainties, ours.uncertainties, rtol=1e-3)
    assert theirs.chi_squared == pytest.approx(ours.chi_squared, rel=1e-6)


def test_an_adapter_keeps_what_it_compiled(compiled):
    adapter, data = NLSQAdapter(), []
    for seed in (1, 2):
        truth = colloid(3, 40)
        maps = truth.noisy_maps(SIGMA, seed=seed)
        data.append(TwoTimeData(maps, truth.model.phi, truth.model.t, truth.model.q, sigma=SIGMA))
    first = adapter.fit(data[0])
    compiled()
    second = adapter.fit(data[1])
    assert compiled() == 0
    assert first.success
    assert second.success
    assert first.physical != second.physical
