"""The section of the summary on a posterior: whether it can be trusted, what it says, and what decided it."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table
from rich.text import Text

from homodyne_cli._console import Terminal, how_long
from homodyne_cli._posterior_summary import AT_WALL, Derived, Marginal, curves, marginals, scalings
from homodyne_cli._report_numbers import limits, with_error
from homodyne_cli._report_parts import SCALINGS, bullet, count, heading, table_of
from homodyne_nlsq import OptimizationResult

if TYPE_CHECKING:
    from homodyne_cmc import CMCResult

_VERDICTS = {
    "certified": ("Certified", "green"),
    "not certified": ("NOT CERTIFIED", "yellow"),
    "failed": ("FAILED", "red"),
}
_NOISE = {
    "given": "σ given",
    "global": "one factor of σ inferred",
    "per_angle": "σ of every angle inferred",
}
_TRUSTED = 0.7
_DISAGREE = 1e-3
# Ratio of the posterior's to the prior's standard deviation from which a normal prior has more of the information than the data: 1/√2.
_PRIOR_DECIDES = 0.7071


def show_posterior(
    terminal: Terminal, posterior: "CMCResult", fit: OptimizationResult | None, *, alone: bool
) -> None:
    """Print one posterior: the verdict, how it was sampled, the parameters, what decided them.

    Parameters
    ----------
    terminal : Terminal
        Where to.
    posterior : CMCResult
        What was sampled.
    fit : OptimizationResult or None
        What it started from, shown beside it.
    alone : bool
        Whether the summary of the fit was not printed before.
    """
    if alone:
        _show_what(terminal, posterior)
    else:
        heading(terminal, "Posterior")
    verdict, style = _VERDICTS[posterior.status]
    terminal.out.print(Text.assemble((verdict, style), f": {posterior.message}"))
    lines = [*how_sampled(posterior), *how_sure(posterior)]
    if alone:
        lines.append(how_begun(fit))
    for line in lines:
        terminal.out.print(line, markup=False)
    found = marginals(posterior)
    if posterior.posterior.sizes["draw"]:
        terminal.table(_parameter_table(posterior, found, fit))
    warned = [*what_walls_do(found), *what_bounds_leave(found)]
    told = [*what_priors_do(found), *posterior.warnings]
    if warned or told:
        terminal.out.print()
    for sentence in (*warned, *told):
        bullet(terminal, sentence, warns=sentence in warned)


def _show_what(terminal: Terminal, posterior: "CMCResult") -> None:
    """The data, as the summary of a fit begins."""
    attrs, constant = posterior.tree.attrs, posterior.tree["constant_data"]
    t = constant["t"].values
    dt = (t[-1] - t[0]) / (len(t) - 1)
    terminal.out.print()
    terminal.out.print(
        Text.assemble(
            (f"q = {attrs['q']:.4g} 1/Å", "bold"),
            f"   {posterior.analysis_mode}, {count(constant.sizes['angle'], 'angle')}, {len(t)} frames of {dt:.4g} s",
        )
    )
    if len(posterior.physical_names) > 3:
        terminal.out.print(
            f"shear kernel {attrs['shear_kernel']}, gap {attrs['L'] / 1e4:.4g} µm", markup=False
        )


def how_sampled(posterior: "CMCResult") -> list[str]:
    """What was sampled and in what way, as lines."""
    attrs = posterior.tree.attrs
    mode = attrs["per_angle_mode"]
    shards = f", {count(posterior.n_shards, 'shard')}" if posterior.method == "cmc" else ""
    return [
        f"posterior of {posterior.n_points} points by {posterior.method}{shards}, in "
        f"{how_long(posterior.seconds['total'])} ({_NOISE[attrs['noise']]})",
        f"scaling {mode}: {SCALINGS[mode]}, drawn after the physical parameters",
    ]


def how_sure(posterior: "CMCResult") -> list[str]:
    """What certificate and shards say about the draws, as lines."""
    lines = []
    if math.isfinite(posterior.k_hat):
        believed = "can be trusted" if posterior.k_hat < _TRUSTED else f"cannot be trusted above {_TRUSTED}"
        lines.append(
            f"certificate: {posterior.ess:.0f} effective draws, k-hat {posterior.k_hat:.2f} (their weights {believed})"
        )
    if "shards" not in posterior.tree:
        return lines
    shards = posterior.tree["shards"]
    share = float(shards["diverging"].mean())
    diverged = "no draw diverged" if share == 0 else f"{100 * share:.2g} % of the draws diverged"
    each = " each" if posterior.n_shards > 1 else ""
    lines.append(
        f"chains: R-hat up to {float(shards['r_hat'].max()):.3f}, at least {float(shards['ess_bulk'].min()):.0f} effective "
        f"draws{each}, {float(shards['steps'].mean()):.1f} steps a draw, {diverged}"
    )
    said = posterior.tree["consensus"].attrs
    if math.isfinite(said["q"]):
        agreed = "the shards agree"
        if said["q_p"] < _DISAGREE:
            agreed = (
                "the shards differ by more than independent noise, as shared frames or a misfit make them"
            )
        lines.append(
            f"shards: Q = {said['q']:.4g} for {int(said['q_dof'])} degrees of freedom, p = {said['q_p']:.2g}: {agreed}"
        )
    return lines


def how_begun(fit: OptimizationResult | None) -> str:
    """Where sampling began, as a line."""
    if fit is None:
        return "begun without a fit: no robust errors, and nothing to compare with"
    good = f"quality {fit.quality_flag}, reduced χ² {fit.reduced_chi_squared:.4g}"
    if fit.convergence_status == "failed":
        return f"begun without the fit, which failed: {fit.message}"
    return f"begun from the fit: {fit.convergence_status}, {good}"


def _parameter_table(
    posterior: "CMCResult", found: Sequence[Marginal], fit: OptimizationResult | None
) -> Table:
    """Means with their standard deviation and 95 % interval, also widened to the clustered errors, beside what the fit says."""
    # Where the fit is quoted with its robust errors they stand there already.
    quoted = fit is not None and fit.covariance_type == "robust"
    robust = posterior.robust_sd is not None and not quoted
    columns = [
        ("parameter", "left"),
        ("mean", "right"),
        ("± sd", "right"),
        ("95 % from", "right"),
        ("to", "right"),
    ]
    widened = posterior.robust_posterior is not None
    columns += [("95 % widened", "right"), ("to", "right")] * widened
    columns += [("± robust", "right")] * robust
    if fit is not None:
        columns += [("nlsq", "right"), (f"± {fit.covariance_type}", "right")]
    table = table_of(*columns)
    table.add_column("unit", no_wrap=True)
    table.add_column("")

    def fitted(value: float, error: float) -> tuple[str, ...]:
        return () if fit is None else with_error(value, error)

    for one in found:
        shown, sd = with_error(one.mean, one.sd)
        cells = [shown, sd, *limits(one.quantiles[0], one.quantiles[-1])]
        cells += [] if one.widened is None else limits(one.widened[0], one.widened[-1])
        cells += [with_error(one.mean, one.robust_sd)[1]] * robust
        cells += () if fit is None else fitted(fit.physical[one.name], fit.physical_error[one.name])
        table.add_row(one.name, *cells, one.unit, "" if one.state == "sampled" else one.state)
    rates = {} if fit is None else {"D": fit.diffusion, "γ̇": fit.shear}
    for symbol, (t_mid, of, unit) in curves(posterior).items():
        cells = [*_cells(of), *[""] * (robust + 2 * widened)]
        cells += () if fit is None else fitted(*rates[symbol].at(t_mid))
        table.add_row(f"{symbol}({t_mid:.3g} s)", *cells, unit, "in the middle of the window")
    for name, of in scalings(posterior).items():
        beside = () if fit is None else _mean_of_fit(fit, name)
        table.add_row(name, *_scaling_cells(of), *[""] * (robust + 2 * widened), *beside, "", _spread(of))
    return table


def _cells(of: Derived) -> tuple[str, ...]:
    return (
        *with_error(float(of.mean), float(of.sd)),
        *limits(float(of.quantiles[0]), float(of.quantiles[-1])),
    )


def _scaling_cells(of: Derived) -> tuple[str, ...]:
    """Of one contrast or offset for all angles, or the mean over the angles."""
    if np.ptp(of.mean) > 0:
        return f"{of.mean.mean():.4f}", "", "", ""
    return _cells(Derived(of.mean[0], of.sd[0], of.quantiles[:, 0]))


def _spread(of: Derived) -> str:
    if np.ptp(of.mean) == 0:
        return "the same for all angles" if of.mean.size > 1 else ""
    return f"mean of {of.mean.size}: {of.mean.min():.4f} to {of.mean.max():.4f}"


def _mean_of_fit(fit: OptimizationResult, name: str) -> tuple[str, str]:
    """What the fit has in a row for contrast or offset; it has no σ."""
    if name == "sigma":
        return "", ""
    values = np.asarray(getattr(fit, name))
    if np.ptp(values) == 0:
        return with_error(values[0], getattr(fit, f"{name}_error")[0])
    return f"{values.mean():.4f}", ""


def what_walls_do(found: Sequence[Marginal]) -> list[str]:
    """A sentence for every parameter whose bound decides the answer."""
    sentences = []
    for one in found:
        shares = [("lower", one.at_lower), ("upper", one.at_upper)]
        for side, share in shares:
            if share > AT_WALL and not one.held:
                sentences.append(
                    f"{100 * share:.0f} % of the draws of {one.name} are at its {side} bound, which decides the answer there."
                )
    return sentences


def what_bounds_leave(found: Sequence[Marginal]) -> list[str]:
    """A sentence for every parameter that the data hardly narrow between its bounds."""
    return [
        f"The data hardly tell {one.name}: its posterior is {one.sd / one.prior_sd:.2g} times as wide as its bounds leave it "
        "anyway."
        for one in found
        if one.prior.type == "Uniform" and one.sd > _PRIOR_DECIDES * one.prior_sd
    ]


def what_priors_do(found: Sequence[Marginal]) -> list[str]:
    """A sentence for every prior that was given: how much narrower the data make it."""
    sentences = []
    for one in found:
        if one.prior.type == "Uniform" or one.held or one.state == "not sampled":
            continue
        ratio = one.sd / one.prior_sd
        much = ": the prior says more about it than the data" if ratio > _PRIOR_DECIDES else ""
        sentences.append(
            f"The posterior of {one.name} is {ratio:.2g} times as wide as its {one.prior.type} prior{much}."
        )
    return sentences


def show_posteriors(terminal: Terminal, posteriors: Sequence["CMCResult"]) -> None:
    """Print one line per q: the rates in the middle of the window, and whether they are certified."""
    drawn = [curves(posterior) for posterior in posteriors]
    table = table_of(("q [1/Å]", "right"))
    for symbol, (t_mid, _, unit) in drawn[0].items():
        table.add_column(f"{symbol}({t_mid:.3g} s) [{unit}]", justify="right", no_wrap=True)
    table.add_column("k-hat", justify="right", no_wrap=True)
    table.add_column("")
    for posterior, rates in zip(posteriors, drawn, strict=True):
        cells = ["" if math.isnan(of.mean) else " ± ".join(_cells(of)[:2]) for _, of, _ in rates.values()]
        k_hat = f"{posterior.k_hat:.2f}" if math.isfinite(posterior.k_hat) else ""
        table.add_row(f"{posterior.tree.attrs['q']:.4g}", *cells, k_hat, Text(posterior.status))
    heading(terminal, "Posteriors")
    terminal.table(table)
