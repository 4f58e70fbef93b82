"""Plots of what was fitted: transport curves, scaling of the angles, and parameters against q."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from homodyne_cli._plot_style import FITTED, MEASURED, heading, unit_label
from homodyne_model import PARAMETERS
from homodyne_nlsq import Curve, OptimizationResult


def curves_figure(result: OptimizationResult) -> Figure:
    """D(t), and the shear rate of laminar flow, with bands of one standard deviation."""
    curves = [(result.diffusion, "$D(t)$")]
    if result.shear is not None:
        curves.append((result.shear, r"$\dot\gamma(t)$"))
    figure = Figure(figsize=(4.8 * len(curves) + 0.4, 3.6))
    for panel, (curve, symbol) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
        _draw_curve(panel, curve)
        panel.set_ylabel(f"{symbol} [{unit_label(curve.unit)}]")
        panel.set_xlabel("$t$ [s]")
    figure.suptitle(heading(result), fontsize=10)
    return figure


def _draw_curve(panel: Axes, curve: Curve) -> None:
    t, value, error = (np.asarray(a, dtype=np.float64) for a in (curve.t, curve.value, curve.error))
    later = t > 0  # t = 0 has no place on a logarithmic axis
    t, value, error = t[later], value[later], error[later]
    known = np.isfinite(error) & (error > 0)
    panel.plot(t, value, color=FITTED, linewidth=1.5, label="fitted")
    if known.any():
        low, high = value - error, value + error
        panel.fill_between(
            t, low, high, where=known, color=FITTED, alpha=0.25, linewidth=0, label="± 1 standard deviation"
        )
    else:
        panel.plot([], [], " ", label="no uncertainty can be quoted")
    panel.set_xscale("log")
    ends = np.concatenate([value, (value - error)[known]])
    if ends.min() > 0 and ends.max() > 20 * ends.min():
        panel.set_yscale("log")
    elif np.ptp(value) <= 1e-6 * np.abs(value).max():
        far = 1.5 * max(np.abs(ends).max(), 1e-12)
        panel.set_ylim(*((0, far) if value.mean() >= 0 else (-far, 0)))
    if value.min() < 0:
        panel.axhline(0.0, color="0.5", linewidth=0.8)
    panel.legend(frameon=False, fontsize=8)


def scaling_figure(result: OptimizationResult) -> Figure:
    """Contrast and offset of every angle with error bars; open symbols are at a bound."""
    figure = Figure(figsize=(6.4, 4.6))
    axes = figure.subplots(2, 1, sharex=True)
    bounded = {name for name, at in zip(result.names, result.at_bound, strict=True) if at}
    for panel, kind in zip(axes, ("contrast", "offset"), strict=True):
        value = np.asarray(getattr(result, kind), dtype=np.float64)
        error = np.asarray(getattr(result, f"{kind}_error"), dtype=np.float64)
        at = np.array([f"{kind}_{angle}" in bounded for angle in range(value.size)])
        panel.errorbar(
            result.phi, value, yerr=np.where(np.isfinite(error), error, 0.0), fmt="none", ecolor=MEASURED
        )
        panel.plot(result.phi[~at], value[~at], "o", color=MEASURED, markersize=4)
        if at.any():
            panel.plot(
                result.phi[at], value[at], "o", mfc="white", mec=MEASURED, markersize=5, label="at a bound"
            )
            panel.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.0))
        panel.set_ylabel(kind)
        panel.grid(color="0.92")
        if np.ptp(value) < 1e-9:
            panel.set_ylim(value[0] - 0.1, value[0] + 0.1)
    axes[1].set_xlabel("φ [°]")
    if result.phi.min() >= -180 and result.phi.max() <= 180 and np.ptp(result.phi) > 180:
        axes[1].set_xticks(np.arange(-180, 181, 45))
    figure.suptitle(heading(result), fontsize=10)
    return figure


@dataclass(frozen=True)
class SummaryPoint:
    """One q of a series: its q [1/Å], a value and its uncertainty (NaN where there is none)."""

    q: float
    value: float
    error: float


def against_q_figure(
    points: Sequence[SummaryPoint], name: str, posterior: Sequence[SummaryPoint] = ()
) -> Figure:
    """A physical parameter, by its name in the registry, against q: of fits, of posteriors, or of both side by side."""
    parameter = PARAMETERS[name]
    figure = Figure(figsize=(5.2, 3.8))
    panel = figure.subplots()
    both = bool(points) and bool(posterior)
    furthest = max(point.q for point in (*points, *posterior))
    highest, lowest = -np.inf, np.inf
    for series, label, marker, colour, aside in (
        (points, "least squares", "s" if both else "o", FITTED if both else MEASURED, -1),
        (posterior, "posterior", "o", MEASURED, 1),
    ):
        if not series:
            continue
        q, value, error = (np.array([getattr(p, key) for p in series]) for key in ("q", "value", "error"))
        panel.errorbar(
            # Side by side, where they would hide each other.
            q + (0.006 * aside * furthest if both else 0.0),
            value,
            yerr=np.where(np.isfinite(error), error, 0.0),
            fmt=marker,
            color=colour,
            markersize=5,
            capsize=3,
            label=label,
        )
        highest, lowest = max(highest, np.max(value + np.nan_to_num(error))), min(lowest, value.min())
    if lowest > 0:
        panel.set_ylim(0, 1.15 * float(highest))
    panel.set_xlim(0, 1.1 * furthest)
    panel.set_xlabel("$q$ [Å$^{-1}$]")
    panel.set_ylabel(f"${parameter.latex}$" + (f" [{unit_label(parameter.unit)}]" if parameter.unit else ""))
    panel.grid(color="0.92")
    if posterior:
        panel.legend(frameon=False)
    panel.set_title(f"{len(points) or len(posterior)} values of q; bars: 1 standard deviation")
    return figure
