"""Two-time maps of an angle: measured, fitted, and what is left."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from homodyne_cli._plot_style import degrees, heading
from homodyne_data import TwoTimeData
from homodyne_nlsq import OptimizationResult

_MOST_PIXELS = 400  # a panel is about this wide; more frames are averaged in blocks
_BAND = 50  # rows of pixels that are computed at once


@dataclass(frozen=True)
class Panels:
    """Maps of one angle as they are drawn: few pixels, so that those of all angles can be kept.

    Attributes
    ----------
    measured, fitted, residual : (n, n) float32
        Means over squares of frames, t1 along the rows; NaN where blank. The residual is in units of σ where
        that is known.
    span : (float, float)
        Fitted C2 (measured, without a fit), but for the lowest and highest 0.5 % of the points that count.
    sigma : float or None
        Typical noise of an entry.
    """

    measured: np.ndarray
    fitted: np.ndarray
    residual: np.ndarray
    span: tuple[float, float]
    sigma: float | None


def panels_of(one: TwoTimeData, fitted: np.ndarray) -> Panels:
    """Panels of data of one angle, with σ or without, and the fitted C2, (n_t, n_t)."""
    c2, mask = one.c2[0], one.angle_mask(0)
    sigma = one.sigma if one.sigma is None or np.ndim(one.sigma) == 0 else one.sigma[0]
    block = block_of(one.n_t)
    bands = []
    for start in range(0, one.n_t, _BAND * block):
        rows = slice(start, start + _BAND * block)
        # Where triangles repeat each other both are shown.
        shown = mask[rows] | mask[:, rows].T if one.symmetric else mask[rows]
        residual = c2[rows] - fitted[rows]
        if sigma is not None:
            scale = sigma[rows] if np.ndim(sigma) == 2 else sigma
            np.divide(residual, scale, out=residual, where=shown)
        bands.append([blocks(values, shown, block) for values in (c2[rows], fitted[rows], residual)])
    # A fit that could not begin has no maps.
    low, high = np.percentile((fitted if np.isfinite(fitted).all() else c2)[mask], (0.5, 99.5))
    return Panels(
        *(np.concatenate(panel).astype(np.float32) for panel in zip(*bands, strict=True)),
        span=(float(low), float(high)),
        sigma=None if sigma is None else float(np.median(sigma)),
    )


def block_of(n_t: int) -> int:
    """Frames along a side of the squares that are averaged."""
    return -(-n_t // _MOST_PIXELS)


class MapFigure:
    """Measured | fitted | residual, one angle at a time, with the same colour scales for all angles.

    Pairs that did not enter the fit are blank. The figure is laid out once and then only gets new pixels: a
    file can hold hundreds of maps.

    Parameters
    ----------
    panels : sequence of Panels
        Of every angle; without σ the residual is the plain difference.
    result : OptimizationResult
        The fit.

    Attributes
    ----------
    limits : (float, float)
        C2 at the ends of the scale that measured and fitted share.
    """

    def __init__(self, panels: Sequence[Panels], result: OptimizationResult) -> None:
        self._panels, self._result = panels, result
        self.limits = colour_limits(panels)
        self.figure = Figure(figsize=(10.2, 3.5))
        axes = self.figure.subplots(1, 3, sharex=True, sharey=True)
        t, first = result.t, panels[0]
        block, dt = block_of(len(t)), (t[-1] - t[0]) / (len(t) - 1)
        edges = (t[0] - dt / 2, t[0] + (len(first.measured) * block - 0.5) * dt)
        options = {"origin": "lower", "extent": (*edges, *edges), "aspect": "equal"}
        low, high = self.limits
        self._images = [
            panel.imshow(values.T, vmin=low, vmax=high, **options)
            for panel, values in zip(axes, (first.measured, first.fitted), strict=False)
        ]
        most = self._largest_residual(block)
        self._images.append(axes[2].imshow(first.residual.T, vmin=-most, vmax=most, cmap="RdBu_r", **options))
        for panel, caption in zip(axes, ("measured", "fitted", "residual"), strict=True):
            panel.set_title(caption)
            panel.set_xlabel("$t_1$ [s]")
            panel.set_facecolor("0.88")
            panel.xaxis.set_major_locator(MaxNLocator(5))
            panel.yaxis.set_major_locator(MaxNLocator(5))
            panel.spines[:].set_visible(False)
        axes[0].set_ylabel("$t_2$ [s]")
        self.figure.colorbar(self._images[1], ax=axes[:2], label="$C_2$", extend="both", pad=0.02)
        label = "measured − fitted" if first.sigma is None else "(measured − fitted) / σ"
        averaged = "" if block == 1 else f", mean of {block} x {block} frames"
        self.figure.colorbar(self._images[2], ax=axes[2], label=label + averaged, extend="both", pad=0.03)
        self.figure.suptitle(heading(result, "φ = −180.00°"), fontsize=10)
        engine = self.figure.get_layout_engine()
        if engine is not None:
            engine.execute(self.figure)
            self.figure.set_layout_engine("none")

    def show(self, angle: int) -> Figure:
        """The figure with the maps of one angle. It is the same figure every time."""
        panels = self._panels[angle]
        for image, values in zip(
            self._images, (panels.measured, panels.fitted, panels.residual), strict=True
        ):
            image.set_data(values.T)  # rows are t1: transposed, t1 runs to the right and t2 up
        phi = degrees(self._result.phi[angle], 2)
        self.figure.suptitle(heading(self._result, f"φ = {phi}"), fontsize=10)
        return self.figure

    def _largest_residual(self, block: int) -> float:
        """End of the residuals' scale, for all angles."""
        known = (np.abs(p.residual[np.isfinite(p.residual)]) for p in self._panels)
        spread = max((float(np.percentile(values, 99)) for values in known if values.size), default=0.0)
        if self._panels[0].sigma is None or block > 1:
            return spread or 1.0
        # At least ±3 sigma, so that pure noise does not look like structure.
        return max(3.0, float(np.ceil(spread)))


def colour_limits(panels: Sequence[Panels]) -> tuple[float, float]:
    """Ends of the C2 colour scale: what the fits span, widened by σ but not so far that the decay is lost."""
    low, high = min(p.span[0] for p in panels), max(p.span[1] for p in panels)
    span = max(high - low, 1e-3)
    noise = 0.0 if panels[0].sigma is None else float(np.median([p.sigma for p in panels]))
    margin = min(max(noise, 0.1 * span), 0.75 * span)
    return low - margin, high + margin


def blocks(values: np.ndarray, shown: np.ndarray, block: int) -> np.ndarray:
    """Mean of the shown entries over squares of frames.

    Parameters
    ----------
    values : (n_rows, n_t) array
        Rows of a map.
    shown : (n_rows, n_t) bool
        Which entries count.
    block : int
        Frames along a side of a square; the last squares may be cut.

    Returns
    -------
    (m, n) float64
        m = n_rows / block and n = n_t / block, rounded up; NaN where nothing is shown.
    """
    values = np.where(shown, values, 0.0)
    counts = shown.astype(np.float64)
    if block > 1:
        m, n = (-(-size // block) for size in values.shape)
        gaps = [(0, m * block - values.shape[0]), (0, n * block - values.shape[1])]
        values, counts = (
            np.pad(a, gaps).reshape(m, block, n, block).sum(axis=(1, 3)) for a in (values, counts)
        )
    return np.divide(values, counts, out=np.full(values.shape, np.nan), where=counts > 0)
