"""Fits from many starts: who is solved, where, what counts as one minimum, and what is said about it."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.stats.qmc import discrepancy

from homodyne_global import GlobalSearchError, LocalSolution, MultiStartConfig, fit_multistart

BOX = ([-2.0, -2.0], [2.0, 2.0])


def two_wells(p):
    return (p[0] ** 2 - 1.0) ** 2 + 0.1 * p[0] + p[1] ** 2


def descend(p):
    # Plain arithmetic: linear algebra may round differently from thread to thread, with where its arrays lie in memory.
    x, y = float(p[0]), float(p[1])
    for _ in range(100):
        slope, curvature = 4 * x * (x**2 - 1) + 0.1, 12 * x**2 - 4
        x -= slope / curvature if curvature > 4 else 0.1 * slope
        y -= 0.4 * y
    return np.array([x, y]), two_wells([x, y])


PROGRAM = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from homodyne_global import fit_multistart


def cost(p):
    return (p[0] ** 2 - 1.0) ** 2 + 0.1 * p[0] + p[1] ** 2


def solve(p):
    x, y = float(p[0]), float(p[1])
    for _ in range(100):
        x, y = x - 0.05 * (4 * x * (x**2 - 1) + 0.1), 0.6 * y
    return [x, y], cost([x, y])


if __name__ == "__main__":
    box = ([-2.0, -2.0], [2.0, 2.0])
    config = {"n_starts": 6}
    results = [fit_multistart(cost, box, solve, config=config)]
    results.append(fit_multistart(cost, box, solve, config=config | {"n_workers": 2}))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        results.append(fit_multistart(cost, box, solve, config=config, executor=pool))
    for found in results[1:]:
        assert found.parameters.tolist() == results[0].parameters.tolist()
        assert found.message == results[0].message
"""


def same(a, b):
    assert np.array_equal(a.parameters, b.parameters)
    assert (a.chi_squared, a.message, a.stage, a.evaluations) == (
        b.chi_squared,
        b.message,
        b.stage,
        b.evaluations,
    )
    assert [m.count for m in a.minima] == [m.count for m in b.minima]
    assert [m.distance for m in a.minima] == [m.distance for m in b.minima]


@pytest.fixture(scope="module")
def reference():
    return fit_multistart(two_wells, BOX, descend, start=[1.5, 0.5])


def test_what_a_result_holds(reference):
    np.testing.assert_allclose(reference.parameters, [-1.0122, 0.0], atol=1e-3)
    assert reference.chi_squared == two_wells(reference.parameters)
    assert (reference.stage, reference.success, reference.stopped) == ("refinement", True, False)
    assert [round(float(m.parameters[0])) for m in reference.minima] == [-1, 1]
    assert sum(m.count for m in reference.minima) >= 5
    assert reference.minima[0].distance == 0.0
    assert reference.minima[1].distance == pytest.approx(0.5, abs=0.01)
    assert not reference.degenerate
    assert "led to 2 distinct minima" in reference.message


def test_starts_fill_the_bounds_evenly():
    found = fit_multistart(
        lambda p: float(np.sum(p)),
        ([1e-3, -4.0], [1e3, 4.0]),
        lambda p: (p, 0.0),
        start=[1.0, 1.0],
        config={"n_starts": 33},
    )
    np.testing.assert_array_equal(found.starts[0], [1.0, 1.0])
    # One in every row and column of the hypercube, in the coordinates of the search.
    cube = np.stack([np.log10(found.starts[1:, 0]) / 6 + 0.5, found.starts[1:, 1] / 8 + 0.5], axis=1)
    assert [sorted(np.floor(32 * column).astype(int)) for column in cube.T] == [list(range(32))] * 2
    assert discrepancy(cube) < 0.02


def test_the_best_by_cost_are_solved():
    solved = []

    def solve(p):
        solved.append(p.copy())
        return p, two_wells(p)

    found = fit_multistart(
        two_wells, BOX, solve, config={"n_starts": 20, "screen_keep_fraction": 0.25, "refine_top_k": 0}
    )
    costs = [two_wells(p) for p in found.starts]
    np.testing.assert_array_equal(found.start_costs, costs)
    assert sorted(map(two_wells, solved)) == sorted(costs)[:5]


def test_the_given_start_is_solved_whatever_its_cost():
    solved = []

    def solve(p):
        solved.append(p.tolist())
        return p, two_wells(p)

    fit_multistart(
        two_wells, BOX, solve, start=[2.0, 2.0], config={"screen_keep_fraction": 0.1, "refine_top_k": 0}
    )
    assert len(solved) == 2
    assert [2.0, 2.0] in solved


@pytest.mark.parametrize("k", [0, 1, 3])
def test_the_best_minima_are_refined(k):
    refined = []

    def coarse(p):
        return np.round(descend(p)[0], 1), 0.0

    def fine(p):
        refined.append(p)
        return descend(p)

    found = fit_multistart(two_wells, BOX, coarse, refine=fine, config={"refine_top_k": k, "n_starts": 12})
    assert len(refined) == min(k, 2)
    assert found.stage == ("refinement" if k else "solving")
    assert (abs(found.parameters[0] + 1.0122) < 1e-3) == (k > 0)


