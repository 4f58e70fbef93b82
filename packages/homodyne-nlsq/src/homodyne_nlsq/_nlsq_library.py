"""The library nlsq, imported when it is first needed and kept from changing the process around it.

Its import switches JAX to 64 bits for the whole process, names a folder for compiled programs and makes it, turns the fault handler on, sets
environment variables, and gives the root logger a handler through which every fit then prints. None of that is left behind here.

What is undone is missing to a program that uses nlsq for itself too: nlsq believes that it has switched JAX to 64 bits. Such a program
imports nlsq before its first fit here; then nothing is undone.
"""

import faulthandler
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import jax

# What is put aside belongs to the whole process. A progress callback may start a fit of its own, hence re-entrant.
_ONE_AT_A_TIME = threading.RLock()


def curve_fit_class() -> type:
    """The class ``nlsq.CurveFit``; whatever it does, it does inside `silent_nlsq`.

    Raises
    ------
    ImportError
        If nlsq is not installed; the message tells how to.
    """
    try:
        with silent_nlsq():
            if sys.modules.get("nlsq") is None:
                with _process_unchanged():
                    from nlsq import CurveFit
            else:
                from nlsq import CurveFit
    except ModuleNotFoundError as error:
        if error.name != "nlsq":
            raise
        raise ImportError(
            'The library nlsq is not installed; pip install "homodyne-nlsq[nlsq]" installs it.', name="nlsq"
        ) from error
    return CurveFit


@contextmanager
def silent_nlsq() -> Iterator[None]:
    """A ``with`` block in which nlsq computes in 64 bits and says nothing, neither by its loggers nor by warnings."""
    logger = logging.getLogger("nlsq")
    with (
        _ONE_AT_A_TIME,
        jax.enable_x64(True),
        # It mixes types and ranks, which a program may have forbidden.
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        warnings.catch_warnings(action="ignore"),
    ):
        handlers, propagate = logger.handlers[:], logger.propagate
        # A handler that is there also keeps nlsq from adding its own.
        logger.handlers[:], logger.propagate = [logging.NullHandler()], False
        try:
            yield
        finally:
            logger.handlers[:], logger.propagate = handlers, propagate


@contextmanager
def _process_unchanged() -> Iterator[None]:
    """Put back environment variables, settings of JAX, the root logger and the fault handler."""
    environment, settings = dict(os.environ), _jax_settings()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # Where a fault handler writes cannot be asked, so it could not be put back: it is not touched at all.
    enable, faulthandler.enable = faulthandler.enable, lambda *_, **__: None
    # No folder for compiled programs in the home directory.
    os.environ["NLSQ_DISABLE_PERSISTENT_CACHE"] = "1"
    try:
        yield
    finally:
        faulthandler.enable = enable
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        for name, value in _jax_settings().items():
            if name in settings and value != settings[name]:
                jax.config.update(name, settings[name])
        root.handlers[:] = handlers
        root.setLevel(level)


def _jax_settings() -> dict:
    """Settings of JAX for the whole process: a new thread sees none that hold for a ``with`` block of this one."""
    found: dict = {}
    thread = threading.Thread(target=lambda: found.update(jax.config.values))
    thread.start()
    thread.join()
    return found
