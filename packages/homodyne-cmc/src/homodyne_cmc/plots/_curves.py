"""Plots of what the parameters mean: C2 against the lag beside the data, and the rates against the age."""

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from homodyne_cmc.plots._labels import (
    CENTRAL,
    FIT,
    MUTED,
    POSTERIOR,
    degrees,
    draws_by_name,
    group,
    of_parameter,
    titled,
    unit_label,
)
from homodyne_model import PARAMETERS, diffusion_coefficient, shear_rate

_WINDOWS = ("#30638e", "#d1495b", "#e0a030")
_MOST_ANGLES = 12
_AGES = 160


def predictive_cuts(result) -> Figure:
    """C2 against the lag for every angle (an even choice of twelve where there are more), in three windows of age, with standardised residuals."""
    observed = group(result, "observed_data", "it was made by another version")
    predicted = group(result, "posterior_predictive", f"it has no draws of the posterior ({result.status})")
    n_phi = observed.sizes["angle"]
    shown = np.unique(np.linspace(0, n_phi - 1, min(n_phi, _MOST_ANGLES)).round().astype(int))
    n_columns = min(len(shown), 2 if len(shown) == 4 else 3 if len(shown) <= 9 else 4)
    n_rows = -(-len(shown) // n_columns)
    figure = Figure(figsize=(max(3.0 * n_columns, 5.4) + 0.8, 2.7 * n_rows + 1.1), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.025)
    grid = figure.add_gridspec(2 * n_rows, n_columns, height_ratios=[3, 1.3] * n_rows)
    cut = residual = None
    for k, angle in enumerate(shown):
        row, column = divmod(k, n_columns)
        cut = figure.add_subplot(grid[2 * row, column], sharex=cut, sharey=cut)
        residual = figure.add_subplot(grid[2 * row + 1, column], sharex=cut, sharey=residual)
        _draw_cuts(cut, residual, observed.isel(angle=angle), predicted.isel(angle=angle, chain=0))
        cut.set_title(f"φ = {degrees(observed['phi'].values[angle])}", fontsize="medium", pad=3)
        cut.tick_params(labelbottom=False)
        last = k + n_columns >= len(shown)
        residual.tick_params(labelbottom=last)
        if last:
            residual.set_xlabel("lag [s]")
        if column == 0:
            cut.set_ylabel("$C_2$")
            residual.set_ylabel("residual\n[s.e.]")
        else:
            cut.tick_params(labelleft=False)
            residual.tick_params(labelleft=False)
    residual.set_ylim(*_residual_range(figure.axes[1::2]))
    figure.align_ylabels()
    handles, labels = cut.get_legend_handles_labels()
    handles.append((Patch(color=MUTED, alpha=0.4), Line2D([], [], color=MUTED)))
    labels.append("posterior, 95 %")
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=4 if n_columns > 2 else 2,
        frameon=False,
        fontsize="small",
    )
    choice = f"{len(shown)} of {n_phi} angles" if len(shown) < n_phi else ""
    return titled(figure, result, *filter(None, [choice]))


def _draw_cuts(cut: Axes, residual: Axes, observed, predicted) -> None:
    low, _, median, _, high = np.quantile(predicted["c2"].values, CENTRAL, axis=0)
    for w, color in enumerate(_WINDOWS):
        c2, error = observed["c2"].values[w], observed["standard_error"].values[w]
        known = np.isfinite(c2) & np.isfinite(error) & np.isfinite(median[w])
        x = observed["lag"].values[w, known]
        ends = (f"{float(observed[key][w]):.3g}" for key in ("age_from", "age_to"))
        cut.errorbar(
            x,
            c2[known],
            yerr=error[known],
            fmt=".",
            color=color,
            markersize=3.5,
            elinewidth=0.7,
            label="age {} to {} s, ± s.e. of the mean".format(*ends),
        )
        cut.fill_between(x, low[w][known], high[w][known], color=color, alpha=0.3, linewidth=0)
        cut.plot(x, median[w][known], color=color, linewidth=1.2)
        residual.plot(x, ((c2 - median[w]) / error)[known], ".", color=color, markersize=3.5)
    cut.set_xscale("log")
    residual.axhline(0, color="0.3", linewidth=0.8)
    for level in (-2, 2):
        residual.axhline(level, color="0.7", linewidth=0.7, linestyle=":")


