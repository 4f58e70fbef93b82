import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homodyne_model import AnalysisMode, ModelError, ParameterLayout, TwoTimeModel, map_g1

T = 0.1 * np.arange(4)


def make(**changes):
    arguments = {"analysis_mode": "laminar_flow", "q": 0.005, "t": T, "phi": [0.0, 45.0], "L": 2e6} | changes
    return TwoTimeModel(**arguments)


def test_what_it_knows():
    model = make(phi=30)
    assert model.analysis_mode is AnalysisMode.LAMINAR_FLOW
    assert (model.n_phi, model.n_t, model.n_physical, model.sheared) == (1, 4, 7, True)
    assert model.dt == pytest.approx(0.1)
    assert model.layout == ParameterLayout("laminar_flow", 1)
    assert model.kernel.name == model.shear_kernel == "gap_average"
    static = make(analysis_mode="static", L=None)
    assert (static.n_physical, static.sheared, static.L) == (3, False, None)


@pytest.mark.parametrize("value", [np.float32(0.005), np.float64(0.005), np.array(0.005), 1])
def test_numbers_of_any_kind(value):
    model = make(q=value, L=value)
    assert type(model.q) is type(model.L) is float


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"analysis_mode": "flow"}, "analysis_mode is 'flow'"),
        ({"q": 0.0}, r"q is 0\.0; expected a positive number in 1/Å"),
        ({"q": np.nan}, "q is nan"),
        ({"q": np.inf}, "q is inf"),
        ({"q": "0.005"}, "q is '0.005'"),
        ({"q": None}, "q is None"),
        ({"q": [0.005]}, r"q is \[0\.005\]"),
        ({"q": 0.005j}, "q is 0.005j"),
        ({"L": None}, "L is missing; laminar_flow needs the stator-rotor gap in Å"),
        ({"L": -2e6}, r"L is -2000000\.0; expected a positive number in Å"),
        ({"analysis_mode": "static", "L": 0.0}, r"L is 0\.0"),
        ({"t": 0.1}, r"t has shape \(\); expected frame times in seconds"),
        ({"t": [0.1]}, r"t has shape \(1,\).*at least 2"),
        ({"t": np.zeros((2, 2))}, r"t has shape \(2, 2\)"),
        ({"t": [0.0, np.nan, 0.2]}, "t holds negative or non-finite times"),
        ({"t": [-0.1, 0.0, 0.1]}, "t holds negative or non-finite times"),
        ({"t": [0.0, 0.2, 0.1]}, r"t is not increasing: t\[1\] = 0\.2 s, t\[2\] = 0\.1 s"),
        ({"t": [0.0, 0.1, 0.1]}, "t is not increasing"),
        (
            {"t": [0.0, 0.1, 0.2, 0.4]},
            r"t is not uniform: .*0\.133333 s apart on average, frames 2 and 3 0\.2 s",
        ),
        ({"phi": []}, r"phi has shape \(0,\); expected finite angles in degrees"),
        ({"phi": [[0.0]]}, r"phi has shape \(1, 1\)"),
        ({"phi": [0.0, np.inf]}, "expected finite angles"),
        ({"shear_kernel": "sinc"}, "shear_kernel is 'sinc'; expected one of gap_average, homodyne2"),
        ({"quadrature": "simpson"}, "quadrature is 'simpson'; expected one of trapezoid, exact"),
    ],
)
def test_wrong_arguments(changes, message):
    with pytest.raises(ModelError, match=message):
        make(**changes)


def test_frame_times_stored_in_single_precision_are_uniform():
    t = (0.1 * np.arange(5000)).astype(np.float32)
    assert make(t=t).dt == pytest.approx(0.1, rel=1e-6)


def test_at_angles():
    model = make(shear_kernel="homodyne2", quadrature="exact")
    other = model.at_angles([1.0, 2.0, 3.0])
    assert other.n_phi == 3
    assert (other.shear_kernel, other.quadrature, other.L) == ("homodyne2", "exact", 2e6)
    with pytest.raises(ModelError, match="phi has shape"):
        model.at_angles([])


@pytest.mark.parametrize("changes", [{}, {"analysis_mode": "static", "L": None, "quadrature": "exact"}])
def test_pytree_round_trip(changes):
    model = make(**changes)
    leaves, structure = jax.tree.flatten(model)
    assert len(leaves) == (3 if model.L is None else 4)
    again = jax.tree.unflatten(structure, leaves)
    for name in ("analysis_mode", "q", "L", "shear_kernel", "quadrature"):
        assert getattr(again, name) == getattr(model, name)
    np.testing.assert_array_equal(again.t, model.t)
    np.testing.assert_array_equal(again.phi, model.phi)


def test_one_compilation_per_shape_and_choice():
    traced = []

    @jax.jit
    def last(model, physical):
        traced.append(model.n_t)
        return map_g1(model, physical)[0, -1, 0]

    physical = jnp.array([1e4, 0.1, 0.0, 1e-3, 0.0, 0.0, 0.0])
    values = [
        last(make(), physical),
        last(make(q=0.007, L=1e6), physical),
        last(make(t=T + 5, phi=[3.0, 4.0]), 2 * physical),
    ]
    assert len(traced) == 1
    assert len({float(v) for v in values}) == 3
    last(make(shear_kernel="homodyne2"), physical)
    last(make(t=0.1 * np.arange(5)), physical)
    assert len(traced) == 3


def test_derivative_by_geometry():
    """A pytree of leaves: the model itself can be differentiated."""
    physical = jnp.array([1e4, 0.1, 0.0, 1e-3, 0.0, 0.0, 0.0])
    value = jax.jit(lambda model: map_g1(model, physical)[0, -1, 0])
    slope = jax.jit(jax.grad(lambda model: map_g1(model, physical)[0, -1, 0]))(make())
    step = 1e-7
    difference = (value(make(q=0.005 + step)) - value(make(q=0.005 - step))) / (2 * step)
    assert float(slope.q) == pytest.approx(float(difference), rel=1e-6)
