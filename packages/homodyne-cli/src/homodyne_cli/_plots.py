"""The plots of a fit and of a series of fits, as files."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from homodyne_cli._angles import fitted_map, one_angle
from homodyne_cli._plot_cuts import LagCut, lag_cut, lag_figure
from homodyne_cli._plot_maps import MapFigure, Panels, panels_of
from homodyne_cli._plot_parameters import SummaryPoint, against_q_figure, curves_figure, scaling_figure
from homodyne_cli._plot_style import plot_style, save_figure
from homodyne_data import TwoTimeData, TwoTimeStream
from homodyne_nlsq import OptimizationResult

_PANELS_PER_PAGE = 30


@plot_style()
def plot_fit(
    data: TwoTimeData | TwoTimeStream,
    result: OptimizationResult,
    directory: Path,
    *,
    kinds: Iterable[str] = ("maps", "lag_cuts", "curves", "scaling"),
    formats: Sequence[str] = ("png",),
    advance: Callable[[str], None] | None = None,
) -> list[Path]:
    """Draw the plots of one fit.

    Parameters
    ----------
    data : TwoTimeData or TwoTimeStream
        What was fitted. Maps in a file are read once, one after the other.
    result : OptimizationResult
        The fit.
    directory : Path
        Existing folder for the files.
    kinds : iterable of {"maps", "lag_cuts", "curves", "scaling"}
        Which plots.
    formats : sequence of {"png", "pdf", "svg"}
        File formats of each.
    advance : callable (text) -> None, optional
        Called before each angle is looked at, and before each figure with its name and number.

    Returns
    -------
    list of Path
        The files, in the order drawn.
    """
    kinds = set(kinds)
    say = advance or (lambda _: None)
    panels: list[Panels] = []
    cuts: list[LagCut] = []
    if kinds & {"maps", "lag_cuts"}:
        for angle in range(data.n_phi):
            say(f"maps ({angle + 1} of {data.n_phi})")
            one, fitted = one_angle(data, angle, result), fitted_map(result, angle)
            if "maps" in kinds:
                panels.append(panels_of(one, fitted))
            if "lag_cuts" in kinds:
                cuts.append(lag_cut(one, fitted))
    figures: list[tuple[str, Callable[[], Figure]]] = []
    if panels:
        maps = MapFigure(panels, result)
        figures += [(map_name(a, result.phi), partial(maps.show, a)) for a in range(len(panels))]
    if cuts:
        pages = [range(len(cuts))[k : k + _PANELS_PER_PAGE] for k in range(0, len(cuts), _PANELS_PER_PAGE)]
        for number, page in enumerate(pages, start=1):
            name = "lag_cuts" if len(pages) == 1 else f"lag_cuts_{number}"
            figures.append((name, partial(lag_figure, cuts, result, page)))
    if "curves" in kinds:
        figures.append(("curves", partial(curves_figure, result)))
    if "scaling" in kinds:
        figures.append(("scaling", partial(scaling_figure, result)))

    written = []
    for number, (name, draw) in enumerate(figures, start=1):
        say(f"{name} ({number} of {len(figures)})")
        written += save_figure(draw(), directory, name, formats)
    return written


def map_name(angle: int, phi: np.ndarray) -> str:
    """File name, without ending, of an angle's maps: unique by the index even where angles agree to 0.01°."""
    width = len(str(max(phi.size - 1, 10)))
    return f"map_{angle:0{width}d}_phi_{phi[angle]:+.2f}deg"


@plot_style()
def plot_against_q(
    points: Sequence[SummaryPoint],
    name: str,
    directory: Path,
    formats: Sequence[str] = ("png",),
    *,
    posterior: Sequence[SummaryPoint] = (),
) -> list[Path]:
    """Draw a physical parameter against q.

    Parameters
    ----------
    points : sequence of SummaryPoint
        Of fits; at least one, or one of `posterior`.
    name : str
        Parameter, a key of `homodyne_model.PARAMETERS`; also part of the file name.
    directory : Path
        Existing folder for the file.
    formats : sequence of {"png", "pdf", "svg"}
        File formats.
    posterior : sequence of SummaryPoint
        Of posteriors.

    Returns
    -------
    list of Path
        The files.
    """
    return save_figure(against_q_figure(points, name, posterior), directory, f"{name}_vs_q", formats)
