"""Plots of the parameters: intervals, and pairs."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import gaussian_filter, map_coordinates

from homodyne_cmc.plots._labels import (
    CENTRAL,
    CONSENSUS,
    FIT,
    POSTERIOR,
    ROBUST,
    ParameterAxis,
    beside,
    core_of,
    draws_by_name,
    of_parameter,
    titled,
)

# Fewer different draws have no density.
_FEW = 50
_BINS = 40
# Width of the smoothing below contours, in standard deviations.
_SMOOTH = 0.35
# How far contours are looked for, in the same unit.
_REACH = 8.0
_CONTOUR = "0.25"


def forest(result) -> Figure:
    """Means with 68 and 95 % intervals: every physical parameter beside the fit and the consensus, contrast and offset against the angle."""
    draws = draws_by_name(result)
    figure = Figure(figsize=(9.6, 1.0 + max(0.8 * len(draws), 3.2)), layout="constrained")
    grid = figure.add_gridspec(1, 2, width_ratios=[1.15, 1])
    rows = grid[0].subgridspec(len(draws), 1)
    for k, (name, values) in enumerate(draws.items()):
        _intervals(figure.add_subplot(rows[k]), result, name, values)
    _legend_of_rows(figure)
    panels = grid[1].subgridspec(2, 1).subplots(sharex=True)
    phi = result.posterior["phi"].values
    for panel, name in zip(panels, ("contrast", "offset"), strict=True):
        low, inner_low, _, inner_high, high = np.quantile(result.posterior[name].values[0], CENTRAL, axis=0)
        panel.vlines(phi, low, high, color=POSTERIOR, linewidth=1)
        panel.vlines(phi, inner_low, inner_high, color=POSTERIOR, linewidth=2.5)
        panel.plot(phi, result.posterior[name].values[0].mean(0), "o", color=POSTERIOR, markersize=4)
        panel.set_ylabel(name)
        panel.grid(color="0.92")
    panels[-1].set_xlabel("φ [°]")
    return titled(figure, result)


def _intervals(panel: Axes, result, name: str, values: np.ndarray) -> None:
    """One axis of a parameter: from the top posterior, fit with its two errors, consensus."""
    axis = ParameterAxis.of(name, values)
    low, inner_low, _, inner_high, high = axis(np.quantile(values, CENTRAL))
    panel.hlines(0, low, high, color=POSTERIOR, linewidth=1)
    panel.hlines(0, inner_low, inner_high, color=POSTERIOR, linewidth=3)
    panel.plot(
        axis(values.mean()), 0, "o-", color=POSTERIOR, markersize=5, label="posterior: mean, 68 and 95 %"
    )
    row = 0
    if (robust := _robust_draws(result, name)) is not None:
        row -= 1
        low, inner_low, _, inner_high, high = axis(np.quantile(robust, CENTRAL))
        panel.hlines(row, low, high, color=ROBUST, linewidth=1)
        panel.hlines(row, inner_low, inner_high, color=ROBUST, linewidth=3)
        status = result.tree["posterior_robust"].attrs["status"]
        label = "widened to the robust errors" + (f" ({status.upper()})" if status != "certified" else "")
        panel.plot(axis(robust.mean()), row, "o-", color=ROBUST, markersize=5, label=label)
    for group, center, error, marker, color, label in (
        ("warm_start", "value", "sd", "s", FIT, "fit ± sd"),
        ("warm_start", "value", "robust_sd", "D", FIT, "fit ± robust sd"),
        ("consensus", "median", "half_width", "^", CONSENSUS, "consensus of the shards, middle 68 %"),
    ):
        value, sd = (of_parameter(result, group, variable, name) for variable in (center, error))
        if value is None or (sd is None and error == "robust_sd"):
            continue
        if group == "consensus" and not result.tree[group].attrs["positive"]:
            continue
        row -= 1
        panel.errorbar(
            axis(beside(value, values.mean(), name)),
            row,
            xerr=None if sd is None else axis(sd),
            fmt=marker,
            color=color,
            markersize=4,
            markerfacecolor="white" if error == "robust_sd" else color,
            linewidth=1.5,
            label=label if sd is not None else "fit, without an error",
        )
    panel.set_ylim(row - 0.6, 0.6)
    panel.set_yticks([])
    panel.set_ylabel(axis.label.replace(" [", "\n["), rotation=0, ha="right", va="center")
    panel.grid(axis="x", color="0.92")
    panel.xaxis.set_major_locator(MaxNLocator(5))
    panel.margins(x=0.08)


def _robust_draws(result, name: str) -> np.ndarray | None:
    """Draws of a parameter of the posterior that was widened to the clustered errors of the fit; None where it was not, or in vain."""
    if "posterior_robust" not in result.tree or not result.tree["posterior_robust"].sizes["draw"]:
        return None
    return result.values(name, robust=True)


def _legend_of_rows(figure: Figure) -> None:
    found = {}
    for panel in figure.axes:
        found |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
    figure.legend(
        found.values(), found.keys(), loc="outside lower left", ncols=4, frameon=False, fontsize="small"
    )


def pair(result) -> Figure:
    """Every pair of physical parameters: draws with 68 and 95 % contours below, histograms on, and correlations above the diagonal."""
    draws = draws_by_name(result)
    names = list(draws)
    size = max(1.45 * len(names), 5.0) + 0.6
    figure = Figure(figsize=(size, size), layout="constrained")
    panels = figure.subplots(len(names), len(names), squeeze=False)
    axes = {name: ParameterAxis.of(name, draws[name]) for name in names}
    fit = {name: of_parameter(result, "warm_start", "value", name) for name in names}
    fit = {k: float(beside(v, draws[k].mean(), k)) for k, v in fit.items() if v is not None}
    limits = {name: _limits(draws[name], fit.get(name)) for name in names}
    outside = [axes[k].symbol for k, v in fit.items() if not limits[k][0] <= v <= limits[k][1]]
    for i, below in enumerate(names):
        for j, left in enumerate(names):
            panel = panels[i, j]
            if j > i:
                _correlation(panel, draws[left], draws[below])
                continue
            x, y = axes[left](draws[left]), axes[below](draws[below])
            if i == j:
                panel.hist(x, _BINS, range=axes[left](limits[left]), color=POSTERIOR, alpha=0.6, linewidth=0)
                panel.set_yticks([])
            else:
                panel.plot(
                    x, y, ".", color=POSTERIOR, alpha=0.15, markersize=2, markeredgewidth=0, rasterized=True
                )
                _contours(panel, x, y)
                panel.set_ylim(axes[below](limits[below]))
                if below in fit:
                    panel.axhline(axes[below](fit[below]), color=FIT, linewidth=0.8)
            if left in fit:
                panel.axvline(axes[left](fit[left]), color=FIT, linewidth=0.8)
            panel.set_xlim(axes[left](limits[left]))
            _outer_labels(panel, axes[left].label, axes[below].label, i == len(names) - 1, j == 0 < i)
    figure.align_labels()
    lines = {"68 and 95 % of the draws": Line2D([], [], color=_CONTOUR)}
    if fit:
        words = "fit that sampling began from" + (f" (outside: {', '.join(outside)})" if outside else "")
        lines[words] = Line2D([], [], color=FIT, linewidth=0.8)
    figure.legend(
        lines.values(), lines.keys(), loc="outside lower center", ncols=2, frameon=False, fontsize="small"
    )
    return titled(figure, result)


def _limits(values: np.ndarray, fit: float | None) -> tuple[float, float]:
    """Range of an axis; a fit's value within eight standard deviations is in it."""
    core, quantiles = core_of(values), np.quantile(values, (0.001, 0.999))
    low, high = max(core[0], quantiles[0]), min(core[1], quantiles[1])
    sd = float(values.std()) or 1e-6 * max(abs(low), 1e-6)
    if fit is not None and abs(fit - values.mean()) < 8 * sd:
        low, high = min(low, fit), max(high, fit)
    edge = 0.06 * (high - low) or sd
    return low - edge, high + edge


