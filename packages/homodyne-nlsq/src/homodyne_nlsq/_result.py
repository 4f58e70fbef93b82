"""What a fit returns: numbers, what they rest on, and in words what is wrong with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from homodyne_data import TwoTimeData
from homodyne_degeneracy import Identifiability
from homodyne_nlsq import _files, _summary
from homodyne_nlsq._curves import Curve
from homodyne_nlsq._predict import predicted_maps
from homodyne_nlsq._profile import ProfileInterval
from homodyne_nlsq._search_record import GlobalSearch


@dataclass(frozen=True)
class DeviceInfo:
    """How the fit was carried out.

    Attributes
    ----------
    adapter : str
        What solved it.
    fallback_occurred : bool
        Whether another solver had to take over.
    strategy : str
        How the data were held: ``standard`` is all in memory.
    recovery_actions : tuple of str
        What was tried after a failed attempt, in order.
    peak_memory_gb : float
        Largest memory of the process so far [GB], measured.
    n_chunks : int
        Parts that the data were read in.
    platform : str
        Where JAX computed, such as ``cpu``.
    """

    adapter: str
    fallback_occurred: bool
    strategy: str
    recovery_actions: tuple[str, ...]
    peak_memory_gb: float
    n_chunks: int
    platform: str


@dataclass(frozen=True, eq=False)
class OptimizationResult:
    """Result of a least-squares fit of two-time maps.

    Attributes
    ----------
    parameters : (n,)
        Full vector ``[contrast_0.., offset_0.., *physical]``.
    names, units : tuple of str
        Of every entry; an empty unit is dimensionless.
    uncertainties : (n,)
        Standard errors; NaN where none can be quoted: fixed, at a bound, or not determined by the data.
    covariance : (n, n)
        Of the parameters; NaN like the uncertainties. One of ``covariances``.
    covariances : dict
        ``robust``: from scores clustered by frame, which know that points of a map share photons and speckles. ``hessian``: inverse curvature,
        which takes points for independent. Both (n, n).
    at_bound : tuple of str
        ``"lower"``, ``"upper"`` or ``""`` for every parameter.
    fixed : (n,) bool
        Parameters that were held.
    chi_squared : float
        Σ ((C2 - model) / σ)² over the points that count.
    reduced_chi_squared : float
        That divided by ``dof``.
    robust_cost : float or None
        f² Σ ρ, what a robust loss minimises, with the weights of the angles; None for plain least squares.
    n_points, dof : int
        Points that count, and points minus fitted parameters, scaling included.
    sigma_source : str
        ``given``, ``estimated`` or ``default`` (1 %, a guess).
    success : bool
        Whether the fit converged.
    message : str
        Why it ended, in words.
    iterations : int
        Passes over the data.
    execution_time : float
        Of the whole call [s].
    convergence_status : str
        ``converged``, ``partial`` (better than the start, not at the optimum) or ``failed``.
    quality_flag : str
        ``good``, ``marginal`` or ``poor``.
    distance : float
        Estimated distance from the optimum [standard errors].
    device_info : DeviceInfo
        How it was carried out.
    analysis_mode, shear_kernel, quadrature, covariance_type, loss : str
        The choices.
    per_angle_mode : str
        How contrast and offset vary with the angle: ``individual``, ``fourier`` or ``constant``, as set or as ``auto`` chose.
    n_scaling : int
        Coefficients of contrast and offset that were fitted.
    anti_degeneracy : tuple of str
        What the anti-degeneracy system decided and did, and why, in order.
    profiles : tuple of ProfileInterval
        Profile-likelihood intervals, where they were asked for.
    search : GlobalSearch or None
        The global search before the fit, with the minima that it found; None where none was enabled.
    time_origin : str or float
        What t = 0 means; D(t) depends on it.
    q : float
        Wavevector [1/Å].
    L : float or None
        Stator-rotor gap [Å].
    phi : (n_phi,)
        Angles [deg].
    t : (n_t,)
        Frame times [s].
    diffusion : Curve
        D(t) [Å²/s] with its band.
    shear : Curve or None
        The shear rate [1/s] with its band.
    hessian : (n_physical, n_physical)
        Reduced curvature of χ² / 2 in the physical parameters.
    identifiability : homodyne_degeneracy.Identifiability or None
        Which combinations of the physical parameters the data determine, how well, and what would help; None where nothing was fitted.
    cluster_window : (n_phi,)
        Lengths of the windows of frames behind the robust error bars [s].
    warnings : tuple of str
        Everything that a reader of the numbers must know, in sentences.
    initial : dict
        Start values of the physical parameters.
    settings : dict
        The configuration.
    versions : dict
        Versions of the packages.
    provenance : dict
        Where the data came from and what was selected and dropped.
    """

    parameters: np.ndarray
    names: tuple[str, ...]
    units: tuple[str, ...]
    uncertainties: np.ndarray
    covariance: np.ndarray
    covariances: Mapping[str, np.ndarray]
    at_bound: tuple[str, ...]
    fixed: np.ndarray
    chi_squared: float
    reduced_chi_squared: float
    robust_cost: float | None
    n_points: int
    dof: int
    sigma_source: str
    success: bool
    message: str
    iterations: int
    execution_time: float
    convergence_status: str
    quality_flag: str
    distance: float
    device_info: DeviceInfo
    analysis_mode: str
    shear_kernel: str
    quadrature: str
    per_angle_mode: str
    n_scaling: int
    anti_degeneracy: tuple[str, ...]
    profiles: tuple[ProfileInterval, ...]
    search: GlobalSearch | None
    covariance_type: str
    loss: str
    time_origin: str | float
    q: float
    L: float | None
    phi: np.ndarray
    t: np.ndarray
    diffusion: Curve
    shear: Curve | None
    hessian: np.ndarray
    identifiability: Identifiability | None
    cluster_window: np.ndarray
    warnings: tuple[str, ...]
    initial: Mapping[str, float]
    settings: Mapping
    versions: Mapping[str, str]
    provenance: Mapping

    @property
    def n_phi(self) -> int:
        """Number of angles."""
        return len(self.phi)

    @property
    def contrast(self) -> np.ndarray:
        """Contrasts, (n_phi,)."""
        return self.parameters[: self.n_phi]

    @property
    def offset(self) -> np.ndarray:
        """Offsets, (n_phi,)."""
        return self.parameters[self.n_phi : 2 * self.n_phi]

    @property
    def contrast_error(self) -> np.ndarray:
        """Standard errors of the contrasts, (n_phi,)."""
        return self.uncertainties[: self.n_phi]

    @property
    def offset_error(self) -> np.ndarray:
        """Standard errors of the offsets, (n_phi,)."""
        return self.uncertainties[self.n_phi : 2 * self.n_phi]

    @property
    def physical_names(self) -> tuple[str, ...]:
        """Names of the physical parameters."""
        return self.names[2 * self.n_phi :]

    @property
    def physical(self) -> dict[str, float]:
        """Physical parameters by name."""
        return dict(zip(self.physical_names, self.parameters[2 * self.n_phi :].tolist(), strict=True))

    @property
    def physical_error(self) -> dict[str, float]:
        """Standard errors of the physical parameters by name."""
        return dict(zip(self.physical_names, self.uncertainties[2 * self.n_phi :].tolist(), strict=True))

    @property
    def error_ratio(self) -> np.ndarray:
        """Robust standard error over that of independent points, (n,); NaN where there is none."""
        robust, hessian = (np.diag(self.covariances[name]) for name in ("robust", "hessian"))
        return np.sqrt(np.divide(robust, hessian, out=np.full_like(robust, np.nan), where=hessian > 0))

    @property
    def t_mid(self) -> float:
        """Middle of the fitted window [s], where the curves are known best."""
        return float(self.t[0] + self.t[-1]) / 2

    def fitted(self) -> np.ndarray:
        """The fitted C2 on the whole grid, (n_phi, n_t, n_t) float32."""
        return predicted_maps(self)

    def residuals(self, data: TwoTimeData) -> np.ndarray:
        """Measured minus fitted C2 where a point counts, NaN elsewhere, (n_phi, n_t, n_t) float32.

        Raises
        ------
        ValueError
            If the data have other angles or frames than those that were fitted.
        """
        shape = (self.n_phi, len(self.t), len(self.t))
        if data.c2.shape != shape:
            raise ValueError(
                f"data.c2 has shape {data.c2.shape}; expected {shape}, the maps that were fitted."
            )
        fitted = self.fitted()
        for a in range(self.n_phi):
            fitted[a] = np.where(data.angle_mask(a), data.c2[a] - fitted[a], np.nan)
        return fitted

    def summary(self) -> str:
        """The result in words and columns, for a terminal."""
        return _summary.summary(self)

    def to_json(self) -> str:
        """The result as JSON text; what is not a number becomes null."""
        return _files.to_json(self)

    def save(
        self, directory: str | Path, data: TwoTimeData | None = None, *, overwrite: bool = False
    ) -> dict[str, Path]:
        """Write ``result.json`` and ``arrays.npz`` into a directory, which is made if it is missing.

        Parameters
        ----------
        directory : path
            Where to.
        data : TwoTimeData, optional
            The fitted data; with them, the residuals are written too.
        overwrite : bool
            Replace files that are there.

        Returns
        -------
        dict
            Paths by kind, ``result`` and ``arrays``.

        Raises
        ------
        FileExistsError
            If a file is there and ``overwrite`` is false. Nothing is written then.
        """
        return _files.save(self, Path(directory), data, overwrite=overwrite)
