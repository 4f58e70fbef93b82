"""The files of a posterior: the draws, their summary as JSON and CSV, the plots."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from homodyne_cli._files import write_text
from homodyne_cli._plot_style import plot_style, save_figure
from homodyne_cli._posterior_summary import PROBABILITIES, Derived, Marginal, marginals, scalings
from homodyne_cli._tables import cell, write_table
from homodyne_nlsq import OptimizationResult

if TYPE_CHECKING:
    from homodyne_cmc import CMCResult

_SCHEMA = {"name": "homodyne-posterior", "version": 1}
_SHARDS = ("r_hat", "ess_bulk", "ess_tail", "divergences", "tree_depth", "steps", "bfmi", "seconds")


def write_posterior(posterior: "CMCResult", fit: OptimizationResult | None, directory: Path) -> list[Path]:
    """Write ``posterior.nc``, ``.json`` and ``.csv``; files of those names are replaced.

    Parameters
    ----------
    posterior : CMCResult
        What was sampled.
    fit : OptimizationResult or None
        What it started from.
    directory : Path
        Existing folder.

    Returns
    -------
    list of Path
        The files.
    """
    files = [directory / f"posterior.{ending}" for ending in ("nc", "json", "csv")]
    posterior.save(files[0], overwrite=True)
    content = json.dumps(_plain(to_mapping(posterior, fit)), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(files[1], content + "\n")
    _write_table(files[2], posterior)
    return files


@plot_style()
def plot_posterior(
    posterior: "CMCResult", directory: Path, formats: Sequence[str], *, advance: Callable[[str], None]
) -> list[Path]:
    """Draw everything that a posterior has material for; files of the names are replaced.

    Parameters
    ----------
    posterior : CMCResult
        What was sampled.
    directory : Path
        Existing folder.
    formats : sequence of {"png", "pdf", "svg"}
        File formats of each plot.
    advance : callable (text) -> None
        Called before each figure.

    Returns
    -------
    list of Path
        The files.
    """
    from homodyne_cmc.plots import figures

    written = []
    for name, draw in figures(posterior):
        advance(name)
        written += save_figure(draw(), directory, f"posterior_{name}", formats)
    return written


def to_mapping(posterior: "CMCResult", fit: OptimizationResult | None) -> dict[str, object]:
    """The summary as plain values; numbers may be NaN."""
    attrs, tree = posterior.tree.attrs, posterior.tree
    certificate = tree["certificate"]
    content: dict[str, object] = {
        "schema": _SCHEMA,
        "status": posterior.status,
        "message": posterior.message,
        "warnings": posterior.warnings,
        "method": posterior.method,
        "analysis_mode": posterior.analysis_mode,
        "q": {"value": attrs["q"], "unit": "1/Å"},
        "n_points": posterior.n_points,
        "n_shards": posterior.n_shards,
        "n_draws": posterior.posterior.sizes["draw"],
        "noise": attrs["noise"],
        "per_angle_mode": attrs["per_angle_mode"],
        "parameters": [_parameter(one) for one in marginals(posterior)],
        "angles": _angles(posterior),
        "certificate": {
            "k_hat": posterior.k_hat,
            "ess": posterior.ess,
            "rounds": {name: certificate[name].values for name in ("k_hat", "ess", "moved")},
        },
        "shards": None,
        "consensus": None,
        "nlsq": None if fit is None else _start(fit),
        "seconds": posterior.seconds,
        "settings": posterior.settings,
        "versions": json.loads(attrs["versions"]),
    }
    if "shards" in tree:
        shards = tree["shards"]
        content["shards"] = {
            "coordinates": shards["coordinate"].values,
            **{name: shards[name].values for name in _SHARDS},
        }
    if "consensus" in tree:
        said = tree["consensus"].attrs
        content["consensus"] = {name: said[name] for name in ("q", "q_dof", "q_p")}
    return content


def _parameter(one: Marginal) -> dict[str, object]:
    prior = {"type": one.prior.type, "mu": one.prior.mu, "sigma": one.prior.sigma, "sd": one.prior_sd}
    return {
        "name": one.name,
        "unit": one.unit,
        "mean": one.mean,
        "sd": one.sd,
        "robust_sd": one.robust_sd,
        "quantiles": _quantiles(one.quantiles),
        "widened_quantiles": None if one.widened is None else _quantiles(one.widened),
        "share_at_bounds": {"lower": one.at_lower, "upper": one.at_upper},
        "prior": prior,
        "state": one.state,
    }


def _quantiles(values: np.ndarray) -> dict[str, float]:
    return {f"{probability:g}": value for probability, value in zip(PROBABILITIES, values, strict=True)}


def _angles(posterior: "CMCResult") -> list[dict[str, object]]:
    found = scalings(posterior)
    return [
        {"phi": phi}
        | {
            name: {"mean": of.mean[a], "sd": of.sd[a], "quantiles": _quantiles(of.quantiles[:, a])}
            for name, of in found.items()
        }
        for a, phi in enumerate(_phi(posterior))
    ]


def _start(fit: OptimizationResult) -> dict[str, object]:
    """The fit in a few words; its own file has it all."""
    return {
        "convergence_status": fit.convergence_status,
        "quality_flag": fit.quality_flag,
        "reduced_chi_squared": fit.reduced_chi_squared,
        "values": fit.physical,
    }


def _plain(value: object) -> object:
    """As JSON has it: lists, plain numbers, null where a number is not finite."""
    match value:
        case dict():
            return {str(name): _plain(item) for name, item in value.items()}
        case np.ndarray():
            return _plain(value.tolist())
        case list() | tuple():
            return [_plain(item) for item in value]
        case np.generic():
            return _plain(value.item())
        case float():
            return value if math.isfinite(value) else None
        case _:
            return value


def _write_table(path: Path, posterior: "CMCResult") -> None:
    """Write every parameter, contrasts and offsets (and σ, where it was inferred) angle by angle."""
    rows = []
    percent = [f"{100 * probability:g}%" for probability in PROBABILITIES]
    # Only physical parameters are drawn widened too.
    widened = [f"widened_{name}" for name in percent] if posterior.robust_posterior is not None else []
    for one in marginals(posterior):
        numbers = [one.mean, one.sd, one.robust_sd, *one.quantiles]
        numbers += () if one.widened is None else list(one.widened)
        rows.append((one.name, "", *(cell(number) for number in numbers), one.unit, one.state))
    for name, of in scalings(posterior).items():
        rows += [_scaling_row(name, a, phi, of, len(widened)) for a, phi in enumerate(_phi(posterior))]
    header = ("name", "phi_deg", "mean", "sd", "robust_sd", *percent, *widened, "unit", "state")
    write_table(path, header, rows)


def _scaling_row(name: str, angle: int, phi: float, of: Derived, n_empty: int) -> tuple[str, ...]:
    numbers = (of.mean[angle], of.sd[angle], math.nan, *of.quantiles[:, angle], *[math.nan] * n_empty)
    state = "drawn" if math.isfinite(of.mean[angle]) else "not sampled"
    return f"{name}_{angle}", cell(phi), *(cell(number) for number in numbers), "", state


def _phi(posterior: "CMCResult") -> np.ndarray:
    return posterior.tree["constant_data"]["phi"].values
