"""The summary of a run for the terminal."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.table import Table
from rich.text import Text

from homodyne_cli._config import PLOT_FORMATS
from homodyne_cli._console import Terminal
from homodyne_cli._report_numbers import limits, with_error
from homodyne_cli._report_parts import SCALINGS, bullet, count, heading, table_of
from homodyne_cli._report_search import show_search
from homodyne_cli._tables import ERROR_BARS, error_bars, parameter_states
from homodyne_degeneracy import Combination, Identifiability
from homodyne_model import PARAMETERS
from homodyne_nlsq import OptimizationResult

_STATE_WORDS = {
    "fitted": "",
    "fixed": "held fixed",
    "at lower bound": "at its lower bound, so no ±",
    "at upper bound": "at its upper bound, so no ±",
    "not determined": "not determined by these data",
}
_STATUS_STYLES = {"converged": "green", "partial": "yellow", "failed": "red"}
_FLAG_STYLES = {"good": "green", "marginal": "yellow", "poor": "red"}
_NOISE = {
    "given": "σ given",
    "estimated": "σ estimated from the data, so no test of the fit",
    "default": "σ is a default of 1 %: χ² means nothing",
}
_SOLVERS = {"structured": "by our own solver", "nlsq": "by the library nlsq"}
_RECOVERIES = {
    "data_start": "start values from the data, which were better",
    "data_start_no_better": "start values from the data, which were no better",
    "bounds_reset": "a start from the centre of the bounds",
    "geometric_mean_reset": "a start from the geometric mean of the bounds",
    "out_of_memory_standard": "chunks instead of all data at once, as memory ran out",
    "out_of_memory_out_of_core": "smaller chunks, as memory ran out",
}


def show_fit(terminal: Terminal, result: OptimizationResult, *, streamed: bool = False) -> None:
    """Print one fit: what was fitted, how well and in what way, the parameters, the warnings.

    Parameters
    ----------
    terminal : Terminal
        Where to.
    result : OptimizationResult
        The fit.
    streamed : bool
        Whether the data stayed in their file.
    """
    terminal.out.print()
    n_phi, n_t = len(result.phi), len(result.t)
    dt = (result.t[-1] - result.t[0]) / (n_t - 1)
    terminal.out.print(
        Text.assemble(
            (f"q = {result.q:.4g} 1/Å", "bold"),
            f"   {result.analysis_mode}, {count(n_phi, 'angle')}, {n_t} frames of {dt:.4g} s",
        )
    )
    if result.shear is not None:
        terminal.out.print(f"shear kernel {result.shear_kernel}, gap {result.L / 1e4:.4g} µm", markup=False)

    status, flag = result.convergence_status, result.quality_flag
    terminal.out.print(
        Text.assemble(
            (status, _STATUS_STYLES.get(status, "")),
            ", quality ",
            (flag, _FLAG_STYLES.get(flag, "")),
            f": {result.message}",
        )
    )
    noise = _NOISE.get(result.sigma_source, result.sigma_source)
    size = f"{result.n_points} points - {result.n_points - result.dof} parameters"
    found = f"no χ² for {size}"
    if math.isfinite(result.chi_squared):
        found = f"χ² {result.chi_squared:.6g} for {size}, reduced {result.reduced_chi_squared:.4g}"
    terminal.out.print(f"{found} ({noise})", markup=False)
    if result.robust_cost is not None:
        terminal.out.print(
            f"{result.loss} loss {result.robust_cost:.6g}, which the fit minimised; χ² is without it",
            markup=False,
        )
    lines = (*how_fitted(result, streamed=streamed), how_scaled(result), how_sure(result))
    for line in (*lines, *why_not_searched(result)):
        terminal.out.print(line, markup=False)
    dropped = result.provenance.get("dropped", {})
    lost = {reason: n for reason, n in dropped.items() if n and reason not in ("diagonal", "repeated")}
    if lost:
        listed = ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in lost.items())
        terminal.out.print(f"left out beside the diagonal: {listed}", markup=False)
    terminal.table(_parameter_table(result))
    told = show_search(terminal, result)
    _show_profiles(terminal, result)
    told += _show_what_is_determined(terminal, result) + _show_anti_degeneracy(terminal, result)
    rest = [warning for warning in result.warnings if warning not in told]
    if rest:
        terminal.out.print()
    for warning in rest:
        bullet(terminal, warning, warns=True)


def how_fitted(result: OptimizationResult, *, streamed: bool) -> list[str]:
    """Solver, strategy and effort of a fit, and what was tried after the first attempt, as lines."""
    how = result.device_info
    where = "streamed from their file" if streamed else "in memory"
    held = "all at once" if how.strategy == "standard" else f"{count(how.n_chunks, 'chunk')} a pass"
    solver = _SOLVERS.get(how.adapter, how.adapter)
    if how.fallback_occurred:
        solver += ", after nlsq failed"
    lines = [
        f"fitted {solver}, data {where}, {held}; {count(result.iterations, 'pass')} in "
        f"{result.execution_time:.3g} s, peak memory {how.peak_memory_gb:.2g} GB"
    ]
    if how.recovery_actions:
        tried = (_RECOVERIES.get(action, action) for action in how.recovery_actions)
        lines.append(f"tried after the first attempt: {'; '.join(tried)}")
    return lines


def how_scaled(result: OptimizationResult) -> str:
    """How contrast and offset vary with the angle, as a line."""
    return (
        f"scaling {result.per_angle_mode}: {SCALINGS[result.per_angle_mode]}, "
        f"{count(result.n_scaling, 'parameter')}"
    )


def how_sure(result: OptimizationResult) -> str:
    """Which of the two error bars is quoted, and what they are, as a line."""
    windows = result.cluster_window[np.isfinite(result.cluster_window)]
    length = ""
    if windows.size:
        low, high = f"{windows.min():.3g}", f"{windows.max():.3g}"
        length = f" in windows of {low} s" if low == high else f" in windows of {low} to {high} s"
    return (
        f"error bars: robust (scores clustered by frame{length}) and hessian (points taken for independent); "
        f"{result.covariance_type} is quoted*"
    )


def why_not_searched(result: OptimizationResult) -> list[str]:
    """Why a global search that was enabled did not come about, as a line; nothing where one did, or none was enabled."""
    if result.search is None or result.search.method != "local":
        return []
    return [f"no global search: {result.search.choice.removeprefix('Local solver alone: ')}"]


def _parameter_table(result: OptimizationResult) -> Table:
    """Values with both error bars, the quoted one marked, and their ratio."""
    marked = (f"± {kind}{'*' if kind == result.covariance_type else ''}" for kind in ERROR_BARS)
    table = table_of(("parameter", "left"), ("value", "right"), *((head, "right") for head in marked))
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("")
    states = dict(zip(result.names, parameter_states(result), strict=True))
    errors = error_bars(result)
    for k, name in enumerate(result.physical_names, start=2 * result.n_phi):
        value = result.parameters[k]
        bars = (with_error(value, errors[kind][k])[1] for kind in ERROR_BARS)
        shown = with_error(value, result.uncertainties[k])[0]
        unit, note = PARAMETERS[name].unit, _STATE_WORDS[states[name]]
        table.add_row(name, shown, *bars, _ratio(result, k), unit, note)
    quoted = ERROR_BARS.index(result.covariance_type)
    for symbol, curve in (("D", result.diffusion), ("γ̇", result.shear)):
        if curve is not None:
            shown, error = with_error(*curve.at(result.t_mid))
            bars = [error if number == quoted else "" for number in range(len(ERROR_BARS))]
            time = f"{symbol}({result.t_mid:.3g} s)"
            table.add_row(time, shown, *bars, "", curve.unit, "in the middle of the window")
    for number, kind in enumerate(("contrast", "offset")):
        table.add_row(kind, *_scaling_row(result, kind, number * result.n_phi, states))
    return table


def _scaling_row(
    result: OptimizationResult, kind: str, first: int, states: Mapping[str, str]
) -> tuple[str, ...]:
    """The cells behind the name of a row for contrast or offset, whose entries begin at `first`."""
    values = np.asarray(getattr(result, kind))
    bounded = sum(states[f"{kind}_{angle}"].startswith("at ") for angle in range(values.size))
    if not np.isfinite(values).all():
        return "", "", "", "", "", "not fitted"
    notes = [f"{bounded} of {values.size} at a bound"] if bounded else []
    if values.size == 1 or np.ptp(values) == 0:
        if values.size > 1:
            notes.append("the same for all angles")
        errors = error_bars(result)
        bars = (with_error(values[0], errors[name][first])[1] for name in ERROR_BARS)
        shown = with_error(values[0], result.uncertainties[first])[0]
        return shown, *bars, _ratio(result, first), "", ", ".join(notes)
    notes.insert(0, f"mean of {values.size}: {values.min():.4f} to {values.max():.4f}")
    return f"{values.mean():.4f}", "", "", "", "", ", ".join(notes)


def _ratio(result: OptimizationResult, k: int) -> str:
    ratio = result.error_ratio[k]
    return f"{ratio:.2f}" if math.isfinite(ratio) else ""


def _show_profiles(terminal: Terminal, result: OptimizationResult) -> None:
    """Print the profile-likelihood intervals, where some were asked for."""
    if not result.profiles:
        return
    heading(terminal, "Profile likelihood")
    table = table_of(("parameter", "left"), ("level", "right"), ("from", "right"), ("to", "right"))
    table.add_column("unit", no_wrap=True)
    table.add_column("")
    for interval in result.profiles:
        ends = limits(interval.lower, interval.upper)
        table.add_row(interval.name, f"{100 * interval.level:g} %", *ends, interval.unit, Text(interval.note))
    terminal.table(table)


def _show_what_is_determined(terminal: Terminal, result: OptimizationResult) -> tuple[str, ...]:
    """Print what the data determine and what they do not; gives the sentences that were said."""
    found = result.identifiability
    if found is None or not (found.sentences() or len(found.combinations) > 1):
        return ()
    heading(terminal, "What the data determine")
    said = tuple(found.sentences())
    for sentence in said:
        bullet(terminal, sentence, warns=sentence in result.warnings)
    if not said and not found.weak:
        bullet(terminal, "Every free parameter by itself.")
    if len(found.combinations) > 1:
        table = table_of(("relative ±", "right"), ("", "left"))
        table.add_column("combination, the least known first")
        for combination in found.combinations:
            error = f"{combination.error:.2g}" if math.isfinite(combination.error) else "∞"
            table.add_row(error, _how_well(combination, found), Text(combination.words))
        terminal.table(table)
    for sentence in found.advice:
        bullet(terminal, sentence)
    return said


def _how_well(combination: Combination, found: Identifiability) -> str:
    if math.isinf(combination.error):
        return "not determined"
    if combination in found.weak:
        return "weak"
    return "best known" if combination is found.stiff else ""


def _show_anti_degeneracy(terminal: Terminal, result: OptimizationResult) -> tuple[str, ...]:
    """Print what the anti-degeneracy system decided and did; gives the sentences that were said."""
    if result.anti_degeneracy:
        heading(terminal, "Anti-degeneracy")
    for sentence in result.anti_degeneracy:
        bullet(terminal, sentence, warns=sentence in result.warnings)
    return tuple(result.anti_degeneracy)


def show_series(terminal: Terminal, results: Sequence[OptimizationResult]) -> None:
    """Print one line per q: the fitted physical parameters if they are few, else the transport curves."""
    names = [
        name for name in results[0].physical if not all(np.isnan(r.physical_error[name]) for r in results)
    ]
    if len(names) <= 2:
        shown = [f"{name}{_bracket(name)}" for name in names]
    else:
        t_mid = f"({results[0].t_mid:.3g} s)"
        shown = [f"D{t_mid} [{results[0].diffusion.unit}]"]
        if results[0].shear is not None:
            shown.append(f"γ̇{t_mid} [{results[0].shear.unit}]")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("q [1/Å]", "angles", *shown, "contrast", "red. χ²"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for result in results:
        if len(names) <= 2:
            pairs = [(result.physical[name], result.physical_error[name]) for name in names]
        else:
            curves = (result.diffusion, result.shear)
            pairs = [curve.at(result.t_mid) for curve in curves if curve is not None]
        cells = [" ± ".join(part for part in with_error(*pair) if part) for pair in pairs]
        table.add_row(
            f"{result.q:.4g}",
            str(len(result.phi)),
            *cells,
            f"{np.mean(result.contrast):.3g}",
            f"{result.reduced_chi_squared:.3g}",
            f"{result.convergence_status}, {result.quality_flag}",
        )
    terminal.out.print()
    terminal.table(table)


def _bracket(name: str) -> str:
    unit = PARAMETERS[name].unit
    return f" [{unit}]" if unit else ""


def show_files(terminal: Terminal, directory: Path, files: Sequence[Path]) -> None:
    """Print where the results are: each folder once, data files by name and plots by number."""
    terminal.out.print()
    terminal.say(f"written to {directory}", "bold")
    by_folder: dict[Path, list[Path]] = {}
    for file in files:
        by_folder.setdefault(file.parent, []).append(file)
    for folder, members in by_folder.items():
        plots = [file.name for file in members if file.suffix[1:] in PLOT_FORMATS]
        listed = [file.name for file in members if file.suffix[1:] not in PLOT_FORMATS]
        if len(plots) > 4:
            listed.append(f"{len(plots)} plots ({plots[0]} ... {plots[-1]})")
        else:
            listed += plots
        inside = "" if folder == directory else f"{folder.relative_to(directory)}/ "
        terminal.say(f"  {inside}{', '.join(listed)}")
