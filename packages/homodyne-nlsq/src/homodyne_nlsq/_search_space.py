"""The coordinates of a global search: rates in the middle of the window rather than at 1 s.

A power law plus a constant, r(t) = r0 t^p + r_off, is a long narrow valley in its natural parameters, which 100 generations do not follow to its
end. Where all three are free it is searched in

    log J, p, log(J / P)        P = r0 t_ref^p,  J = P + r_off

with t_ref = √(dt · t_max) (compare `homodyne_model.RateCoordinates`): the total rate between what the map can resolve, the exponent between its
bounds, and the total over the power part. Parameters that leave their bounds in this way are put back on them. What is left is searched as it is, on a
logarithmic scale where the bounds are positive and two decades apart.
"""

import numpy as np

from homodyne_model import TwoTimeModel
from homodyne_nlsq._config import NLSQConfig
from homodyne_nlsq._search_settings import search_box, turns_freely

# Decay times from a third of a frame to 30 windows, and shear phases over the window from 0.1 to 100 can be resolved.
_FASTEST, _SLOWEST = 3.0, 1 / 30
_PHASES = (0.1, 100.0)
# Total rate over its power part: offsets from minus the total to all of it but a fiftieth.
_TOTAL_OVER_POWER = (0.5, 50.0)
_BLOCKS = (slice(0, 3), slice(3, 6))
_DECADES = 100.0


class SearchSpace:
    """The free physical parameters of a fit, in the coordinates of a search.

    Parameters
    ----------
    model : TwoTimeModel
        Says what can be resolved.
    config : NLSQConfig
        Has the bounds.
    fixed : (n_physical,) bool
        Parameters that keep their value.
    values : (n_physical,)
        The values of fixed parameters.

    Attributes
    ----------
    names : tuple of str
        Of the physical parameters.
    bounds : (2, d)
        Of the coordinates.
    log_scale : (d,) bool
        Which of them are natural parameters on a logarithmic scale.
    """

    def __init__(self, model: TwoTimeModel, config: NLSQConfig, fixed, values) -> None:
        fixed = np.asarray(fixed, dtype=bool)
        self.names = model.layout.physical_names
        self._values = np.array(values, dtype=float)
        self._free = np.flatnonzero(~fixed)
        self._natural = search_box(config)
        self._turns = turns_freely(config)
        self._t_ref = model.t_middle
        resolved = (_resolved_diffusion(model), _resolved_shear(model))
        self._rates = []
        box = self._natural.copy()
        for block, (slowest, fastest) in zip(_BLOCKS[: len(box) // 3], resolved, strict=False):
            slowest, fastest = self._within_bounds(block, slowest, fastest)
            if not fixed[block].any() and slowest < fastest:
                self._rates.append(block)
                box[block.start] = np.log([slowest, fastest])
                box[block.stop - 1] = np.log(_TOTAL_OVER_POWER)
        box = box[self._free]
        natural = np.ones(len(fixed), dtype=bool)
        for block in self._rates:
            natural[block] = False
        self.bounds = box.T
        self.log_scale = natural[self._free] & (box[:, 0] > 0) & (box[:, 1] >= _DECADES * box[:, 0])

    def _within_bounds(self, block: slice, slowest: float, fastest: float) -> tuple[float, float]:
        """Total rates that can be resolved and that the bounds admit."""
        (lower, upper), exponents, offsets = self._natural[block]
        powers = self._t_ref**exponents
        least, most = lower * powers.min() + offsets[0], upper * powers.max() + offsets[1]
        return max(slowest, least), min(fastest, most)

    def wrapped(self, physical) -> np.ndarray:
        """The same parameters with the direction of the flow within the half turn that is searched."""
        physical = np.array(physical, dtype=float)
        if self._turns:
            physical[..., 6] = (physical[..., 6] + 90) % 180 - 90
        return physical

    def physical(self, points) -> np.ndarray:
        """Physical parameters (..., n_physical) at points (..., d)."""
        points = np.asarray(points, dtype=float)
        physical = np.broadcast_to(self._values, (*points.shape[:-1], len(self._values))).copy()
        physical[..., self._free] = points
        for block in self._rates:
            log_total, exponent, log_ratio = np.moveaxis(physical[..., block], -1, 0).copy()
            power = np.exp(log_total - log_ratio)
            physical[..., block.start] = power * self._t_ref**-exponent
            physical[..., block.stop - 1] = np.exp(log_total) - power
        inside = np.clip(physical, *self._natural.T)
        physical[..., self._free] = inside[..., self._free]
        return physical

    def point(self, physical) -> np.ndarray:
        """The point (d,) of physical parameters (n_physical,), or one beside it within the bounds of the search."""
        values = self.wrapped(physical)
        for block in self._rates:
            rate, exponent, offset = values[block].copy()
            power = rate * self._t_ref**exponent
            total = power + offset
            # A total that is not positive has no coordinates; the slowest one is next to it.
            least = np.exp(self.bounds[0, np.searchsorted(self._free, block.start)])
            total = max(total, least)
            values[block] = np.log(total), exponent, np.log(total / power) if power > 0 else np.inf
        return np.clip(values[self._free], *self.bounds)

    def named(self, physical) -> dict[str, float]:
        """Parameters by name."""
        return dict(zip(self.names, np.asarray(physical, dtype=float).tolist(), strict=True))


def _resolved_diffusion(model: TwoTimeModel) -> tuple[float, float]:
    window = model.t[-1] - model.t[0]
    return _SLOWEST / (model.q**2 * window), _FASTEST / (model.q**2 * model.dt)


def _resolved_shear(model: TwoTimeModel) -> tuple[float, float]:
    if not model.sheared:
        return 1.0, 1.0
    phase = model.kernel.scale * model.q * model.L * (model.t[-1] - model.t[0])
    return _PHASES[0] / phase, _PHASES[1] / phase
