"""The fit of data of any size: the executor that their size and the memory ask for, and a leaner one where memory runs out."""

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import replace

import jax

from homodyne_data import TwoTimeData, TwoTimeStream
from homodyne_memory import NLSQStrategy, estimate_peak_memory_gb, select_nlsq_strategy
from homodyne_nlsq._config import NLSQConfig
from homodyne_nlsq._executors import (
    CHUNK_POINTS,
    LargeDatasetExecutor,
    StandardExecutor,
    StreamingExecutor,
    n_free_physical,
)
from homodyne_nlsq._input import as_config, as_data
from homodyne_nlsq._result import OptimizationResult
from homodyne_nlsq._search_settings import refinement_settings, search_choice
from homodyne_nlsq._solve import Progress
from homodyne_nlsq.errors import FitInputError

_LEANER = {
    NLSQStrategy.STANDARD: NLSQStrategy.OUT_OF_CORE,
    NLSQStrategy.OUT_OF_CORE: NLSQStrategy.HYBRID_STREAMING,
}


class NLSQWrapper:
    """Chooses how the data are held, and falls to the next leaner way where memory runs out.

    Examples
    --------
    >>> import numpy as np
    >>> from homodyne_data import TwoTimeData
    >>> t = 0.1 * np.arange(20)
    >>> c2 = 1.0 + 0.3 * np.exp(-0.5 * np.abs(t[:, None] - t))[None]
    >>> data = TwoTimeData(c2, phi=[0.0], t=t, q=0.01, sigma=0.01)
    >>> NLSQWrapper().fit(data, {"fixed": {"alpha": 0.0, "D_offset": 0.0}}).device_info.strategy
    'standard'
    """

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
            ``device_info.strategy`` says how the data were held; where memory ran out on the way, ``recovery_actions`` says so.

        Raises
        ------
        FitInputError, DataError, ModelError, ValueError, TypeError
            If data or settings cannot be fitted, before anything is computed.
        MemoryError
            If the leanest way needs too much.
        """
        data, config = as_data(data), as_config(config)
        choice = search_choice(config)
        config = refinement_settings(config, choice)
        ran_out: list[str] = []
        by_cmaes = choice is not None and choice.method == "cmaes"
        strategy = _refinement_strategy(data, config) if by_cmaes else _strategy_of(data, config)
        while True:
            try:
                result = _executor(strategy, config).fit(data, config, progress=progress, executor=executor)
            except (MemoryError, jax.errors.JaxRuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                if strategy not in _LEANER or config.engine == "nlsq":
                    instead = (
                        "" if isinstance(data, TwoTimeStream) else ", or maps of homodyne_data.open_xpcs"
                    )
                    raise MemoryError(
                        f"the fit of {data.n_phi} maps of {data.n_t} x {data.n_t} entries ran out of memory in its leanest way, "
                        f"{strategy.value}; expected more memory or fewer frames{instead}."
                    ) from error
            else:
                return _after(ran_out, result)
            ran_out.append(strategy.value)
            strategy = _LEANER[strategy]


def _strategy_of(data: TwoTimeData | TwoTimeStream, config: NLSQConfig) -> NLSQStrategy:
    if config.engine == "nlsq":
        return NLSQStrategy.STANDARD  # which refuses maps in a file
    if isinstance(data, TwoTimeStream):
        return NLSQStrategy.HYBRID_STREAMING
    strategy = select_nlsq_strategy(
        data.n_points, n_free_physical(config), memory_fraction=config.memory_fraction
    ).strategy
    if strategy is NLSQStrategy.STANDARD and config.chunk_points is not None:
        return NLSQStrategy.OUT_OF_CORE
    return strategy


def _refinement_strategy(data: TwoTimeData | TwoTimeStream, config: NLSQConfig) -> NLSQStrategy:
    """The strategy after CMA-ES, which has a limit and a say of its own."""
    workflow, strategy = config.cmaes.refinement_workflow, _strategy_of(data, config)
    if workflow == "standard" and isinstance(data, TwoTimeStream):
        raise FitInputError(
            "cmaes.refinement_workflow is 'standard', but data are maps in a file (TwoTimeStream), which are streamed; expected 'auto' or "
            "'streaming', or the result of homodyne_data.load_xpcs."
        )
    if workflow != "auto":
        return {"standard": NLSQStrategy.STANDARD, "streaming": NLSQStrategy.HYBRID_STREAMING}[workflow]
    if strategy is NLSQStrategy.STANDARD and config.engine != "nlsq":
        peak = estimate_peak_memory_gb(data.n_points, n_free_physical(config))
        return NLSQStrategy.OUT_OF_CORE if peak > config.cmaes.memory_limit_gb else strategy
    return strategy


def _executor(
    strategy: NLSQStrategy, config: NLSQConfig
) -> StandardExecutor | LargeDatasetExecutor | StreamingExecutor:
    if strategy is NLSQStrategy.STANDARD:
        return StandardExecutor(config.engine)
    if strategy is NLSQStrategy.OUT_OF_CORE:
        return LargeDatasetExecutor(config.chunk_points or CHUNK_POINTS)
    return StreamingExecutor()


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def _after(ran_out: list[str], result: OptimizationResult) -> OptimizationResult:
    if not ran_out:
        return result
    actions = tuple(f"out_of_memory_{strategy}" for strategy in ran_out)
    said = f"Memory ran out with the data held as {', then '.join(ran_out)}; they were held as {result.device_info.strategy} instead."
    return replace(
        result,
        warnings=(said, *result.warnings),
        device_info=replace(
            result.device_info, recovery_actions=(*actions, *result.device_info.recovery_actions)
        ),
    )
