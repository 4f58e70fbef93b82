"""The three ways to hold the data while they are fitted. The answer is the same to rounding; memory and time are not."""

import time
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np

from homodyne_data import TwoTimeData, TwoTimeStream
from homodyne_memory import NLSQStrategy, estimate_peak_memory_gb, memory_threshold_gb
from homodyne_model import AnalysisMode
from homodyne_nlsq._checkpoint import RememberedPasses
from homodyne_nlsq._config import ENGINES, NLSQConfig
from homodyne_nlsq._curve_fit import solve_by_curve_fit
from homodyne_nlsq._execution import fit_held
from homodyne_nlsq._held import HeldMaps, RowChunks, StreamedMaps, WholeMaps, with_sigma
from homodyne_nlsq._input import as_config, as_data, check_noise, check_together
from homodyne_nlsq._result import OptimizationResult
from homodyne_nlsq._search_settings import refinement_settings, search_choice
from homodyne_nlsq._solve import Progress, solve
from homodyne_nlsq.errors import FitInputError

# Points of a chunk of rows: large enough that the loop over chunks costs nothing, small beside the data.
CHUNK_POINTS = 2_000_000


class _Executor:
    """What the executors share: input, 64 bits, and the time of the whole call."""

    _warms_up = False
    _engine = "structured"
    _local_solver = staticmethod(solve)

    def fit(
        self,
        data,
        config: NLSQConfig | Mapping | None = None,
        *,
        progress: Progress | None = None,
        executor: Executor | None = None,
    ) -> OptimizationResult:
        """Fit the scattering model to two-time maps.

        Parameters
        ----------
        data : TwoTimeData, TwoTimeStream or mapping
            As for `homodyne_nlsq.fit_nlsq_jax`.
        config : NLSQConfig or mapping, optional
            Settings.
        progress : callable, optional
            Called as ``progress(stage, passes, chi_squared, message)`` after every pass over the data.
        executor : concurrent.futures.Executor, optional
            Where multistart computes its fits of averages.

        Returns
        -------
        OptimizationResult
            Also when the fit did not converge: it says so.

        Raises
        ------
        FitInputError, DataError, ModelError, ValueError, TypeError
            If data or settings cannot be fitted, before anything is computed.
        """
        started = time.perf_counter()
        data, config = as_data(data), as_config(config)
        check_together(data, config)
        config = refinement_settings(config, search_choice(config))
        with jax.enable_x64(True):
            maps = self._hold(data, config)
            result = fit_held(
                maps,
                config,
                progress=progress,
                executor=executor,
                local_solver=self._local_solver,
                adapter=self._engine,
                warms_up=self._warms_up,
            )
        if result.success:
            maps.forget()
        return replace(result, execution_time=time.perf_counter() - started)

    def _hold(self, data: TwoTimeData | TwoTimeStream, config: NLSQConfig) -> HeldMaps:
        raise NotImplementedError


class StandardExecutor(_Executor):
    """All the data in memory, passed over at once: for maps that fit into memory several times.

    Parameters
    ----------
    engine : {"structured", "nlsq"}
        Contrast and offset eliminated from Gram matrices, or the full Jacobian of all parameters in nlsq's ``CurveFit``
        (extra ``homodyne-nlsq[nlsq]``).

    Raises
    ------
    FitInputError
        For another engine.

    Examples
    --------
    >>> import numpy as np
    >>> from homodyne_data import TwoTimeData
    >>> t = 0.1 * np.arange(20)
    >>> c2 = 1.0 + 0.3 * np.exp(-0.5 * np.abs(t[:, None] - t))[None]
    >>> data = TwoTimeData(c2, phi=[0.0], t=t, q=0.01, sigma=0.01)
    >>> result = StandardExecutor().fit(data, {"fixed": {"alpha": 0.0, "D_offset": 0.0}})
    >>> result.device_info.strategy, round(result.physical["D0"], 1)
    ('standard', 5000.0)
    """

    def __init__(self, engine: str = "structured") -> None:
        if engine not in ENGINES:
            raise FitInputError(f"engine is {engine!r}; expected one of {', '.join(ENGINES)}.")
        self._engine = engine
        if engine == "nlsq":
            # What is compiled lives as long as this executor.
            self._local_solver = partial(solve_by_curve_fit, keep=set())

    def _hold(self, data, config) -> HeldMaps:
        data = _in_memory(data, type(self).__name__)
        if self._engine == "nlsq":
            _check_jacobian_fits(data, config)
        return WholeMaps(data, separate_halves=config.loss != "linear")


