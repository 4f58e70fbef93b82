"""Look of the plots, and saving them: without pyplot, so no display and no figures kept behind the scenes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from homodyne_data import atomic_path
from homodyne_nlsq import OptimizationResult

MEASURED, FITTED = "#30638e", "#d1495b"
"""Colours of data and fits."""

_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.use_mathtext": True,
    "axes.formatter.limits": (-3, 4),
    "image.interpolation": "nearest",
    "savefig.dpi": 130,
    "figure.constrained_layout.use": True,
}


@contextmanager
def plot_style() -> Iterator[None]:
    """Our settings on Matplotlib's defaults, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def save_figure(figure: Figure, directory: Path, name: str, formats: Sequence[str]) -> list[Path]:
    """Save a figure in every format as ``directory/name.format``, atomically.

    Parameters
    ----------
    figure : Figure
        What to save.
    directory : Path
        Existing folder.
    name : str
        File name without ending.
    formats : sequence of {"png", "pdf", "svg"}
        File formats.

    Returns
    -------
    list of Path
        The files.
    """
    written = []
    for file_format in formats:
        path = directory / f"{name}.{file_format}"
        with atomic_path(path, overwrite=True) as temporary:
            figure.savefig(temporary, format=file_format)
        written.append(path)
    return written


def heading(result: OptimizationResult, *more: str) -> str:
    """Title of a plot: q, what is given beside it, and a warning where the fit did not converge."""
    parts = [f"$q$ = {result.q:.4g} Å$^{{-1}}$", *more]
    if result.convergence_status != "converged":
        parts.append(f"NOT CONVERGED ({result.convergence_status})")
    return ",  ".join(parts)


def degrees(angle: float, decimals: int) -> str:
    """Angle [deg] with a typographic minus and the degree sign."""
    return f"{angle:.{decimals}f}°".replace("-", "−")


def unit_label(unit: str) -> str:
    """Unit of the registry with typographic powers."""
    known: Mapping[str, str] = {"Å²/s": "Å$^2$ s$^{-1}$", "1/s": "s$^{-1}$", "deg": "°"}
    return known.get(unit, unit)
