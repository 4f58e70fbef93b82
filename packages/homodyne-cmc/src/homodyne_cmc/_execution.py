"""Who runs the jobs: this process, or any `concurrent.futures.Executor`."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from typing import Any

from homodyne_cmc._nuts import ChainTimeout
from homodyne_cmc.errors import CMCInputError

_ATTEMPTS = 3
# Beside its own time a job may wait for its data and a compiler [s].
_GRACE = 60.0

Progress = Callable[[str, int, int, float | None], None]
"""Called as ``progress(stage, done, total, seconds_left)``; the last is None while nothing is known about it."""


class ShardFailure(RuntimeError):
    """A job failed as often as it was tried; the message says which one and how."""


def check_executor(executor: Any) -> None:
    """Refuse what cannot run jobs, and pools of forked processes, which hang once JAX has threads.

    Raises
    ------
    CMCInputError
    TypeError
    """
    if executor is None:
        return
    if not callable(getattr(executor, "submit", None)):
        raise TypeError(
            f"executor is a {type(executor).__name__}; expected a concurrent.futures.Executor, such as a ProcessPoolExecutor of spawned "
            "processes or Client.get_executor() of Dask."
        )
    if isinstance(executor, ProcessPoolExecutor):
        method = executor._mp_context.get_start_method()
        if method == "fork":
            raise CMCInputError(
                "executor is a pool of forked processes; expected ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn')): a "
                "process forked from one that runs JAX hangs, because its threads are not there."
            )


def worker_count(executor: Executor | None) -> int:
    """Workers that an executor has, where it tells; else 1."""
    if executor is None:
        return 1
    workers = getattr(executor, "_max_workers", None)
    if workers is None and (client := getattr(executor, "_client", None)) is not None:
        workers = len(client.nthreads())
    return max(1, int(workers or 1))


def run_jobs(
    executor: Executor | None,
    function: Callable,
    jobs: Sequence,
    *,
    stage: str,
    progress: Progress | None,
    notes: list[str],
    timeout: float | None = None,
) -> list:
    """Results of the jobs, in their order. A job that fails is run again; jobs of a pool that broke are run in this process.

    Parameters
    ----------
    executor : concurrent.futures.Executor or None
    function : callable
        Of one job. It watches its own time limit and raises `ChainTimeout`, after which it is not run again.
    jobs : sequence
        Each with a ``label`` for sentences.
    stage : str
        What is done, for progress and sentences.
    progress : callable or None
    notes : list of str
        Takes a sentence for everything that went wrong and was mended.
    timeout : float, optional
        Time limit of a job [s]. Workers of an executor that have been silent for twice as long and a minute are taken for lost.

    Raises
    ------
    ShardFailure
        If a job fails at every attempt, or is over its time.
    """
    began, results = time.monotonic(), [None] * len(jobs)
    done = 0

    def finished(k: int, result) -> None:
        nonlocal done
        results[k] = result
        done += 1
        if progress is not None:
            left = (time.monotonic() - began) / done * (len(jobs) - done)
            progress(stage, done, len(jobs), left)

    if progress is not None:
        progress(stage, 0, len(jobs), None)
    if executor is None:
        for k, job in enumerate(jobs):
            finished(k, _attempt(function, job, stage, notes, 0))
        return results
    patience = None if timeout is None else 2 * timeout + _GRACE
    _run_elsewhere(executor, function, jobs, stage, finished, notes, patience)
    if left_over := [k for k, result in enumerate(results) if result is None]:
        notes.append(
            f"{stage}: a worker died and took its pool with it; {len(left_over)} of {len(jobs)} jobs were run in this process."
        )
        for k in left_over:
            finished(k, _attempt(function, jobs[k], stage, notes, 1))
    return results


def _attempt(function, job, stage: str, notes: list[str], before: int):
    for attempt in range(before + 1, _ATTEMPTS + 1):
        try:
            return function(job)
        except Exception as error:
            _failed(error, job, stage, attempt, notes)
    raise AssertionError  # `_failed` raises at the last attempt


def _failed(error: BaseException, job, stage: str, attempt: int, notes: list[str]) -> None:
    if isinstance(error, ChainTimeout):
        raise ShardFailure(f"{stage}: {error}: a longer shard_timeout, or more shards.") from error
    said = f"{stage}: {job.label} failed ({type(error).__name__}: {error})"
    if attempt >= _ATTEMPTS:
        raise ShardFailure(f"{said}, {attempt} times.") from error
    notes.append(f"{said} and was run again.")


def _run_elsewhere(executor, function, jobs, stage, finished, notes, patience) -> None:
    """Run jobs by the executor, as far as its pool holds."""
    attempts = [1] * len(jobs)
    waiting: dict[Future, int] = {}

    def again(k: int, error: BaseException) -> None:
        _failed(error, jobs[k], stage, attempts[k], notes)
        attempts[k] += 1
        waiting[executor.submit(function, jobs[k])] = k

    try:
        for k, job in enumerate(jobs):
            waiting[executor.submit(function, job)] = k
        while waiting:
            answered, _ = wait(waiting, timeout=patience, return_when=FIRST_COMPLETED)
            if not answered:
                lost = {future: k for future, k in waiting.items() if future.running()}
                for future, k in (lost or dict(waiting)).items():
                    _cancel(future)
                    del waiting[future]
                    again(k, TimeoutError(f"no answer in {patience:.0f} s"))
            for future in answered:
                k = waiting.pop(future)
                try:
                    result = future.result()
                except BrokenExecutor:
                    return
                except Exception as error:
                    again(k, error)
                else:
                    finished(k, result)
    except BrokenExecutor:
        return
    finally:
        # After an interruption nothing that waits shall start; finished chains are on disk.
        for future in waiting:
            _cancel(future)


def _cancel(future: Future) -> None:
    # Futures of Parsl cannot be cancelled; what they give is not waited for.
    with suppress(NotImplementedError):
        future.cancel()
