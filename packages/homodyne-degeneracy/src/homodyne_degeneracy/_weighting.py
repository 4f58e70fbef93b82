"""Layer 5: angles weighted by how much of the shear they see.

The phase that shear gives an angle is proportional to cos(φ₀ - φ), φ₀ the direction of the flow, and so is the sensitivity of C2 to it. With

    w(φ) = w_min + (1 - w_min) |cos(φ₀ - φ)|^α

angles along the flow count more. Such weights are not the inverse variances of the points: the error bars must say so
(`ShearSensitivityWeighting.meat`), χ² is reported without them, and of independent, correctly modelled points they are no better use.
"""

import numpy as np

from homodyne_degeneracy._config import ShearWeightingConfig
from homodyne_degeneracy.errors import DegeneracyError
from homodyne_model import joint_information, with_angle_weights


class ShearSensitivityWeighting:
    """Weights of the angles for a given direction of the flow.

    Parameters
    ----------
    phi : array_like, (n_phi,)
        Angles [deg].
    config : ShearWeightingConfig, optional
        Least weight, power and normalization.

    Examples
    --------
    >>> weighting = ShearSensitivityWeighting([0.0, 60.0, 90.0])
    >>> [round(float(w), 4) for w in weighting.weights(0.0)]
    [1.5385, 1.0, 0.4615]
    """

    def __init__(self, phi, config: ShearWeightingConfig | None = None) -> None:
        self.phi = np.array(phi, dtype=float)
        self.config = config or ShearWeightingConfig()

    def weights(self, phi0: float) -> np.ndarray:
        """Weights at a direction of the flow.

        Parameters
        ----------
        phi0 : float
            Direction of the flow [deg]; it repeats after 180.

        Returns
        -------
        (n_phi,)
            With ``normalize``, of mean 1, so that χ² keeps its size.

        Raises
        ------
        DegeneracyError
            If ``phi0`` is not finite.
        """
        if not np.isfinite(phi0):
            raise DegeneracyError(f"phi0 is {phi0!r}; expected an angle in degrees.")
        least = self.config.min_weight
        weights = least + (1 - least) * np.abs(np.cos(np.deg2rad(phi0 - self.phi))) ** self.config.alpha
        return weights / weights.mean() if self.config.normalize else weights

    def apply(self, gram, phi0: float) -> np.ndarray:
        """Gram matrices with the weights multiplied to them.

        The weights are to be frozen while a solver runs, and renewed as φ₀ moves: inside the objective they would reward directions of
        small weight.
        """
        return with_angle_weights(gram, self.weights(phi0))

    def change(self, phi0: float, new_phi0: float) -> float:
        """Largest change of a weight when the flow's direction moves: below a tolerance the weights have settled."""
        return float(np.abs(self.weights(new_phi0) - self.weights(phi0)).max())

    def meat(self, gram, contrast, phi0: float) -> np.ndarray:
        """Covariance of the weighted scores of independent points, for `homodyne_model.joint_covariance`.

        Parameters
        ----------
        gram : array_like, (n_phi, n_physical + 3, n_physical + 3)
            Without these weights.
        contrast : array_like, (n_phi,)
            Best contrasts.
        phi0 : float
            Direction of the flow [deg] that the weights were frozen at.

        Returns
        -------
        (size, size)
            Σ w² JᵀJ / σ², where the curvature is Σ w JᵀJ / σ².
        """
        return joint_information(with_angle_weights(gram, self.weights(phi0) ** 2), contrast)
