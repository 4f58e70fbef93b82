"""Values and first derivatives against 50-digit arithmetic, over the whole box of the default bounds.

Accepted errors are the promise of the package: 1e-11 for values and 1e-9 for derivatives, relative to the largest of the map.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homodyne_model import TwoTimeModel, correlation, normal_equations, points_g1

VALUE, DERIVATIVE = 1e-11, 1e-9
PHI = np.array([0.0, -33.0, 88.0, 140.0, 90.5])
CASES = [
    ("static_isotropic", "gap_average", "trapezoid"),
    ("static_isotropic", "gap_average", "exact"),
    ("laminar_flow", "gap_average", "trapezoid"),
    ("laminar_flow", "gap_average", "exact"),
    ("laminar_flow", "homodyne2", "trapezoid"),
    ("laminar_flow", "homodyne2", "exact"),
]


@jax.jit
def points_and_derivatives(model, physical, angle, i, j):
    def f(p):
        return points_g1(model, p, angle, i, j) ** 2

    return f(physical), jax.jacfwd(f)(physical)


def columns_of_pairs(model, physical, angle, i, j):
    """f and ∂f/∂θ at single pairs as `normal_equations` has them: the Gram of one point is a product of its columns."""
    slots = TwoTimeModel(
        model.analysis_mode, model.q, model.t, model.phi[angle], model.L, model.shear_kernel, model.quadrature
    )
    c2 = np.full((len(angle), model.n_t, model.n_t), np.nan)
    c2[np.arange(len(angle)), i, j] = 1.0
    gram = np.asarray(normal_equations(slots, physical, c2))
    return gram[:, -3, -2], gram[:, :-3, -2]


def errors(model, physical, exact, angle, i, j):
    """Largest errors of value and derivatives by automatic differentiation, then by the columns, scaled; None on overflow.

    Scaled by the largest of the given points (and by 1 = f on the diagonal), which is at most the largest of the map.
    """
    reference = exact(model, physical)
    points = [reference(*point) for point in zip(angle.tolist(), i.tolist(), j.tolist(), strict=True)]
    f = np.array([float(p[0]) for p in points])
    d = np.array([[float(x) for x in p[1]] for p in points])
    if not (np.isfinite(f).all() and np.isfinite(d).all()):
        return None
    f_max, d_max = max(1.0, f.max()), np.abs(d).max(0)
    d_max = np.where(d_max > 0, d_max, 1.0)
    off = i != j
    one = points_and_derivatives(model, physical, angle, i, j)
    # A column needs the later frame first, and no diagonal.
    two = columns_of_pairs(model, physical, angle[off], np.maximum(i, j)[off], np.minimum(i, j)[off])
    return [
        np.max(np.abs(np.asarray(one[0]) - f)) / f_max,
        np.max(np.abs(np.asarray(one[1]) - d) / d_max),
        np.max(np.abs(two[0] - f[off])) / f_max,
        np.max(np.abs(two[1] - d[off]) / d_max),
    ]


def assert_accurate(worst):
    """Check the worst errors of values and derivatives, by autodiff and from the columns of the pass; `-s` shows them."""
    print("values {0:.1e}, {2:.1e}; derivatives {1:.1e}, {3:.1e} (autodiff, pass)".format(*worst))
    assert max(worst[0], worst[2]) < VALUE
    assert max(worst[1], worst[3]) < DERIVATIVE


@pytest.mark.parametrize("first_frame", [0.0, 0.025, 0.3], ids=["t0=0", "t0<dt/2", "t0=3dt"])
@pytest.mark.parametrize("mode, kernel, quadrature", CASES)
def test_all_pairs_of_a_short_grid(exact, draw_physical, mode, kernel, quadrature, first_frame):
    rng = np.random.default_rng([CASES.index((mode, kernel, quadrature)), int(1000 * first_frame)])
    model = TwoTimeModel(mode, 0.0054, first_frame + 0.1 * np.arange(8), PHI[:3], 2e6, kernel, quadrature)
    angle, i, j = (x.ravel() for x in np.indices((3, 8, 8)))
    lower = i >= j
    angle, i, j = angle[lower], i[lower], j[lower]
    found = [errors(model, draw_physical(rng, model.n_physical), exact[1], angle, i, j) for _ in range(4)]
    kept = [e for e in found if e is not None]
    assert len(kept) >= 3, "more than one draw overflows"
    assert_accurate(np.max(kept, axis=0))


@pytest.mark.parametrize("mode, kernel, quadrature", [CASES[2], CASES[5]])
def test_sampled_pairs_of_a_long_grid(exact, draw_physical, mode, kernel, quadrature):
    n_t = 300
    rng = np.random.default_rng(CASES.index((mode, kernel, quadrature)))
    model = TwoTimeModel(mode, 0.0054, 0.1 * np.arange(n_t), PHI, 2e6, kernel, quadrature)
    i = np.concatenate([[1, 2, n_t - 1, n_t - 1, 50, 51], rng.integers(1, n_t, 34)])
    j = np.concatenate([[0, 1, n_t - 2, 0, 49, 49], np.maximum(i[6:] - rng.geometric(0.05, 34), 0)])
    angle = np.arange(len(i)) % len(PHI)
    kept = [
        e
        for e in (
            errors(model, draw_physical(rng, model.n_physical), exact[1], angle, i, j) for _ in range(3)
        )
        if e is not None
    ]
    assert len(kept) >= 2, "more than one draw overflows"
    assert_accurate(np.max(kept, axis=0))


@pytest.mark.parametrize(
    "kernel, quadrature, beta", [("gap_average", "trapezoid", 0.5), ("homodyne2", "exact", -0.6)]
)
def test_strain_that_cancels_over_a_long_grid(exact, kernel, quadrature, beta):
    """The hardest case for the shear phase: 1e4 rad forward and back again, so that x is small far from the diagonal."""
    n_t, turn = 300, 15.0
    model = TwoTimeModel("laminar_flow", 0.0054, 0.1 * np.arange(n_t), PHI, 2e6, kernel, quadrature)
    physical = np.array([3.0, 0.1, 0.0, 0.1 / turn**beta, beta, -0.1, 0.0])
    rate = physical[3] * np.maximum(model.t, 0.05) ** beta + physical[5]
    strain = np.cumsum(rate) - rate / 2
    j = np.arange(5, 125, 3)
    i = np.array([151 + np.argmin(np.abs(strain[151:] - strain[k])) for k in j])
    found = errors(model, physical, exact[1], np.arange(len(i)) % len(PHI), i, j)
    assert max(found[0], found[2]) < VALUE
    assert max(found[1], found[3]) < DERIVATIVE


@pytest.mark.parametrize("mode, kernel, quadrature", [CASES[0], CASES[2], CASES[5]])
def test_derivatives_of_correlation(exact, draw_physical, mode, kernel, quadrature):
    """The public function, differentiated as a user does."""
    n_t, contrast, offset = 5, 0.3, 1.1
    t = 0.1 * np.arange(n_t)
    length = 3 if mode == "static_isotropic" else 7

    def c2(p):
        return correlation(
            p, contrast, offset, 0.0054, t, PHI, 2e6, shear_kernel=kernel, quadrature=quadrature
        )

    physical = draw_physical(np.random.default_rng(7), length)
    physical[0] = 3e4
    value, slope = jax.tree.map(
        np.asarray, jax.jit(lambda p: (c2(p), jax.jacfwd(c2)(p)))(jnp.asarray(physical))
    )
    model = TwoTimeModel(mode, 0.0054, t, PHI, 2e6, kernel, quadrature)
    reference = exact[1](model, physical)
    points = [[[reference(a, i, j) for j in range(n_t)] for i in range(n_t)] for a in range(len(PHI))]
    expected = np.array([[[offset + contrast * float(p[0]) for p in row] for row in rows] for rows in points])
    expected_slope = np.array(
        [[[[contrast * float(x) for x in p[1]] for p in row] for row in rows] for rows in points]
    )
    largest = np.abs(expected_slope).max((0, 1, 2))
    assert np.max(np.abs(value - expected)) < VALUE * np.abs(expected).max()
    assert np.max(np.abs(slope - expected_slope) / largest) < DERIVATIVE
    np.testing.assert_array_equal(value[:, range(n_t), range(n_t)], offset + contrast)
    np.testing.assert_array_equal(slope[:, range(n_t), range(n_t)], 0)


def test_derivatives_of_the_reference(exact):
    """The reference's own derivatives, by 50-digit differences of its values."""
    mp, exact_model = exact
    physical = np.array([2e4, -0.7, 300.0, 2e-3, 0.4, -1e-4, 12.0])
    for quadrature in ("trapezoid", "exact"):
        model = TwoTimeModel("laminar_flow", 0.0054, 0.1 * np.arange(5), PHI, 2e6, "gap_average", quadrature)
        derivatives = exact_model(model, physical)(1, 4, 1)[1]
        for k in range(7):
            step = mp.mpf(float(physical[k])) * mp.mpf(2) ** -50
            values = []
            for sign in (1, -1):
                # Exact shifts of 2^-50 relative are representable in float64 only for the mantissa's last bits: shift in mp.
                shifted = exact_model(model, physical)
                shifted.p[k] += sign * step
                shifted.decay = shifted._basis(shifted.p[0], shifted.p[1])
                shifted.strain = shifted._basis(shifted.p[3], shifted.p[4])
                if k == 6:
                    scale = shifted.q * mp.mpf(model.L) / 2
                    angle = (shifted.p[6] - mp.mpf(float(PHI[1]))) * mp.pi / 180
                    shifted.phase[1] = scale * mp.cos(angle)
                values.append(shifted(1, 4, 1)[0])
            assert abs((values[0] - values[1]) / (2 * step) / derivatives[k] - 1) < 1e-20