class LargeDatasetExecutor(_Executor):
    """Data in memory, passed over in chunks of rows, so that nothing is held beside them.

    Parameters
    ----------
    chunk_points : int
        Points of a chunk, about; at least one row of every map.

    Raises
    ------
    FitInputError
        If that is not a positive whole number.

    Examples
    --------
    >>> import numpy as np
    >>> from homodyne_data import TwoTimeData
    >>> t = 0.1 * np.arange(20)
    >>> c2 = 1.0 + 0.3 * np.exp(-0.5 * np.abs(t[:, None] - t))[None]
    >>> data = TwoTimeData(c2, phi=[0.0], t=t, q=0.01, sigma=0.01)
    >>> result = LargeDatasetExecutor(chunk_points=100).fit(data, {"fixed": {"alpha": 0.0, "D_offset": 0.0}})
    >>> result.device_info.strategy, result.device_info.n_chunks, round(result.physical["D0"], 1)
    ('out_of_core', 4, 5000.0)
    """

    def __init__(self, chunk_points: int = CHUNK_POINTS) -> None:
        if (
            isinstance(chunk_points, bool)
            or not isinstance(chunk_points, int | np.integer)
            or chunk_points < 1
        ):
            raise FitInputError(f"chunk_points is {chunk_points!r}; expected a whole number, at least 1.")
        self._chunk_points = int(chunk_points)

    def _hold(self, data, config) -> HeldMaps:
        data = _in_memory(data, type(self).__name__)
        return RowChunks(data, self._chunk_points, separate_halves=config.loss != "linear")


class StreamingExecutor(_Executor):
    """Data in a file that is read in every pass, one map in memory at a time; or in memory, in the smallest chunks.

    The settings are those of ``hybrid_streaming``:

    0. start values on a scale from 0 to 1 between their bounds;
    1. L-BFGS on averages of the data, until it stalls, where start values were given (those of the data are refined already);
    2. trust region on the exact sums over all points, in the file;
    3. covariance in physical units, from the last pass.

    Finished passes are kept in ``checkpoint_dir``, so that an interrupted fit goes on where it was.
    """

    _warms_up = True

    def _hold(self, data, config) -> HeldMaps:
        chunk, apart = config.hybrid_streaming.chunk_size, config.loss != "linear"
        if isinstance(data, TwoTimeStream):
            return StreamedMaps(data, chunk, remembered_passes(data, config), separate_halves=apart)
        return RowChunks(
            _in_memory(data, type(self).__name__), chunk, NLSQStrategy.HYBRID_STREAMING, separate_halves=apart
        )


def n_free_physical(config: NLSQConfig) -> int:
    """Physical parameters that are fitted; at least 1."""
    names = AnalysisMode(config.analysis_mode).physical_names
    return max(1, sum(name not in config.fixed for name in names))


def remembered_passes(data: TwoTimeStream, config: NLSQConfig) -> RememberedPasses | None:
    """Passes of an earlier, interrupted fit of data in a file; a new folder of them where there was none."""
    folder = config.hybrid_streaming.checkpoint_dir
    if folder is None:
        return None
    model = (config.analysis_mode, config.shear_kernel, config.quadrature, version("homodyne-model"))
    return RememberedPasses(Path(folder), "|".join((data.identity(), *model)))


def _in_memory(data: TwoTimeData | TwoTimeStream, executor: str) -> TwoTimeData:
    """Data with σ."""
    if isinstance(data, TwoTimeStream):
        raise FitInputError(
            f"data are maps in a file (TwoTimeStream), but {executor} takes maps in memory; expected the result of "
            "homodyne_data.load_xpcs, or StreamingExecutor."
        )
    data = with_sigma(data)
    if np.ndim(data.sigma) < 2:
        check_noise(np.atleast_1d(data.sigma))
    return data


def _check_jacobian_fits(data: TwoTimeData, config: NLSQConfig) -> None:
    """Refuse a full Jacobian that would not fit into memory."""
    n_scaling = 2 if config.is_constant else 2 * data.n_phi
    needed = estimate_peak_memory_gb(data.n_points, n_scaling + n_free_physical(config))
    limit = memory_threshold_gb(config.memory_fraction)
    if needed > limit:
        raise FitInputError(
            f"engine 'nlsq' holds the full Jacobian: {data.n_points:,} points need about {needed:.3g} GB, of {limit:.3g} GB; "
            "expected fewer points, or engine 'structured'."
        )
