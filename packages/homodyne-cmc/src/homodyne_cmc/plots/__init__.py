"""Plots of a posterior, as Matplotlib figures that no display and no pyplot has seen; needs the extra ``homodyne-cmc[plots]``.

Look and fonts are those of Matplotlib's settings at the call.

Examples
--------
>>> from homodyne_cmc import CMCResult
>>> from homodyne_cmc import plots
>>> def save(path, folder):
...     for name, draw in plots.figures(CMCResult.load(path)):
...         draw().savefig(folder / f"{name}.png")
"""

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec as _find_spec
from typing import TYPE_CHECKING as _TYPE_CHECKING

import numpy as np

if _find_spec("matplotlib") is None:
    raise ImportError(
        "homodyne_cmc.plots needs Matplotlib, which is not installed: install homodyne-cmc[plots]."
    )

from matplotlib.figure import Figure

from homodyne_cmc.plots._curves import predictive_cuts, rates
from homodyne_cmc.plots._parameters import forest, pair
from homodyne_cmc.plots._prior import prior_posterior
from homodyne_cmc.plots._shards import certificate, shard_rank, shard_trace

if _TYPE_CHECKING:
    from homodyne_cmc._result import CMCResult

__all__ = [
    "certificate",
    "figures",
    "forest",
    "pair",
    "predictive_cuts",
    "prior_posterior",
    "rates",
    "shard_rank",
    "shard_trace",
]


def figures(result: "CMCResult") -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Every plot that a result has material for.

    Parameters
    ----------
    result : CMCResult
        Also one that is not certified or failed, of which less can be drawn.

    Yields
    ------
    name : str
        For a file, without ending.
    draw : callable
        Makes the figure.
    """
    drawn = result.posterior.sizes["draw"] > 0
    sampled = "shards" in result.tree
    weighted = bool(np.isfinite(result.tree["certificate"]["log_weight"].values).any())
    for draw, has_material in (
        (forest, drawn),
        (pair, drawn),
        (prior_posterior, drawn),
        (predictive_cuts, "posterior_predictive" in result.tree),
        (rates, drawn),
        (shard_trace, sampled),
        (shard_rank, sampled),
        (certificate, weighted),
    ):
        if has_material:
            yield draw.__name__, partial(draw, result)
