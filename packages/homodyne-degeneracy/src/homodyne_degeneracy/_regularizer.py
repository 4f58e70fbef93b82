"""Layer 3: a penalty on the scatter of contrast and offset over the angles, adapted to the data.

For each of the two groups

    L = λ · CV² · MSE · n,     CV = standard deviation over mean of the group,  MSE · n = χ²,  λ = factor · target share / target CV²

so that at the target CV the penalty is the target share of χ². With the mean in the denominator and χ² frozen, L is a quadratic form of
the scaling, and the fit with it is as exact as without (`homodyne_model.ScalingPenalty`). The frozen values are renewed between fits.
"""

import numpy as np

from homodyne_degeneracy._config import RegularizationConfig
from homodyne_degeneracy.errors import DegeneracyError
from homodyne_model import ScalingPenalty

# Mode auto measures scatter against the mean where the mean is at least this many standard deviations away from zero.
_AWAY_FROM_ZERO = 3.0


class AdaptiveRegularizer:
    """Penalty on the scatter of contrasts and offsets.

    Parameters
    ----------
    config : RegularizationConfig, optional
        Mode, strength and targets.

    Examples
    --------
    >>> regularizer = AdaptiveRegularizer()
    >>> contrast, offset = [0.27, 0.33], [1.0, 1.0]  # CV of 0.1 and 0
    >>> round(regularizer.share(contrast, offset), 12)
    0.1
    >>> round(regularizer.penalty(contrast, offset, chi_squared=500.0).value(contrast, offset), 9)
    50.0
    """

    def __init__(self, config: RegularizationConfig | None = None) -> None:
        self.config = config or RegularizationConfig()

    @property
    def strength(self) -> float:
        """λ: share of χ² per squared scatter."""
        return self.config.lambda_ * self.config.target_contribution / self.config.target_cv**2

    def modes(self, contrast, offset) -> tuple[str, str]:
        """Whether the scatter of contrast and of offset is measured ``relative`` to its mean or ``absolute``."""
        if self.config.mode != "auto":
            return self.config.mode, self.config.mode
        return tuple(
            "relative"
            if abs(np.mean(group)) >= _AWAY_FROM_ZERO * np.std(group) and np.mean(group)
            else "absolute"
            for group in (contrast, offset)
        )

    def share(self, contrast, offset) -> float:
        """The penalty as a share of χ²: λ times the sum of the squared scatters.

        Raises
        ------
        DegeneracyError
            In mode ``relative``, if a mean is zero.
        """
        return self.penalty(contrast, offset, 1.0).value(contrast, offset)

    def penalty(self, contrast, offset, chi_squared: float) -> ScalingPenalty:
        """The penalty with mean and χ² frozen.

        Parameters
        ----------
        contrast, offset : array_like, (n_phi,)
            Whose means are frozen; dimensionless.
        chi_squared : float
            Weighted χ² without a penalty.

        Returns
        -------
        ScalingPenalty
            Its value at the same contrasts and offsets is ``share`` times χ².

        Raises
        ------
        DegeneracyError
            In mode ``relative``, if a mean is zero; if χ² is not a number of at least 0.
        """
        if not (np.isfinite(chi_squared) and chi_squared >= 0):
            raise DegeneracyError(f"chi_squared is {chi_squared!r}; expected a number of at least 0.")
        n = len(contrast)
        deviation = (np.eye(n) - 1 / n) / n  # variance as a quadratic form
        matrix = np.zeros((2 * n, 2 * n))
        for k, (name, group, mode) in enumerate(
            zip(("contrast", "offset"), (contrast, offset), self.modes(contrast, offset), strict=True)
        ):
            mean = float(np.mean(group))
            if mode == "relative" and mean == 0:
                raise DegeneracyError(
                    f"the mean of {name} is 0, so it has no relative scatter: take mode 'absolute' or 'auto'."
                )
            scale = mean**2 if mode == "relative" else 1.0
            part = slice(k * n, (k + 1) * n)
            matrix[part, part] = self.strength * chi_squared / scale * deviation
        return ScalingPenalty(matrix, np.repeat([np.mean(contrast), np.mean(offset)], n))
