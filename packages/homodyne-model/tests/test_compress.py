"""The compressed problem against explicit residuals of all points, and the bounded scaling against enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homodyne_model import (
    ModelError,
    RateCoordinates,
    ScalingBounds,
    ScalingState,
    compress,
    compress_at,
    compressed_residual,
    in_coordinates,
    joint_covariance,
    joint_information,
    map_g1,
    normal_equations,
    with_angle_weights,
)
from homodyne_model._compress import _solve_in_box
from homodyne_model.testing import colloid, rheometer_flow

N_T = 24
WIDE = ScalingBounds((-10.0, 10.0), (-10.0, 10.0))
derivatives = jax.jit(
    lambda model, p: (map_g1(model, p) ** 2, jax.jacfwd(lambda p: map_g1(model, p) ** 2)(p))
)


class Points:
    """All points of a map as rows: f, its derivatives, y, and which angle."""

    def __init__(self, made, physical, c2):
        f, slope = (np.asarray(x) for x in derivatives(made.model, jnp.asarray(physical)))
        use = np.isfinite(c2) & np.tri(N_T, k=-1, dtype=bool)
        self.angle = np.nonzero(use)[0]
        self.f, self.slope, self.y = f[use], slope[use], c2[use]
        self.n_phi = made.model.n_phi

    def scaling_columns(self, common):
        angle = np.zeros_like(self.angle) if common else self.angle
        one = np.eye(1 if common else self.n_phi)[angle]
        return np.concatenate([self.f[:, None] * one, one], axis=1)

    def fit(self, common=False, held=None):
        """Free scaling by dense least squares; ``held`` are (columns that are held, their values)."""
        columns = self.scaling_columns(common)
        held = np.full(columns.shape[1], np.nan) if held is None else held
        free = np.isnan(held)
        rest = self.y - columns[:, ~free] @ held[~free]
        solution = held.copy()
        solution[free] = np.linalg.lstsq(columns[:, free], rest)[0]
        residual = columns @ solution - self.y
        n = len(solution) // 2
        contrast = np.broadcast_to(solution[:n], self.n_phi)[self.angle]
        return solution, residual, contrast[:, None] * self.slope, columns[:, free], free


def problem(kind="flow", seed=0, n_phi=3):
    made = rheometer_flow(n_phi, N_T) if kind == "flow" else colloid(n_phi, N_T)
    rng = np.random.default_rng(seed)
    c2 = made.noisy_maps(0.05, seed=seed)
    c2[rng.random(c2.shape) < 0.1] = np.nan
    physical = made.physical * (1 + 0.05 * np.cos(np.arange(len(made.physical))))
    return made, physical, c2, np.asarray(normal_equations(made.model, physical, c2))


def assert_hessians_agree(found, expected, tolerance=1e-10):
    size = np.sqrt(np.diag(expected))
    assert np.max(np.abs(found - expected) / np.outer(size, size)) < tolerance


@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize("kind", ["static", "flow"])
def test_cost_gradient_and_curvature_of_all_points(kind, common):
    made, physical, c2, gram = problem(kind)
    fit = compress(gram, WIDE, common_scaling=common)
    points = Points(made, physical, c2)
    solution, residual, slope, columns, _ = points.fit(common)
    n = len(solution) // 2
    np.testing.assert_allclose(fit.contrast, np.broadcast_to(solution[:n], 3), rtol=1e-9)
    np.testing.assert_allclose(fit.offset, np.broadcast_to(solution[n:], 3), rtol=1e-9)
    assert (fit.state == ScalingState.FREE).all()
    assert fit.n_scaling == 2 * (1 if common else 3)
    assert fit.cost == pytest.approx(residual @ residual, rel=1e-10)
    gradient = slope.T @ residual
    size = np.linalg.norm(slope, axis=0) * np.linalg.norm(residual)
    assert np.max(np.abs(fit.gradient - gradient) / size) < 1e-10
    projected = slope - columns @ np.linalg.lstsq(columns, slope)[0]
    assert_hessians_agree(fit.hessian, projected.T @ projected)


@pytest.mark.parametrize("kind", ["static", "flow"])
def test_gradient_is_that_of_the_reduced_cost(kind):
    made, physical, c2, _ = problem(kind)
    # Bounds that hold some coefficients and let others free.
    bounds = ScalingBounds((0.31, 0.5), (0.5, 1.106))

    def cost(p):
        return compress(normal_equations(made.model, p, c2), bounds)

    fit = cost(physical)
    assert {ScalingState.FREE, ScalingState.LOWER} <= set(fit.state.ravel())
    scale = np.sqrt(np.diag(fit.hessian))
    for k in range(len(physical)):
        step = np.zeros(len(physical))
        step[k] = 1e-4 * np.sqrt(fit.cost) / scale[k]
        difference = (cost(physical + step).cost - cost(physical - step).cost) / (2 * step[k])
        assert 2 * fit.gradient[k] == pytest.approx(difference, abs=2e-4 * scale[k] * np.sqrt(fit.cost))


@pytest.mark.parametrize("kind", ["static", "flow"])
def test_compressed_residual_has_cost_gradient_and_curvature(kind):
    fit = compress(problem(kind)[3])
    n = len(fit.gradient)
    assert fit.residual.shape == (n + 1,)
    assert fit.jacobian.shape == (n + 1, n)
    assert fit.residual @ fit.residual == pytest.approx(fit.cost, rel=1e-12)
    size = np.sqrt(np.diag(fit.hessian))
    np.testing.assert_allclose(
        fit.jacobian.T @ fit.residual / size, fit.gradient / size, atol=1e-10 * np.sqrt(fit.cost)
    )
    assert_hessians_agree(fit.jacobian.T @ fit.jacobian, fit.hessian, 1e-12)


def test_compressed_residual_of_a_singular_hessian_gives_finite_steps():
    j = np.random.default_rng(0).normal(size=(30, 3)) * [1e4, 1.0, 1e-5]
    j = np.column_stack([j, j[:, 0] * 1e-3])
    r = np.random.default_rng(1).normal(size=30)
    residual, jacobian = compressed_residual(r @ r, j.T @ r, j.T @ j)
    size = np.linalg.norm(j, axis=0)
    assert residual @ residual == pytest.approx(r @ r, rel=1e-12)
    np.testing.assert_allclose(jacobian.T @ residual / size, j.T @ r / size, atol=1e-9)
    step = np.linalg.lstsq(jacobian / size, residual)[0]
    assert np.abs(step).max() < 100
    # What the step does to all points is what a Gauss-Newton step of all points does.
    expected = np.linalg.lstsq(j / size, r, rcond=1e-10)[0]
    np.testing.assert_allclose(j / size @ step, j / size @ expected, atol=1e-6)


def test_compressed_residual_without_any_curvature():
    residual, jacobian = compressed_residual(2.0, np.zeros(3), np.zeros((3, 3)))
    np.testing.assert_allclose(residual, [0, 0, 0, np.sqrt(2)])
    assert np.isfinite(jacobian).all()


def test_data_without_noise():
    made = rheometer_flow(3, N_T)
    fit = compress(normal_equations(made.model, made.physical, made.maps()))
    np.testing.assert_allclose(fit.contrast, made.contrast, rtol=1e-10)
    np.testing.assert_allclose(fit.offset, made.offset, rtol=1e-11)
    assert 0 <= fit.cost < 1e-12
    assert np.isfinite(fit.residual).all()
    assert np.isfinite(fit.jacobian).all()
    size = np.sqrt(np.diag(fit.hessian))
    assert np.max(np.abs(fit.gradient) / size) < 1e-11


def test_weight_of_an_angle():
    made, physical, c2, gram = problem()
    weight = np.array([1.0, 4.0, 0.25])
    weighted = normal_equations(made.model, physical, c2, np.broadcast_to(weight[:, None, None], c2.shape))
    np.testing.assert_allclose(with_angle_weights(gram, weight), weighted, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(with_angle_weights(gram, 2), 2 * gram)


# Scaling within bounds ------------------------------------------------------------------------------------------------

number = st.floats(-3, 3)
# Bounds that differ by rounding only are not told apart by the cost.
boxes = st.tuples(number, number).map(sorted).map(tuple).filter(lambda b: b[0] == b[1] or b[1] - b[0] > 1e-3)


@given(
    root=st.tuples(st.floats(0.1, 3), st.floats(0.1, 3), st.floats(-3, 3)),
    target=st.tuples(number, number),
    first=boxes,
    second=boxes,
)
def test_minimum_in_a_box(root, target, first, second):
    """First-order conditions, which suffice for a convex problem."""
    r = np.array([[root[0], root[2]], [0.0, root[1]]])
    h, b = r.T @ r, r.T @ r @ np.array(target)
    lower, upper = np.array([first, second]).T
    x, state = _solve_in_box(h, b, lower, upper)
    assert (x >= lower).all()
    assert (x <= upper).all()
    gradient = h @ x - b
    tolerance = 1e-9 * (np.abs(h) @ np.abs(x) + np.abs(b)).max() + 1e-12
    for k in range(2):
        if lower[k] == upper[k]:
            assert state[k] == ScalingState.FIXED
        elif state[k] == ScalingState.FREE:
            assert abs(gradient[k]) < tolerance
        elif state[k] == ScalingState.LOWER:
            assert x[k] == lower[k]
            assert gradient[k] > -tolerance
        else:
            assert state[k] == ScalingState.UPPER
            assert x[k] == upper[k]
            assert gradient[k] < tolerance


@given(
    f=st.lists(st.floats(0, 1), min_size=2, max_size=4),
    y=st.lists(st.floats(-2, 2), min_size=4, max_size=4),
    size=st.sampled_from([0.0, 1e-170, 1e-20, 1.0]),
    box=st.tuples(boxes, boxes),
)
def test_minimum_in_a_box_of_any_columns(f, y, size, box):
    """Also where f is zero, tiny or constant: never worse than any corner, edge or interior point of a grid."""
    f, y = size * np.array(f), np.array(y[: len(f)])
    columns = np.column_stack([f, np.ones(len(f))])
    lower, upper = np.array(box).T
    x, state = _solve_in_box(columns.T @ columns, columns.T @ y, lower, upper)
    assert (x >= lower).all()
    assert (x <= upper).all()
    if ScalingState.UNDETERMINED in state:
        return
    grid = np.array(list(itertools.product(*np.linspace(lower, upper, 9).T)))
    best = np.min(np.sum((columns @ grid.T - y[:, None]) ** 2, axis=0))
    assert np.sum((columns @ x - y) ** 2) <= best + 1e-9


@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_bounded_fit_against_all_active_sets(seed, common):
    made, physical, c2, gram = problem("static", seed)
    bounds = ScalingBounds((0.2, 0.3), (1.1, 1.108) if common else ([1.1, 1.0, 1.11], 1.2))
    fit = compress(gram, bounds, common_scaling=common)
    points = Points(made, physical, c2)
    total = 0.0
    for a in [None] if common else range(3):
        part = np.full(len(points.y), True) if common else points.angle == a
        columns, y = np.column_stack([points.f[part], np.ones(part.sum())]), points.y[part]
        box = np.array([(0.2, 0.3), (1.1, 1.108) if common else ([1.1, 1.0, 1.11][a], 1.2)])
        costs = []
        for choice in itertools.product((None, 0, 1), repeat=2):
            x = np.array([np.nan if c is None else box[k, c] for k, c in enumerate(choice)])
            free = np.isnan(x)
            x[free] = np.linalg.lstsq(columns[:, free], y - columns[:, ~free] @ x[~free])[0]
            if (x >= box[:, 0] - 1e-12).all() and (x <= box[:, 1] + 1e-12).all():
                costs.append((np.sum((columns @ x - y) ** 2), tuple(x)))
        cost, best = min(costs)
        total += cost
        np.testing.assert_allclose([fit.contrast[a or 0], fit.offset[a or 0]], best, rtol=1e-8)
    assert fit.cost == pytest.approx(total, rel=1e-9)


def test_projection_leaves_out_what_is_held():
    made, physical, c2, gram = problem("flow")
    bounds = ScalingBounds(([0.3, 0.0, 0.0], [0.3, 1.0, 0.05]), ([0.5, 1.1, 0.5], [1.5, 1.1, 1.5]))
    fit = compress(gram, bounds)
    free = ScalingState.FREE
    expected = [[ScalingState.FIXED, free], [free, ScalingState.FIXED], [ScalingState.UPPER, free]]
    np.testing.assert_array_equal(fit.state, expected)
    assert fit.n_scaling == 3
    held = np.array([0.3, np.nan, 0.05, np.nan, 1.1, np.nan])
    solution, residual, slope, columns, _ = Points(made, physical, c2).fit(held=held)
    np.testing.assert_allclose(np.concatenate([fit.contrast, fit.offset]), solution, rtol=1e-9)
    assert fit.cost == pytest.approx(residual @ residual, rel=1e-10)
    projected = slope - columns @ np.linalg.lstsq(columns, slope)[0]
    assert_hessians_agree(fit.hessian, projected.T @ projected)


def gram_of(f, slope, y):
    columns = np.column_stack([*np.atleast_2d(slope), f, np.ones(len(f)), y - 1])
    return (columns.T @ columns)[None]


@pytest.mark.parametrize(
    "f, bounds, contrast, state",
    [
        (np.full(4, 0.5), ScalingBounds(), 0.5, (ScalingState.UNDETERMINED, ScalingState.FREE)),
        (np.zeros(4), ScalingBounds((0.1, 0.5)), 0.3, (ScalingState.UNDETERMINED, ScalingState.FREE)),
        (np.zeros(4), ScalingBounds(offset=(1.2, 1.2)), 0.5, (ScalingState.UNDETERMINED, ScalingState.FIXED)),
        (np.zeros(4), ScalingBounds((0.2, 0.2)), 0.2, (ScalingState.FIXED, ScalingState.FREE)),
        (np.full(4, 0.5), ScalingBounds((0.2, 0.2)), 0.2, (ScalingState.FIXED, ScalingState.FREE)),
        (np.zeros(4), ScalingBounds((0.0, np.inf)), 0.5, (ScalingState.UNDETERMINED, ScalingState.FREE)),
        (np.zeros(4), ScalingBounds((2.0, np.inf)), 2.0, (ScalingState.UNDETERMINED, ScalingState.FREE)),
    ],
)
def test_scaling_that_the_data_do_not_determine(f, bounds, contrast, state):
    y = np.array([1.2, 1.21, 1.19, 1.2])
    fit = compress(gram_of(f, np.linspace(0, 0.1, 4), y), bounds)
    np.testing.assert_array_equal(fit.state[0], state)
    assert fit.contrast[0] == pytest.approx(contrast)
    assert fit.offset[0] == pytest.approx(1.2 - contrast * f[0])
    assert np.isfinite(fit.residual).all()
    covariance = joint_covariance(gram_of(f, np.linspace(0, 0.1, 4), y), fit, [True])
    np.testing.assert_array_equal(np.isfinite(np.diag(covariance)[:2]), np.array(state) == ScalingState.FREE)


def test_an_angle_without_points():
    gram = problem("static")[3].copy()
    gram[1] = 0
    fit = compress(gram)
    np.testing.assert_array_equal(fit.state[1], [ScalingState.UNDETERMINED] * 2)
    others = compress(gram[[0, 2]])
    assert fit.cost == others.cost
    np.testing.assert_allclose(fit.hessian, others.hessian, rtol=1e-12)
    assert fit.n_scaling == 4
    covariance = joint_covariance(gram, fit, [True] * 3)
    assert np.isnan(np.diag(covariance)[[1, 4]]).all()
    assert np.isfinite(np.delete(np.diag(covariance), [1, 4])).all()


@pytest.mark.parametrize(
    "contrast, best, state",
    [
        ((0.0, np.inf), 0.0, ScalingState.LOWER),
        ((-np.inf, -0.5), -0.5, ScalingState.UPPER),
        ((-np.inf, np.inf), -0.3, ScalingState.FREE),
    ],
)
def test_bounds_may_be_infinite(contrast, best, state):
    f = np.exp(-np.arange(6.0))
    fit = compress(gram_of(f, -f, 1.1 - 0.3 * f), ScalingBounds(contrast, (-np.inf, np.inf)))
    assert fit.contrast[0] == pytest.approx(best)
    assert fit.state[0, 0] == state


# Covariance -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize("kind", ["static", "flow"])
def test_covariance_is_the_inverse_of_the_full_curvature(kind, common):
    made, physical, c2, gram = problem(kind)
    fit = compress(gram, WIDE, common_scaling=common)
    free = np.ones(len(physical), dtype=bool)
    free[1] = False
    found = joint_covariance(gram, fit, free, common_scaling=common)
    _, _, slope, columns, _ = Points(made, physical, c2).fit(common)
    jacobian = np.concatenate([columns, slope[:, free]], axis=1)
    size = np.linalg.norm(jacobian, axis=0)
    inverse = np.linalg.inv((jacobian / size).T @ (jacobian / size)) / np.outer(size, size)
    n_phi = made.model.n_phi
    if common:
        # The vector holds the pair once for every angle.
        spread = [0] * n_phi + [1] * n_phi + list(range(2, len(inverse)))
        inverse = inverse[np.ix_(spread, spread)]
    keep = np.concatenate([np.ones(2 * n_phi, dtype=bool), free])
    sd = np.sqrt(np.diag(inverse))
    assert np.max(np.abs(found[np.ix_(keep, keep)] - inverse) / np.outer(sd, sd)) < 1e-6
    assert np.isnan(found[~keep]).all()
    assert np.isnan(found[:, ~keep]).all()


@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize("kind", ["static", "flow"])
def test_sandwich_of_points_of_unequal_weights(kind, common):
    """Angles weighted otherwise than their noise asks for: V B V over the explicit Jacobian."""
    made, physical, c2, gram = problem(kind)
    weight = np.array([0.2, 1.0, 3.0, 0.5, 2.0, 1.5])[: len(gram)]
    fit = compress(with_angle_weights(gram, weight), WIDE, common_scaling=common)
    free = np.ones(len(physical), dtype=bool)
    free[1] = False
    points = Points(made, physical, c2)
    jacobian = np.zeros((len(points.y), 2 * len(gram) + len(physical)))
    jacobian[:, : 2 * len(gram)] = points.scaling_columns(False)
    jacobian[:, 2 * len(gram) :] = fit.contrast[points.angle, None] * points.slope
    w = weight[points.angle, None]
    np.testing.assert_allclose(
        joint_information(with_angle_weights(gram, weight), fit.contrast),
        jacobian.T @ (w * jacobian),
        rtol=1e-9,
        atol=1e-9 * np.abs(jacobian.T @ (w * jacobian)).max(),
    )
    found = joint_covariance(
        with_angle_weights(gram, weight),
        fit,
        free,
        common_scaling=common,
        meat=joint_information(with_angle_weights(gram, weight**2), fit.contrast),
    )
    keep = np.concatenate([np.ones(2 * len(gram), dtype=bool), free])
    spread = np.eye(len(keep))[:, keep]
    if common:
        pairs = np.zeros((len(keep), 2))
        pairs[: len(gram), 0] = pairs[len(gram) : 2 * len(gram), 1] = 1
        spread = np.concatenate([pairs, spread[:, 2 * len(gram) :]], axis=1)
    jacobian = jacobian @ spread
    size = np.linalg.norm(jacobian, axis=0)
    jacobian /= size
    inverse = np.linalg.inv(jacobian.T @ (w * jacobian))
    expected = inverse @ (jacobian.T @ (w**2 * jacobian)) @ inverse / np.outer(size, size)
    expected = (spread @ expected @ spread.T)[np.ix_(keep, keep)]
    sd = np.sqrt(np.diag(expected))
    assert np.max(np.abs(found[np.ix_(keep, keep)] - expected) / np.outer(sd, sd)) < 1e-6
    assert np.isnan(found[~keep]).all()


@pytest.mark.parametrize("common", [False, True])
def test_compression_at_a_given_scaling(common):
    made, physical, c2, gram = problem("flow")
    best = compress(gram, WIDE, common_scaling=common)
    same = compress_at(gram, best.contrast, best.offset, best.state, common_scaling=common)
    assert same.cost == pytest.approx(best.cost, rel=1e-12)
    np.testing.assert_allclose(same.hessian, best.hessian, rtol=1e-12)
    off = compress_at(gram, best.contrast + 0.01, best.offset - 0.02, best.state, common_scaling=common)
    points = Points(made, physical, c2)
    residual = off.offset[points.angle] + off.contrast[points.angle] * points.f - points.y
    assert off.cost == pytest.approx(residual @ residual, rel=1e-12)


def test_covariance_leaves_out_scaling_that_is_held():
    made, physical, c2, gram = problem("static")
    bounds = ScalingBounds(([0.3, 0.0, 0.0], [0.3, 1.0, 0.05]), (0.5, 1.5))
    fit = compress(gram, bounds)
    found = joint_covariance(gram, fit, [True, True, True])
    held = np.array([0.3, np.nan, 0.05, np.nan, np.nan, np.nan])
    _, _, slope, columns, free = Points(made, physical, c2).fit(held=held)
    jacobian = np.concatenate([columns, slope], axis=1)
    size = np.linalg.norm(jacobian, axis=0)
    inverse = np.linalg.inv((jacobian / size).T @ (jacobian / size)) / np.outer(size, size)
    keep = np.concatenate([free, [True] * 3])
    sd = np.sqrt(np.diag(inverse))
    assert np.max(np.abs(found[np.ix_(keep, keep)] - inverse) / np.outer(sd, sd)) < 1e-6
    assert np.isnan(found[~keep]).all()


def test_errors_of_the_scaling_beside_a_degenerate_pair():
    """At alpha = 0 only D0 + D_offset is known: neither has an error, but the sum's enters those of the contrasts."""
    made = colloid(3, N_T)
    physical = np.array([1e4, 0.0, 50.0])
    gram = np.asarray(normal_equations(made.model, physical, made.noisy_maps(0.05, seed=0)))
    fit = compress(gram, WIDE)
    found = joint_covariance(gram, fit, [True, True, True])
    one = joint_covariance(gram, fit, [True, True, False])
    assert np.isnan(np.diag(found)[[6, 8]]).all()
    assert np.isfinite(found[7, 7])
    np.testing.assert_allclose(found[:6, :6], one[:6, :6], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found[:6, 7], one[:6, 7], rtol=1e-6, atol=1e-9)


