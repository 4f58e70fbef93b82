import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homodyne_model import (
    ModelError,
    TwoTimeModel,
    correlation,
    field_correlation,
    map_c2,
    map_g1,
    points_c2,
    points_g1,
    rows_c2,
)

Q, L, N_T = 0.0054, 2e6, 12
T = 0.1 * np.arange(N_T)
PHI = np.array([-30.0, 0.0, 17.0, 90.0])
FLOW = np.array([3e4, -0.7, 500.0, 2e-3, -0.3, -1e-4, 4.0])
KINDS = list(itertools.product(("static", "laminar_flow"), ("gap_average", "homodyne2")))
g1_maps, c2_maps, g1_points, c2_points = (jax.jit(f) for f in (map_g1, map_c2, points_g1, points_c2))


def model_of(mode="laminar_flow", kernel="gap_average", quadrature="trapezoid", t=T, phi=PHI):
    return TwoTimeModel(mode, Q, t, phi, L, kernel, quadrature)


def physical_of(model):
    return jnp.asarray(FLOW[: model.n_physical])


def flow_map(*, t=T, phi=PHI, kernel="gap_average", **changes):
    names = ("D0", "alpha", "D_offset", "gamma_dot_t0", "beta", "gamma_dot_t_offset", "phi0")
    values = dict(zip(names, FLOW, strict=True)) | changes
    return np.asarray(g1_maps(model_of(kernel=kernel, t=t, phi=phi), jnp.array([values[n] for n in names])))


@pytest.mark.parametrize("mode, kernel", KINDS)
def test_maps_are_symmetric_with_ones_on_the_diagonal(mode, kernel):
    model = model_of(mode, kernel)
    g1 = np.asarray(g1_maps(model, physical_of(model)))
    assert g1.shape == (4, N_T, N_T)
    np.testing.assert_array_equal(g1, np.swapaxes(g1, 1, 2))
    np.testing.assert_array_equal(g1[:, range(N_T), range(N_T)], 1.0)


points = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, N_T - 1), st.integers(0, N_T - 1)), min_size=40, max_size=40
)


@settings(max_examples=20)
@given(points=points, kind=st.sampled_from([("static", "gap_average"), ("laminar_flow", "homodyne2")]))
def test_any_list_of_points_holds_entries_of_the_map(points, kind):
    model = model_of(*kind)
    physical = physical_of(model)
    angle, i, j = np.array(points).T
    contrast, offset = jnp.array([0.1, 0.2, 0.3, 0.4]), jnp.array([1.0, 1.1, 0.9, 1.2])
    at = angle, i, j
    np.testing.assert_allclose(
        g1_points(model, physical, *at), np.asarray(g1_maps(model, physical))[at], rtol=1e-13, atol=1e-15
    )
    np.testing.assert_allclose(
        c2_points(model, physical, contrast, offset, *at),
        np.asarray(c2_maps(model, physical, contrast, offset))[at],
        rtol=1e-14,
    )


def test_points_are_symmetric_and_one_on_the_diagonal():
    model = model_of()
    rng = np.random.default_rng(0)
    angle, i, j = rng.integers(0, 4, 40), rng.integers(0, N_T, 40), rng.integers(0, N_T, 40)
    np.testing.assert_array_equal(
        g1_points(model, physical_of(model), angle, i, j), g1_points(model, physical_of(model), angle, j, i)
    )
    np.testing.assert_array_equal(g1_points(model, physical_of(model), angle, i, i), 1.0)


def test_gradient_is_finite_everywhere():
    """No square root or absolute value at t1 = t2, nor a power of 0."""
    model = model_of()
    slope = jax.jit(jax.jacfwd(lambda p: map_g1(model, p)))(physical_of(model))
    assert np.isfinite(slope).all()
    assert (np.asarray(slope)[:, range(N_T), range(N_T)] == 0).all()


