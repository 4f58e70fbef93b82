import csv
import dataclasses

import numpy as np
import pytest

from homodyne_cli._tables import (
    parameter_states,
    write_minima,
    write_parameters,
    write_profiles,
    write_series,
)
from homodyne_nlsq import DeviceInfo, ProfileInterval


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def troubled(sheared, result_of):
    """One parameter of each state."""
    names = result_of(sheared).names
    errors = np.array(result_of(sheared).uncertainties)
    bounds, fixed = [""] * len(names), np.zeros(len(names), dtype=bool)
    for name, bound in (("contrast_1", "upper"), ("D_offset", "lower")):
        bounds[names.index(name)] = bound
        errors[names.index(name)] = np.nan
    fixed[names.index("beta")] = True
    errors[names.index("beta")] = np.nan
    errors[names.index("phi0")] = np.nan
    return result_of(sheared, uncertainties=errors, at_bound=tuple(bounds), fixed=fixed)


def test_states_in_words(troubled):
    states = dict(zip(troubled.names, parameter_states(troubled), strict=True))
    assert states["contrast_1"] == "at upper bound"
    assert states["D_offset"] == "at lower bound"
    assert states["beta"] == "fixed"
    assert states["phi0"] == "not determined"
    assert states["D0"] == states["offset_0"] == "fitted"


def test_every_parameter_with_full_precision(troubled, tmp_path):
    path = tmp_path / "parameters.csv"
    write_parameters(path, troubled)
    rows = rows_of(path)
    assert [row["name"] for row in rows] == list(troubled.names)
    for k, row in enumerate(rows):
        assert float(row["value"]) == troubled.parameters[k]
        assert row["unit"] == troubled.units[k]
        assert row["state"] == parameter_states(troubled)[k]
        if row["state"] == "fitted":
            assert float(row["uncertainty"]) == troubled.uncertainties[k]
            assert row["quoted"] == "robust"
            robust, hessian = (float(row[f"uncertainty_{kind}"]) for kind in ("robust", "hessian"))
            assert robust == pytest.approx(troubled.uncertainties[k])
            assert robust / hessian == pytest.approx(float(row["robust_over_hessian"])) == pytest.approx(2)
        else:
            bars = (
                "uncertainty",
                "quoted",
                "uncertainty_robust",
                "uncertainty_hessian",
                "robust_over_hessian",
            )
            assert all(row[name] == "" for name in bars)
    assert [float(row["phi_deg"]) for row in rows[:10]] == [*troubled.phi, *troubled.phi]
    assert all(row["phi_deg"] == "" for row in rows[10:])
    assert "nan" not in path.read_text(encoding="utf-8").lower()


def test_profile_intervals_with_full_precision_and_open_ends(still, result_of, tmp_path):
    profiles = (
        ProfileInterval("D0", "Å²/s", 0.95, 19200.123456789, float("inf"), "no limit above"),
        ProfileInterval("alpha", "", 0.95, float("nan"), float("nan"), "alpha was fixed, so it has none"),
    )
    path = tmp_path / "profiles.csv"
    write_profiles(path, result_of(still, profiles=profiles))
    first, second = rows_of(path)
    assert (float(first["lower"]), float(first["upper"])) == (19200.123456789, float("inf"))
    assert (first["name"], first["level"], first["unit"], first["note"]) == (
        "D0",
        "0.95",
        "Å²/s",
        "no limit above",
    )
    assert (second["lower"], second["upper"]) == ("", "")
    assert second["note"] == "alpha was fixed, so it has none"


def test_minima_with_full_precision_and_units(sheared, result_of, search_of, tmp_path):
    search = search_of(sheared)
    path = tmp_path / "minima.csv"
    write_minima(path, result_of(sheared, search=search))
    rows = rows_of(path)
    assert [row["name"] for row in rows] == 2 * list(search.minima[0].physical)
    assert {row["name"]: row["unit"] for row in rows}["D0"] == "Å²/s"
    for row in rows:
        minimum = search.minima[int(row["minimum"]) - 1]
        assert float(row["value"]) == minimum.physical[row["name"]]
        assert float(row["chi_squared"]) == minimum.chi_squared
        assert float(row["above_best"]) == minimum.chi_squared - search.minima[0].chi_squared
        assert float(row["distance"]) == minimum.distance
        assert (row["starts"], row["refined"]) == (str(minimum.count), str(minimum.refined).lower())


def test_minima_of_averages_have_no_chi_squared_of_all_the_data(sheared, result_of, search_of, tmp_path):
    search = search_of(sheared)
    minima = tuple(
        dataclasses.replace(minimum, refined=False, chi_squared=float("nan")) for minimum in search.minima
    )
    write_minima(
        tmp_path / "m.csv",
        result_of(sheared, search=dataclasses.replace(search, minima=minima, stopped=True)),
    )
    assert {(row["chi_squared"], row["above_best"]) for row in rows_of(tmp_path / "m.csv")} == {("", "")}


def test_a_series_has_one_line_per_q(still, result_of, search_of, tmp_path):
    path = tmp_path / "summary.csv"
    how = DeviceInfo("structured", False, "hybrid", ("data_start", "bounds_reset"), 0.2, 276, "cpu")
    first, second = (
        result_of(still, search=search_of(still)),
        result_of(still, q=0.01, convergence_status="partial", chi_squared=float("nan"), device_info=how),
    )
    write_series(path, [first, second], ["q_0.0054", "q_0.01"])
    rows = rows_of(path)
    assert [float(row["q_per_angstrom"]) for row in rows] == [0.0054, 0.01]
    assert [row["convergence_status"] for row in rows] == ["converged", "partial"]
    assert [row["folder"] for row in rows] == ["q_0.0054", "q_0.01"]
    assert float(rows[0]["D0"]) == first.physical["D0"]
    assert float(rows[0]["D0_error"]) == first.physical_error["D0"]
    assert float(rows[0]["mean_contrast"]) == np.mean(first.contrast)
    assert [(row["per_angle_mode"], row["n_scaling"]) for row in rows] == [("individual", "10")] * 2
    assert [row["covariance_type"] for row in rows] == ["robust", "robust"]
    assert rows[1]["chi_squared"] == ""
    assert [row["strategy"] for row in rows] == ["standard", "hybrid"]
    assert [row["search"] for row in rows] == ["multi_start", ""]
    assert [row["engine"] for row in rows] == ["structured", "structured"]
    assert [row["recovery_actions"] for row in rows] == ["", "data_start bounds_reset"]
