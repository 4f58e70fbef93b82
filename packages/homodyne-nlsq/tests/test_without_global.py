"""What is said where homodyne-global, an extra, is not installed."""

import sys

import pytest

from homodyne_nlsq import FitInputError, NLSQConfig


@pytest.mark.parametrize("name", ["cmaes", "multi_start"])
def test_the_error_tells_what_to_install(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "homodyne_global", None)
    with pytest.raises(
        FitInputError, match=rf"{name} .*needs homodyne-global; expected homodyne-nlsq\[global\]"
    ):
        NLSQConfig(**{name: {"enable": True}})
