"""Layer 2: what the stages see, where they end, and how fast."""

import numpy as np
import pytest
from scipy.linalg import subspace_angles

from homodyne_degeneracy import (
    AdaptiveRegularizer,
    AntiDegeneracyController,
    DegeneracyError,
    HierarchicalConfig,
    HierarchicalOptimizer,
    RegularizationConfig,
)
from homodyne_model import ScalingBasis, ScalingBounds, compress

START = np.array([0.5, 0.4])


def optimum(data, basis=None):
    """Gauss-Newton over everything, all points at once."""
    n = len(data.y)
    basis = np.eye(n) if basis is None else basis
    physical, k = np.zeros(2), basis.shape[1]
    coefficients = np.linalg.lstsq(data.columns(physical, np.ones(n), basis)[:, : 2 * k], data.y.ravel())[0]
    for _ in range(50):
        contrast, offset = basis @ coefficients[:k], basis @ coefficients[k:]
        columns = data.columns(physical, contrast, basis)
        step = np.linalg.lstsq(columns, data.residual(physical, contrast, offset))[0]
        coefficients, physical = coefficients - step[:-2], physical - step[-2:]
    residual = data.residual(physical, basis @ coefficients[:k], basis @ coefficients[k:])
    return physical, basis @ coefficients[:k], residual @ residual


@pytest.mark.parametrize("mode", ["individual", "fourier", "constant"])
def test_the_stages_reach_the_optimum_of_everything(points, mode):
    phi, data = points(8, sigma=0.02, apart=True)
    basis = ScalingBasis(mode).matrix(phi)
    config = HierarchicalConfig(max_outer_iterations=200, outer_tolerance=1e-9)
    found = HierarchicalOptimizer(config, basis=basis).minimise(data.gram, START)
    physical, contrast, cost = optimum(data, basis)
    assert found.converged
    assert found.fit.cost == pytest.approx(cost, rel=1e-10)
    np.testing.assert_allclose(found.physical, physical, atol=1e-5)
    np.testing.assert_allclose(found.fit.contrast, contrast, atol=1e-5)
    assert (np.diff(found.costs) <= 1e-13 * np.sum((data.y - 1) ** 2)).all()
    assert "changed the model by" in found.message


def test_the_rate_is_the_squared_cosine_between_the_groups_of_parameters(points):
    """Why the layer is off by default: elimination of the scaling has no such rate."""
    _, data = points(8, sigma=0.02, seed=3)
    physical, contrast, cost = optimum(data)
    columns = data.columns(physical, contrast)
    cosine = np.cos(subspace_angles(columns[:, :-2], columns[:, -2:]).min())
    config = HierarchicalConfig(max_outer_iterations=25, outer_tolerance=1e-14)
    costs = np.array(HierarchicalOptimizer(config).minimise(data.gram, START).costs) - cost
    rates = costs[11:20] / costs[10:19]
    np.testing.assert_allclose(rates, cosine**4, rtol=0.05)  # χ² is quadratic in the distance
    # Gauss-Newton steps of the reduced problem are at the optimum by then.
    at = START.copy()
    for _ in range(10):
        fit = compress(data.gram(at), ScalingBounds((-9, 9), (-9, 9)))
        at = at - np.linalg.solve(fit.hessian, fit.gradient)
    assert compress(data.gram(at)).cost - cost < 1e-6 * costs[10]


def test_the_physical_stage_sees_frozen_scaling(points):
    """Residuals and Jacobian handed to a solver are those of the points at the scaling of the stage before."""
    _, data = points(6, sigma=0.02)
    seen = []

    def solver(problem, start):
        seen.append((start.copy(), problem(start), problem(start + 0.1)))
        return start + 0.01

    config = HierarchicalConfig(max_outer_iterations=1)
    HierarchicalOptimizer(config, local_solver=solver).minimise(data.gram, START)
    [(start, here, there)] = seen
    np.testing.assert_array_equal(start, START)
    scaling = compress(data.gram(START))
    for physical, found in ((START, here), (START + 0.1, there)):
        residual = data.residual(physical, scaling.contrast, scaling.offset)
        slope = data.columns(physical, scaling.contrast)[:, -2:]
        assert found.cost == pytest.approx(residual @ residual, rel=1e-10)
        np.testing.assert_allclose(found.hessian, slope.T @ slope, rtol=1e-9)
        np.testing.assert_allclose(
            found.jacobian.T @ found.residual, slope.T @ residual, rtol=1e-6, atol=1e-9
        )


@pytest.mark.parametrize("scale", [(1.0, 1.0), (1e4, 1e-3), (1e-6, 1e6)])
def test_convergence_does_not_depend_on_units(points, scale):
    """A step in a parameter of size 1e-3 counts as much as one in a parameter of size 1e4."""
    _, data = points(6, sigma=0.02)
    scale = np.array(scale)
    other = data._replace(slope=data.slope / scale)
    one, two = (
        HierarchicalOptimizer(HierarchicalConfig(max_outer_iterations=40)).minimise(d.gram, s)
        for d, s in ((data, START), (other, START * scale))
    )
    assert one.outer_iterations == two.outer_iterations
    assert two.scaled_step == pytest.approx(one.scaled_step, rel=1e-3)
    np.testing.assert_allclose(two.physical / scale, one.physical, rtol=1e-5)


