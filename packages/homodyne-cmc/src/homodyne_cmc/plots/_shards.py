"""Plots of the draws of the shards, as they were sampled, and of the certificate's weights."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import binom, rankdata

from homodyne_cmc._certificate import ESS_LIMIT, K_HAT_LIMIT, MOVED_LIMIT
from homodyne_cmc._diagnostics import R_HAT_LIMIT
from homodyne_cmc.plots._labels import LIMIT, MUTED, POSTERIOR, group, titled

_MOST_SHARDS = 4
_RANK_BINS = 20
_CHAINS = ("#30638e", "#d1495b", "#e0a030", "#00798c")
_SYMBOLS = {
    "log_D_ref": r"$\ln D$",
    "slope_D": "slope of $D$",
    "exponent_D": r"$\alpha$",
    "share_D": "share of $D_0$",
    "log_rate_ref": r"$\ln \dot\gamma$",
    "slope_rate": r"slope of $\dot\gamma$",
    "exponent_rate": r"$\beta$",
    "share_rate": r"share of $\dot\gamma_0$",
    "phi0": r"$\varphi_0$",
}


def shown_shards(r_hat) -> np.ndarray:
    """Which shards are drawn: all of a few; of many an even choice, in which the one with the largest R-hat takes the place of its neighbour.

    Parameters
    ----------
    r_hat : (n_shards, d)
    """
    n_shards = len(r_hat)
    if n_shards <= _MOST_SHARDS:
        return np.arange(n_shards)
    shown = np.linspace(0, n_shards - 1, _MOST_SHARDS).round().astype(int)
    worst = int(np.argmax(r_hat.max(1)))
    if worst not in shown:
        shown[np.argmin(np.abs(shown - worst))] = worst
    return shown


def _panels(result, overview_label: str):
    """Figure, shards, those shown, panels (coordinate, shown shard), and panels (coordinate,) of all shards where not all are shown."""
    shards = group(result, "shards", f"method {result.method!r} sampled none, or could not")
    names = [str(name) for name in shards["coordinate"].values]
    n_shards = shards.sizes["shard"]
    r_hat = shards["r_hat"].values
    shown = shown_shards(r_hat)
    many = len(shown) < n_shards
    n_columns = len(shown) + many
    width = max(2.1 * n_columns, 5.5) + 0.8
    figure = Figure(figsize=(width, 1.15 * len(names) + 1.3), layout="constrained")
    panels = figure.subplots(len(names), n_columns, squeeze=False, sharex="col")
    for panel, name in zip(panels[:, 0], names, strict=True):
        panel.set_ylabel(_SYMBOLS.get(name, name))
    for panel, k in zip(panels[0, many:], shown, strict=True):
        whose = f"shard {k}" if n_shards > 1 else "all the data"
        panel.set_title(f"{whose}, R-hat {r_hat[k].max():.3f}", fontsize="small")
    if many:
        panels[0, 0].set_title(overview_label, fontsize="small")
        panels[-1, 0].set_xlabel("shard")
        panels[-1, 0].xaxis.set_major_locator(MaxNLocator(5, integer=True))
    choice = f"{len(shown)} of them shown" if many else ""
    return figure, shards, shown, panels[:, many:], panels[:, 0] if many else None, filter(None, [choice])


def shard_trace(result) -> Figure:
    """Draws of the shards against their number, a line for every chain, with those that diverged."""
    figure, shards, shown, panels, overview, choice = _panels(result, "all shards, mean ± sd")
    z, diverging = shards["z"].values, shards["diverging"].values
    for c in range(z.shape[-1]):
        low, high = np.inf, -np.inf
        for panel, k in zip(panels[c], shown, strict=True):
            for chain, values in enumerate(z[k, ..., c]):
                panel.plot(values, color=_CHAINS[chain % len(_CHAINS)], linewidth=0.5, alpha=0.8)
                at = np.flatnonzero(diverging[k, chain])
                panel.plot(at, values[at], "x", color="black", markersize=4, zorder=3)
            low, high = min(low, z[k, ..., c].min()), max(high, z[k, ..., c].max())
        rows = list(panels[c])
        if overview is not None:
            mean, sd = z[..., c].mean((1, 2)), z[..., c].std((1, 2))
            overview[c].errorbar(
                np.arange(len(mean)),
                mean,
                yerr=sd,
                fmt=".",
                color=POSTERIOR,
                ecolor=MUTED,
                markersize=3,
                elinewidth=0.5,
            )
            rows = [overview[c], *rows]
        edge = 0.05 * (high - low)
        for panel in rows:
            panel.set_ylim(low - edge, high + edge)
            panel.yaxis.set_major_locator(MaxNLocator(3))
        for panel in rows[1:]:
            panel.tick_params(labelleft=False)
    for panel in panels[-1]:
        panel.set_xlabel("draw")
    figure.supylabel("whitened coordinate [sd about the start]", fontsize="medium")
    _say(
        figure,
        f"colours: chains; × diverged ({int(diverging.sum())} of {diverging.size} draws of all shards)",
    )
    return titled(figure, result, *choice)


def shard_rank(result) -> Figure:
    """Ranks of every chain's draws among those of its shard (Vehtari et al. 2021, doi:10.1214/20-BA1221): uniform where chains agree."""
    figure, shards, shown, panels, overview, choice = _panels(result, "all shards, R-hat")
    z, diverging = shards["z"].values, shards["diverging"].values
    for c in range(z.shape[-1]):
        for panel, k in zip(panels[c], shown, strict=True):
            _ranks(panel, z[k, ..., c], diverging[k])
        for panel in panels[c, 1:]:
            panel.tick_params(labelleft=False)
        if overview is not None:
            r_hat = shards["r_hat"].values[:, c]
            overview[c].plot(r_hat, ".", color=POSTERIOR, markersize=4)
            overview[c].axhline(R_HAT_LIMIT, color=LIMIT, linestyle="--", linewidth=1)
            overview[c].set_ylim(min(0.995, r_hat.min()), max(1.005 * R_HAT_LIMIT, 1.005 * r_hat.max()))
            overview[c].yaxis.set_major_locator(MaxNLocator(3))
            overview[c].ticklabel_format(axis="y", useOffset=False)
    for panel in panels[-1]:
        panel.set_xlabel("rank / draws")
    _say(
        figure,
        "a step for every chain; grey: 95 % of independent draws"
        + (f"; dashed: limit {R_HAT_LIMIT}" if overview is not None else "")
        + ("; × diverged" if diverging[shown].any() else ""),
    )
    return titled(figure, result, *choice)


