"""Cuts of two-time maps along the lag, averaged over the age."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from homodyne_cli._plot_style import FITTED, MEASURED, degrees, heading
from homodyne_data import TwoTimeData
from homodyne_nlsq import OptimizationResult

_LAG_POINTS = 45
_POINTS = 1_000_000  # summed at once


@dataclass(frozen=True)
class LagCut:
    """C2 averaged over the age, at lags grouped to about equal steps of their logarithm.

    Attributes
    ----------
    lag : (n,) float64
        Mean lag of each group [s].
    measured, fitted : (n,) float64
        Mean C2 over the same pairs.
    scatter : (n,) float64
        Standard deviation of the measured entries (noise, and change with age) over the root of their number.
    """

    lag: np.ndarray
    measured: np.ndarray
    fitted: np.ndarray
    scatter: np.ndarray


def lag_cut(one: TwoTimeData, fitted: np.ndarray) -> LagCut:
    """Cut of data of one angle along the lag |t1 - t2|, with the fitted C2, (n_t, n_t)."""
    mask = one.angle_mask(0)
    n_t = one.n_t
    edges = np.unique(np.round(np.geomspace(1, n_t, _LAG_POINTS)).astype(int))
    group_of_lag = np.searchsorted(edges, np.arange(n_t), side="right") - 1
    sums = np.zeros((5, edges.size))
    n_rows = max(1, _POINTS // n_t)
    for first in range(0, n_t, n_rows):
        rows = slice(first, first + n_rows)
        row, column = np.nonzero(mask[rows])
        lag = np.abs(row + first - column)
        measured, calculated = (
            values[rows][row, column].astype(np.float64) - 1.0 for values in (one.c2[0], fitted)
        )
        for total, values in zip(sums, (None, lag, measured, measured**2, calculated), strict=True):
            total += np.bincount(group_of_lag[lag], weights=values, minlength=edges.size)
    count, used = sums[0], sums[0] > 0
    lag, measured, square, calculated = sums[1:, used] / count[used]
    return LagCut(
        lag=lag * one.dt,
        measured=1.0 + measured,
        fitted=1.0 + calculated,
        scatter=np.sqrt(np.maximum(square - measured**2, 0.0) / count[used]),
    )


def lag_figure(cuts: Sequence[LagCut], result: OptimizationResult, angles: range) -> Figure:
    """Cuts along the lag of several of all angles, one panel each, with the same axes."""
    n_columns = min(len(angles), max(1, round(np.sqrt(1.5 * len(angles)))))
    n_rows = -(-len(angles) // n_columns)
    figure = Figure(figsize=(max(2.0 * n_columns, 5.0) + 0.6, 1.7 * n_rows + 1.0))
    axes = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    for panel, angle in zip(axes.flat, angles, strict=False):
        cut = cuts[angle]
        panel.errorbar(
            cut.lag,
            cut.measured,
            yerr=cut.scatter,
            fmt=".",
            color=MEASURED,
            markersize=3.5,
            elinewidth=0.7,
            label="measured, ± scatter / √pairs",
        )
        panel.plot(cut.lag, cut.fitted, color=FITTED, linewidth=1.3, label="fitted", zorder=3)
        panel.set_title(f"φ = {degrees(result.phi[angle], 1)}", pad=3)
        panel.set_xscale("log")
    for panel in axes.flat[len(angles) :]:
        panel.set_visible(False)
    # The last visible panel of a column carries the axis where the last row is not full.
    for column in range(len(angles) - n_columns * (n_rows - 1), n_columns):
        axis = axes[max(n_rows - 2, 0), column].xaxis
        axis.set_tick_params(labelbottom=True)
        for label in axis.get_ticklabels(which="both"):
            label.set_in_layout(False)  # there is room below, and the rows keep even distances
    figure.supxlabel("lag $|t_1 - t_2|$ [s]", fontsize=10)
    figure.supylabel("$C_2$, mean over the age", fontsize=10)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3, frameon=False)
    figure.suptitle(heading(result), fontsize=10, x=0.01, ha="left")
    return figure
