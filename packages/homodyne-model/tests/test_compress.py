"""The compressed problem against explicit residuals of all points, and the bounded scaling against enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import block_diag, null_space
from scipy.optimize import nnls

from homodyne_model import (
    ModelError,
    RateCoordinates,
    ScalingBasis,
    ScalingBounds,
    ScalingPenalty,
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
from homodyne_model._scaling_solve import _solve_in_box
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

    def scaling_columns(self, basis):
        basis = basis[self.angle]
        return np.concatenate([self.f[:, None] * basis, basis], axis=1)

    def fit(self, basis=None, held=None, penalty=None):
        """Free scaling by dense least squares: per-angle values, residual, physical and free scaling columns, directions.

        ``held`` are per-angle values, NaN where they are free. Rows of a penalty follow those of the points.
        """
        basis = np.eye(self.n_phi) if basis is None else basis
        both = block_diag(basis, basis)
        columns, y = self.scaling_columns(basis), self.y
        slope = self.slope
        if penalty is not None:
            values, vectors = np.linalg.eigh(penalty.matrix)
            root = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
            columns = np.concatenate([columns, root @ both])
            y = np.concatenate([y, root @ penalty.center])
            slope = np.concatenate([slope, np.zeros((len(root), slope.shape[1]))])
        inside, start = np.eye(both.shape[1]), np.zeros(both.shape[1])
        if held is not None:
            rows = ~np.isnan(held)
            inside, start = null_space(both[rows]), np.linalg.lstsq(both[rows], held[rows])[0]
        free = columns @ inside
        values = both @ (start + inside @ np.linalg.lstsq(free, y - columns @ start)[0])
        coefficients = np.linalg.lstsq(both, values)[0]
        residual = columns @ coefficients - y
        contrast = np.zeros(len(y))
        contrast[: len(self.angle)] = values[: self.n_phi][self.angle]
        return values, residual, contrast[:, None] * slope, free, both @ inside


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


def basis_of(mode, made):
    """None stands for individual scaling too."""
    return None if mode is None else ScalingBasis(mode, 1).matrix(made.model.phi)


def some_penalty(n_phi, rank=None):
    """Couples all angles; ``rank`` leaves directions without it."""
    root = np.random.default_rng(n_phi).normal(size=(rank or 2 * n_phi, 2 * n_phi))
    return ScalingPenalty(3 * root.T @ root, np.repeat([0.25, 1.12], n_phi))


MODES = [None, "individual", "fourier", "constant"]


def projected_curvature(slope, columns):
    slope = slope - columns @ np.linalg.lstsq(columns, slope)[0]
    return slope.T @ slope


@pytest.mark.parametrize("penalised", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["static", "flow"])
def test_cost_gradient_and_curvature_of_all_points(kind, mode, penalised):
    made, physical, c2, gram = problem(kind, n_phi=5)
    basis, penalty = basis_of(mode, made), some_penalty(5, 4) if penalised else None
    fit = compress(gram, WIDE, basis=basis, penalty=penalty)
    points = Points(made, physical, c2)
    values, residual, slope, columns, _ = points.fit(basis, penalty=penalty)
    np.testing.assert_allclose(np.concatenate([fit.contrast, fit.offset]), values, rtol=1e-8)
    assert (fit.state == ScalingState.FREE).all()
    assert fit.n_scaling == {"fourier": 6, "constant": 2}.get(mode, 10)
    assert fit.cost == pytest.approx(residual @ residual, rel=1e-10)
    of_points = residual[: len(points.y)]
    assert fit.cost - fit.penalty == pytest.approx(of_points @ of_points, rel=1e-10)
    assert (fit.penalty > 0) == penalised
    gradient = slope.T @ residual
    size = np.linalg.norm(slope, axis=0) * np.linalg.norm(residual)
    assert np.max(np.abs(fit.gradient - gradient) / size) < 1e-10
    assert_hessians_agree(fit.hessian, projected_curvature(slope, columns), 1e-9)


# Bounds that hold some values and let others free.
TIGHT = {
    None: ScalingBounds((0.31, 0.5), (0.5, 1.106)),
    "fourier": ScalingBounds((0.298, 0.306), (1.1, 1.109)),
}


@pytest.mark.parametrize("penalised", [False, True])
@pytest.mark.parametrize("mode", [None, "fourier", "constant"])
@pytest.mark.parametrize("kind", ["static", "flow"])
def test_gradient_is_that_of_the_reduced_cost(kind, mode, penalised):
    made, physical, c2, _ = problem(kind, n_phi=5)
    bounds = TIGHT.get(mode, ScalingBounds((0.31, 0.5), (0.5, 1.2)))
    basis, penalty = basis_of(mode, made), some_penalty(5) if penalised else None

    def cost(p):
        return compress(normal_equations(made.model, p, c2), bounds, basis=basis, penalty=penalty)

    fit = cost(physical)
    assert ScalingState.FREE in fit.state
    assert {ScalingState.LOWER, ScalingState.UPPER} & set(fit.state.ravel())
    scale = np.sqrt(np.diag(fit.hessian))
    for k in range(len(physical)):
        step = np.zeros(len(physical))
        step[k] = 1e-4 * np.sqrt(fit.cost) / scale[k]
        sides = [cost(physical + step), cost(physical - step)]
        # The reduced cost has a kink in its slope where a bound becomes active.
        assert all((side.state == fit.state).all() for side in sides)
        difference = (sides[0].cost - sides[1].cost) / (2 * step[k])
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
    fit = compress(gram, bounds, basis=np.ones((3, 1)) if common else None)
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
    values, residual, slope, columns, _ = Points(made, physical, c2).fit(held=held)
    np.testing.assert_allclose(np.concatenate([fit.contrast, fit.offset]), values, rtol=1e-9)
    assert fit.cost == pytest.approx(residual @ residual, rel=1e-10)
    assert_hessians_agree(fit.hessian, projected_curvature(slope, columns))


def boxes_around(made, seed, width=0.008):
    """Bounds near the true scaling of every angle, some of them in its way, some equal."""
    rng = np.random.default_rng(seed)
    middle = np.stack([made.contrast, made.offset]) + rng.normal(
        scale=0.3 * width, size=(2, made.model.n_phi)
    )
    lower, upper = middle - width, middle + width
    lower[:, 1], upper[:, 4] = -np.inf, np.inf
    return ScalingBounds(*zip(lower, upper, strict=True))


@pytest.mark.parametrize("penalised", [False, True])
@pytest.mark.parametrize("seed", [0, 2, 4, 6])
def test_bounds_of_a_series_hold_at_every_angle(seed, penalised):
    """First-order conditions at the points: the slope along the coefficients is a push of the bounds that are reached."""
    made, physical, c2, gram = problem("flow", seed, n_phi=9)
    basis = ScalingBasis("fourier", 2).matrix(made.model.phi)
    penalty = some_penalty(9) if penalised else None
    bounds = boxes_around(made, seed, 0.02)
    lower, upper = (np.concatenate([bounds.contrast[k], bounds.offset[k]]) for k in (0, 1))
    fit = compress(gram, bounds, basis=basis, penalty=penalty)
    values, state = np.concatenate([fit.contrast, fit.offset]), fit.state.T.ravel()
    assert (values >= lower).all()
    assert (values <= upper).all()
    np.testing.assert_array_equal(state == ScalingState.LOWER, values == lower)
    np.testing.assert_array_equal(state == ScalingState.UPPER, values == upper)
    held = (state == ScalingState.LOWER) | (state == ScalingState.UPPER)
    assert held.any()
    points = Points(made, physical, c2)
    expected, residual, slope, columns, directions = points.fit(
        basis, np.where(held, values, np.nan), penalty
    )
    np.testing.assert_allclose(values, expected, rtol=1e-8)
    assert fit.cost == pytest.approx(residual @ residual, rel=1e-9)
    assert fit.n_scaling == directions.shape[1] == 10 - held.sum()
    np.testing.assert_array_equal(
        state == ScalingState.TIED, ~held & (np.abs(directions).max(axis=1, initial=0) < 1e-9)
    )
    rows = block_diag(basis, basis)
    pushes = np.where(state == ScalingState.LOWER, 1.0, -1.0)[:, None] * rows
    free_columns = points.fit(basis, penalty=penalty)[3]
    along = free_columns.T @ residual
    assert nnls(pushes[held].T, along)[1] < 1e-7 * np.linalg.norm(free_columns, axis=0).max() * np.sqrt(
        fit.cost
    )
    # What the bounds hold leaves the curvature and the covariance.
    assert_hessians_agree(fit.hessian, projected_curvature(slope, columns), 1e-8)
    found = joint_covariance(gram, fit, [True] * 7, basis=basis, penalty=penalty).quoted()
    keep = np.concatenate([state == ScalingState.FREE, [True] * 7])
    dense = dense_covariance(slope, columns, directions)
    assert_covariances_agree(found[np.ix_(keep, keep)], dense[np.ix_(keep, keep)])
    assert np.isnan(found[~keep]).all()


@pytest.mark.parametrize("seed", range(6))
def test_one_quadratic_form_finds_what_the_angles_find_alone(seed):
    """A penalty of zero sends the problem another way, through the active set of all angles at once."""
    made, _, _, gram = problem("static" if seed % 2 else "flow", seed, n_phi=7)
    bounds = boxes_around(made, seed)
    nothing = ScalingPenalty(np.zeros((14, 14)), np.zeros(14))
    for basis in (None, np.eye(7)[:, [0, 1, 2]][[0, 0, 1, 1, 2, 2, 2]], np.ones((7, 1))):
        wide = bounds if basis is None else ScalingBounds((0.295, 0.303), (1.1, 1.107))
        alone, together = (compress(gram, wide, basis=basis, penalty=p) for p in (None, nothing))
        np.testing.assert_array_equal(together.state, alone.state)
        np.testing.assert_allclose(together.contrast, alone.contrast, rtol=1e-10)
        np.testing.assert_allclose(together.offset, alone.offset, rtol=1e-11)
        assert together.cost == pytest.approx(alone.cost, rel=1e-11)
        assert_hessians_agree(together.hessian, alone.hessian, 1e-9)
        free = [True] * len(alone.gradient)
        covariances = [
            joint_covariance(gram, alone, free, basis=basis, penalty=p).determined for p in (None, nothing)
        ]
        size = np.sqrt(np.maximum(np.diag(covariances[0]), 1e-30))
        assert np.max(np.abs(covariances[1] - covariances[0]) / np.outer(size, size)) < 1e-6


def test_groups_of_angles_share_a_pair():
    made, physical, c2, gram = problem("flow", n_phi=5)
    basis = np.array([[1, 0], [0, 1], [1, 0], [0, 1], [0, 1]])
    fit = compress(gram, WIDE, basis=basis)
    values, _, slope, columns, _ = Points(made, physical, c2).fit(basis.astype(float))
    np.testing.assert_allclose(np.concatenate([fit.contrast, fit.offset]), values, rtol=1e-8)
    assert fit.n_scaling == 4
    assert_hessians_agree(fit.hessian, projected_curvature(slope, columns))


def test_a_stronger_penalty_draws_the_scaling_to_its_center():
    made, _, _, gram = problem("flow", n_phi=5)
    center = np.repeat([0.2, 1.2], 5)
    basis = basis_of("fourier", made)
    distances = []
    for strength in (0.0, 1e3, 1e8):
        fit = compress(gram, WIDE, basis=basis, penalty=ScalingPenalty(strength * np.eye(10), center))
        distances.append(np.abs(np.concatenate([fit.contrast, fit.offset]) - center).max())
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 1e-5


@pytest.mark.parametrize("value", [0.3, np.linspace(0.28, 0.32, 9)])
def test_fixed_contrast_at_every_angle(value):
    made, physical, c2, gram = problem("flow", n_phi=9)
    basis = ScalingBasis("fourier", 2).matrix(made.model.phi)
    bounds = ScalingBounds((value, value), (0.0, 2.0))
    if np.ndim(value):
        with pytest.raises(
            ModelError,
            match=r"contrast is fixed at values that the basis does not hold, by 0\.\d+ at angle \d",
        ):
            compress(gram, bounds, basis=basis)
        return
    fit = compress(gram, bounds, basis=basis)
    np.testing.assert_array_equal(fit.state[:, 0], ScalingState.FIXED)
    np.testing.assert_array_equal(fit.contrast, value)
    assert fit.n_scaling == 5
    held = np.concatenate([np.full(9, value), np.full(9, np.nan)])
    values, residual, slope, columns, _ = Points(made, physical, c2).fit(basis, held)
    np.testing.assert_allclose(fit.offset, values[9:], rtol=1e-9)
    assert fit.cost == pytest.approx(residual @ residual, rel=1e-10)
    assert_hessians_agree(fit.hessian, projected_curvature(slope, columns))


@pytest.mark.parametrize("at", [[2], [0, 3, 4, 7], [0, 2, 4, 6, 8]])
def test_fixed_contrast_at_some_angles_of_a_series(at):
    made, physical, c2, gram = problem("flow", n_phi=9)
    basis = ScalingBasis("fourier", 2).matrix(made.model.phi)
    lower, upper = np.full(9, 0.0), np.full(9, 1.0)
    lower[at] = upper[at] = 0.29 + 0.002 * np.arange(len(at))
    fit = compress(gram, ScalingBounds((lower, upper), (0.0, 2.0)), basis=basis)
    held = np.full(18, np.nan)
    held[at] = lower[at]
    values, _, slope, columns, _ = Points(made, physical, c2).fit(basis, held)
    np.testing.assert_allclose(np.concatenate([fit.contrast, fit.offset]), values, rtol=1e-8)
    assert (fit.state[at, 0] == ScalingState.FIXED).all()
    assert fit.n_scaling == 10 - len(at)
    assert_hessians_agree(fit.hessian, projected_curvature(slope, columns), 1e-9)


def test_no_series_within_the_bounds():
    gram = problem("static", n_phi=5)[3]
    zigzag = 0.2 + 0.1 * np.array([0, 1, 0, 1, 0])
    basis = ScalingBasis("fourier", 1).matrix([0.0, 10.0, 20.0, 30.0, 40.0])
    with pytest.raises(
        ModelError, match="no contrast and offset of the basis lie within their bounds at every angle"
    ):
        compress(gram, ScalingBounds((zigzag, zigzag + 0.01)), basis=basis)


def test_angles_without_points_take_their_scaling_from_the_series():
    made, physical, c2, _ = problem("flow", n_phi=9)
    c2[[2, 5]] = np.nan
    gram = np.asarray(normal_equations(made.model, physical, c2))
    basis = ScalingBasis("fourier", 2).matrix(made.model.phi)
    fit = compress(gram, WIDE, basis=basis)
    assert (fit.state == ScalingState.FREE).all()
    values = Points(made, physical, c2).fit(basis)[0]
    np.testing.assert_allclose(np.concatenate([fit.contrast, fit.offset]), values, rtol=1e-8)
    assert np.isfinite(joint_covariance(gram, fit, [True] * 7, basis=basis).quoted()).all()


@pytest.mark.parametrize("bounds", [ScalingBounds(), ScalingBounds((0.0, 0.303), (1.0, 1.108))])
def test_a_series_that_too_few_angles_determine(bounds):
    """Four angles with points, five coefficients: at the other angles nothing is known."""
    made, physical, c2, _ = problem("flow", n_phi=9)
    c2[4:] = np.nan
    gram = np.asarray(normal_equations(made.model, physical, c2))
    basis = ScalingBasis("fourier", 2).matrix(made.model.phi)
    fit = compress(gram, bounds, basis=basis)
    alone = compress(gram[:4], bounds)
    np.testing.assert_array_equal(fit.state[:4], alone.state)
    np.testing.assert_allclose(fit.contrast[:4], alone.contrast, rtol=1e-7)
    assert fit.cost == pytest.approx(alone.cost, rel=1e-9)
    assert fit.n_scaling == alone.n_scaling
    lower, upper = bounds.contrast
    assert (fit.contrast >= lower).all()
    assert (fit.contrast <= upper).all()
    if not (alone.state == ScalingState.FREE).all():
        return
    np.testing.assert_array_equal(fit.state[4:], ScalingState.UNDETERMINED)
    errors = np.diag(joint_covariance(gram, fit, [True] * 7, basis=basis).quoted()).copy()
    assert np.isfinite(errors[[*range(4), *range(9, 13), *range(18, 25)]]).all()
    assert np.isnan(errors[[*range(4, 9), *range(13, 18)]]).all()


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
    covariance = joint_covariance(gram_of(f, np.linspace(0, 0.1, 4), y), fit, [True]).quoted()
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
    covariance = joint_covariance(gram, fit, [True] * 3).quoted()
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


def assert_covariances_agree(found, expected, tolerance=1e-6):
    sd = np.sqrt(np.diag(expected))
    assert np.max(np.abs(found - expected) / np.outer(sd, sd)) < tolerance


def dense_covariance(slope, columns, directions, meat=None):
    """Of per-angle values and physical parameters: V, or V · JᵀwmwJ · V for a diagonal m."""
    jacobian = np.concatenate([columns, slope], axis=1)
    size = np.linalg.norm(jacobian, axis=0)
    inverse = np.linalg.inv((jacobian / size).T @ (jacobian / size))
    if meat is not None:
        inverse = inverse @ ((jacobian / size).T @ (meat[:, None] * (jacobian / size))) @ inverse
    spread = block_diag(directions, np.eye(slope.shape[1])) / size
    return spread @ inverse @ spread.T


@pytest.mark.parametrize("penalised", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["static", "flow"])
def test_covariance_is_the_inverse_of_the_full_curvature(kind, mode, penalised):
    made, physical, c2, gram = problem(kind, n_phi=5)
    basis, penalty = basis_of(mode, made), some_penalty(5) if penalised else None
    fit = compress(gram, WIDE, basis=basis, penalty=penalty)
    free = np.ones(len(physical), dtype=bool)
    free[1] = False
    found = joint_covariance(gram, fit, free, basis=basis, penalty=penalty).quoted()
    _, _, slope, columns, directions = Points(made, physical, c2).fit(basis, penalty=penalty)
    keep = np.concatenate([np.ones(10, dtype=bool), free])
    assert_covariances_agree(found[np.ix_(keep, keep)], dense_covariance(slope[:, free], columns, directions))
    assert np.isnan(found[~keep]).all()
    assert np.isnan(found[:, ~keep]).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["static", "flow"])
def test_sandwich_of_points_of_unequal_weights(kind, mode):
    """Angles weighted otherwise than their noise asks for: V B V over the explicit Jacobian."""
    made, physical, c2, gram = problem(kind, n_phi=5)
    basis = basis_of(mode, made)
    weight = np.array([0.2, 1.0, 3.0, 0.5, 2.0])
    fit = compress(with_angle_weights(gram, weight), WIDE, basis=basis)
    free = np.ones(len(physical), dtype=bool)
    free[1] = False
    points = Points(made, physical, c2)
    w = weight[points.angle]
    jacobian = np.concatenate(
        [points.scaling_columns(np.eye(5)), fit.contrast[points.angle, None] * points.slope], axis=1
    )
    expected = jacobian.T @ (w[:, None] * jacobian)
    information = joint_information(with_angle_weights(gram, weight), fit.contrast)
    np.testing.assert_allclose(information, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    found = joint_covariance(
        with_angle_weights(gram, weight),
        fit,
        free,
        basis=basis,
        meat=joint_information(with_angle_weights(gram, weight**2), fit.contrast),
    ).quoted()
    basis = np.eye(5) if basis is None else basis
    root = np.sqrt(w)[:, None]
    slope = root * jacobian[:, 10:][:, free]
    expected = dense_covariance(slope, root * points.scaling_columns(basis), block_diag(basis, basis), meat=w)
    keep = np.concatenate([np.ones(10, dtype=bool), free])
    assert_covariances_agree(found[np.ix_(keep, keep)], expected)
    assert np.isnan(found[~keep]).all()


@pytest.mark.parametrize("penalised", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_compression_at_a_given_scaling(mode, penalised):
    made, physical, c2, gram = problem("flow", n_phi=5)
    choice = {"basis": basis_of(mode, made), "penalty": some_penalty(5) if penalised else None}
    best = compress(gram, TIGHT["fourier"] if mode == "fourier" else WIDE, **choice)
    same = compress_at(gram, best.contrast, best.offset, best.state, **choice)
    assert same.cost == pytest.approx(best.cost, rel=1e-12)
    assert same.n_scaling == best.n_scaling
    np.testing.assert_allclose(same.hessian, best.hessian, rtol=1e-12)
    off = compress_at(gram, best.contrast + 0.01, best.offset - 0.02, best.state, **choice)
    points = Points(made, physical, c2)
    residual = off.offset[points.angle] + off.contrast[points.angle] * points.f - points.y
    away = np.concatenate([off.contrast, off.offset]) - np.repeat([0.25, 1.12], 5)
    extra = away @ choice["penalty"].matrix @ away if penalised else 0.0
    assert off.penalty == pytest.approx(extra, rel=1e-12)
    assert off.cost == pytest.approx(residual @ residual + extra, rel=1e-12)


def test_covariance_leaves_out_scaling_that_is_held():
    made, physical, c2, gram = problem("static")
    bounds = ScalingBounds(([0.3, 0.0, 0.0], [0.3, 1.0, 0.05]), (0.5, 1.5))
    fit = compress(gram, bounds)
    found = joint_covariance(gram, fit, [True, True, True]).quoted()
    held = np.array([0.3, np.nan, 0.05, np.nan, np.nan, np.nan])
    _, _, slope, columns, directions = Points(made, physical, c2).fit(held=held)
    keep = np.concatenate([np.isnan(held), [True] * 3])
    expected = dense_covariance(slope, columns, directions)
    assert_covariances_agree(found[np.ix_(keep, keep)], expected[np.ix_(keep, keep)])
    assert np.isnan(found[~keep]).all()


def test_errors_of_the_scaling_beside_a_degenerate_pair():
    """At alpha = 0 only D0 + D_offset is known: neither has an error, but the sum's enters those of the contrasts."""
    made = colloid(3, N_T)
    physical = np.array([1e4, 0.0, 50.0])
    gram = np.asarray(normal_equations(made.model, physical, made.noisy_maps(0.05, seed=0)))
    fit = compress(gram, WIDE)
    found = joint_covariance(gram, fit, [True, True, True]).quoted()
    one = joint_covariance(gram, fit, [True, True, False]).quoted()
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
    assert np.isnan(np.diag(joint_covariance(gram, fit, [True] * 3).quoted())).all()
    known = joint_covariance(gram, fit, [True, False, False]).quoted()
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
                np.zeros((2, 6, 6)), ScalingBounds(([0.0, 0.5], [0.4, 1.0])), basis=np.ones((2, 1))
            ),
            r"bounds of the angles have no common contrast and offset: they meet in \[\[0.5, 0.4\], \[0.5, 1.5\]\]",
        ),
        (
            lambda: compress(np.zeros((2, 6, 6)), basis=np.ones(2)),
            r"basis has shape \(2,\); expected finite numbers \(2, n_coef\)",
        ),
        (
            lambda: compress(np.zeros((2, 6, 6)), basis=[[1.0, 2.0], [2.0, 4.0]]),
            "basis has 2 columns, but the 2 angles tell only 1 of them apart",
        ),
        (
            lambda: compress(np.zeros((2, 6, 6)), penalty=some_penalty(3)),
            "penalty is one on 6 values; expected 4, contrast and offset of 2 angles",
        ),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ModelError, match=message):
        call()
