"""Tables of results as CSV: parameters of a fit, and one line per q of a series."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from homodyne_cli._files import write_text
from homodyne_nlsq import OptimizationResult

if TYPE_CHECKING:
    from homodyne_cmc import CMCResult

_INTERVAL = (0.025, 0.975)

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
        row = [name, cell(phi), cell(value), cell(error), quoted]
        row += [cell(errors[kind][k]) for kind in ERROR_BARS]
        rows.append((*row, cell(result.error_ratio[k]), result.units[k], states[k]))
    header = ["name", "phi_deg", "value", "uncertainty", "quoted"]
    header += [f"uncertainty_{kind}" for kind in ERROR_BARS]
    write_table(path, (*header, "robust_over_hessian", "unit", "state"), rows)


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
    write_table(path, ("name", "level", "lower", "upper", "unit", "note"), rows)


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
        found = [number, cell(chi_squared), cell(chi_squared - best), minimum.count]
        found += [cell(minimum.distance), str(minimum.refined).lower()]
        rows += [(*found, name, cell(value), units[name]) for name, value in minimum.physical.items()]
    header = ["minimum", "chi_squared", "above_best", "starts", "distance", "refined"]
    write_table(path, (*header, "name", "value", "unit"), rows)


def write_series(
    path: Path,
    results: Sequence[OptimizationResult],
    folders: Sequence[str],
    posteriors: Sequence["CMCResult | None"] = (),
) -> None:
    """Write one line per q: quality, physical parameters with uncertainties, mean scaling, how it was fitted; the posterior.

    Parameters
    ----------
    path : Path
        The file.
    results : sequence of OptimizationResult
        Fits of one analysis mode; empty where there were none.
    folders : sequence of str
        Name of each q's folder.
    posteriors : sequence of CMCResult or None
        Of each q, None where there is none; empty where none were sampled.
    """
    header, rows = ["q_per_angstrom"], [[] for _ in folders]
    for row, source in zip(rows, results or posteriors, strict=True):
        row.append(cell(source.q if results else source.tree.attrs["q"]))
    if results:
        header += _header_of_fits(tuple(results[0].physical))
        for row, result in zip(rows, results, strict=True):
            row += _cells_of_fit(result)
    if sampled := [posterior for posterior in posteriors if posterior is not None]:
        names = sampled[0].physical_names
        header += _header_of_posteriors(names)
        for row, posterior in zip(rows, posteriors, strict=True):
            row += _cells_of_posterior(posterior, names)
    header.append("folder")
    write_table(path, header, [[*row, folder] for row, folder in zip(rows, folders, strict=True)])


def _header_of_fits(names: Sequence[str]) -> list[str]:
    header = ["n_phi", "n_points", "dof", "convergence_status", "quality_flag"]
    header += ["chi_squared", "reduced_chi_squared", "sigma_source"]
    header += [column for name in names for column in (name, f"{name}_error")]
    header += ["mean_contrast", "mean_offset", "per_angle_mode", "n_scaling", "covariance_type"]
    return [*header, "strategy", "engine", "search", "recovery_actions"]


def _cells_of_fit(result: OptimizationResult) -> list[object]:
    row = [len(result.phi), result.n_points, result.dof]
    row += [result.convergence_status, result.quality_flag]
    row += [cell(result.chi_squared), cell(result.reduced_chi_squared), result.sigma_source]
    for name, value in result.physical.items():
        row += [cell(value), cell(result.physical_error[name])]
    row += [cell(np.mean(result.contrast)), cell(np.mean(result.offset))]
    row += [result.per_angle_mode, result.n_scaling, result.covariance_type]
    how = result.device_info
    search = "" if result.search is None else result.search.method
    return [*row, how.strategy, how.adapter, search, " ".join(how.recovery_actions)]


def _header_of_posteriors(names: Sequence[str]) -> list[str]:
    parts = ("mean", "sd", *(f"{100 * p:g}%" for p in _INTERVAL))
    return [
        *("posterior_status", "posterior_k_hat", "posterior_ess"),
        *(f"{name}_posterior_{part}" for name in names for part in parts),
    ]


def _cells_of_posterior(posterior: "CMCResult | None", names: Sequence[str]) -> list[object]:
    if posterior is None:
        return ["none"] + [""] * (len(_header_of_posteriors(names)) - 1)
    row: list[object] = [posterior.status, cell(posterior.k_hat), cell(posterior.ess)]
    for name in names:
        numbers = (posterior.mean[name], posterior.sd[name], *posterior.quantiles(name, _INTERVAL))
        # What was held has no width.
        known = 1 if name in posterior.fixed else len(numbers)
        row += [cell(number) if k < known else "" for k, number in enumerate(numbers)]
    return row


def cell(number: float | None) -> str:
    """A number in full precision, empty for none."""
    return "" if number is None or not math.isfinite(number) else repr(float(number))


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a header and rows as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, buffer.getvalue())
