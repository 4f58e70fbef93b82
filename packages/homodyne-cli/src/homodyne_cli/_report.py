"""The summary of a run for the terminal."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table
from rich.text import Text

from homodyne_cli._config import PLOT_FORMATS
from homodyne_cli._console import Terminal
from homodyne_cli._tables import parameter_states
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


def with_error(value: float, error: float) -> tuple[str, str]:
    """Value and uncertainty as text, with the digits that the uncertainty leaves meaning to.

    Examples
    --------
    >>> with_error(68512.3, 123.0)
    ('68510', '120')
    >>> with_error(8.9612e-4, 1.24e-5)
    ('8.96e-04', '1.2e-05')
    >>> with_error(2.0, float("nan"))
    ('2', '')
    """
    if not (math.isfinite(error) and error > 0 and math.isfinite(value)):
        return f"{value:.6g}", ""
    # Two digits of the uncertainty; its exponent after rounding to them (0.0996 -> 0.10).
    exponent = int(f"{error:.1e}".partition("e")[2])
    error = float(f"{error:.1e}")
    last = exponent - 1
    value = round(value, -last) + 0.0  # no -0
    size = math.floor(math.log10(max(abs(value), error)))
    if -3 <= size < 6 and -6 <= last:
        decimals = max(0, -last)
        return f"{value:.{decimals}f}", f"{error:.{decimals}f}"
    digits = max(0, size - last)
    return f"{value:.{digits}e}", f"{error:.1e}"


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
            f"   {result.analysis_mode}, {_count(n_phi, 'angle')}, {n_t} frames of {dt:.4g} s",
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
    for line in how_fitted(result, streamed=streamed):
        terminal.out.print(line, markup=False)
    dropped = result.provenance.get("dropped", {})
    lost = {reason: n for reason, n in dropped.items() if n and reason not in ("diagonal", "repeated")}
    if lost:
        listed = ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in lost.items())
        terminal.out.print(f"left out beside the diagonal: {listed}", markup=False)
    terminal.table(_parameter_table(result))
    for warning in result.warnings:
        terminal.out.print(Text.assemble(("! ", "yellow"), warning))


def how_fitted(result: OptimizationResult, *, streamed: bool) -> list[str]:
    """Solver, strategy and effort of a fit, and what was tried after the first attempt, as lines."""
    how = result.device_info
    where = "streamed from their file" if streamed else "in memory"
    held = "all at once" if how.strategy == "standard" else f"{_count(how.n_chunks, 'chunk')} a pass"
    solver = _SOLVERS.get(how.adapter, how.adapter)
    if how.fallback_occurred:
        solver += ", after nlsq failed"
    lines = [
        f"fitted {solver}, data {where}, {held}; {_count(result.iterations, 'pass')} in "
        f"{result.execution_time:.3g} s, peak memory {how.peak_memory_gb:.2g} GB"
    ]
    if how.recovery_actions:
        tried = (_RECOVERIES.get(action, action) for action in how.recovery_actions)
        lines.append(f"tried after the first attempt: {'; '.join(tried)}")
    return lines


def _parameter_table(result: OptimizationResult) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, justify in (
        ("parameter", "left"),
        ("value", "right"),
        ("±", "right"),
        ("unit", "left"),
        ("", "left"),
    ):
        table.add_column(column, justify=justify, no_wrap=column != "")
    states = dict(zip(result.names, parameter_states(result), strict=True))
    for name, value in result.physical.items():
        shown, error = with_error(value, result.physical_error[name])
        table.add_row(name, shown, error, PARAMETERS[name].unit, _STATE_WORDS[states[name]])
    for symbol, curve in (("D", result.diffusion), ("γ̇", result.shear)):
        if curve is not None:
            shown, error = with_error(*curve.at(result.t_mid))
            time = f"{symbol}({result.t_mid:.3g} s)"
            table.add_row(time, shown, error, curve.unit, "in the middle of the window")
    for kind in ("contrast", "offset"):
        values, errors = (np.asarray(getattr(result, name)) for name in (kind, f"{kind}_error"))
        table.add_row(
            *_scaling_row(kind, values, errors, [states[f"{kind}_{a}"] for a in range(values.size)])
        )
    return table


def _scaling_row(kind: str, values: np.ndarray, errors: np.ndarray, states: Sequence[str]) -> tuple[str, ...]:
    bounded = sum(state.startswith("at ") for state in states)
    if not np.isfinite(values).all():
        return kind, "", "", "", "not fitted"
    notes = [f"{bounded} of {values.size} at a bound"] if bounded else []
    if values.size == 1 or np.ptp(values) == 0:
        shown, error = with_error(values[0], errors[0])
        return (
            kind,
            shown,
            error,
            "",
            ", ".join([*notes, "the same for all angles"] if values.size > 1 else notes),
        )
    notes.insert(0, f"mean of {values.size}: {values.min():.4f} to {values.max():.4f}")
    return kind, f"{values.mean():.4f}", "", "", ", ".join(notes)


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


def _count(n: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{n} {noun if n == 1 else plural}"


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
