"""What the plots of a posterior have in common: colours, headings, axes of parameters, and draws about one image of the direction."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from homodyne_model import PARAMETERS

POSTERIOR, ROBUST, FIT, CONSENSUS, PRIOR = "#30638e", "#7fa8c9", "#d1495b", "0.45", "#8a817c"
"""Colours of the posterior, of the widened one, of the fit that it began from, of the shards before the certificate, and of the prior."""
LIMIT, MUTED = "#d1495b", "0.6"
"""Colours of what must not be passed, and of what stands behind."""
CENTRAL = (0.025, 0.16, 0.5, 0.84, 0.975)
"""Ends of the 95 % interval, of the 68 % interval, and the median."""

_STATUS = {"not certified": "NOT CERTIFIED", "failed": "FAILED"}
_UNITS: Mapping[str, str] = {"Å²/s": "Å$^2$ s$^{-1}$", "1/s": "s$^{-1}$", "deg": "°"}


def heading(result, *more: str) -> str:
    """Title of a plot: q, method and shards, a warning where the result is not certified, and what is given beside it."""
    shards = f", {result.n_shards} shards" if result.n_shards > 1 else ""
    parts = [f"$q$ = {result.tree.attrs['q']:.4g} Å$^{{-1}}$", f"method {result.method}{shards}"]
    if result.status in _STATUS:
        parts.append(_STATUS[result.status])
    return ";  ".join([*parts, *more])


def titled(figure: Figure, result, *more: str) -> Figure:
    """The figure with its heading."""
    color = {} if result.status == "certified" else {"color": LIMIT}
    figure.suptitle(heading(result, *more), fontsize="medium", x=0.01, ha="left", **color)
    return figure


def unit_label(unit: str) -> str:
    """Unit of the registry with typographic powers."""
    return _UNITS.get(unit, unit)


def degrees(angle: float) -> str:
    """Angle [deg] with a typographic minus and the degree sign, to a tenth where it has one."""
    return f"{round(float(angle), 1):g}°".replace("-", "−")


def number(value: float) -> str:
    """A number in three digits, with a typographic power of ten."""
    if not np.isfinite(value):
        return "∞" if value > 0 else "−∞"
    mantissa, _, power = f"{value:.3g}".partition("e")
    if not power:
        return mantissa.replace("-", "−")
    times = {"1": "", "-1": "-"}.get(mantissa, rf"{mantissa} \times ")
    return rf"${times}10^{{{int(power)}}}$"


@dataclass(frozen=True)
class ParameterAxis:
    """Axis of a parameter, whose power of ten stands in the label.

    Attributes
    ----------
    name : str
        In the registry.
    power : int
        Values are divided by ten to that power.
    """

    name: str
    power: int

    @classmethod
    def of(cls, name: str, values) -> "ParameterAxis":
        """An axis for values; those of usual size keep it, whatever a few of them are."""
        largest = float(np.quantile(np.abs(values), 0.9))
        usual = largest == 0 or name == "phi0" or 1e-2 <= largest < 1e4
        return cls(name, 0 if usual else int(np.floor(np.log10(largest))))

    @property
    def symbol(self) -> str:
        """The parameter's symbol."""
        return f"${PARAMETERS[self.name].latex}$"

    @property
    def label(self) -> str:
        """Symbol with power and unit."""
        unit = unit_label(PARAMETERS[self.name].unit)
        power = f"$10^{{{self.power}}}$" if self.power else ""
        inside = " ".join(part for part in (power, unit) if part)
        return self.symbol + (f" [{inside}]" if inside else "")

    def __call__(self, values):
        """Values on the axis."""
        return np.asarray(values, dtype=float) / 10.0**self.power


def draws_by_name(result) -> dict[str, np.ndarray]:
    """Draws (n_draws,) of every physical parameter that was free, the direction of the flow about one image.

    Raises
    ------
    ValueError
        If the result has no draws.
    """
    draws = {name: result.values(name) for name in result.physical_names if name not in result.fixed}
    if not len(draws["D0"]):
        raise ValueError(
            f"the result has no draws of the posterior ({result.status}: {result.message}); expected some to plot."
        )
    return draws


def core_of(values) -> tuple[float, float]:
    """Range of draws without what lies far beyond their 95 %: a heavy tail would leave no room for the rest."""
    low, q025, median, q975, high = np.quantile(values, (0, 0.025, 0.5, 0.975, 1))
    reach = 2 * (q975 - q025)
    return max(low, median - reach), min(high, median + reach)


def beside(value, center: float, name: str):
    """The value; of the direction of the flow, its image next to ``center`` [deg]."""
    value = np.asarray(value, dtype=float)
    return value - 180 * np.round((value - center) / 180) if name == "phi0" else value


def group(result, name: str, why: str):
    """A group of the tree.

    Raises
    ------
    ValueError
        If the result has none.
    """
    if name not in result.tree:
        raise ValueError(f"the result has no group {name!r}: {why}.")
    return result.tree[name].dataset


def of_parameter(result, group_name: str, variable: str, name: str) -> float | None:
    """A number of a physical parameter in a group such as ``warm_start``; None where there is none."""
    if group_name not in result.tree or variable not in result.tree[group_name]:
        return None
    value = float(result.tree[group_name][variable].sel(parameter=name))
    return value if np.isfinite(value) else None
