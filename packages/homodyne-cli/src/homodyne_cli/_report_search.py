"""The section of the summary on a global search: why this one, how it went, what it found."""

import math
from collections.abc import Callable, Mapping
from string import ascii_lowercase

import numpy as np
from rich.table import Table

from homodyne_cli._console import Terminal
from homodyne_cli._report_parts import bullet, heading, table_of
from homodyne_model import diffusion_coefficient, shear_rate
from homodyne_nlsq import GlobalSearch, OptimizationResult, SearchMinimum

_MOST_ROWS = 12
_WON = {
    "start": "Nothing better than the start was found",
    "search": "The search found the fitted values",
    "refinement": "The fit of all the data refined what was found",
}


def show_search(terminal: Terminal, result: OptimizationResult) -> tuple[str, ...]:
    """Print how a global search went, where there was one; gives the warnings that were said."""
    search = result.search
    if search is None or search.method == "local":
        return ()
    heading(terminal, "Global search")
    if search.stopped:
        bullet(terminal, "Stopped by Ctrl-C: the values above are the best so far.", warns=True)
    seed = "" if search.seed is None else f" Seed {search.seed}."
    bullet(terminal, f"{search.choice}{seed}")
    if search.message:
        bullet(terminal, search.message)
    bullet(terminal, how_found(result))
    for sentence in search.undecided:
        bullet(terminal, sentence, warns=True)
    if search.runs:
        _show_runs(terminal, search)
    if search.minima:
        _show_minima(terminal, result)
    return search.undecided


def how_found(result: OptimizationResult) -> str:
    """What found the fitted values, with χ² of all the data at each stage that lowered it, as a sentence."""
    search = result.search
    lowest, parts = "", []
    for stage, when in (
        ("start", "at the start"),
        ("search", "after the search"),
        ("refinement", "after the fit"),
    ):
        chi_squared = search.chi_squared_by_stage.get(stage, math.nan)
        shown = f"{chi_squared:.8g}" if math.isfinite(chi_squared) else ""
        if shown and shown != lowest:
            lowest = shown
            parts.append(f"{shown} {when}")
        elif shown and stage == "search":
            parts.append("no lower after the search")
    won = _WON[search.stage]
    if search.stage == "refinement" and "data_start" in result.device_info.recovery_actions:
        won = "Start values from the data led lower than the search"
    if not parts:
        return f"{won}."
    # It goes on with another scaling, or with weights of a robust loss.
    went_on = lowest != f"{result.chi_squared:.8g}" and not search.stopped
    qualified = ", in plain least squares with the scaling that the fit began with" if went_on else ""
    return f"{won}: χ² {', '.join(parts)}{qualified}."


def _show_runs(terminal: Terminal, search: GlobalSearch) -> None:
    """The runs of CMA-ES, why they ended in a key beneath; the best ones where there are many."""
    by_cost = sorted(range(len(search.runs)), key=lambda k: _or_inf(search.runs[k].best_cost))
    lowest, shown = by_cost[0], sorted(by_cost[:_MOST_ROWS])
    ends = dict(zip(dict.fromkeys(search.runs[k].ended for k in shown), ascii_lowercase, strict=False))
    table = table_of(
        ("run", "right"),
        ("kind", "left"),
        ("candidates", "right"),
        ("generations", "right"),
        ("evaluations", "right"),
        ("lowest χ²", "right"),
        ("ended", "left"),
    )
    for k in shown:
        run = search.runs[k]
        found = "none "
        if math.isfinite(run.best_cost):
            found = f"{run.best_cost:.7g}{'*' if k == lowest else ' '}"
        cells = (str(run.population), str(run.generations), str(run.evaluations), found)
        table.add_row(str(k + 1), run.regime, *cells, ends[run.ended])
    terminal.out.print()
    terminal.table(table)
    beneath = "candidates: of a generation; χ²: of averages of the data, * the lowest"
    if len(shown) < len(search.runs):
        beneath += f"; the {len(shown)} best of {len(search.runs)} runs, result.json has them all"
    terminal.out.print(beneath, style="dim", markup=False)
    for end, letter in ends.items():
        terminal.out.print(f"{letter}: {end}", style="dim", markup=False)


def _or_inf(cost: float) -> float:
    return cost if math.isfinite(cost) else math.inf


def _show_minima(terminal: Terminal, result: OptimizationResult) -> None:
    """The distinct minima of multistart: how good, how far apart, with their rates and the direction of the flow."""
    minima = result.search.minima
    shown = minima[:_MOST_ROWS]
    terminal.out.print()
    terminal.table(_minima_table(result, shown))
    beneath = []
    if len(minima) > 1:
        beneath.append("distance: between predicted maps, in standard deviations of all points together")
    if any(math.isnan(minimum.chi_squared) for minimum in shown):
        beneath.append("no χ²: the search was stopped before all the data were looked at")
    elif not all(minimum.refined for minimum in shown):
        beneath.append("~: a minimum of averages of the data, not refined")
    more = f"the {len(shown)} best of {len(minima)}; " if len(shown) < len(minima) else ""
    beneath.append(f"{more}minima.csv has all their parameters")
    terminal.out.print("; ".join(beneath), style="dim", markup=False)


def _minima_table(result: OptimizationResult, minima: tuple[SearchMinimum, ...]) -> Table:
    best = minima[0].chi_squared
    columns = {
        "": [f"{number}{' ' if m.refined else '~'}" for number, m in enumerate(minima, start=1)],
        "χ²": [_known(m.chi_squared, ".8g") for m in minima],
        "Δχ²": ["", *(_known(m.chi_squared - best, ".4g") for m in minima[1:])],
        "starts": [str(m.count) for m in minima],
        "distance": ["", *(f"{m.distance:.3g}" for m in minima[1:])],
        f"D({result.t_mid:.3g} s)\n[{result.diffusion.unit}]": [
            _in_the_middle(diffusion_coefficient, m.physical, result) for m in minima
        ],
    }
    if result.shear is None:
        columns["alpha"] = [f"{m.physical['alpha']:.4f}" for m in minima]
    else:
        columns[f"γ̇({result.t_mid:.3g} s)\n[{result.shear.unit}]"] = [
            _in_the_middle(shear_rate, m.physical, result) for m in minima
        ]
        columns["phi0\n[deg]"] = [f"{m.physical['phi0']:.2f}" for m in minima]
    if len(minima) == 1:
        columns = {name: cells for name, cells in columns.items() if any(cells)}
    table = table_of(*((name, "right") for name in columns))
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table


def _known(value: float, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)


def _in_the_middle(rate: Callable, physical: Mapping[str, float], result: OptimizationResult) -> str:
    values = rate(np.array(list(physical.values())), np.array([result.t_mid]), dt=result.t[1] - result.t[0])
    return f"{np.asarray(values).item():.4g}"