def test_it_ends_after_five_outer_iterations_and_says_so(points):
    _, data = points(8, sigma=0.02)
    found = HierarchicalOptimizer().minimise(data.gram, START)
    assert found.outer_iterations == 5
    assert not found.converged
    assert found.message.startswith("stopped after 5 outer iterations with a change of")
    few = HierarchicalOptimizer(HierarchicalConfig(max_outer_iterations=2)).minimise(data.gram, START)
    assert few.costs == found.costs[:3]


def test_the_tolerance_is_a_share_of_the_residuals(points):
    _, data = points(8, sigma=0.02, apart=True)
    loose, tight = (
        HierarchicalOptimizer(
            HierarchicalConfig(max_outer_iterations=200, outer_tolerance=tolerance)
        ).minimise(data.gram, START)
        for tolerance in (1e-3, 1e-7)
    )
    assert loose.converged
    assert tight.converged
    assert loose.outer_iterations < tight.outer_iterations
    assert tight.scaled_step < 1e-7 <= loose.scaled_step < 1e-3


def test_a_physical_stage_keeps_to_its_evaluations(points):
    """With p = sinh(3u) one Gauss-Newton step is not the way."""
    _, data = points(8, sigma=0.02)

    def evaluate(u):
        slope = np.append(3 * np.cosh(3 * u), np.ones(3))
        return data.gram(np.sinh(3 * u)) * np.outer(slope, slope)

    few, many = (
        HierarchicalOptimizer(
            HierarchicalConfig(max_outer_iterations=1, physical_max_iterations=most)
        ).minimise(evaluate, START)
        for most in (3, 100)
    )
    # One evaluation more may be that of the point that the stage ends at.
    assert few.evaluations <= 4 < many.evaluations
    assert many.fit.cost < few.fit.cost


@pytest.mark.parametrize("lambda_", [0.1, 1.0])
def test_the_scaling_stage_adapts_the_penalty_until_it_rests(points, lambda_):
    """At rest the penalty is the regularizer's share of the χ² that it leaves; after one solution it is not."""
    _, data = points(8, contrast=0.3 + 0.05 * np.cos(np.arange(8.0)), sigma=0.02)
    regularizer = AdaptiveRegularizer(RegularizationConfig(lambda_=lambda_))
    gaps = []
    for most in (1, 50):
        config = HierarchicalConfig(max_outer_iterations=1, per_angle_max_iterations=most)
        found = HierarchicalOptimizer(config, regularizer=regularizer, local_solver=lambda _, start: start)
        fit = found.minimise(data.gram, [0.0, 0.0]).fit
        share = regularizer.share(fit.contrast, fit.offset)
        gaps.append(abs(fit.penalty / (fit.cost - fit.penalty) / share - 1))
    assert gaps[1] < 1e-9 < 1e-4 < gaps[0]


def test_bounds_and_held_parameters(points):
    _, data = points(8, sigma=0.02)
    bounds = np.array([[0.2, 1.0], [-np.inf, np.inf]])
    config = HierarchicalConfig(max_outer_iterations=50)
    found = HierarchicalOptimizer(config).minimise(data.gram, START, bounds=bounds)
    assert found.physical[0] == pytest.approx(0.2, abs=1e-6)
    held = HierarchicalOptimizer(config).minimise(data.gram, START, free=[True, False])
    assert held.physical[1] == START[1]
    assert held.fit.cost < compress(data.gram(START)).cost
    nothing = HierarchicalOptimizer(config).minimise(data.gram, START, free=[False, False])
    np.testing.assert_array_equal(nothing.physical, START)
    assert nothing.converged


def test_scaling_bounds_hold(points):
    _, data = points(8, sigma=0.02)
    bounds = ScalingBounds((0.0, 0.28), (0.5, 1.5))
    found = HierarchicalOptimizer(scaling_bounds=bounds).minimise(data.gram, START)
    assert found.fit.contrast.max() == 0.28


def test_a_solver_that_finds_nothing_better(points):
    _, data = points(8, sigma=0.02)
    found = HierarchicalOptimizer(local_solver=lambda _, start: start + 1.0).minimise(data.gram, START)
    np.testing.assert_array_equal(found.physical, START)
    assert not found.converged
    assert found.message == "the physical stage found no better point"


def test_a_model_that_overflows_on_the_way(points):
    """Beyond a wall the Gram matrices are not finite; the stage turns back."""
    _, data = points(8, sigma=0.02)

    def walled(physical):
        return data.gram(physical) if physical[0] > 0.3 else np.full((8, 5, 5), np.inf)

    found = HierarchicalOptimizer().minimise(walled, START)
    assert found.physical[0] > 0.3
    assert found.fit.cost < compress(data.gram(START)).cost


def test_switched_off_there_are_no_stages():
    for settings, used in (({}, False), ({"hierarchical": {"enable": True}}, True)):
        controller = AntiDegeneracyController(settings, analysis_mode="laminar_flow", phi=np.arange(8.0))
        assert controller.hierarchical == used
    static = AntiDegeneracyController(
        {"hierarchical": {"enable": True}}, analysis_mode="static", phi=np.arange(8.0)
    )
    assert not static.hierarchical


@pytest.mark.parametrize(
    "evaluate, bounds, message",
    [
        (lambda p: np.full((2, 5, 5), np.nan), None, "the model is not finite at the start"),
        (
            lambda p: np.eye(5)[None],
            [[0.6, 1.0], [0.0, 1.0]],
            "start is .*; expected values within the bounds",
        ),
    ],
)
def test_wrong_starts(evaluate, bounds, message):
    with pytest.raises(DegeneracyError, match=message):
        HierarchicalOptimizer().minimise(evaluate, START, bounds=bounds)
