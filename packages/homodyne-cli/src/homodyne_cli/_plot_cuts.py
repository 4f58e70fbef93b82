"""Cuts of two-time maps along the lag, averaged over the age."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from homodyne_cli._plot_style import FITTED, MEASURED, degrees, heading
from homodyne_data import TwoTimeData
from homodyne_nlsq import OptimizationResult

_LAG_POINTS = 45


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


def lag_cut(data: TwoTimeData, fitted: np.ndarray, angle: int) -> LagCut:
    """Cut of one angle along the lag |t1 - t2|; `fitted` as in `plot_fit`."""
    row, column = np.nonzero(data.angle_mask(angle))
    lag = np.abs(row - column)
    edges = np.unique(np.round(np.geomspace(1, data.n_t, _LAG_POINTS)).astype(int))
    group = np.searchsorted(edges, lag, side="right") - 1
    count = np.bincount(group)
    used = count > 0

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(group, weights=values) / np.maximum(count, 1)

    entries = data.c2[angle][row, column].astype(np.float64)
    measured = mean(entries)
    return LagCut(
        lag=mean(lag * data.dt)[used],
        measured=measured[used],
        fitted=mean(fitted[angle][row, column].astype(np.float64))[used],
        scatter=np.sqrt(mean((entries - measured[group]) ** 2) / np.maximum(count, 1))[used],
    )


def lag_figure(data: TwoTimeData, result: OptimizationResult, fitted: np.ndarray, angles: range) -> Figure:
    """Cuts along the lag of several angles, one panel each, with the same axes."""
    n_columns = min(len(angles), max(1, round(np.sqrt(1.5 * len(angles)))))
    n_rows = -(-len(angles) // n_columns)
    figure = Figure(figsize=(max(2.0 * n_columns, 5.0) + 0.6, 1.7 * n_rows + 1.0))
    axes = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    for panel, angle in zip(axes.flat, angles, strict=False):
        cut = lag_cut(data, fitted, angle)
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
        panel.set_title(f"φ = {degrees(data.phi[angle], 1)}", pad=3)
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