def test_a_refinement_that_is_worse_is_not_taken(reference):
    found = fit_multistart(two_wells, BOX, descend, refine=lambda p: (p + 0.1, -1.0), start=[1.5, 0.5])
    assert found.stage == "solving"
    np.testing.assert_allclose(found.parameters, reference.parameters, atol=1e-6)


class TestExecutors:
    def test_threads(self, reference):
        for workers, at_once in ((1, None), (3, None), (3, 2)):
            with ThreadPoolExecutor(workers) as pool:
                config = {"n_workers": at_once}
                same(
                    fit_multistart(two_wells, BOX, descend, start=[1.5, 0.5], config=config, executor=pool),
                    reference,
                )

    def test_at_most_as_many_as_asked_for(self):
        running, most, lock = [0], [0], threading.Lock()

        def solve(p):
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            outcome = descend(p)
            with lock:
                running[0] -= 1
            return outcome

        with ThreadPoolExecutor(4) as pool:
            fit_multistart(two_wells, BOX, solve, config={"n_workers": 2}, executor=pool)
        assert most[0] <= 2

    def test_spawned_processes(self, tmp_path):
        """From a program of its own, since its functions must be found again by the name of their module."""
        program = tmp_path / "program.py"
        program.write_text(PROGRAM)
        done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def test_a_solver_that_cannot_be_sent(self):
        with pytest.raises(
            GlobalSearchError,
            match=r"n_workers is 2, and the local solver cannot be sent .*ThreadPoolExecutor",
        ):
            fit_multistart(two_wells, BOX, lambda p: descend(p), config={"n_workers": 2})


class TestMinima:
    """A model in which one parameter is a million times as large as the other, and the small one decides."""

    x = np.linspace(0.0, 1.0, 20)
    box = ([1e5, -0.02], [1e7, 0.02])

    def predict(self, p):
        return np.cos(300.0 * p[1] * self.x) + 1e-12 * p[0]

    def cost(self, p):
        return float(np.sum((self.predict(p) - np.cos(3.0 * self.x)) ** 2))

    def solve(self, p):
        found = least_squares(
            lambda p: self.predict(p) - np.cos(3.0 * self.x), p, bounds=self.box, x_scale=[1e6, 0.01]
        )
        return found.x, 2 * found.cost

    def test_told_apart_by_what_they_predict(self):
        """Minima at ±0.01 predict the same, and the large parameter does nothing."""
        found = fit_multistart(self.cost, self.box, self.solve, predict=self.predict, config={"n_starts": 20})
        assert found.minima[0].chi_squared < 1e-8
        assert found.degenerate
        assert "predict the same with different parameters: parameter 0 from" in found.message
        assert "parameter 1 from -0.01 to 0.01" in found.message
        assert all(m.chi_squared > 1e-3 for m in found.minima[1:])

    def test_told_apart_by_a_distance_of_the_caller(self):
        def distance(a, b):
            return abs(a[1] - b[1])

        found = fit_multistart(
            self.cost,
            self.box,
            self.solve,
            distance=distance,
            config={"n_starts": 20},
            names=["D0", "rate"],
            equal_cost=1e-6,
        )
        assert sorted(round(float(m.parameters[1]), 4) for m in found.minima[:2]) == [-0.01, 0.01]
        assert found.minima[1].distance == pytest.approx(0.02)
        assert found.degenerate
        assert "minimum 2 is as good as the best" in found.message
        assert "rate -0.01 or 0.01" in found.message or "rate 0.01 or -0.01" in found.message
        assert "The data do not decide between them." in found.message

    def test_equal_costs_are_the_callers_to_define(self):
        assert not fit_multistart(two_wells, BOX, descend).degenerate
        found = fit_multistart(two_wells, BOX, descend, equal_cost=0.5)
        assert found.degenerate
        assert "minimum 2 is as good as the best (chi_squared 0.0993" in found.message

    def test_distances_that_are_not_numbers_are_not_small(self):
        found = fit_multistart(two_wells, BOX, descend, predict=lambda p: np.full(3, np.nan))
        assert all(m.count == 1 for m in found.minima)


