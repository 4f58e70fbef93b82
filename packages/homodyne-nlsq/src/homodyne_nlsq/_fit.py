"""From two-time data to transport parameters: `fit_nlsq_jax`, and the same with a global search before it."""

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import replace

from homodyne_nlsq._adapter import NLSQAdapter
from homodyne_nlsq._config import NLSQConfig
from homodyne_nlsq._input import as_config, as_data
from homodyne_nlsq._result import OptimizationResult
from homodyne_nlsq._search_settings import search_settings
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
    executor: Executor | None = None,
) -> OptimizationResult:
    """Fit the scattering model to two-time maps by weighted least squares.

    Contrast and offset of every angle are eliminated exactly; SciPy's trust region fits the physical parameters. Where ``config.cmaes`` or
    ``config.multi_start`` enables it, a global search finds the start: CMA-ES where the widest bounds are more than ``scale_threshold`` times
    the narrowest (or ``auto_select`` is off), else multistart. Ctrl-C then ends the fit with the best so far.

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
    executor : concurrent.futures.Executor, optional
        Where multistart computes its fits of averages; the result does not depend on it. Processes are to be spawned, not forked.

    Returns
    -------
    OptimizationResult
        Also when the fit did not converge: it says so. ``search`` has what a global search found.

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
    return door.fit(data, config, progress=progress, executor=executor)


def fit_nlsq_cmaes(data, config: NLSQConfig | Mapping | None = None, **options) -> OptimizationResult:
    """Fit with CMA-ES before, whatever the bounds: `fit_nlsq_jax` with ``cmaes.enable`` true and ``cmaes.auto_select`` false.

    Parameters
    ----------
    data, config, **options
        As for `fit_nlsq_jax`; the other settings of ``config.cmaes`` stay.

    Returns
    -------
    OptimizationResult
        ``search`` has the runs of CMA-ES.

    Raises
    ------
    FitInputError, DataError, ModelError, ValueError, TypeError
        As `fit_nlsq_jax`, and without the extra ``homodyne-nlsq[global]``.

    Notes
    -----
    Restarts: Hansen (2009), doi:10.1145/1570256.1570333.

    Examples
    --------
    >>> import numpy as np
    >>> from homodyne_data import TwoTimeData, simulate_two_time
    >>> t = 0.1 * np.arange(40)
    >>> c2 = 1.0 + 0.3 * np.exp(-((0.01) ** 2) * 5e3 * np.abs(t[:, None] - t))[None]
    >>> data = TwoTimeData(simulate_two_time(c2, 0.01, seed=1), phi=[0.0], t=t, q=0.01, sigma=0.01)
    >>> settings = {"fixed": {"D_offset": 0.0}, "cmaes": {"preset": "cmaes-fast", "max_restarts": 0, "seed": 1}}
    >>> result = fit_nlsq_cmaes(data, settings)
    >>> result.search.method, result.convergence_status
    ('cmaes', 'converged')
    """
    return _with_search("cmaes", data, config, {"enable": True, "auto_select": False}, options)


def fit_nlsq_multistart(data, config: NLSQConfig | Mapping | None = None, **options) -> OptimizationResult:
    """Fit from many starts: `fit_nlsq_jax` with ``multi_start.enable`` true and CMA-ES off.

    Parameters
    ----------
    data, config, **options
        As for `fit_nlsq_jax`; the other settings of ``config.multi_start`` stay.

    Returns
    -------
    OptimizationResult
        ``search.minima`` has the distinct minima, each with χ² of all the data; the result is that of the best.

    Raises
    ------
    FitInputError, DataError, ModelError, ValueError, TypeError
        As `fit_nlsq_jax`, and without the extra ``homodyne-nlsq[global]``.

    Examples
    --------
    >>> import numpy as np
    >>> from homodyne_data import TwoTimeData, simulate_two_time
    >>> t = 0.1 * np.arange(40)
    >>> c2 = 1.0 + 0.3 * np.exp(-((0.01) ** 2) * 5e3 * np.abs(t[:, None] - t))[None]
    >>> data = TwoTimeData(simulate_two_time(c2, 0.01, seed=1), phi=[0.0], t=t, q=0.01, sigma=0.01)
    >>> result = fit_nlsq_multistart(data, {"fixed": {"D_offset": 0.0}, "multi_start": {"n_starts": 6}})
    >>> len(result.search.minima), round(result.search.minima[0].chi_squared / result.chi_squared, 9)
    (1, 1.0)
    """
    return _with_search("multi_start", data, config, {"enable": True}, options)


def _with_search(name: str, data, config, changes: Mapping, options: Mapping) -> OptimizationResult:
    """The fit with one search enabled and the other not."""
    config = as_config(config, options.get("analysis_mode"), options.get("initial_params"))
    section = search_settings(name, getattr(config, name) or {})
    other = {"cmaes": "multi_start", "multi_start": "cmaes"}[name]
    config = replace(config, **{name: replace(section, **changes), other: None})
    return fit_nlsq_jax(data, config, **options)