def _outer_labels(panel: Axes, x_label: str, y_label: str, bottom: bool, first: bool) -> None:
    panel.xaxis.set_major_locator(MaxNLocator(3, prune="both"))
    panel.tick_params(labelsize="small")
    if bottom:
        panel.set_xlabel(x_label)
        panel.tick_params(axis="x", rotation=45)
    else:
        panel.set_xticklabels([])
    if first:
        panel.set_ylabel(y_label)
        panel.yaxis.set_major_locator(MaxNLocator(3, prune="both"))
    elif panel.get_yticks().size:
        panel.yaxis.set_major_locator(MaxNLocator(3, prune="both"))
        panel.set_yticklabels([])


def _correlation(panel: Axes, x: np.ndarray, y: np.ndarray) -> None:
    panel.set_axis_off()
    if not (x.std() > 0 and y.std() > 0):
        return
    value = float(np.corrcoef(x, y)[0, 1])
    text = f"{round(value, 2) + 0.0:.2f}" if abs(value) < 0.995 else f"{value:.4f}"
    color = "black" if abs(value) > 0.9 else "0.35"
    panel.text(
        0.5, 0.5, text.replace("-", "−"), ha="center", va="center", color=color, transform=panel.transAxes
    )


def _half_width(values) -> float:
    """Half the width of the middle 68 %, which is the standard deviation of normal draws."""
    low, high = np.quantile(values, (CENTRAL[1], CENTRAL[3]))
    return float(high - low) / 2


def _contours(panel: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Lines that hold 68 and 95 % of the draws, of a density that is smoothed where the draws hardly depend on each other.

    That is in x and what a parabola in x leaves of y: the narrow and bent posterior of a rate would else be blurred.
    """
    if len(np.unique(x)) < _FEW or len(np.unique(y)) < _FEW:
        return
    # Of the middle 68 %: a heavy tail would make everything wide.
    center, sd = np.median(x), _half_width(x)
    white_x = (x - center) / sd
    inner = np.abs(white_x) < _REACH
    parabola = np.polyfit(white_x[inner], y[inner], 2)
    rest = y - np.polyval(parabola, white_x)
    spread = _half_width(rest)
    if not spread > 0:
        return
    white = np.stack([white_x, rest / spread])
    half = min(float(np.abs(white).max()) + 1.0, _REACH)
    edges = np.linspace(-half, half, 101)
    step = edges[1] - edges[0]
    density = gaussian_filter(np.histogram2d(*white, bins=[edges, edges])[0], _SMOOTH / step)
    at_draws = map_coordinates(density, (white - edges[0]) / step - 0.5, order=1, mode="constant")
    levels = np.quantile(at_draws, [0.05, 0.32])
    if not levels[0] < levels[1]:
        return
    middle = (edges[:-1] + edges[1:]) / 2
    grid_x, grid_y = np.meshgrid(middle, middle, indexing="ij")
    panel.contour(
        center + sd * grid_x,
        np.polyval(parabola, grid_x) + spread * grid_y,
        density,
        levels=levels,
        colors=[_CONTOUR],
        linewidths=[0.8, 1.2],
    )
