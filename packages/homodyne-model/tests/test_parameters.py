import numpy as np
import pytest

from homodyne_model import PARAMETERS, AnalysisMode, HomodyneError, ModelError, ParameterLayout

PHYSICAL = ("D0", "alpha", "D_offset", "gamma_dot_t0", "beta", "gamma_dot_t_offset", "phi0")


@pytest.mark.parametrize(
    "name, mode",
    [
        ("static", AnalysisMode.STATIC_ISOTROPIC),
        ("static_isotropic", AnalysisMode.STATIC_ISOTROPIC),
        ("static_anisotropic", AnalysisMode.STATIC_ISOTROPIC),
        ("laminar_flow", AnalysisMode.LAMINAR_FLOW),
        (" Laminar_Flow ", AnalysisMode.LAMINAR_FLOW),
        (AnalysisMode.LAMINAR_FLOW, AnalysisMode.LAMINAR_FLOW),
    ],
)
def test_names_of_modes(name, mode):
    assert AnalysisMode.parse(name) is mode


@pytest.mark.parametrize("name", ["laminar", "laminar-flow", "", None, 7])
def test_unknown_mode(name):
    with pytest.raises(
        ModelError, match="analysis_mode is .*expected one of static_isotropic, laminar_flow"
    ) as error:
        AnalysisMode.parse(name)
    assert repr(name) in str(error.value)


def test_unknown_mode_names_the_nearest():
    with pytest.raises(ModelError, match="Did you mean 'laminar_flow'"):
        AnalysisMode.parse("laminar_flwo")


def test_errors_are_value_errors_with_one_root():
    assert issubclass(ModelError, ValueError)
    assert issubclass(ModelError, HomodyneError)


def test_registry_lists_scaling_and_all_physical_parameters():
    assert tuple(PARAMETERS) == ("contrast", "offset", *PHYSICAL)
    assert AnalysisMode.LAMINAR_FLOW.physical_names == PHYSICAL
    assert AnalysisMode.STATIC_ISOTROPIC.physical_names == PHYSICAL[:3]
    with pytest.raises(TypeError):
        PARAMETERS["contrast"] = None


@pytest.mark.parametrize(
    "name, unit, lower, upper",
    [
        ("contrast", "", 0, 1),
        ("offset", "", 0.5, 1.5),
        ("D0", "Å²/s", 1, 1e9),
        ("alpha", "", -2, 2),
        ("D_offset", "Å²/s", -1e5, 1e5),
        ("gamma_dot_t0", "1/s", 1e-6, 0.5),
        ("beta", "", -2, 2),
        ("gamma_dot_t_offset", "1/s", -0.1, 0.1),
        ("phi0", "deg", -np.inf, np.inf),
    ],
)
def test_units_and_bounds(name, unit, lower, upper):
    parameter = PARAMETERS[name]
    assert (parameter.name, parameter.unit, parameter.lower, parameter.upper) == (name, unit, lower, upper)
    assert parameter.description
    assert parameter.latex
    assert parameter.default is None or lower <= parameter.default <= upper


@pytest.mark.parametrize("mode, n_physical", [("static", 3), ("laminar_flow", 7)])
@pytest.mark.parametrize("n_phi", [1, 23])
def test_layout_partitions_the_vector(mode, n_physical, n_phi):
    layout = ParameterLayout(mode, n_phi)
    assert layout.size == 2 * n_phi + n_physical == len(layout.names) == len(layout.units)
    assert layout.n_physical == n_physical
    vector = np.arange(layout.size)
    parts = layout.split(vector)
    np.testing.assert_array_equal(np.concatenate(parts), vector)
    assert [len(p) for p in parts] == [n_phi, n_phi, n_physical]
    assert layout.names[layout.contrast] == tuple(f"contrast_{a}" for a in range(n_phi))
    assert layout.names[layout.offset] == tuple(f"offset_{a}" for a in range(n_phi))
    assert layout.names[layout.physical] == layout.physical_names == PHYSICAL[:n_physical]
    assert layout.units[layout.physical] == tuple(PARAMETERS[n].unit for n in layout.physical_names)
    assert set(layout.units[: 2 * n_phi]) == {""}


def test_layout_of_a_vector_of_wrong_length():
    with pytest.raises(
        ModelError, match=r"shape \(8,\); expected \(7,\) for 2 angles in mode static_isotropic"
    ):
        ParameterLayout("static", 2).split(np.zeros(8))


@pytest.mark.parametrize("n_phi", [0, -1, 2.5, 3.0, np.nan, "3", None])
def test_layout_needs_a_number_of_angles(n_phi):
    with pytest.raises(ModelError, match="n_phi is .*expected a whole number of angles, at least 1"):
        ParameterLayout("static", n_phi)


def test_layout_takes_numpy_integers():
    assert ParameterLayout("static", np.int64(2)).names == ParameterLayout("static", 2).names