def _residual_range(panels) -> tuple[float, float]:
    largest = max(
        (float(np.abs(line.get_ydata()).max(initial=0)) for p in panels for line in p.lines), default=0
    )
    reach = max(3.5, 1.1 * largest)
    return -reach, reach


def rates(result) -> Figure:
    """D(t), and the shear rate of laminar flow, against the age: median with 68 and 95 % bands, and the fit that sampling began from."""
    draws_by_name(result)  # or the sentence that there are none
    values = np.stack([result.values(name) for name in result.physical_names], axis=1)
    t = result.tree["constant_data"]["t"].values
    dt = float(t[-1] - t[0]) / (len(t) - 1)
    ages = np.geomspace(max(float(t[0]), dt / 2), float(t[-1]), _AGES)
    fit = [of_parameter(result, "warm_start", "value", name) for name in result.physical_names]
    kinds = [(diffusion_coefficient, "$D(t)$", "D0")]
    if values.shape[1] == 7:
        kinds.append((shear_rate, r"$\dot\gamma(t)$", "gamma_dot_t0"))
    figure = Figure(figsize=(4.6 * len(kinds) + 0.6, 4.8), layout="constrained")
    panels = figure.subplots(2, len(kinds), squeeze=False, sharex=True, height_ratios=[2, 1])
    # Curves are plotted in full precision, whatever that of the process.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for (above, below), (rate, symbol, name) in zip(panels.T, kinds, strict=True):
            at = lambda physical, rate=rate: np.asarray(  # noqa: E731
                jax.vmap(lambda p: rate(p, ages, dt=dt))(physical)
            )
            unit = unit_label(PARAMETERS[name].unit)
            _draw_rate(above, below, ages, at(values), None if None in fit else at(np.array([fit]))[0], unit)
            below.set_xlabel("age $t$ [s]")
            above.set_ylabel(f"{symbol} [{unit}]")
    figure.align_ylabels()
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=2 * len(kinds), frameon=False, fontsize="small"
    )
    return titled(figure, result)


def _draw_rate(above: Axes, below: Axes, ages: np.ndarray, curves: np.ndarray, fit, unit: str) -> None:
    """The rate, and below its distance from the median, in percent where the median has one sign."""
    low, inner_low, median, inner_high, high = np.quantile(curves, CENTRAL, axis=0)
    one_sign = (median > 0).all() or (median < 0).all()
    scale = 100 / np.abs(median) if one_sign else np.ones_like(median)
    for panel, shown in ((above, lambda curve: curve), (below, lambda curve: (curve - median) * scale)):
        for lower, upper, alpha, label in (
            (low, high, 0.2, "95 % of the posterior"),
            (inner_low, inner_high, 0.35, "68 %"),
        ):
            panel.fill_between(
                ages, shown(lower), shown(upper), color=POSTERIOR, alpha=alpha, linewidth=0, label=label
            )
        panel.plot(ages, shown(median), color=POSTERIOR, linewidth=1.5, label="median")
        if fit is not None:
            panel.plot(
                ages,
                shown(fit),
                color=FIT,
                linewidth=1.2,
                linestyle="--",
                label="fit that sampling began from",
            )
        panel.set_axisbelow(True)
        panel.grid(color="0.92")
    below.set_ylabel("− median " + ("[%]" if one_sign else f"[{unit}]"))
    if not one_sign:
        below.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    above.set_xscale("log")
    drawn = np.concatenate([low, high] + ([] if fit is None else [fit]))
    if drawn.min() > 0:
        above.set_yscale("log")
    else:
        # A logarithmic axis has no place for a rate that may be negative.
        above.set_yscale("symlog", linthresh=float(np.quantile(np.abs(median), 0.1)) or 1.0, linscale=1.5)
        above.axhline(0, color="0.5", linewidth=0.8)
