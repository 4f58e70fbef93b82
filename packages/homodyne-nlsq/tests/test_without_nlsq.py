"""What is said where the library nlsq, an extra, is not installed."""

import sys

import numpy as np
import pytest

from homodyne_nlsq._curve_fit import solve_by_curve_fit


class Untouched:
    """A problem that no pass may be made over."""

    def gram(self, physical):
        raise AssertionError("a pass was made before nlsq was missed")


def test_the_error_tells_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nlsq", None)
    with pytest.raises(ImportError, match=r'nlsq is not installed; pip install "homodyne-nlsq\[nlsq\]"'):
        solve_by_curve_fit(
            Untouched(), [np.ones(3)], np.ones((3, 2)), np.zeros(3, dtype=bool), n_free_points=1, max_passes=1
        )


def test_a_part_of_nlsq_that_is_missing_is_named_as_it_is(monkeypatch):
    """An installation that is broken is no missing one."""

    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "nlsq":
                raise ModuleNotFoundError("No module named 'h5py'", name="h5py")

    monkeypatch.delitem(sys.modules, "nlsq", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match="h5py"):
        solve_by_curve_fit(
            Untouched(), [np.ones(3)], np.ones((3, 2)), np.zeros(3, dtype=bool), n_free_points=1, max_passes=1
        )
