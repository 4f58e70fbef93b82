from types import SimpleNamespace

import numpy as np
import pytest

from homodyne_cmc import CMCInputError
from homodyne_cmc._mode import find_start
from homodyne_cmc._shards import make_shards
from homodyne_cmc._warm_start import WarmStart

pytestmark = pytest.mark.usefixtures("as_inside_a_fit")
NAMES = ("contrast_0", "offset_0", "D0", "alpha", "D_offset")
VALUES = np.array([0.3, 1.1, 1e4, -0.4, 1e3])
FREE = (False, False, False)
COVARIANCE = np.diag([1e-4, 1e-4, 1e4, 1e-4, 1e3])


def test_objects_and_mappings():
    mapping = {"names": NAMES, "values": VALUES, "covariance": COVARIANCE}
    result = SimpleNamespace(
        names=NAMES,
        parameters=VALUES,
        covariance=25 * COVARIANCE,
        covariances={"hessian": COVARIANCE, "robust": 25 * COVARIANCE},
        per_angle_mode="constant",
        fixed=np.zeros(5, dtype=bool),
    )
    one, other = (WarmStart.of(s, "static_isotropic") for s in (mapping, result))
    np.testing.assert_array_equal(one.physical, VALUES[2:])
    np.testing.assert_array_equal(one.covariance, other.covariance)
    assert one.robust_sd is None
    assert one.per_angle_mode is None
    np.testing.assert_allclose(other.robust_sd, 5 * np.sqrt(np.diag(COVARIANCE)[2:]))
    assert other.per_angle_mode == "constant"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"names": None}, "without names and values"),
        ({"values": VALUES[:3]}, "values of shape"),
        ({"names": ("a", "b", "D0", "alpha", "c")}, "has no D_offset"),
        ({"values": np.where(VALUES == 1e4, np.nan, VALUES)}, "D0 = nan"),
        ({"covariance": np.eye(3)}, "covariance has shape"),
        ({"fixed": np.array([True])}, "fixed of shape"),
        ({"per_angle_mode": "linear"}, "per_angle_mode is 'linear'"),
    ],
)
def test_wrong_warm_starts_are_refused(change, message):
    with pytest.raises(CMCInputError, match=message):
        WarmStart.of(
            {"names": NAMES, "values": VALUES, "covariance": COVARIANCE, **change}, "static_isotropic"
        )


@pytest.fixture(scope="module")
def found(rest, rest_data, problem_of):
    """Start without a warm start."""
    problem, _ = problem_of(rest, rest_data)
    shards = make_shards(rest_data, 2, known_noise=True)
    return problem, shards, find_start(problem, shards, None, seed=0)


def _natural(start):
    tangent = np.asarray(start.problem.coordinates.tangent(start.mu)) @ start.root
    return np.asarray(start.problem.coordinates.to_natural(np.asarray(start.mu))), tangent @ tangent.T


def test_the_mode_is_found_in_the_data(rest, found):
    _, _, start = found
    physical, covariance = _natural(start)
    assert (np.abs(physical - rest.physical) < 4 * np.sqrt(np.diag(covariance))).all()
    assert "looked for in the data" in start.notes[0]


def test_a_warm_start_at_the_mode_is_kept(found):
    problem, shards, start = found
    physical, covariance = _natural(start)
    warm = WarmStart(physical, FREE, 1.5 * covariance, None, None)
    kept = find_start(problem, shards, warm, seed=0)
    np.testing.assert_allclose(_natural(kept)[0], physical, rtol=1e-9)
    np.testing.assert_allclose(_natural(kept)[1], 1.5 * covariance, rtol=1e-6)
    assert kept.notes == ()


@pytest.mark.parametrize("how", ["far", "narrow", "no covariance", "singular"])
def test_a_warm_start_elsewhere_is_moved_to_the_mode(found, how):
    problem, shards, start = found
    physical, covariance = _natural(start)
    sd = np.sqrt(np.diag(covariance))
    warm = {
        "far": WarmStart(physical + 20 * sd, FREE, covariance, None, None),
        "narrow": WarmStart(physical, FREE, covariance / 400, None, None),
        "no covariance": WarmStart(physical + sd, FREE, None, None, None),
        "singular": WarmStart(physical, FREE, np.full((3, 3), np.nan), None, None),
    }[how]
    moved = find_start(problem, shards, warm, seed=0)
    assert (np.abs(_natural(moved)[0] - physical) < 0.1 * sd).all()
    np.testing.assert_allclose(np.diag(_natural(moved)[1]), sd**2, rtol=0.1)
    assert "moved to the mode" in moved.notes[0]


def test_a_warm_start_without_coordinates_is_replaced(found):
    problem, shards, start = found
    physical, _ = _natural(start)
    replaced = find_start(problem, shards, WarmStart(physical * [-1, 1, 1], FREE, None, None, None), seed=0)
    assert "no positive power law" in replaced.notes[0]
    np.testing.assert_allclose(_natural(replaced)[0], physical, rtol=0.05)


def test_values_that_are_held_condition_the_others():
    """As in a joint normal distribution: means and covariance given the held value."""
    rng = np.random.default_rng(2)
    root = rng.normal(size=(3, 3)) * np.array([[300.0], [0.02], [80.0]])
    covariance = root @ root.T
    physical = np.array([1e4, -0.4, 1e3])
    held = WarmStart(physical, FREE, covariance, 4 * covariance, None).holding({1: -0.41})
    assert held.held == (False, True, False)
    gain = covariance[[0, 2], 1] / covariance[1, 1]
    np.testing.assert_allclose(held.physical, [1e4 - 0.01 * gain[0], -0.41, 1e3 - 0.01 * gain[1]])
    expected = np.linalg.inv(np.linalg.inv(covariance)[np.ix_([0, 2], [0, 2])])
    np.testing.assert_allclose(held.covariance[np.ix_([0, 2], [0, 2])], expected, rtol=1e-9)
    np.testing.assert_allclose(held.robust, 4 * held.covariance)
    assert (held.covariance[1] == 0).all()
    assert held.is_robust