def test_too_few_points_for_the_scaling():
    """Three points, five parameters: contrast and offset take part in what is not determined."""
    f = np.array([0.9, 0.5, 0.2])
    slope = np.array([[-0.1, -0.3, -0.25], [0.02, 0.15, 0.3], [-0.1, 0.4, 0.1]])
    gram = gram_of(f, slope, np.array([1.2, 1.1, 1.07]))
    fit = compress(gram, WIDE)
    assert np.isnan(np.diag(joint_covariance(gram, fit, [True] * 3))).all()
    known = joint_covariance(gram, fit, [True, False, False])
    assert np.isfinite(np.diag(known)[:3]).all()


# Coordinates and errors -----------------------------------------------------------------------------------------------


def test_in_coordinates_keeps_cost_and_transforms_the_rest():
    made, physical, c2, gram = problem("static")
    fit = compress(gram)
    block = RateCoordinates(0.5)
    u = block.from_natural(physical)
    other = in_coordinates(fit, block.tangent(u))
    assert other.cost == fit.cost
    assert other.residual @ other.residual == pytest.approx(fit.cost, rel=1e-12)
    np.testing.assert_allclose(other.jacobian.T @ other.residual, other.gradient, rtol=1e-8, atol=1e-10)
    step = 1e-5
    for k in range(3):
        costs = [
            compress(normal_equations(made.model, block.to_natural(u + sign * step * np.eye(3)[k]), c2)).cost
            for sign in (1, -1)
        ]
        size = np.sqrt(other.hessian[k, k] * fit.cost)
        assert 2 * other.gradient[k] == pytest.approx((costs[0] - costs[1]) / (2 * step), abs=1e-4 * size)
    some = in_coordinates(fit, np.eye(3)[:, [0, 2]])
    assert some.residual.shape == (3,)
    np.testing.assert_array_equal(some.hessian, fit.hessian[np.ix_([0, 2], [0, 2])])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: ScalingBounds((0.5, 0.1)), "bounds of contrast are 0.5 to 0.1; expected lower <= upper"),
        (lambda: ScalingBounds(offset=(np.nan, 1.0)), "bounds of offset are nan"),
        (lambda: compress(np.zeros((6, 6))), r"gram has shape \(6, 6\); expected \(n_phi"),
        (lambda: compress(np.zeros((2, 6, 5))), r"gram has shape \(2, 6, 5\)"),
        (lambda: compress(np.full((1, 6, 6), np.inf)), "not finite: the model overflows"),
        (
            lambda: compress(np.zeros((2, 6, 6)), ScalingBounds(([0.0, 0.1, 0.2], 1.0))),
            r"bounds of contrast have shape \(3,\); expected numbers or \(2,\)",
        ),
        (
            lambda: compress(
                np.zeros((2, 6, 6)), ScalingBounds(([0.0, 0.5], [0.4, 1.0])), common_scaling=True
            ),
            "bounds of the angles have no common contrast and offset",
        ),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ModelError, match=message):
        call()