@pytest.mark.parametrize("kernel, skipped", [("gap_average", 0), ("homodyne2", 3)])
def test_gram_sums_over_a_whole_map(exact, draw_physical, kernel, skipped):
    """Sums over all pairs, through several tiles: the products of differences must not cancel."""
    n_t = 70
    model = TwoTimeModel("laminar_flow", 0.0054, 0.1 * np.arange(n_t), PHI[:2], 2e6, kernel)
    rng = np.random.default_rng(skipped)
    y = rng.normal(1.2, 0.1, (2, n_t, n_t))
    y[:, :, :skipped] = np.nan
    i, j = np.tril_indices(n_t, -1)
    i, j = i[j >= skipped], j[j >= skipped]
    physical = draw_physical(rng, 7)
    physical[0] = 10 ** rng.uniform(0, 5)
    reference = exact[1](model, physical)
    gram = np.asarray(normal_equations(model, physical, y))
    for a in range(2):
        rows = []
        for k, m in zip(i.tolist(), j.tolist(), strict=True):
            f, d = reference(a, k, m)
            rows.append([*(float(x) for x in d), float(f), 1.0, y[a, k, m] - 1])
        columns = np.array(rows, dtype=np.longdouble)
        expected = columns.T @ columns
        size = np.sqrt(np.diag(expected))
        assert np.max(np.abs(gram[a] - expected) / np.outer(size, size)) < 1e-10


def test_gram_of_a_steady_fast_decay_over_a_long_grid():
    """Only neighbours count, while the integral has grown to hundreds of steps: differences must not be taken of squares.

    In steady motion every pair k frames apart is alike, so the sums are known in closed form.
    """
    n_t, dt, q, total = 600, 0.1, 0.0054, 3e6
    model = TwoTimeModel("static", q, dt * np.arange(n_t), [0.0])
    gram = np.asarray(
        normal_equations(model, np.array([total - 500.0, 0.0, 500.0]), np.full((1, n_t, n_t), 1.2))
    )[0]
    k = np.arange(1, n_t, dtype=np.longdouble)
    f, pairs = np.exp(-(np.longdouble(q) ** 2) * total * dt * k), n_t - k
    slope = -(np.longdouble(q) ** 2) * dt * k * f
    expected = {
        (0, 0): slope**2,
        (0, 2): slope**2,
        (2, 2): slope**2,
        (0, 3): slope * f,
        (2, 4): slope,
        (3, 3): f**2,
    }
    for (row, column), term in expected.items():
        assert abs(gram[row, column] / np.sum(pairs * term) - 1) < 1e-12
