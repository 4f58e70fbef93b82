"""Costs of many candidates at once: Python functions in batches and on executors, JAX functions compiled."""

from collections.abc import Callable
from concurrent.futures import Executor

import numpy as np

from homodyne_global.errors import GlobalSearchError


def evaluate_batch(cost: Callable, batched: bool, parameters: np.ndarray) -> np.ndarray:
    """Costs of candidates by one call, or by one call each; checked for their shape.

    Parameters
    ----------
    cost : callable
        Of an array (n, d) where ``batched``, else of (d,).
    batched : bool
        Which of the two.
    parameters : ndarray, (n, d)
        The candidates.

    Returns
    -------
    ndarray, (n,)
        Whatever is not finite, infinite values of either sign included, is NaN.
    """
    expected = (len(parameters),) if batched else ()
    values = []
    for candidate in [parameters] if batched else parameters:
        value = np.asarray(cost(candidate.copy()))
        if value.dtype.kind not in "fiub":
            raise GlobalSearchError(f"cost returned an array of type {value.dtype}; expected real numbers.")
        numbers = value.astype(float)
        if numbers.shape != expected:
            raise GlobalSearchError(
                f"cost returned an array of shape {numbers.shape} for parameters of shape {candidate.shape}; expected {expected}."
                + ("" if batched else " A cost that takes all candidates at once needs batched=True.")
            )
        values.append(numbers)
    found = values[0] if batched else np.array(values)
    return np.where(np.isfinite(found), found, np.nan)


class PythonCost:
    """A cost that is called with NumPy arrays.

    Parameters
    ----------
    cost : callable
        Of (n, d) where ``batched``, else of (d,).
    batched : bool
        Which of the two.
    batch_size : int, optional
        Most candidates in a call, or in a task of the executor; all by default, one with an executor.
    executor : concurrent.futures.Executor, optional
        Where batches are evaluated.

    Attributes
    ----------
    evaluations : int
        Candidates so far.
    unfinished : tuple of ndarray or None
        Candidates and costs of a call that was interrupted, as far as it came.
    """

    def __init__(
        self,
        cost: Callable,
        *,
        batched: bool,
        batch_size: int | None = None,
        executor: Executor | None = None,
    ) -> None:
        self._cost, self._batched, self._executor = cost, batched, executor
        self._batch_size = batch_size or (1 if executor is not None or not batched else None)
        self.evaluations = 0
        self.unfinished: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, parameters: np.ndarray) -> np.ndarray:
        """Costs of candidates."""
        size = self._batch_size or len(parameters)
        parts = [parameters[k : k + size] for k in range(0, len(parameters), size)]
        values = []
        futures = []
        try:
            if self._executor is None:
                for part in parts:
                    values.append(evaluate_batch(self._cost, self._batched, part))
            else:
                futures = [
                    self._executor.submit(evaluate_batch, self._cost, self._batched, part) for part in parts
                ]
                for future in futures:
                    values.append(future.result())
        except KeyboardInterrupt:
            found = np.concatenate([np.empty(0), *values])
            self.unfinished = (parameters[: len(found)], found)
            raise
        finally:
            for future in futures:
                future.cancel()
            self.evaluations += sum(map(len, values))
        return np.concatenate(values)
