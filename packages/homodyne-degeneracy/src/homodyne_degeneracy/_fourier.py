"""Layer 1: contrast and offset of all angles as truncated Fourier series in the angle.

However many angles there are, order m leaves 2 (2m + 1) parameters: 10 for order 2.
"""

import numpy as np

from homodyne_degeneracy.errors import DegeneracyError
from homodyne_model import ModelError, ScalingBasis


class FourierReparameterizer:
    """Between contrasts and offsets of the angles and the coefficients of their Fourier series.

    The series are contrast(φ) = c₀ + Σ_l [a_l cos(lφ) + b_l sin(lφ)] and the same for the offset, with a period of 360 degrees
    (`homodyne_model.ScalingBasis` says why).

    Parameters
    ----------
    phi : array_like, (n_phi,)
        Angles [deg].
    order : int
        Highest harmonic; 2 order + 1 different directions are needed.

    Raises
    ------
    DegeneracyError
        If the angles do not determine the coefficients.

    Notes
    -----
    A fit needs no detour over coefficients: `homodyne_model.compress` takes ``matrix`` as its basis and keeps bounds at every angle.
    This class is for what comes before and after: describing given scaling by a series and its scatter, and series by their
    values anywhere.

    Examples
    --------
    >>> series = FourierReparameterizer([0.0, 72.0, 144.0, 216.0, 288.0, 300.0], order=2)
    >>> series.n_parameters, series.names[:3]
    (10, ('contrast_mean', 'contrast_cos1', 'contrast_sin1'))
    >>> coefficients = series.to_coefficients([0.3] * 6 + [1.1] * 6)
    >>> [round(float(c), 12) + 0.0 for c in coefficients[[0, 1, 5]]]
    [0.3, 0.0, 1.1]
    """

    def __init__(self, phi, order: int = 2) -> None:
        self.phi = np.array(phi, dtype=float)
        try:
            self.basis = ScalingBasis("fourier", order)
            self.matrix = self.basis.matrix(self.phi)
        except ModelError as error:
            raise DegeneracyError(str(error)) from error
        self._both = np.kron(np.eye(2), self.matrix)
        self._inverse = np.linalg.pinv(self._both)

    @property
    def n_parameters(self) -> int:
        """Coefficients of contrast and offset together."""
        return self._both.shape[1]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coefficients, those of the contrast first."""
        harmonics = [f"{f}{k}" for k in range(1, self.basis.order + 1) for f in ("cos", "sin")]
        return tuple(f"{kind}_{part}" for kind in ("contrast", "offset") for part in ("mean", *harmonics))

    def to_coefficients(self, scaling, covariance=None):
        """Coefficients of the series nearest to given contrasts and offsets, by least squares.

        Parameters
        ----------
        scaling : array_like, (2 n_phi,)
            ``[contrast_0.., offset_0..]``.
        covariance : array_like, (2 n_phi, 2 n_phi), optional
            Of the scaling.

        Returns
        -------
        coefficients : (n_parameters,)
        covariance : (n_parameters, n_parameters)
            Of the coefficients; only if that of the scaling is given.
        """
        return self._through(self._inverse, scaling, covariance, "scaling")

    def to_scaling(self, coefficients, covariance=None):
        """Contrasts and offsets of the angles from coefficients.

        Parameters
        ----------
        coefficients : array_like, (n_parameters,)
            As `names` lists them.
        covariance : array_like, (n_parameters, n_parameters), optional
            Of the coefficients.

        Returns
        -------
        scaling : (2 n_phi,)
            ``[contrast_0.., offset_0..]``.
        covariance : (2 n_phi, 2 n_phi)
            Of the scaling; only if that of the coefficients is given.
        """
        return self._through(self._both, coefficients, covariance, "coefficients")

    def scatter(self, scaling) -> tuple[float, float]:
        """Root mean square of what the series leaves of contrasts and offsets."""
        rest = np.asarray(scaling, dtype=float) - self.to_scaling(self.to_coefficients(scaling))
        return tuple(float(np.sqrt(np.mean(part**2))) for part in np.split(rest, 2))

    def _through(self, matrix, vector, covariance, name: str):
        vector, size = np.asarray(vector, dtype=float), matrix.shape[1]
        if vector.shape != (size,):
            raise DegeneracyError(f"{name} has shape {vector.shape}; expected ({size},).")
        if covariance is None:
            return matrix @ vector
        covariance = np.asarray(covariance, dtype=float)
        if covariance.shape != (size, size):
            raise DegeneracyError(f"covariance has shape {covariance.shape}; expected ({size}, {size}).")
        return matrix @ vector, matrix @ covariance @ matrix.T
