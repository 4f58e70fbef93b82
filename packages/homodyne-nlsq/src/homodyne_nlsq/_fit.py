"""`fit_nlsq_jax`: from two-time data to transport parameters."""

from collections.abc import Mapping

from homodyne_nlsq._adapter import NLSQAdapter
from homodyne_nlsq._config import NLSQConfig
from homodyne_nlsq._input import as_config, as_data
from homodyne_nlsq._result import OptimizationResult
from homodyne_nlsq._solve import Progress
from homodyne_nlsq._wrapper import NLSQWrapper


def fit_nlsq_jax(
    data,
    config: NLSQConfig | Mapping | None = None,
    *,
    t1=None,
    t2=None,
    phi=None,
    q=None,
    L=None,
    sigma=None,
    dt=None,
    analysis_mode: str | None = None,
    initial_params: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> OptimizationResult:
    """Fit the scattering model to two-time maps by weighted least squares.

    Contrast and offset of every angle are eliminated exactly; SciPy's trust region fits the physical parameters.

    Parameters
    ----------
    data : TwoTimeData, TwoTimeStream, mapping, or array_like (n_points,)
        Two-time maps in memory or in a file that is read in every pass; or a mapping with the keys of the ``.npz`` layout or the historical dictionary; or the C2 values of pooled
        points, which need ``t1``, ``t2``, ``phi`` and ``q``.
    config : NLSQConfig or mapping, optional
        Settings; a mapping has the fields of `NLSQConfig`.
    t1, t2 : array_like (n_points,), optional
        Times of pooled points [s], on one uniform grid.
    phi : array_like (n_points,), optional
        Angles of pooled points [deg].
    q : float, optional
        Wavevector of pooled points [1/Å].
    L : float, optional
        Stator-rotor gap [Å] of pooled points.
    sigma : float or array_like (n_points,), optional
        Standard deviation of pooled points.
    dt : float, optional
        Frame spacing of pooled points [s]; found from the times if left out.
    analysis_mode : str, optional
        Replaces that of ``config``.
    initial_params : mapping of name to value, optional
        Start values of physical parameters; they replace those of ``config``. What neither gives comes from the data.
    progress : callable, optional
        Called as ``progress(stage, passes, chi_squared, message)`` after every pass over the data.

    Returns
    -------
    OptimizationResult
        Also when the fit did not converge: it says so.

    Raises
    ------
    FitInputError, DataError, ModelError, ValueError, TypeError
        If data or settings cannot be fitted, before anything is computed; the message names what and what was expected.

    Notes
    -----
    He et al., PNAS 121 (2024), doi:10.1073/pnas.2401162121; PNAS 122 (2025), doi:10.1073/pnas.2514216122. Elimination of the
    scaling: Golub & Pereyra (1973), see `homodyne_model.compress`. JAX computes in 64 bits inside the call and is left as it was.

    Examples
    --------
    >>> import numpy as np
    >>> from homodyne_data import TwoTimeData, simulate_two_time
    >>> t = 0.1 * np.arange(40)
    >>> c2 = 1.0 + 0.3 * np.exp(-((0.01) ** 2) * 5e3 * np.abs(t[:, None] - t))[None]
    >>> data = TwoTimeData(simulate_two_time(c2, 0.01, seed=1), phi=[0.0], t=t, q=0.01, sigma=0.01)
    >>> result = fit_nlsq_jax(data, {"fixed": {"alpha": 0.0, "D_offset": 0.0}})
    >>> result.convergence_status, abs(result.physical["D0"] - 5e3) < 4 * result.physical_error["D0"]
    ('converged', True)
    """
    pooled = {"t1": t1, "t2": t2, "phi": phi, "q": q, "L": L, "sigma": sigma, "dt": dt}
    data, config = as_data(data, pooled), as_config(config, analysis_mode, initial_params)
    door = NLSQAdapter() if config.use_adapter else NLSQWrapper()
    return door.fit(data, config, progress=progress)
