"""Ctrl-C that is not lost."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def kept_interrupts() -> Iterator[Callable[[], None]]:
    """Give a function that raises a Ctrl-C that was lost, for use in a ``with`` statement.

    Python drops what is raised while it collects garbage, where JAX has a callback: some Ctrl-C during a fit would do
    nothing but print a traceback. The function is to be called often; what is left at the end is raised there.
    """
    lost = []
    before = sys.unraisablehook

    def hook(unraisable) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            lost.append(True)
        else:
            before(unraisable)

    def raise_again() -> None:
        if lost:
            lost.clear()
            raise KeyboardInterrupt

    sys.unraisablehook = hook
    try:
        yield raise_again
        raise_again()
    finally:
        sys.unraisablehook = before
