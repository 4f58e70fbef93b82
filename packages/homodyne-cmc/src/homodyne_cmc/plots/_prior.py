"""The posterior in its prior: densities, and the bounds that cut both."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.stats import truncnorm

from homodyne_cmc._prior import Prior
from homodyne_cmc.plots._labels import (
    LIMIT,
    POSTERIOR,
    PRIOR,
    ParameterAxis,
    beside,
    core_of,
    degrees,
    draws_by_name,
    number,
    titled,
    unit_label,
)
from homodyne_model import PARAMETERS

_BINS = 40


def prior_posterior(result) -> Figure:
    """Density of the posterior of every physical parameter, with that of its prior and the bounds."""
    draws = draws_by_name(result)
    n_columns = min(len(draws), 4)
    n_rows = -(-len(draws) // n_columns)
    figure = Figure(figsize=(2.5 * n_columns + 0.6, 2.4 * n_rows + 0.7), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)
    for panel, (name, values) in zip(panels.flat, draws.items(), strict=False):
        _prior_and_posterior(panel, result, name, values)
    for panel in panels.flat[len(draws) :]:
        panel.set_axis_off()
    panels[0, 0].set_ylim(-0.03, 1.08)
    panels[0, 0].set_yticks([0, 0.5, 1])
    figure.supylabel("density / posterior's peak", fontsize="medium")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    handles.append(Line2D([], [], color=LIMIT, linestyle="--", linewidth=1.2))
    labels.append("bound")
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    return titled(figure, result)


def _prior_and_posterior(panel: Axes, result, name: str, values: np.ndarray) -> None:
    settings = result.settings
    lower, upper = settings["bounds"].get(name, (PARAMETERS[name].lower, PARAMETERS[name].upper))
    prior = Prior.of(settings["priors"].get(name, Prior()), name)
    if name == "phi0" and (np.isfinite(lower + upper) or prior.mu is not None):
        center = (lower + upper) / 2 if np.isfinite(lower + upper) else prior.mu
        values = beside(values, center, name)
    first, last = low, high = core_of(values)
    span = high - low or 1e-3 * max(abs(high), 1e-6)
    # A prior that is not much wider is shown whole; else its part under the posterior.
    prior_draws = result.tree["prior"][name].values
    ratio = float(prior_draws.std() / values.std()) if values.std() > 0 else np.inf
    prior_low, prior_high = np.quantile(prior_draws, (0.005, 0.995))
    if prior_high - prior_low < 8 * span:
        low, high = min(low, prior_low), max(high, prior_high)
    low, high = low - 0.2 * span, high + 0.2 * span
    low, high = (b if abs(b - end) < span else end for b, end in ((lower, low), (upper, high)))
    edge = 0.03 * (high - low)
    axis = ParameterAxis.of(name, values)
    x = np.linspace(max(low, lower), min(high, upper), 400)
    counts, edges = np.histogram(values, _BINS, range=(first, max(last, first + span)))
    density = counts / (len(values) * np.diff(edges))
    peak = density.max()
    panel.stairs(
        density / peak, axis(edges), fill=True, color=POSTERIOR, alpha=0.6, linewidth=0, label="posterior"
    )
    panel.plot(
        axis(x), prior_density(prior, lower, upper, x) / peak, color=PRIOR, linewidth=1.5, label="prior"
    )
    for bound in (lower, upper):
        if low - edge <= bound <= high + edge:
            panel.axvline(axis(bound), color=LIMIT, linestyle="--", linewidth=1.2)
    panel.set_xlim(axis(low - edge), axis(high + edge))
    panel.set_xlabel(axis.label)
    panel.xaxis.set_major_locator(MaxNLocator(4))
    panel.set_title(
        f"{_bounds(name, lower, upper)}\nsd of prior / posterior: {number(ratio)}", fontsize="small"
    )


def _bounds(name: str, lower: float, upper: float) -> str:
    if not np.isfinite([lower, upper]).any():
        return "no bounds"
    if name == "phi0":
        return f"bounds {degrees(lower)} to {degrees(upper)}"
    return f"bounds {number(lower)} to {number(upper)} {unit_label(PARAMETERS[name].unit)}".rstrip()


def prior_density(prior: Prior, lower: float, upper: float, x) -> np.ndarray:
    """Density of a prior cut by its bounds, at values within them; without bounds that of a direction that is uniform over 180 degrees."""
    if prior.type == "Uniform":
        width = upper - lower
        return np.full(len(x), 1 / (width if np.isfinite(width) else 180.0))
    x, ends = np.asarray(x, dtype=float), np.array([max(lower, prior.least), upper])
    mu = 0.0 if prior.mu is None else prior.mu
    if prior.type != "LogNormal":
        return truncnorm.pdf(x, *((ends - mu) / prior.sigma), loc=mu, scale=prior.sigma)
    with np.errstate(divide="ignore"):
        ends = (np.log(ends) - mu) / prior.sigma
    inside = x > 0
    log_x = np.log(np.where(inside, x, 1.0))
    return np.where(
        inside, truncnorm.pdf(log_x, *ends, loc=mu, scale=prior.sigma) / np.where(inside, x, 1.0), 0.0
    )