class TestFailures:
    def test_some(self):
        def solve(p):
            if p[0] < 0:
                raise RuntimeError("no step")
            return descend(p)

        found = fit_multistart(two_wells, BOX, solve, config={"n_starts": 20})
        assert found.success
        assert found.parameters[0] > 0
        assert set(found.failures) == {"RuntimeError: no step"}
        assert (
            f"{len(found.failures)} local fits failed; the first said: RuntimeError: no step."
            in found.message
        )

    @pytest.mark.parametrize(
        "solve, words",
        [
            (lambda p: 1 / 0, "ZeroDivisionError"),
            (lambda p: ([9.0, 9.0], 0.0), "left the bounds"),
            (lambda p: ([1.0], 0.0), r"parameters of shape (1,)"),
        ],
    )
    def test_all(self, solve, words):
        found = fit_multistart(two_wells, BOX, solve, start=[-1.0, 0.0])
        assert (found.stage, found.success, found.minima) == ("start", False, ())
        assert found.parameters.tolist() == [-1.0, 0.0]
        assert words in found.failures[0]
        assert "found nothing better than the best start" in found.message

    def test_a_solver_that_makes_things_worse(self):
        found = fit_multistart(two_wells, BOX, lambda p: (np.array([2.0, 2.0]), -9.0))
        assert (found.stage, found.success) == ("screening", False)
        assert found.chi_squared == np.min(found.start_costs)

    def test_regions_without_a_cost(self):
        def cost(p):
            return np.nan if p[1] < 0 else two_wells(p)

        found = fit_multistart(
            cost, BOX, lambda p: LocalSolution(p, 0.0), config={"screen_keep_fraction": 1.0}
        )
        assert np.isnan(found.start_costs).any()
        assert all(m.parameters[1] >= 0 for m in found.minima)
        assert not found.failures

    def test_solutions_without_a_cost(self):
        def cost(p):
            return np.nan if np.array_equal(p, [1.0, 1.0]) else two_wells(p)

        found = fit_multistart(cost, BOX, lambda p: ([1.0, 1.0], 0.0))
        assert "ended where the cost is not finite" in found.failures[0]


class TestStop:
    def test_a_callable_that_asks_for_it(self):
        done = []

        def solve(p):
            done.append(p)
            return descend(p)

        found = fit_multistart(two_wells, BOX, solve, should_stop=lambda: len(done) >= 2)
        assert found.stopped
        assert not found.success
        assert len(done) == 2
        assert sum(m.count for m in found.minima) == 2
        assert "stopped from outside" in found.message

    @pytest.mark.parametrize("threads", [False, True])
    def test_ctrl_c_in_the_solver(self, threads):
        done = []

        def solve(p):
            if len(done) == 2:
                raise KeyboardInterrupt
            done.append(p)
            return descend(p)

        with ThreadPoolExecutor(1) as pool:
            found = fit_multistart(
                two_wells, BOX, solve, config={"n_workers": 1}, executor=pool if threads else None
            )
        assert found.stopped
        assert sum(m.count for m in found.minima) == 2
        assert found.chi_squared <= min(m.chi_squared for m in found.minima)

    def test_ctrl_c_in_the_cost(self):
        calls = []

        def cost(p):
            calls.append(p)
            if len(calls) == 4:
                raise KeyboardInterrupt
            return two_wells(p)

        found = fit_multistart(cost, BOX, descend)
        assert found.stopped
        assert np.isfinite(found.start_costs).sum() == 3
        assert found.chi_squared == np.nanmin(found.start_costs)

        with pytest.raises(KeyboardInterrupt):
            fit_multistart(lambda p: exec("raise KeyboardInterrupt"), BOX, descend)

    def test_progress(self):
        seen = []
        found = fit_multistart(two_wells, BOX, descend, callback=seen.append)
        stages = [p.stage for p in seen]
        assert stages == ["screening", *["solving"] * 5, *["refinement"] * len(found.minima)]
        assert np.all(np.diff([p.best_cost for p in seen]) <= 0)
        assert seen[-1].best_cost == found.chi_squared


class TestWrongInput:
    @pytest.mark.parametrize(
        "changes, message",
        [
            ({"bounds": ([0.0], [np.inf])}, "expected finite numbers"),
            ({"start": [9.0, 0.0]}, "start has 9 for parameter 0"),
            ({"cost": lambda p: 1.0}, "cost is constant: it is 1 at all 10 starts"),
            ({"cost": lambda p: np.nan}, "cost is not finite at any of 10 starts"),
            ({"cost": lambda p: p}, r"cost returned an array of shape \(2,\)"),
            ({"solve": 7}, "solve is 7; expected a callable"),
            ({"names": ["a"]}, "names has 1 entries; expected 2"),
            ({"same_below": 0.0}, "same_below is 0.0; expected a number above 0"),
            ({"predict": np.sum, "distance": max}, "predict and distance are both given"),
            ({"config": {"n_start": 3}}, "Did you mean n_starts"),
        ],
    )
    def test_arguments(self, changes, message):
        given = {"cost": two_wells, "bounds": BOX, "solve": descend} | changes
        with pytest.raises(GlobalSearchError, match=message):
            fit_multistart(**given)


def test_seeds():
    def starts(seed):
        return fit_multistart(two_wells, BOX, lambda p: (p, 0.0), config=MultiStartConfig(seed=seed))

    assert np.array_equal(starts(3).starts, starts(3).starts)
    assert not np.array_equal(starts(3).starts, starts(4).starts)
    free = starts(None)
    assert np.array_equal(starts(free.seed).starts, free.starts)


def test_costs_of_all_starts_at_once():
    def batched(p):
        assert p.shape[1] == 2
        return np.array([two_wells(one) for one in p])

    alone = fit_multistart(two_wells, BOX, descend)
    same(fit_multistart(batched, BOX, descend, batched=True), alone)
