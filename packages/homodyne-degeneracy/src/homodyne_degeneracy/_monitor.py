"""Layer 4: a watch on the gradient, to notice when contrast and offset move and the physics stands still.

The ratio ‖g_physical‖ / ‖g_scaling‖ is taken before the scaling is eliminated (afterwards its gradient is zero by construction), at
new physical parameters and the scaling of the iteration before, in coordinates in which every column of the Jacobian has norm one: bare
gradients would compare units.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from homodyne_degeneracy._config import GradientMonitoringConfig

# Gradients smaller than this share of the residuals are those of an optimum: their ratio says nothing.
_AT_REST = 1e-6


class MonitorAction(StrEnum):
    """What the fit shall do."""

    NONE = "none"
    WARN = "warn"
    HIERARCHICAL = "hierarchical"
    RESET = "reset"
    ABORT = "abort"


_DEEDS = {
    MonitorAction.WARN: "the fit goes on",
    MonitorAction.HIERARCHICAL: "the fit goes on in stages, the scaling frozen while the physical parameters move",
    MonitorAction.RESET: "the fit starts again from its start values, with one contrast and offset for all angles until it has converged",
    MonitorAction.ABORT: "the fit ends",
}


@dataclass(frozen=True)
class MonitorReport:
    """What the monitor saw in one iteration.

    Attributes
    ----------
    ratio : float
        Norm of the physical over that of the scaling gradient, in scaled coordinates; NaN where both vanish.
    consecutive : int
        Iterations in a row, this one included, with a ratio below the threshold.
    action : MonitorAction
        What the fit shall do now.
    sentence : str
        Empty without an action.
    """

    ratio: float
    consecutive: int
    action: MonitorAction
    sentence: str


def gradient_norms(
    gram, contrast, offset, *, basis=None, free_physical=None, free_scaling=None
) -> tuple[float, float]:
    """Norms of the physical and of the scaling gradient in scaled coordinates, as shares of the residuals' norm.

    Parameters
    ----------
    gram : array_like, (n_phi, n_physical + 3, n_physical + 3)
        From `homodyne_model.normal_equations`.
    contrast, offset : array_like, (n_phi,)
        The scaling before it is solved for.
    basis : array_like, (n_phi, n_coef), optional
        Of contrast and offset; every angle alone by default.
    free_physical : array_like of bool, (n_physical,), optional
        Physical parameters that vary; all by default.
    free_scaling : array_like of bool, (n_phi, 2), optional
        Contrasts and offsets that are neither fixed nor on a bound; all by default.

    Returns
    -------
    physical, scaling : float
        Each entry of a gradient is the cosine between residual and column, so they are between 0 and the root of their number.
    """
    gram, contrast = np.asarray(gram, dtype=float), np.asarray(contrast, dtype=float)
    n_phi, n_physical = len(gram), gram.shape[1] - 3
    basis = np.eye(n_phi) if basis is None else np.asarray(basis, dtype=float)
    free_physical = np.ones(n_physical, dtype=bool) if free_physical is None else np.asarray(free_physical)
    free_scaling = np.ones((n_phi, 2), dtype=bool) if free_scaling is None else np.asarray(free_scaling)
    # Residual as a combination of the columns [f, 1, C2 - 1].
    residual = np.stack([contrast, np.asarray(offset, dtype=float) - 1, np.full(n_phi, -1.0)], axis=1)
    size = np.sqrt(np.einsum("ak,akl,al->", residual, gram[:, -3:, -3:], residual))
    physical = np.einsum("a,akl,al->k", contrast, gram[:, :-3, -3:], residual)
    physical_norm = np.sqrt(np.einsum("a,akk->k", contrast**2, gram[:, :-3, :-3]))
    of_angles = np.einsum("akl,al->ak", gram[:, -3:-1, -3:], residual) * free_scaling
    scaling = basis.T @ of_angles
    scaling_norm = np.sqrt((basis**2).T @ np.einsum("akk->ak", gram[:, -3:-1, -3:-1]))
    if size == 0:
        return 0.0, 0.0
    return (
        float(np.linalg.norm(_over(physical, physical_norm)[free_physical]) / size),
        float(np.linalg.norm(_over(scaling, scaling_norm)) / size),
    )


def _over(gradient, norm):
    return np.divide(gradient, norm, out=np.zeros_like(gradient), where=norm > 0)


class GradientCollapseMonitor:
    """Counts iterations in which the physical gradient has collapsed beside that of the scaling.

    Parameters
    ----------
    config : GradientMonitoringConfig, optional
        Threshold, number of iterations and response.
    """

    def __init__(self, config: GradientMonitoringConfig | None = None) -> None:
        self.config = config or GradientMonitoringConfig()
        self.consecutive = 0

    def observe(self, gram, contrast, offset, **choices) -> MonitorReport:
        """Look at one iteration.

        Parameters
        ----------
        gram : array_like, (n_phi, n_physical + 3, n_physical + 3)
            At the new physical parameters.
        contrast, offset : array_like, (n_phi,)
            The scaling of the iteration before.
        **choices
            ``basis``, ``free_physical``, ``free_scaling`` of `gradient_norms`.

        Returns
        -------
        MonitorReport
            With the response once ``consecutive_triggers`` iterations in a row have collapsed; the count then starts again.
        """
        physical, scaling = gradient_norms(gram, contrast, offset, **choices)
        ratio = physical / scaling if scaling > 0 else np.inf if physical > 0 else np.nan
        # At an optimum both vanish, and rounding decides their ratio.
        collapsed = scaling > _AT_REST and ratio < self.config.ratio_threshold
        self.consecutive = self.consecutive + 1 if collapsed else 0
        count = self.consecutive
        if count < self.config.consecutive_triggers:
            return MonitorReport(ratio, count, MonitorAction.NONE, "")
        self.consecutive = 0
        action = MonitorAction(self.config.response)
        return MonitorReport(
            ratio,
            count,
            action,
            f"The gradient of the physical parameters has been below {self.config.ratio_threshold:g} of that of contrast and offset "
            f"for {count} iterations (now {ratio:.2g}): the scaling absorbs what belongs to the physics; {_DEEDS[action]}.",
        )