def _ranks(panel: Axes, z: np.ndarray, diverging: np.ndarray) -> None:
    """Histograms of the ranks of the chains (n_chains, n_draws), one above the other, in units of their expected height."""
    n_chains, n_draws = z.shape
    ranks = (rankdata(z).reshape(z.shape) - 0.5) / z.size
    n_bins = min(_RANK_BINS, max(n_draws // 10, 2))
    low, high = binom.ppf([0.025, 0.975], n_draws, 1 / n_bins) * n_bins / n_draws
    for chain in range(n_chains):
        base, color = 2.0 * chain, _CHAINS[chain % len(_CHAINS)]
        height, edges = np.histogram(ranks[chain], n_bins, range=(0, 1))
        panel.axhspan(base + low, base + high, color="0.9", linewidth=0)
        panel.stairs(base + height * n_bins / n_draws, edges, baseline=base, color=color, linewidth=1)
        panel.axhline(base, color="0.7", linewidth=0.6)
        at = ranks[chain][diverging[chain]]
        panel.plot(at, np.full(len(at), base + 1), "x", color="black", markersize=4)
    panel.set_ylim(-0.2, 2.0 * n_chains + 0.3)
    panel.set_yticks(2.0 * np.arange(n_chains) + 1, [f"chain {chain}" for chain in range(n_chains)])
    panel.tick_params(axis="y", labelsize="small", length=0)
    panel.set_xlim(0, 1)
    panel.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])


def _say(figure: Figure, words: str) -> None:
    figure.supxlabel(words, fontsize="small", x=0.01, ha="left")


def certificate(result) -> Figure:
    """How many draws have more than a weight, on logarithmic axes where the tail's slope is -1/k, and what every round found."""
    found = group(result, "certificate", "it was made by another version")
    weight = np.exp(found["log_weight"].values)
    weight = np.sort(weight[weight > 0])[::-1]
    if not len(weight):
        raise ValueError(f"the certificate has no draw of a weight ({result.status}: {result.message}).")
    relative = weight / weight.mean()
    figure = Figure(figsize=(9.2, 3.6), layout="constrained")
    left, right = figure.add_gridspec(1, 2, width_ratios=[1.2, 1])
    panel = figure.add_subplot(left)
    share = np.arange(1, len(weight) + 1) / len(weight)
    panel.plot(relative, share, drawstyle="steps-pre", color=POSTERIOR, linewidth=1.5, label="draws")
    tail = int(np.ceil(min(0.2 * len(weight), 3 * len(weight) ** 0.5)))
    start = min(tail, len(weight)) - 1
    has_tail = relative[0] > 1.001 * relative[start]
    if has_tail:
        x = np.geomspace(relative[start], 1.5 * relative[0], 50)
        panel.plot(
            x,
            share[start] * (x / x[0]) ** (-1 / K_HAT_LIMIT),
            color=LIMIT,
            linestyle="--",
            linewidth=1.2,
            label=f"tail of the limit, k = {K_HAT_LIMIT}",
        )
    else:
        panel.plot([], [], " ", label="all of the same weight")
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel("weight / mean weight")
    panel.set_ylabel("share of draws with this weight or more")
    panel.set_xlim(left=max(relative[-1], 1e-3) / 1.3, right=2 * relative[0])
    panel.set_ylim(0.7 / len(weight), 1.4)
    panel.legend(frameon=False, fontsize="small", loc="lower left" if has_tail else "upper right")
    panels = right.subgridspec(3, 1).subplots(sharex=True)
    for panel, (name, label, limit) in zip(
        panels,
        (
            ("k_hat", "k-hat", K_HAT_LIMIT),
            ("ess", "effective\ndraws", ESS_LIMIT),
            ("moved", "mean moved\n[sd]", MOVED_LIMIT),
        ),
        strict=True,
    ):
        _rounds(panel, found[name].values, limit)
        panel.set_ylabel(label)
    panels[-1].set_xlabel("round")
    return titled(figure, result)


def _rounds(panel: Axes, values: np.ndarray, limit: float) -> None:
    rounds, known = np.arange(1, len(values) + 1), np.isfinite(values)
    panel.axhline(limit, color=LIMIT, linestyle="--", linewidth=1)
    panel.plot(rounds[known], values[known], "o-", color=POSTERIOR, markersize=5)
    for at, value in zip(rounds[~known], values[~known], strict=True):
        words = "none" if np.isnan(value) else "no tail" if value < 0 else "infinite"
        panel.text(
            at, 0.4, words, ha="center", fontsize="small", color=MUTED, transform=panel.get_xaxis_transform()
        )
    panel.set_xlim(0.5, len(values) + 0.5)
    panel.set_xticks(rounds)
    seen = np.append(values[known], limit)
    low, high = min(0.0, seen.min()), seen.max()
    panel.set_ylim(low - 0.08 * (high - low) * (low < 0), high + 0.2 * (high - low))
