"""Searches for minima of costs: the same however they are computed, never worse than the start, ended at any time."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homodyne_global import CMAESWrapper, GlobalSearchError, LocalSolution, StopReason

BOX = ([-5.0] * 3, [10.0] * 3)
SHORT = {"seed": 5, "restart_strategy": "none", "max_generations": 60}


def rosenbrock(p):
    """Of (..., d), by NumPy and by JAX."""
    return (100 * (p[..., 1:] - p[..., :-1] ** 2) ** 2 + (1 - p[..., :-1]) ** 2).sum(-1)


def opaque(p):
    """The same for NumPy alone."""
    assert isinstance(p, np.ndarray)
    return rosenbrock(np.asarray(p))


def never(*args, **settings):
    raise AssertionError("not to be called")


def same(a, b):
    assert np.array_equal(a.parameters, b.parameters)
    assert a.chi_squared == b.chi_squared
    assert asdict(a.diagnostics) == asdict(b.diagnostics)


@pytest.fixture(scope="module")
def reference():
    return CMAESWrapper(SHORT).minimize(opaque, BOX, batched=True)


def test_what_a_result_holds(reference):
    assert reference.chi_squared == rosenbrock(reference.parameters)
    assert (reference.stage, reference.nlsq_refined, reference.stopped) == ("search", False, False)
    assert reference.covariance is None
    assert reference.seed == 5
    told = reference.diagnostics
    assert (told.generations, told.restarts, told.scale_ratio) == (60, 0, 1.0)
    assert told.evaluations == 60 * 7 + 7
    assert told.chi_squared_improvement > 0
    assert told.runs[0].stop is StopReason.MAX_GENERATIONS
    assert not reference.success
    assert "more generations may find a better minimum" in reference.message


@pytest.mark.parametrize("options", [{}, {"batched": True}])
@pytest.mark.parametrize("size", [None, 1, 3, 100])
def test_batches_change_nothing(reference, options, size):
    same(CMAESWrapper(SHORT | {"population_batch_size": size}).minimize(opaque, BOX, **options), reference)


def test_batches_have_the_size_asked_for():
    sizes = []

    def cost(p):
        sizes.append(len(p))
        return opaque(p)

    CMAESWrapper(SHORT | {"population_batch_size": 3, "max_generations": 2}).minimize(cost, BOX, batched=True)
    assert sizes[-6:] == [3, 3, 1, 3, 3, 1]
    sizes.clear()
    wrapper = CMAESWrapper(SHORT | {"memory_limit_gb": 1.0, "max_generations": 2})
    wrapper.minimize(cost, BOX, batched=True, bytes_per_candidate=int(4e8))
    assert sizes[-4:] == [2, 2, 2, 1]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batched, size", [(True, None), (True, 4), (False, None)])
def test_executors_change_nothing(reference, workers, batched, size):
    with ThreadPoolExecutor(workers) as executor:
        wrapper = CMAESWrapper(SHORT | {"population_batch_size": size})
        same(wrapper.minimize(opaque, BOX, batched=batched, executor=executor), reference)


@pytest.fixture(scope="module")
def compiled():
    return CMAESWrapper(SHORT).minimize(rosenbrock, BOX, batched=True, traceable=True)


@pytest.mark.parametrize("batched, size", [(True, 4), (False, 1)])
def test_batches_of_a_compiled_cost(compiled, batched, size):
    wrapper = CMAESWrapper(SHORT | {"population_batch_size": size})
    found = wrapper.minimize(rosenbrock, BOX, batched=batched, traceable=True)
    np.testing.assert_allclose(found.parameters, compiled.parameters, rtol=1e-9)
    assert found.chi_squared == pytest.approx(compiled.chi_squared, rel=1e-9)


def test_the_compiled_loop_finds_the_same(compiled, reference):
    np.testing.assert_allclose(compiled.parameters, reference.parameters, rtol=1e-9)
    assert compiled.chi_squared == pytest.approx(reference.chi_squared, rel=1e-9)
    assert compiled.diagnostics.evaluations == reference.diagnostics.evaluations


def test_a_watched_loop_is_the_same_loop(compiled):
    seen = []
    found = CMAESWrapper(SHORT).minimize(rosenbrock, BOX, batched=True, traceable=True, callback=seen.append)
    same(found, compiled)
    assert [p.done for p in seen] == list(range(1, 61))
    assert {(p.stage, p.total, p.run) for p in seen} == {("search", 60, 0)}
    assert np.all(np.diff([p.best_cost for p in seen]) <= 0)
    assert seen[-1].evaluations == found.diagnostics.evaluations
    np.testing.assert_array_equal(seen[-1].best_parameters, found.parameters)


def test_seeds():
    wrapper = partial(CMAESWrapper, SHORT | {"max_generations": 5})
    same(wrapper().minimize(opaque, BOX), wrapper().minimize(opaque, BOX))
    free = CMAESWrapper({"restart_strategy": "none", "max_generations": 5})
    first = free.minimize(opaque, BOX)
    assert first.seed != free.minimize(opaque, BOX).seed
    again = CMAESWrapper({"restart_strategy": "none", "max_generations": 5, "seed": first.seed})
    same(again.minimize(opaque, BOX), first)


def test_which_way_is_taken():
    """A cost that JAX can trace is called with tracers and never with numbers."""
    kinds = []

    def either(p):
        kinds.append(isinstance(p, np.ndarray))
        return rosenbrock(p)

    wrapper = CMAESWrapper(SHORT | {"max_generations": 3})
    wrapper.minimize(either, BOX)
    assert not any(kinds)
    kinds.clear()
    wrapper.minimize(either, BOX, traceable=False)
    assert all(kinds)
    with pytest.raises(jax.errors.TracerArrayConversionError):
        wrapper.minimize(lambda p: np.exp(np.asarray(p)).sum(), BOX, traceable=True)


def test_restarts_follow_the_published_rule(check_restarts):
    """A cost with many minima, so that runs end early; test_statistics.py has more restarts."""

    def cost(p):
        return 30 + (p**2 - 10 * np.cos(2 * np.pi * p)).sum(-1)

    settings = {"seed": 1, "max_generations": 300, "max_restarts": 1, "max_evaluations": 100_000}
    found = CMAESWrapper(settings).minimize(cost, ([-5.0] * 3, [6.0] * 3), batched=True)
    runs = found.diagnostics.runs
    large, used = check_restarts(runs, 7)
    assert [run.population for run in large] == [14]
    assert used["small"] >= used["large"]
    assert found.diagnostics.restarts == len(runs) - 1
    assert found.diagnostics.generations == sum(run.generations for run in runs)
    assert found.diagnostics.evaluations == sum(run.evaluations for run in runs) + 7
    best = np.argmin([run.best_cost for run in runs])
    assert found.chi_squared == runs[best].best_cost
    assert found.success == (runs[best].stop in (StopReason.TOL_FUN, StopReason.TOL_X))
    assert f"Run {best + 1} of {len(runs)}" in found.message
    assert runs[best].stop.sentence in found.message


@pytest.mark.parametrize("budget, most", [(None, 2 * 7 * 20 + 7), (133, 133)])
def test_evaluations_have_an_end(budget, most):
    wrapper = CMAESWrapper({"seed": 1, "max_generations": 20, "max_evaluations": budget, "max_restarts": 1})
    found = wrapper.minimize(opaque, BOX, batched=True)
    assert most - 14 < found.diagnostics.evaluations <= most
    assert found.diagnostics.runs[-1].stop is StopReason.MAX_EVALUATIONS


def test_tolerances_and_step_size_have_an_effect():
    def generations(**settings):
        wrapper = CMAESWrapper({"seed": 1, "restart_strategy": "none", "max_generations": 500} | settings)
        found = wrapper.minimize(lambda p: 1 + np.sum(np.asarray(p) ** 2), ([-3.0] * 3, [4.0] * 3))
        return found.diagnostics.generations, found.diagnostics.runs[0].stop

    usual, stop = generations()
    assert stop is StopReason.TOL_FUN
    assert generations(tol_fun=1e-3)[0] < usual
    assert generations(tol_x=1e-1)[1] is StopReason.TOL_X
    start = [0.1, 0.1, 0.1]
    spread = {}
    for sigma in (0.5, 0.001):
        seen = []
        wrapper = CMAESWrapper({"seed": 1, "restart_strategy": "none", "max_generations": 1, "sigma": sigma})
        wrapper.minimize(
            lambda p, seen=seen: seen.append(np.asarray(p)) or rosenbrock(seen[-1]),
            BOX,
            start=start,
            batched=True,
        )
        spread[sigma] = np.std(seen[-1])
    assert spread[0.001] < 0.01 < spread[0.5]


def test_scales_from_1e_minus_6_to_1e5():
    centre = 10.0 ** np.array([-6, -4, -2, 0, 2, 4, 5])

    def cost(p):
        z = np.asarray(p) / centre - 1
        return (z**2).sum(-1) + 10 * (z[..., 0] - z[..., 6]) ** 2

    wrapper = CMAESWrapper({"seed": 2, "max_generations": 400, "restart_strategy": "none"})
    found = wrapper.minimize(cost, (centre / 300, centre * 300), batched=True)
    assert found.diagnostics.scale_ratio == pytest.approx(1e11)
    np.testing.assert_allclose(found.parameters, centre, rtol=1e-3)


class TestStart:
    def test_it_is_the_centre_of_the_first_generation(self):
        seen = []
        wrapper = CMAESWrapper(SHORT | {"sigma": 0.01, "max_generations": 1})
        wrapper.minimize(lambda p: seen.append(np.asarray(p)) or opaque(p), BOX, start=[1.0, 2.0, 3.0])
        np.testing.assert_array_equal(seen[0], [1.0, 2.0, 3.0])
        assert np.abs(np.array(seen[-7:]) - [1.0, 2.0, 3.0]).max() < 0.5

    def test_the_result_is_never_worse(self):
        found = CMAESWrapper(SHORT | {"max_generations": 3}).minimize(opaque, BOX, start=[1.0, 1.0, 1.0])
        assert found.parameters.tolist() == [1.0, 1.0, 1.0]
        assert (found.stage, found.chi_squared) == ("start", 0.0)
        assert found.diagnostics.chi_squared_improvement == 0.0
        assert "None of 29 candidates was better than the start" in found.message
        assert not found.success

    def test_one_without_a_cost_is_replaced(self):
        def cost(p):
            return np.nan if p[0] < 2 else opaque(p)

        seen = []
        wrapper = CMAESWrapper(SHORT | {"sigma": 0.001})
        found = wrapper.minimize(
            lambda p: seen.append(p) or cost(p), BOX, start=[1.0, 1.0, 1.0], traceable=False
        )
        assert found.parameters[0] >= 2
        assert found.stage == "search"
        best = min(seen[1:8], key=lambda p: np.nan_to_num(cost(p), nan=np.inf))
        assert np.abs(np.array(seen[8:15]) - best).max() < 0.05


class TestRefinement:
    @staticmethod
    def newton(start, *, ftol, xtol, gtol, max_nfev, loss, workflow):
        return [1.0, 1.0, 1.0], 0.0, np.eye(3)

    def test_a_better_minimum_is_taken(self):
        found = CMAESWrapper(SHORT).minimize(opaque, BOX, refine=self.newton)
        assert (found.stage, found.nlsq_refined, found.success) == ("refinement", True, True)
        assert found.parameters.tolist() == [1.0, 1.0, 1.0]
        np.testing.assert_array_equal(found.covariance, np.eye(3))
        by_stage = found.diagnostics.chi_squared_by_stage
        assert by_stage["start"] >= by_stage["search"] > by_stage["refinement"] == 0.0
        assert found.diagnostics.chi_squared_improvement == by_stage["start"]

    def test_it_is_given_the_best_candidate_and_the_settings(self, reference):
        calls = []

        def refine(start, **settings):
            calls.append((start, settings))
            return LocalSolution(start, 0.0, message="It came to rest.", success=False)

        settings = {
            "refinement_ftol": 1e-4,
            "refinement_xtol": 1e-5,
            "refinement_gtol": 1e-6,
            "refinement_max_nfev": 7,
            "refinement_loss": "huber",
            "refinement_workflow": "streaming",
        }
        found = CMAESWrapper(SHORT | settings).minimize(opaque, BOX, batched=True, refine=refine)
        ((start, given),) = calls
        np.testing.assert_array_equal(start, reference.parameters)
        assert given == {name.removeprefix("refinement_"): value for name, value in settings.items()}
        assert found.stage == "refinement"
        assert not found.success
        assert "It came to rest." in found.message
        # The cost is that of the search, whatever the solver says.
        assert found.chi_squared == reference.chi_squared

    def test_a_worse_one_is_not(self, reference):
        worse = LocalSolution(np.zeros(3), -1.0, np.eye(3))
        found = CMAESWrapper(SHORT).minimize(opaque, BOX, batched=True, refine=lambda start, **_: worse)
        np.testing.assert_array_equal(found.parameters, reference.parameters)
        assert (found.stage, found.nlsq_refined, found.covariance) == ("search", False, None)
        assert "ended at a higher cost, 2, and was not followed" in found.message

    def test_one_that_is_worse_by_rounding_gives_its_covariance(self):
        wrapper = CMAESWrapper({"seed": 1, "restart_strategy": "none", "max_generations": 300})
        found = wrapper.minimize(
            lambda p: 1 + opaque(p), BOX, refine=lambda start, **_: (start + 1e-11, 1.0, np.eye(3))
        )
        assert found.covariance is not None

    @pytest.mark.parametrize(
        "refine, words",
        [
            (lambda start, **_: ([99.0] * 3, 0.0), "left the bounds"),
            (lambda start, **_: ([np.nan] * 3, 0.0), "ended at no number"),
            (lambda start, **_: ([1.0] * 2, 0.0), r"returned parameters of shape \(2,\); expected \(3,\)"),
            (lambda start, **_: (start, 0.0, np.eye(2)), r"covariance of shape \(2, 2\)"),
            (lambda start, **_: 7.0, "returned 7.0; expected parameters, cost"),
            (lambda start, **_: 1 / 0, r"failed \(ZeroDivisionError"),
        ],
    )
    def test_one_that_fails_loses_nothing(self, reference, refine, words):
        found = CMAESWrapper(SHORT).minimize(opaque, BOX, batched=True, refine=refine)
        np.testing.assert_array_equal(found.parameters, reference.parameters)
        with pytest.raises(AssertionError, match=words):
            raise AssertionError(found.message)

    def test_a_wrong_signature_is_refused_before_the_search(self):
        with pytest.raises(
            GlobalSearchError, match=r"refine has the signature \(start\); expected refine\(start, \*, ftol"
        ):
            CMAESWrapper(SHORT).minimize(never, BOX, refine=lambda start: start, traceable=False)

    def test_it_can_be_left_out(self):
        found = CMAESWrapper(SHORT | {"refine_with_nlsq": False}).minimize(opaque, BOX, refine=never)
        assert "refinement" not in found.diagnostics.chi_squared_by_stage


class TestStop:
    def test_a_callable_that_asks_for_it(self):
        asked = []
        found = CMAESWrapper(SHORT).minimize(
            opaque, BOX, should_stop=lambda: len(asked) == 12 or asked.append(1), refine=never
        )
        assert found.stopped
        assert not found.success
        assert "stopped from outside; this is the best so far" in found.message
        assert 8 < found.diagnostics.generations <= 12
        assert found.diagnostics.runs[-1].stop is StopReason.STOPPED
        assert found.chi_squared == rosenbrock(found.parameters)

    @pytest.mark.parametrize("traceable", [True, False])
    def test_ctrl_c_in_the_callback(self, traceable):
        def callback(progress):
            if progress.done == 10:
                raise KeyboardInterrupt

        found = CMAESWrapper(SHORT).minimize(rosenbrock, BOX, traceable=traceable, callback=callback)
        assert (found.stopped, found.diagnostics.generations) == (True, 10)

    @pytest.mark.parametrize("executor", [False, True])
    def test_ctrl_c_in_the_cost_keeps_what_was_evaluated(self, executor):
        calls = []

        def cost(p):
            calls.append(p)
            if len(calls) == 40:
                raise KeyboardInterrupt
            # The last candidate before the end is the best of all.
            return -1.0 if len(calls) == 39 else opaque(p)

        with ThreadPoolExecutor(1) as pool:
            found = CMAESWrapper(SHORT).minimize(
                cost, BOX, executor=pool if executor else None, traceable=False
            )
        assert found.stopped
        assert found.chi_squared == -1.0
        np.testing.assert_array_equal(found.parameters, calls[38])
        assert found.diagnostics.evaluations == 39

    def test_ctrl_c_in_the_refinement(self, reference):
        def refine(start, **_):
            raise KeyboardInterrupt

        found = CMAESWrapper(SHORT).minimize(opaque, BOX, batched=True, refine=refine)
        assert found.stopped
        np.testing.assert_array_equal(found.parameters, reference.parameters)

    def test_ctrl_c_before_any_cost_has_nothing_to_keep(self):
        def cost(p):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            CMAESWrapper(SHORT).minimize(cost, BOX)

    def test_a_target(self):
        found = CMAESWrapper(SHORT | {"max_generations": 500}).minimize(opaque, BOX, target=0.1)
        assert found.chi_squared <= 0.1
        assert found.success
        assert found.diagnostics.runs[-1].stop is StopReason.TARGET


class TestWrongInput:
    @pytest.mark.parametrize(
        "cost, options, message",
        [
            (lambda p: 3.0, {}, "cost is constant: it is 3 at all 207 points where it is finite"),
            (lambda p: jnp.asarray(3.0), {"traceable": True}, "cost is constant"),
            (lambda p: np.nan, {}, "cost is not finite at any of 207 points within the bounds"),
            (lambda p: np.inf, {}, "cost is not finite"),
            (
                lambda p: p,
                {},
                r"cost returned an array of shape \(3,\) for parameters of shape \(3,\); expected \(\).*batched=True",
            ),
            (lambda p: p[0], {"batched": True}, r"cost returned an array of shape \(3,\).*; expected \(7,\)"),
            (lambda p: 1j, {}, "cost returned an array of type complex128; expected real numbers"),
        ],
    )
    def test_costs(self, cost, options, message):
        with pytest.raises(GlobalSearchError, match=message):
            CMAESWrapper(SHORT).minimize(cost, BOX, **options)

    def test_errors_of_the_cost_are_its_own(self):
        def cost(p):
            raise TypeError("of my own")

        with pytest.raises(TypeError, match="of my own"):
            CMAESWrapper(SHORT).minimize(cost, BOX)

    def test_a_cost_that_is_finite_somewhere_is_searched(self):
        def cost(p):
            return np.where(p[:, 0] > 0.9 * 5.0, rosenbrock(p), np.nan)

        found = CMAESWrapper(SHORT | {"max_generations": 300}).minimize(
            cost, ([-5.0] * 3, [5.0] * 3), batched=True
        )
        assert 4.5 < found.parameters[0] < 4.6

    def test_start_and_bounds(self):
        with pytest.raises(GlobalSearchError, match="start has 99 for parameter 2; expected a number within"):
            CMAESWrapper(SHORT).minimize(opaque, BOX, start=[0.0, 0.0, 99.0])
        with pytest.raises(GlobalSearchError, match="expected finite"):
            CMAESWrapper(SHORT).minimize(opaque, ([0.0], [np.inf]))

    def test_an_executor_for_a_compiled_cost(self):
        with (
            ThreadPoolExecutor(1) as pool,
            pytest.raises(GlobalSearchError, match="executor is given with traceable"),
        ):
            CMAESWrapper(SHORT).minimize(rosenbrock, BOX, traceable=True, executor=pool)