@pytest.mark.parametrize("kernel", ["gap_average", "homodyne2"])
def test_without_shear_the_flow_is_the_static_model(kernel):
    static = np.asarray(g1_maps(model_of("static"), jnp.asarray(FLOW[:3])))
    still = flow_map(kernel=kernel, gamma_dot_t0=0.0, gamma_dot_t_offset=0.0)
    np.testing.assert_allclose(still, static, rtol=1e-15)


def test_across_the_flow_there_is_no_shear():
    across = flow_map(phi=np.array([94.0, -86.0]))
    static = np.asarray(g1_maps(model_of("static"), jnp.asarray(FLOW[:3])))
    np.testing.assert_allclose(across, static[:2], rtol=1e-12)


def test_weak_shear_expansion():
    """1 - x²/6 of the gap average and 1 - 2 x²/6 of the other kernel, to fourth order."""
    tau = np.abs(T[:, None] - T)
    for kernel, scale, power in (("gap_average", 0.5, 1), ("homodyne2", 1 / (2 * np.pi), 2)):
        shear = flow_map(
            kernel=kernel, D0=0.0, D_offset=0.0, gamma_dot_t0=1e-6, beta=0.0, gamma_dot_t_offset=0.0
        )
        x = scale * Q * L * np.cos(np.deg2rad(4.0 - PHI))[:, None, None] * 1e-6 * tau
        np.testing.assert_allclose(shear, 1 - power * x**2 / 6, atol=x.max() ** 4)
        assert np.abs(shear - 1).max() > 1e-6


@settings(max_examples=20)
@given(phi0=st.floats(-400, 400))
def test_flow_direction_has_a_period_of_180_degrees(phi0):
    np.testing.assert_allclose(flow_map(phi0=phi0) ** 2, flow_map(phi0=phi0 + 180) ** 2, atol=1e-11)


def test_reversed_flow_and_angles_shifted_together_change_nothing():
    np.testing.assert_allclose(
        flow_map(), flow_map(gamma_dot_t0=-FLOW[3], gamma_dot_t_offset=-FLOW[5]), rtol=1e-13, atol=1e-15
    )
    np.testing.assert_allclose(flow_map(), flow_map(phi=PHI + 33, phi0=FLOW[6] + 33), atol=1e-12)


def test_brownian_motion_decays_exponentially():
    """D(t) = 2 D_SE: C2 - offset decays with exp(-2 q² D_SE tau)."""
    stokes_einstein = 4e4
    c2 = correlation(np.array([2 * stokes_einstein, 0.0, 0.0]), 0.3, 1.05, Q, T, [0.0])
    tau = np.abs(T[:, None] - T)
    np.testing.assert_allclose(c2[0], 1.05 + 0.3 * np.exp(-2 * Q**2 * stokes_einstein * tau), rtol=1e-13)


def test_only_sum_of_rate_and_offset_counts_at_exponent_zero():
    one = field_correlation(np.array([1e4, 0.0, 500.0]), Q, T)
    two = field_correlation(np.array([500.0, 0.0, 1e4]), Q, T)
    np.testing.assert_allclose(one, two, rtol=1e-13)


def test_integral_is_ordered_in_time_not_made_positive():
    """A negative D(t) gives g1 > 1, in both triangles."""
    g1 = np.asarray(field_correlation(np.array([1.0, 0.0, -2e4]), Q, T))
    tau = np.abs(T[:, None] - T)
    np.testing.assert_allclose(g1, np.exp(Q**2 / 2 * (2e4 - 1) * tau), rtol=1e-12)
    assert (g1[~np.eye(N_T, dtype=bool)] > 1).all()


def test_trapezoid_of_the_definition():
    g1 = np.asarray(field_correlation(FLOW[:3], Q, T))
    rate = FLOW[0] * np.maximum(T, 0.05) ** FLOW[1] + FLOW[2]
    for i, j in [(1, 0), (5, 2), (11, 10), (11, 0)]:
        integral = np.sum((rate[j + 1 : i + 1] + rate[j:i]) / 2) * 0.1
        assert g1[i, j] == pytest.approx(np.exp(-(Q**2) / 2 * integral), rel=1e-13)


