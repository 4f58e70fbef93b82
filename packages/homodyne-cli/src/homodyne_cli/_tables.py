"""Tables of results as CSV: parameters of a fit, and one line per q of a series."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from homodyne_cli._files import write_text
from homodyne_nlsq import OptimizationResult


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
    """Write ``name, phi_deg, value, uncertainty, unit, state``: every parameter of a fit.

    ``phi_deg`` is filled for contrast and offset of an angle; ``uncertainty`` is empty where none can be
    quoted.
    """
    rows = []
    n_phi = len(result.phi)
    states = parameter_states(result)
    for k, name in enumerate(result.names):
        phi = result.phi[k % n_phi] if k < 2 * n_phi else None
        value, error = result.parameters[k], result.uncertainties[k]
        rows.append((name, _cell(phi), _cell(value), _cell(error), result.units[k], states[k]))
    _write(path, ("name", "phi_deg", "value", "uncertainty", "unit", "state"), rows)


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
    header += ["mean_contrast", "mean_offset", "strategy", "engine", "recovery_actions", "folder"]
    rows = []
    for result, folder in zip(results, folders, strict=True):
        row = [_cell(result.q), len(result.phi), result.n_points, result.dof]
        row += [result.convergence_status, result.quality_flag]
        row += [_cell(result.chi_squared), _cell(result.reduced_chi_squared), result.sigma_source]
        for name in names:
            row += [_cell(result.physical[name]), _cell(result.physical_error[name])]
        row += [_cell(np.mean(result.contrast)), _cell(np.mean(result.offset))]
        how = result.device_info
        row += [how.strategy, how.adapter, " ".join(how.recovery_actions), folder]
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
