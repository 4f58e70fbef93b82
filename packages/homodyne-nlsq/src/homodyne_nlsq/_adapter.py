"""The fit by the library nlsq, and by our own solver where that fails."""

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import replace

from homodyne_nlsq._config import NLSQConfig
from homodyne_nlsq._executors import StandardExecutor
from homodyne_nlsq._input import as_config, as_data, check_together
from homodyne_nlsq._result import OptimizationResult
from homodyne_nlsq._solve import Progress
from homodyne_nlsq._wrapper import NLSQWrapper
from homodyne_nlsq.errors import CurveFitError, FitInputError


class NLSQAdapter:
    """Fits through nlsq's ``CurveFit`` on the full Jacobian of all parameters, and through `NLSQWrapper` where that fails.

    For small and middle problems. Compiled models are kept as long as an adapter that used them lives, so a second fit of equal shapes
    compiles nothing. Needs the extra ``homodyne-nlsq[nlsq]``; without it every fit falls back.
    """

    def __init__(self) -> None:
        self._executor = StandardExecutor("nlsq")

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
            ``device_info.fallback_occurred`` and a warning say where `NLSQWrapper` had to take over, and why.

        Raises
        ------
        FitInputError, DataError, ModelError, ValueError, TypeError
            If data or settings cannot be fitted in either way, before anything is computed.
        """
        data, config = as_data(data), as_config(config)
        check_together(data, config)
        try:
            result = self._executor.fit(data, config, progress=progress, executor=executor)
        except (ImportError, CurveFitError, FitInputError, MemoryError) as error:
            reason = str(error)
        else:
            if result.convergence_status != "failed":
                return result
            reason = result.message
        instead = NLSQWrapper().fit(
            data, replace(config, engine="structured"), progress=progress, executor=executor
        )
        return replace(
            instead,
            warnings=(f"The fit by nlsq failed, and our own solver took over: {reason}", *instead.warnings),
            device_info=replace(instead.device_info, fallback_occurred=True),
        )
