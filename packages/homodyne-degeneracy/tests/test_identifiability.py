"""What is said about curvatures whose properties are known in closed form."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homodyne_degeneracy import STRONG_CORRELATION, DegeneracyError, identifiability


def curvature_with(correlation, errors):
    """Curvature of two parameters with given correlation and standard errors."""
    a, b = errors
    return np.linalg.inv([[a * a, correlation * a * b], [correlation * a * b, b * b]])


def test_separate_parameters_leave_nothing_to_say():
    found = identifiability(np.diag([1e8, 1e-6, 4.0]), ["a", "b", "c"], [1.0, 1e5, 5.0], [True] * 3)
    assert found.names == ("a", "b", "c")
    assert found.undetermined == found.correlated == found.poorly_known == ()
    assert found.sentences() == []
    np.testing.assert_allclose(found.eigenvalues, 1, rtol=1e-12)


@pytest.mark.parametrize(
    "correlation, said", [(0.96, True), (-0.96, True), (0.94, False), (-0.94, False), (0.99999, True)]
)
@pytest.mark.parametrize("noise", [0.0, 1.0, 7.0])
def test_correlation_is_that_of_the_covariance(correlation, said, noise):
    assert STRONG_CORRELATION == 0.95
    curvature = curvature_with(correlation, (1e3, 1e-3))
    found = identifiability(curvature, ["D0", "alpha"], [1e9, 1e3], [True, True], noise)
    if not said:
        assert found.correlated == ()
        return
    [(a, b, r)] = found.correlated
    assert (a, b) == ("D0", "alpha")
    assert r == pytest.approx(correlation, abs=1e-9)
    assert f"D0 and alpha are nearly interchangeable (correlation {correlation:+.4f})" in found.sentences()[0]


def test_strongest_correlation_comes_first():
    covariance = np.eye(5)
    covariance[0, 1] = covariance[1, 0] = 0.97
    covariance[3, 4] = covariance[4, 3] = -0.99
    found = identifiability(np.linalg.inv(covariance), list("abcde"), np.full(5, 10.0), [True] * 5)
    assert [(a, b) for a, b, _ in found.correlated] == [("d", "e"), ("a", "b")]


def test_a_degenerate_pair_is_named_and_a_third_parameter_is_not():
    jacobian = np.array([[1.0, 100.0, 0.0], [2.0, 200.0, 1.0], [3.0, 300.0, -1.0]])
    found = identifiability(jacobian.T @ jacobian, ["D0", "D_offset", "alpha"], [1e4, 1e2, 5.0], [True] * 3)
    assert found.undetermined == (("D0", "D_offset"),)
    assert found.eigenvalues[0] < 1e-12
    assert found.sentences()[0].startswith(
        "The data do not determine D0 and D_offset separately: fix one of them"
    )
    assert not any("alpha" in sentence for sentence in found.sentences())


def test_a_parameter_without_any_effect_is_named():
    found = identifiability(np.diag([4.0, 0.0]), ["D0", "phi0"], [10.0, 3.0], [True, True])
    assert found.undetermined == (("phi0",),)
    assert "do not determine phi0 at all: fix it" in found.sentences()[0]


def test_parameters_that_are_not_free_take_no_part():
    degenerate = np.ones((2, 2))
    found = identifiability(degenerate, ["D0", "D_offset"], [10.0, 10.0], [True, False])
    assert found.names == ("D0",)
    assert found.undetermined == found.correlated == ()
    nothing = identifiability(degenerate, ["D0", "D_offset"], [10.0, 10.0], [False, False])
    assert nothing.names == ()
    assert nothing.eigenvalues.size == 0
    assert nothing.sentences() == []


def test_standard_errors_larger_than_the_value_are_said():
    found = identifiability(
        np.diag([1.0, 1.0, 1.0]), ["D0", "D_offset", "phi0"], [2.0, -0.25, 0.1], [True] * 3
    )
    # A direction has no zero that its error could be measured against.
    assert found.poorly_known == (("D_offset", 4.0),)
    assert found.sentences() == ["The standard error of D_offset is 4 times its value."]
    scaled = identifiability(np.diag([1.0, 1.0]), ["D0", "D_offset"], [2.0, -0.25], [True] * 2, noise=9.0)
    assert dict(scaled.poorly_known) == {"D0": pytest.approx(1.5), "D_offset": pytest.approx(12)}


@given(
    exponents=st.lists(st.floats(-6, 6), min_size=3, max_size=3),
    correlation=st.floats(-0.999, 0.999),
)
def test_units_do_not_matter(exponents, correlation):
    covariance = np.array([[1, correlation, 0.1], [correlation, 1, 0], [0.1, 0, 1.0]])
    covariance = covariance @ covariance.T
    scale = 10.0 ** np.array(exponents)
    values = np.array([3.0, 5.0, 0.5])
    one = identifiability(np.linalg.inv(covariance), list("abc"), values, [True] * 3)
    other = identifiability(
        np.linalg.inv(covariance) / np.outer(scale, scale), list("abc"), values * scale, [True] * 3
    )
    np.testing.assert_allclose(one.eigenvalues, other.eigenvalues, rtol=1e-6, atol=1e-12)
    assert [pair[:2] for pair in one.correlated] == [pair[:2] for pair in other.correlated]
    assert one.undetermined == other.undetermined


@pytest.mark.parametrize(
    "hessian, values, free",
    [
        (np.eye(3), [1.0, 1.0], [True, True]),
        (np.eye(2), [1.0], [True, True]),
        (np.eye(2), [1.0, 1.0], [True]),
        (np.ones(2), [1.0, 1.0], [True, True]),
    ],
)
def test_sizes_must_agree(hessian, values, free):
    with pytest.raises(ValueError, match=r"expected \(2, 2\), \(2,\), \(2,\) for 2 names"):
        identifiability(hessian, ["a", "b"], values, free)


# Combinations, advice, and results of fits ----------------------------------------------------------------------------

FLOW = ("D0", "alpha", "D_offset", "gamma_dot_t0", "beta", "gamma_dot_t_offset", "phi0")
FLOW_VALUES = np.array([6.85e4, -1.327, 1.71e3, 9e-4, -0.212, -2.7e-4, 2.0])


FLOW_UNITS = np.array([6.85e4, 1.0, 6.85e4, 9e-4, 1.0, 9e-4, np.rad2deg(1)])


def curvature_of(covariance):
    """Of the parameters of a flow, from a covariance in the units of the report."""
    return np.linalg.inv(covariance * np.outer(FLOW_UNITS, FLOW_UNITS))


def test_combinations_are_the_axes_of_the_error_ellipsoid():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(7, 7)) * 0.01 * 10 ** rng.uniform(-1, 1, size=7)
    covariance = root @ root.T
    found = identifiability(curvature_of(covariance), FLOW, FLOW_VALUES, [True] * 7, noise=4.0)
    lengths, axes = np.linalg.eigh(covariance)
    errors = [2 * np.sqrt(length) / np.abs(axis).max() for length, axis in zip(lengths, axes.T, strict=True)]
    np.testing.assert_allclose([c.error for c in found.combinations], sorted(errors, reverse=True), rtol=1e-5)
    for combination in found.combinations:
        assert combination.weights[0][1] == 1
        weights = dict(combination.weights)
        k = int(np.argmin(np.abs(np.array(errors) - combination.error)))
        axis = axes[:, k] / axes[np.argmax(np.abs(axes[:, k])), k]
        for name, weight in weights.items():
            assert weight == pytest.approx(axis[FLOW.index(name)], abs=1e-4)
    assert found.stiff.error == pytest.approx(min(errors), rel=1e-5)


@pytest.mark.parametrize(
    "names, values, t_ref, words",
    [
        (("D0", "D_offset"), [2e4, 10.0], None, "δD0/D0 - 0.50 δD_offset/(D0 t^alpha)"),
        (("D0", "D_offset"), [2e4, 10.0], 2.0, "δD0/D0 - 0.50 δD_offset/(D0 t^alpha at 2 s)"),
        (
            ("gamma_dot_t0", "gamma_dot_t_offset"),
            [1e-3, 0.0],
            None,
            "δgamma_dot_t0/gamma_dot_t0 - 0.50 δgamma_dot_t_offset/(gamma_dot_t0 t^beta)",
        ),
        (("alpha", "beta"), [0.0, 1.0], None, "δalpha - 0.50 δbeta"),
        (("phi0", "beta"), [3.0, 1.0], None, "δphi0 [rad] - 0.50 δbeta"),
        (("a", "b"), [4.0, 0.0], None, "δa/a - 0.50 δb"),
    ],
)
def test_words_of_a_combination(names, values, t_ref, words):
    """A weak direction (1, -1/2) in the units of the words."""
    units = {
        "D0": 2e4,
        "D_offset": 2e4,
        "gamma_dot_t0": 1e-3,
        "gamma_dot_t_offset": 1e-3,
        "phi0": np.rad2deg(1),
        "a": 4.0,
    }
    unit = np.array([units.get(name, 1.0) for name in names])
    along, across = np.array([1.0, -0.5]) / np.sqrt(1.25), np.array([0.5, 1.0]) / np.sqrt(1.25)
    curvature = (0.1 * np.outer(along, along) + 100 * np.outer(across, across)) / np.outer(unit, unit)
    found = identifiability(curvature, names, values, [True, True], t_ref=t_ref)
    [weak] = found.weak
    assert weak.words == words
    assert weak.names == names
    assert weak.error == pytest.approx(np.sqrt(1 / 0.1) * np.sqrt(1.25), rel=1e-9)
    report = found.report()
    assert f"Weak combination: {words}, known to ±3.5 only." in report
    assert any(
        sentence.startswith("Best known combination: ") and "±0.11." in sentence for sentence in report
    )


def test_the_unit_of_an_offset_is_the_power_law_at_the_reference_time():
    """With alpha = -1 the power law has fallen to a quarter at 4 s, and the same error counts four times as much."""
    curvature = np.diag([1.0, 1.0, 1e-6])
    at = {
        t: {
            c.names[0]: c.error
            for c in identifiability(
                curvature, ("D0", "alpha", "D_offset"), [1e3, -1.0, 5.0], [True] * 3, t_ref=t
            ).combinations
        }
        for t in (1.0, 4.0)
    }
    assert at[1.0]["D_offset"] == pytest.approx(1.0)
    assert at[4.0]["D_offset"] == pytest.approx(4.0)


def test_what_is_not_determined_has_no_finite_error():
    jacobian = np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 1.0], [3.0, 3.0, -1.0]]) / [1e4, 1e4, 1.0]
    found = identifiability(jacobian.T @ jacobian, ["D0", "D_offset", "alpha"], [1e4, 1e2, 0.0], [True] * 3)
    assert [np.isinf(c.error) for c in found.combinations] == [True, False, False]
    assert found.weak[0].words == "δD0/D0 - δD_offset/(D0 t^alpha)"
    assert "known not at all." in " ".join(found.report())
    assert any(
        "the same constant where the rate does not depend on age" in sentence for sentence in found.advice
    )
    best = found.stiff
    assert np.isfinite(best.error)


@pytest.mark.parametrize(
    "pair, exponent, advice",
    [
        (("D0", "D_offset"), -1.0, "differ only in how they depend on age: fix D_offset"),
        (("D0", "D_offset"), 0.04, "the same constant where the rate does not depend on age"),
        (("alpha", "D_offset"), -1.0, "measure over a larger range of ages"),
        (("D0", "alpha"), -1.0, "D0 is the rate at 1 s and alpha its slope"),
        (
            ("gamma_dot_t0", "gamma_dot_t_offset"),
            -0.2,
            "gamma_dot_t0 t^beta and gamma_dot_t_offset differ only in how they depend on age",
        ),
        (
            ("gamma_dot_t0", "gamma_dot_t_offset"),
            0.04,
            "fix gamma_dot_t_offset = 0 and read gamma_dot_t0 as the whole rate",
        ),
        (("gamma_dot_t0", "phi0"), -0.2, "angles on both sides of the flow"),
        (
            ("D0", "gamma_dot_t0"),
            -0.2,
            "angles perpendicular to the flow, which see diffusion alone, and by a second q",
        ),
    ],
)
def test_advice_on_pairs_that_are_not_separated(pair, exponent, advice):
    values = FLOW_VALUES.copy()
    values[[1, 4]] = exponent
    a, b = (FLOW.index(name) for name in pair)
    covariance = 1e-6 * np.eye(7)
    found = identifiability(curvature_of(covariance), FLOW, values, [True] * 7)
    assert found.advice == ()
    covariance[a, b] = covariance[b, a] = 0.999e-6
    found = identifiability(curvature_of(covariance), FLOW, values, [True] * 7)
    assert len(found.correlated) == 1
    assert any(advice in sentence for sentence in found.advice)
    assert len(set(found.advice)) == len(found.advice)
    assert found.report()[-len(found.advice) :] == list(found.advice)


def result(**changes):
    hessian = np.diag([1e-4, 25.0, 0.01])
    covariance = np.diag([0.1, 0.1, 4e4, 0.09, 900.0])
    names = ("contrast_0", "offset_0", "D0", "alpha", "D_offset")
    made = {
        "hessian": hessian,
        "names": names,
        "physical_names": names[2:],
        "parameters": np.array([0.3, 1.1, 1e3, -0.5, 20.0]),
        "fixed": np.zeros(5, dtype=bool),
        "at_bound": ("",) * 5,
        "sigma_source": "given",
        "reduced_chi_squared": 4.0,
        "covariance": covariance,
        "t": np.arange(0.0, 40.1, 0.1),
    }
    return SimpleNamespace(**(made | changes))


def test_a_result_brings_everything():
    found = identifiability(result())
    assert found.names == ("D0", "alpha", "D_offset")
    # Errors are those of the result's covariance; the offset is measured by D0 t_ref^alpha, t_ref = √(0.1 · 40) = 2.
    errors = {c.names[0]: c.error for c in found.combinations}
    assert errors["D0"] == pytest.approx(0.2)
    assert errors["alpha"] == pytest.approx(0.3)
    assert errors["D_offset"] == pytest.approx(30 / (1e3 * 2**-0.5))
    assert dict(found.poorly_known) == {"D_offset": pytest.approx(1.5)}


def test_without_a_covariance_the_curvature_and_the_noise_decide():
    nothing = np.full((5, 5), np.nan)
    for source, noise in (("given", 1.0), ("estimated", 4.0)):
        found = identifiability(result(covariance=nothing, sigma_source=source))
        errors = {c.names[0]: c.error for c in found.combinations}
        assert errors["alpha"] == pytest.approx(np.sqrt(noise) / 5)
        assert errors["D0"] == pytest.approx(np.sqrt(noise) * 100 / 1e3)


def test_parameters_of_a_result_that_did_not_vary_take_no_part():
    fixed = np.array([False, False, False, True, False])
    assert identifiability(result(fixed=fixed)).names == ("D0", "D_offset")
    at_bound = ("", "", "", "", "lower")
    assert identifiability(result(fixed=fixed, at_bound=at_bound)).names == ("D0",)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: identifiability(np.eye(2)),
            "names, values and free are missing; expected them beside a Hessian",
        ),
        (lambda: identifiability(result(), ["D0"]), "a result brings its own names"),
        (
            lambda: identifiability(np.eye(2), ["a", "b"], [1, 1], [True] * 2, covariance=np.eye(3)),
            r"covariance has shape \(3, 3\); expected \(2, 2\)",
        ),
    ],
)
def test_what_is_missing_or_too_much(call, message):
    with pytest.raises(DegeneracyError, match=message):
        call()
