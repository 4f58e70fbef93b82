import gc
import sys

import pytest

from homodyne_cli._interrupt import kept_interrupts


def interrupt(phase, about):
    if phase == "start":
        raise KeyboardInterrupt


@pytest.fixture
def lose_one():
    """A Ctrl-C in the middle of a collection of garbage, which Python drops."""

    def lose():
        gc.callbacks.append(interrupt)
        try:
            gc.collect()
        finally:
            gc.callbacks.remove(interrupt)

    return lose


def test_a_lost_interrupt_is_raised_at_the_next_call(lose_one):
    with kept_interrupts() as raise_again:
        raise_again()
        lose_one()
        with pytest.raises(KeyboardInterrupt):
            raise_again()
        raise_again()


def test_a_lost_interrupt_is_raised_at_the_end(lose_one):
    before = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), kept_interrupts():
        lose_one()
    assert sys.unraisablehook is before


def test_other_errors_that_python_drops_are_told_as_before(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: told.append(unraisable.exc_type))

    class Broken:
        def __del__(self):
            raise ValueError

    with kept_interrupts():
        Broken()
        gc.collect()
    assert told == [ValueError]


def test_an_error_is_not_replaced(lose_one):
    def lose_one_and_fail():
        with kept_interrupts():
            lose_one()
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        lose_one_and_fail()
