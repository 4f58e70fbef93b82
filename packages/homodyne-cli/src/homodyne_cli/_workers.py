"""Processes that compute shards."""

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def workers(n: int | None) -> Iterator[ProcessPoolExecutor | None]:
    """Pool of `n` spawned processes, for use in a ``with`` statement; None where none is asked for.

    Where the block ends by an error or by Ctrl-C the processes are ended: what they work on may take minutes, and nobody waits for it.
    """
    if n is None:
        yield None
        return
    import jax

    others = set(multiprocessing.active_children())
    # Forking a process in which JAX has started its threads deadlocks.
    pool = ProcessPoolExecutor(
        n,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(jax.config.jax_compilation_cache_dir,),
    )
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    pool.shutdown()


def _begin(folder_of_compiled_code: str | None) -> None:
    """What a worker does first: Ctrl-C is for the process that started it, and compiled code is shared."""
    import jax

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if folder_of_compiled_code is not None:
        jax.config.update("jax_compilation_cache_dir", folder_of_compiled_code)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
