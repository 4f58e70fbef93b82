"""Curve fits: against SciPy, in chunks, with robust losses, at bounds, and where data say too little."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import curve_fit

from homodyne_global import CMAESWrapper, GlobalSearchError, fit_with_cmaes
from homodyne_global._coordinates import SearchSpace
from homodyne_global._curve import BLOCK, Curve, CurveData, loss_value

FAST = {"seed": 1, "restart_strategy": "none", "max_generations": 40}
TRUTH = np.array([3.0, 0.7, 250.0])
BOUNDS = ([0.1, 0.01, -1e4], [100.0, 50.0, 1e4])


def model(x, a, b, c):
    return a * jnp.exp(-b * x) + c


def opaque(x, a, b, c):
    return np.asarray(a) * np.exp(-b * np.asarray(x)) + c


@pytest.fixture(scope="module")
def data():
    x = np.linspace(0.0, 6.0, 3000)
    sigma = 0.05 + 0.01 * np.cos(x)
    y = opaque(x, *TRUTH) + sigma * np.random.default_rng(0).normal(size=x.size)
    return x, y, sigma


@pytest.fixture(scope="module")
def scipys(data):
    x, y, sigma = data
    return curve_fit(opaque, x, y, TRUTH, sigma, absolute_sigma=True, bounds=BOUNDS, ftol=1e-14, xtol=1e-14)


@pytest.mark.parametrize("function", [model, opaque])
@pytest.mark.parametrize("workflow", ["standard", "streaming"])
def test_the_optimum_is_that_of_scipy(data, scipys, function, workflow):
    x, y, sigma = data
    wrapper = CMAESWrapper(FAST | {"refinement_workflow": workflow})
    found = wrapper.fit(function, x, y, [1.0, 1.0, 0.0], BOUNDS, sigma)
    assert (found.stage, found.success) == ("refinement", True)
    error = np.sqrt(np.diag(scipys[1]))
    np.testing.assert_allclose(found.parameters, scipys[0], atol=1e-4 * error.min())
    np.testing.assert_allclose(found.covariance, scipys[1], rtol=1e-3)
    expected = np.sum(((opaque(x, *found.parameters) - y) / sigma) ** 2)
    assert found.chi_squared == pytest.approx(expected, rel=1e-12)


def test_without_sigma_the_covariance_explains_the_residuals(data):
    x, y, _ = data
    found = CMAESWrapper(FAST).fit(opaque, x, y, TRUTH, BOUNDS)
    _, covariance = curve_fit(opaque, x, y, TRUTH, bounds=BOUNDS, ftol=1e-14, xtol=1e-14)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-3)


def test_one_sigma_for_all_and_two_coordinates():
    x = np.random.default_rng(1).uniform(size=(2, 50))
    y = 2 * x[0] - 3 * x[1]
    found = CMAESWrapper(FAST).fit(
        lambda x, a, b: a * x[0] + b * x[1], x, y, None, ([-9, -9], [9, 9]), 0.5, traceable=False
    )
    np.testing.assert_allclose(found.parameters, [2.0, -3.0], atol=1e-8)
    np.testing.assert_allclose(found.covariance, 0.25 * np.linalg.inv(x @ x.T), rtol=1e-6)


@pytest.fixture(scope="module")
def searched(data):
    """What the search alone finds in all data at once, by function."""
    x, y, sigma = data
    wrapper = CMAESWrapper(FAST | {"refine_with_nlsq": False})
    return {f: wrapper.fit(f, x, y, [1.0, 1.0, 0.0], BOUNDS, sigma) for f in (model, opaque)}


@pytest.mark.parametrize(
    "function, chunk", [(model, 1), (model, 2048), (opaque, 1), (opaque, 2048), (opaque, 5000)]
)
def test_chunks_change_nothing(data, searched, function, chunk):
    x, y, sigma = data
    settings = FAST | {"refine_with_nlsq": False}
    whole = searched[function]
    parts = CMAESWrapper(settings | {"data_chunk_size": chunk}).fit(
        function, x, y, [1.0, 1.0, 0.0], BOUNDS, sigma
    )
    if function is opaque:
        assert np.array_equal(whole.parameters, parts.parameters)
        assert whole.chi_squared == parts.chi_squared
    else:
        np.testing.assert_allclose(parts.parameters, whole.parameters, rtol=1e-9)
        assert parts.chi_squared == pytest.approx(whole.chi_squared, rel=1e-9)


def test_chunks_have_the_size_asked_for(data):
    x, y, sigma = data
    sizes = set()

    def watched(x, a, b, c):
        sizes.add(np.size(x))
        return opaque(x, a, b, c)

    def seen(**settings):
        sizes.clear()
        wrapper = CMAESWrapper(FAST | {"max_generations": 1, "refine_with_nlsq": False} | settings)
        wrapper.fit(watched, x, y, TRUTH, BOUNDS, sigma, traceable=False)
        return set(sizes)

    assert seen() == {3000}
    assert seen(data_chunk_size=1500) == {2048, 952}
    # 32 bytes a point: model, residual, loss and the model's own work.
    assert seen(memory_limit_gb=32 * 1000 / 1e9) == {1024, 952}
    # A limit below one block is no reason for smaller pieces.
    assert seen(memory_limit_gb=1e-9) == {1024, 952}


def test_the_workflow_is_chosen_by_memory(data):
    x, y, sigma = data
    sizes = set()

    def watched(x, a, b, c):
        sizes.add(np.size(x))
        return opaque(x, a, b, c)

    def seen(limit, workflow="auto"):
        sizes.clear()
        parts = (
            watched,
            CurveData.checked(x, y, sigma),
            SearchSpace.within(BOUNDS),
            "linear",
            3072,
            limit,
            False,
        )
        settings = {"ftol": 1e-10, "xtol": 1e-10, "gtol": 1e-10, "max_nfev": 20, "loss": "linear"}
        solution = Curve(*parts).solve(TRUTH, **settings, workflow=workflow)
        return set(sizes), solution.parameters

    whole, expected = seen(10**9)
    assert whole == {3000}
    # The Jacobian of 3000 points takes 3 x 8 x 3000 x 4 bytes.
    pieces, found = seen(3 * 8 * 1024 * 4)
    assert pieces == {1024, 952, 3000}
    np.testing.assert_allclose(found, expected, rtol=1e-7)


@pytest.mark.parametrize("loss", ["soft_l1", "huber"])
@pytest.mark.parametrize("workflow", ["standard", "streaming"])
def test_robust_losses(data, loss, workflow):
    x, y, sigma = data
    spoiled = y.copy()
    spoiled[::50] += 30.0
    wrapper = CMAESWrapper(FAST | {"refinement_loss": loss, "refinement_workflow": workflow})
    found = wrapper.fit(opaque, x, spoiled, [1.0, 1.0, 0.0], BOUNDS, sigma)
    _, gradient = cost_and_slope(x, spoiled, sigma, found.parameters, loss)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-3)
    plain = CMAESWrapper(FAST).fit(opaque, x, spoiled, [1.0, 1.0, 0.0], BOUNDS, sigma)
    assert abs(found.parameters[2] - TRUTH[2]) < 0.02 < 0.3 < abs(plain.parameters[2] - TRUTH[2])
    # The least squares are reported, whatever is minimised.
    assert found.chi_squared > plain.chi_squared
    assert found.stage == "refinement"


def cost_and_slope(x, y, sigma, parameters, loss):
    def cost(p):
        return np.sum(loss_value(((opaque(x, *p) - y) / sigma) ** 2, loss))

    steps = np.diag(1e-6 * np.abs(parameters))
    slope = [(cost(parameters + s) - cost(parameters - s)) / 2 for s in steps]
    return cost(parameters), np.array(slope)


@pytest.mark.parametrize("loss", ["linear", "soft_l1", "huber"])
def test_the_compression_keeps_cost_and_gradient(data, loss):
    x, y, sigma = data
    curve = Curve(
        model, CurveData.checked(x, y, sigma), SearchSpace.within(BOUNDS), loss, 1024, 10**9, traced=True
    )
    parameters = TRUTH * [1.02, 0.98, 1.0005]
    triangle, excess = curve.triangle(parameters)
    column = triangle[:, -1].copy()
    column[-1] = np.sqrt(column[-1] ** 2 + excess)
    expected, _ = cost_and_slope(x, y, sigma, parameters, loss)
    assert column @ column == pytest.approx(expected, rel=1e-12)
    assert curve.cost(parameters) == pytest.approx(expected, rel=1e-12)
    gradient = 2 * triangle[:, :-1].T @ column
    _, slope = cost_and_slope(x, y, sigma, parameters, loss)
    np.testing.assert_allclose(gradient * 1e-6 * parameters, slope, rtol=1e-4)


def test_blocks_add_up_alike_whatever_the_chunks():
    """Bit by bit, for a model in NumPy."""
    x = np.random.default_rng(0).normal(size=5 * BLOCK + 17)
    data = CurveData.checked(x, np.zeros_like(x), None)
    curve = Curve(lambda x, a: a * x, data, SearchSpace.within(([0.0], [2.0])), "linear", 8 * BLOCK, 1, False)
    parameters = np.array([1.1])
    costs = {dataclasses.replace(curve, chunk=k * BLOCK).cost(parameters) for k in range(1, 8)}
    assert len(costs) == 1


class TestCovariance:
    settings = FAST | {"max_generations": 60}

    def test_a_parameter_at_its_bound_has_none(self):
        x = np.linspace(0, 1, 40)
        y = 2 * x - 1 + 0.01 * np.random.default_rng(0).normal(size=40)
        found = CMAESWrapper(self.settings).fit(
            lambda x, a, b: a * x + b, x, y, None, ([0, 0], [5, 5]), 0.01, traceable=False
        )
        assert found.parameters[1] == pytest.approx(0.0, abs=1e-12)
        assert np.isnan(found.covariance[1]).all()
        assert found.covariance[0, 0] == pytest.approx(1e-4 / np.sum(x**2), rel=1e-6)
        assert "Parameters [1] lie at a bound" in found.message

    def test_what_the_data_do_not_determine_is_infinite(self):
        x = np.linspace(0, 1, 40)
        model = lambda x, a, b, c, d: (a + b) * x + c + 0 * d  # noqa: E731
        found = CMAESWrapper(self.settings).fit(
            model, x, 2 * x + 1, None, ([0] * 4, [5] * 4), 0.01, traceable=False
        )
        assert np.isinf(np.diag(found.covariance)[[0, 1, 3]]).all()
        assert np.isfinite(found.covariance[2, 2])
        assert "do not determine the parameters [0, 1, 3]" in found.message

    def test_fewer_points_than_parameters(self):
        x = np.array([0.0, 1.0])
        model = lambda x, a, b, c: a * x**2 + b * x + c  # noqa: E731
        for workflow in ("standard", "streaming"):
            wrapper = CMAESWrapper(self.settings | {"refinement_workflow": workflow})
            found = wrapper.fit(
                model, x, np.array([1.0, 2.0]), None, ([-9.0] * 3, [9.0] * 3), 0.1, traceable=False
            )
            assert found.chi_squared < 1e-12
            assert np.isinf(np.diag(found.covariance)).any()


class TestSelection:
    x = np.linspace(0, 1, 30)

    def fit(self, bounds, **settings):
        options = {"seed": 1, "restart_strategy": "none", "max_generations": 5} | settings
        return fit_with_cmaes(
            lambda x, a, b: a * x + b,
            self.x,
            2 * self.x + 1,
            [1.0, 0.0],
            bounds,
            config=options,
            traceable=False,
        )

    def test_far_scales_are_searched(self):
        found = self.fit(([-9, -9e4], [9, 9e4]))
        assert found.diagnostics.generations == 5

    def test_similar_ones_are_left_to_the_local_solver(self):
        found = self.fit(([-9, -9], [9, 9]))
        assert found.diagnostics.runs == ()
        assert (found.stage, found.nlsq_refined, found.success) == ("refinement", True, True)
        assert found.message.startswith(
            "Local solver alone: the scale ratio 1 is not above the threshold 1000"
        )
        np.testing.assert_allclose(found.parameters, [2.0, 1.0], atol=1e-8)

    @pytest.mark.parametrize(
        "settings", [{"auto_select": False}, {"scale_threshold": 0.5}, {"refine_with_nlsq": False}]
    )
    def test_unless_it_is_asked_for(self, settings):
        assert self.fit(([-9, -9], [9, 9]), **settings).diagnostics.generations == 5

    def test_the_local_solver_starts_where_it_was_told_to(self):
        starts = []

        def refine(start, **_):
            starts.append(start)
            return start, 0.0

        fit_with_cmaes(
            lambda x, a: a * x, self.x, 2 * self.x, [1.0], ([-9], [9]), config={"seed": 1}, refine=refine
        )
        assert starts == [[1.0]]

    def test_or_near_it_where_there_is_no_cost(self):
        def holed(x, a):
            return np.where(a < 2.0, np.nan, a * x)

        found = fit_with_cmaes(
            holed, self.x, 3 * self.x, [1.0], ([-9], [9]), config={"seed": 1}, traceable=False
        )
        assert found.stage == "refinement"
        assert found.parameters[0] == pytest.approx(3.0)

    def test_wrong_options(self):
        with pytest.raises(TypeError, match="unexpected keyword argument 'cost'"):
            fit_with_cmaes(lambda x, a: a * x, self.x, self.x, [1.0], ([-9], [9]), cost=1)


def test_an_executor_takes_a_model_in_python(data):
    x, y, sigma = data
    settings = FAST | {"max_generations": 5}
    alone = CMAESWrapper(settings).fit(opaque, x, y, TRUTH, BOUNDS, sigma, traceable=False)
    with ThreadPoolExecutor(2) as executor:
        found = CMAESWrapper(settings).fit(opaque, x, y, TRUTH, BOUNDS, sigma, executor=executor)
    assert np.array_equal(found.parameters, alone.parameters)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"ydata": [[1.0, 2.0]]}, r"ydata has the shape \(1, 2\)"),
        ({"ydata": [1.0, np.nan, 2.0]}, r"ydata has nan at point 1 \(1 such of 3\)"),
        ({"sigma": [1.0, 1.0]}, r"sigma has the shape \(2,\); expected that of ydata, \(3,\)"),
        ({"sigma": 0.0}, r"sigma has 0.0 at point 0 \(3 such of 3\); expected finite numbers above 0"),
        ({"p0": [7.0]}, "p0 has 7 for parameter 0; expected a number within its bounds 0 and 2"),
        ({"p0": [1.0, 1.0]}, r"p0 has the shape \(2,\)"),
        ({"bounds": ([0.0], [np.inf])}, "expected finite numbers"),
        ({"model_func": lambda x, a: a}, r"model_func returned an array of shape \(\); expected \(3,\)"),
        ({"model_func": lambda x, a: 0 * x}, "cost is constant"),
        ({"model_func": lambda x, a: a * x + np.nan}, "cost is not finite at any of"),
        ({"config": {"data_chunk_size": 2}, "xdata": None}, "data_chunk_size is 2, and xdata"),
        (
            {"config": {"refinement_workflow": "streaming"}, "xdata": None},
            "refinement_workflow is 'streaming'",
        ),
    ],
)
def test_wrong_input(changes, message):
    given = {
        "model_func": lambda x, a: a * (np.arange(3.0) if x is None else x),
        "xdata": np.arange(3.0),
        "ydata": np.arange(3.0),
        "p0": [1.0],
        "bounds": ([0.0], [2.0]),
        "config": {},
    } | changes
    wrapper = CMAESWrapper(FAST | given.pop("config"))
    with pytest.raises(GlobalSearchError, match=message):
        wrapper.fit(**given)


def test_any_object_can_be_what_the_model_is_given():
    found = CMAESWrapper(FAST).fit(
        lambda x, a: a * np.asarray(x["t"]),
        {"t": [1.0, 2.0]},
        [2.0, 4.0],
        None,
        ([0.1], [9.0]),
        traceable=False,
    )
    assert found.parameters[0] == pytest.approx(2.0)
