"""What is said about curvatures whose properties are known in closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homodyne_degeneracy import STRONG_CORRELATION, identifiability


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
