"""Tables of results as CSV: parameters of a fit, and one line per q of a series."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from homodyne_cli._files import write_text
from homodyne_nlsq import OptimizationResult

ERROR_BARS = ("robust", "hessian")
"""Kinds of error bars: of scores clustered by frame, and of points taken for independent."""


def error_bars(result: OptimizationResult) -> dict[str, np.ndarray]:
    """Standard errors of each kind, in the order of ``result.names``; NaN where none can be quoted."""
    return {kind: np.sqrt(np.diag(result.covariances[kind])) for kind in ERROR_BARS}


def parameter_states(result: OptimizationResult) -> tuple[str, ...]:
    """What became of each parameter, in words.

    Returns
    -------
    tuple of str
        ``fitted``, ``fixed``, ``at lower bound``, ``at upper bound`` or ``not determined`` (the data do not
        tell it), in the order of ``result.names``.
    """
    states = []
    for fixed, bound, error in zip(result.fixed, result.at_bound, result.uncertainties, strict=True):
        if fixed:
            states.append("fixed")
        elif bound:
            states.append(f"at {bound} bound")
        else:
            states.append("fitted" if math.isfinite(error) else "not determined")
    return tuple(states)


def write_parameters(path: Path, result: OptimizationResult) -> None:
    """Write every parameter of a fit with both error bars.

    ``phi_deg`` is filled for contrast and offset of an angle. ``uncertainty`` is the quoted error bar, the one that
    ``quoted`` names, empty where none can be quoted; beside it stand both kinds and their ratio.
    """
    rows = []
    n_phi = len(result.phi)
    states, errors = parameter_states(result), error_bars(result)
    for k, name in enumerate(result.names):
        phi = result.phi[k % n_phi] if k < 2 * n_phi else None
        value, error = result.parameters[k], result.uncertainties[k]
        quoted = result.covariance_type if math.isfinite(error) else ""
        row = [name, _cell(phi), _cell(value), _cell(error), quoted]
        row += [_cell(errors[kind][k]) for kind in ERROR_BARS]
        rows.append((*row, _cell(result.error_ratio[k]), result.units[k], states[k]))
    header = ["name", "phi_deg", "value", "uncertainty", "quoted"]
    header += [f"uncertainty_{kind}" for kind in ERROR_BARS]
    _write(path, (*header, "robust_over_hessian", "unit", "state"), rows)


def write_profiles(path: Path, result: OptimizationResult) -> None:
    """Write ``name, level, lower, upper, unit, note``: the profile-likelihood intervals of a fit.

    An open limit is ``inf`` or ``-inf``; where there is no profile both are empty, and ``note`` says why.
    """
    rows = []
    for interval in result.profiles:
        limits = (
            "" if math.isnan(limit) else repr(float(limit)) for limit in (interval.lower, interval.upper)
        )
        rows.append((interval.name, repr(float(interval.level)), *limits, interval.unit, interval.note))
    _write(path, ("name", "level", "lower", "upper", "unit", "note"), rows)


def write_minima(path: Path, result: OptimizationResult) -> None:
    """Write the distinct minima of a global search, the best first, one line per physical parameter of each.

    ``chi_squared`` is that of all the data (empty where the search was stopped before), ``above_best`` its difference from that of the first;
    ``starts`` led there (0: only start values from the data did, after the search), and ``distance`` is how far the predicted maps are from those of the first [standard deviations of all points together].
    """
    rows = []
    units = dict(zip(result.names, result.units, strict=True))
    best = result.search.minima[0].chi_squared
    for number, minimum in enumerate(result.search.minima, start=1):
        chi_squared = minimum.chi_squared
        found = [number, _cell(chi_squared), _cell(chi_squared - best), minimum.count]
        found += [_cell(minimum.distance), str(minimum.refined).lower()]
        rows += [(*found, name, _cell(value), units[name]) for name, value in minimum.physical.items()]
    header = ["minimum", "chi_squared", "above_best", "starts", "distance", "refined"]
    _write(path, (*header, "name", "value", "unit"), rows)


def write_series(path: Path, results: Sequence[OptimizationResult], folders: Sequence[str]) -> None:
    """Write one line per q: quality, physical parameters with uncertainties, mean scaling, how it was fitted.

    Parameters
    ----------
    path : Path
        The file.
    results : sequence of OptimizationResult
        Fits of one analysis mode.
    folders : sequence of str
        Name of each fit's folder.
    """
    names = tuple(results[0].physical)
    header = ["q_per_angstrom", "n_phi", "n_points", "dof", "convergence_status", "quality_flag"]
    header += ["chi_squared", "reduced_chi_squared", "sigma_source"]
    header += [column for name in names for column in (name, f"{name}_error")]
    header += ["mean_contrast", "mean_offset", "per_angle_mode", "n_scaling", "covariance_type"]
    header += ["strategy", "engine", "search", "recovery_actions", "folder"]
    rows = []
    for result, folder in zip(results, folders, strict=True):
        row = [_cell(result.q), len(result.phi), result.n_points, result.dof]
        row += [result.convergence_status, result.quality_flag]
        row += [_cell(result.chi_squared), _cell(result.reduced_chi_squared), result.sigma_source]
        for name in names:
            row += [_cell(result.physical[name]), _cell(result.physical_error[name])]
        row += [_cell(np.mean(result.contrast)), _cell(np.mean(result.offset))]
        row += [result.per_angle_mode, result.n_scaling, result.covariance_type]
        how = result.device_info
        search = "" if result.search is None else result.search.method
        row += [how.strategy, how.adapter, search, " ".join(how.recovery_actions), folder]
        rows.append(row)
    _write(path, header, rows)


def _cell(number: float | None) -> str:
    """Full precision, empty for no number."""
    return "" if number is None or not math.isfinite(number) else repr(float(number))


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, buffer.getvalue())
