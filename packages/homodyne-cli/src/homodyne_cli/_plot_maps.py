"""Two-time maps of an angle: measured, fitted, and what is left."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from homodyne_cli._plot_style import degrees, heading
from homodyne_data import TwoTimeData
from homodyne_nlsq import OptimizationResult

_MOST_PIXELS = 400  # a panel is about this wide; more frames are averaged in blocks


class MapFigure:
    """Measured | fitted | residual, one angle at a time, with the same colour scales for all angles.

    Pairs that did not enter the fit are blank. The figure is laid out once and then only gets new pixels: a
    file can hold hundreds of maps.

    Parameters
    ----------
    data : TwoTimeData
        What was fitted; without σ the residual is the plain difference.
    result : OptimizationResult
        The fit.
    fitted : (n_phi, n_t, n_t) array
        Fitted C2.

    Attributes
    ----------
    limits : (float, float)
        C2 at the ends of the scale that measured and fitted share.
    """

    def __init__(self, data: TwoTimeData, result: OptimizationResult, fitted: np.ndarray) -> None:
        self._data, self._result, self._fitted = data, result, fitted
        self._block = -(-data.n_t // _MOST_PIXELS)
        self.limits = colour_limits(data, fitted)
        self.figure = Figure(figsize=(10.2, 3.5))
        axes = self.figure.subplots(1, 3, sharex=True, sharey=True)
        panels = self._panels(0)
        edges = (data.t[0] - data.dt / 2, data.t[0] + (panels[0].shape[0] * self._block - 0.5) * data.dt)
        options = {"origin": "lower", "extent": (*edges, *edges), "aspect": "equal"}
        low, high = self.limits
        self._images = [panel.imshow(panels[0].T, vmin=low, vmax=high, **options) for panel in axes[:2]]
        most = self._largest_residual()
        self._images.append(axes[2].imshow(panels[2].T, vmin=-most, vmax=most, cmap="RdBu_r", **options))
        for panel, caption in zip(axes, ("measured", "fitted", "residual"), strict=True):
            panel.set_title(caption)
            panel.set_xlabel("$t_1$ [s]")
            panel.set_facecolor("0.88")
            panel.xaxis.set_major_locator(MaxNLocator(5))
            panel.yaxis.set_major_locator(MaxNLocator(5))
            panel.spines[:].set_visible(False)
        axes[0].set_ylabel("$t_2$ [s]")
        self.figure.colorbar(self._images[1], ax=axes[:2], label="$C_2$", extend="both", pad=0.02)
        label = "measured − fitted" if data.sigma is None else "(measured − fitted) / σ"
        averaged = "" if self._block == 1 else f", mean of {self._block} x {self._block} frames"
        self.figure.colorbar(self._images[2], ax=axes[2], label=label + averaged, extend="both", pad=0.03)
        self.figure.suptitle(heading(result, "φ = −180.00°"), fontsize=10)
        engine = self.figure.get_layout_engine()
        if engine is not None:
            engine.execute(self.figure)
            self.figure.set_layout_engine("none")

    def show(self, angle: int) -> Figure:
        """The figure with the maps of one angle. It is the same figure every time."""
        for image, values in zip(self._images, self._panels(angle), strict=True):
            image.set_data(values.T)  # rows are t1: transposed, t1 runs to the right and t2 up
        self.figure.suptitle(heading(self._result, f"φ = {degrees(self._data.phi[angle], 2)}"), fontsize=10)
        return self.figure

    def _panels(self, angle: int) -> list[np.ndarray]:
        """Measured, fitted and residual of an angle as they are drawn, t1 along the rows, NaN where blank."""
        shown = _shown(self._data, angle)
        measured, fitted = self._data.c2[angle], self._fitted[angle]
        residual = _residual(self._data, fitted, angle, shown)
        return [blocks(values, shown, self._block) for values in (measured, fitted, residual)]

    def _largest_residual(self) -> float:
        """End of the residuals' scale, for all angles."""
        spread = max(np.nanpercentile(np.abs(self._panels(a)[2]), 99) for a in range(self._data.n_phi))
        if self._data.sigma is None or self._block > 1:
            return float(spread) or 1.0
        # At least ±3 sigma, so that pure noise does not look like structure.
        return max(3.0, float(np.ceil(spread)))


def colour_limits(data: TwoTimeData, fitted: np.ndarray) -> tuple[float, float]:
    """Ends of the C2 colour scale: what the fits span, widened by σ but not so far that the decay is lost.

    Parameters
    ----------
    data : TwoTimeData
        What was fitted.
    fitted : (n_phi, n_t, n_t) array
        Fitted C2.
    """
    lows, highs = [], []
    for angle in range(data.n_phi):
        low, high = np.percentile(fitted[angle][data.angle_mask(angle)], (0.5, 99.5))
        lows.append(low)
        highs.append(high)
    low, high = float(min(lows)), float(max(highs))
    span = max(high - low, 1e-3)
    noise = 0.0 if data.sigma is None else float(np.median(data.sigma))
    margin = min(max(noise, 0.1 * span), 0.75 * span)
    return low - margin, high + margin


def blocks(values: np.ndarray, shown: np.ndarray, block: int) -> np.ndarray:
    """Mean of the shown entries over squares of frames.

    Parameters
    ----------
    values : (n_t, n_t) array
        A map.
    shown : (n_t, n_t) bool
        Which entries count.
    block : int
        Frames along a side of a square; the last squares may be cut.

    Returns
    -------
    (n, n) float64
        n = n_t / block, rounded up; NaN where nothing is shown.
    """
    values = np.where(shown, values, 0.0)
    counts = shown.astype(np.float64)
    if block > 1:
        n = -(-values.shape[0] // block)
        gap = n * block - values.shape[0]
        values, counts = (
            np.pad(a, (0, gap)).reshape(n, block, n, block).sum(axis=(1, 3)) for a in (values, counts)
        )
    return np.divide(values, counts, out=np.full(values.shape, np.nan), where=counts > 0)


def _residual(data: TwoTimeData, fitted: np.ndarray, angle: int, shown: np.ndarray) -> np.ndarray:
    """(measured - fitted) / σ of one angle, (n_t, n_t); the plain difference without σ; 0 where not shown."""
    difference = np.where(shown, data.c2[angle] - fitted, 0.0)
    sigma = 1.0 if data.sigma is None else data.sigma if np.ndim(data.sigma) == 0 else data.sigma[angle]
    return np.divide(difference, sigma, out=np.zeros(shown.shape), where=shown)


def _shown(data: TwoTimeData, angle: int) -> np.ndarray:
    """Points of an angle to draw, (n_t, n_t): those that count, and mirror images if maps are symmetric."""
    mask = data.angle_mask(angle)
    return mask | mask.T if data.symmetric else mask