def test_times_count_from_their_origin():
    """A later window of the same sample is a block of the whole map."""
    late = flow_map(t=T[4:])
    np.testing.assert_allclose(late, flow_map()[:, 4:, 4:], rtol=1e-12, atol=1e-14)


def test_public_functions_agree_with_maps():
    model = model_of()
    g1 = field_correlation(FLOW, Q, T, PHI, L)
    np.testing.assert_allclose(g1, g1_maps(model, jnp.asarray(FLOW)), atol=1e-14)
    c2 = correlation(FLOW, [0.1, 0.2, 0.3, 0.4], 1.1, Q, T, PHI, L)
    contrast = np.array([0.1, 0.2, 0.3, 0.4])[:, None, None]
    np.testing.assert_allclose(c2, 1.1 + contrast * np.asarray(g1) ** 2, rtol=1e-14)
    other = field_correlation(FLOW, Q, T, PHI, L, shear_kernel="homodyne2", quadrature="exact")
    np.testing.assert_allclose(
        other, g1_maps(model_of(kernel="homodyne2", quadrature="exact"), jnp.asarray(FLOW)), atol=1e-14
    )


def test_shapes_without_and_with_angles():
    assert field_correlation(FLOW[:3], Q, T).shape == (N_T, N_T)
    assert field_correlation(FLOW[:3], Q, T, [0.0, 1.0]).shape == (2, N_T, N_T)


def test_whole_numbers_are_numbers():
    np.testing.assert_array_equal(
        correlation([30000, 1, 0], 0.3, 1, Q, T, [0]), correlation([3e4, 1.0, 0.0], 0.3, 1.0, Q, T, [0.0])
    )


def test_single_precision_stays_single():
    c2 = correlation(FLOW.astype(np.float32), 0.3, 1.0, Q, T, PHI, L)
    assert c2.dtype == jnp.float32
    np.testing.assert_allclose(c2, correlation(FLOW, 0.3, 1.0, Q, T, PHI, L), atol=1e-4)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: field_correlation(np.ones(4), Q, T),
            r"params has shape \(4,\); expected \(3,\) .* or \(7,\)",
        ),
        (lambda: field_correlation(np.ones((3, 1)), Q, T), r"params has shape \(3, 1\)"),
        (lambda: field_correlation(FLOW, Q, T, L=L), "phi is missing; laminar flow needs"),
        (lambda: field_correlation(FLOW, Q, T, PHI), "L is missing"),
        (lambda: field_correlation(FLOW[:3], -Q, T), r"q is -0\.0054; expected a positive number in 1/Å"),
        (lambda: correlation(FLOW[:3], np.ones(3), 1.0, Q, T, PHI), r"contrast has shape \(3,\); .*\(4,\)"),
        (lambda: correlation(FLOW[:3], 0.3, np.ones((4, 1)), Q, T, PHI), r"offset has shape \(4, 1\)"),
        (lambda: correlation(FLOW[:3], 0.3, 1.0, Q, T, PHI, quadrature="simpson"), "quadrature is 'simpson'"),
        (lambda: correlation(FLOW, 0.3, 1.0, Q, T, PHI, L, shear_kernel="sinc"), "shear_kernel is 'sinc'"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ModelError, match=message):
        call()


@pytest.mark.parametrize("first_row, n_rows", [(0, 1), (3, 4), (5, 3)])
def test_rows_are_those_of_the_maps(first_row, n_rows):
    model = model_of()
    physical = physical_of(model)
    contrast, offset = np.array([0.1, 0.2, 0.3, 0.4]), np.array([1.0, 1.1, 0.9, 1.0])
    maps = c2_maps(model, physical, contrast, offset)
    rows = rows_c2(model, physical, contrast, offset, first_row, n_rows)
    np.testing.assert_allclose(rows, maps[:, first_row : first_row + n_rows], rtol=1e-14)
