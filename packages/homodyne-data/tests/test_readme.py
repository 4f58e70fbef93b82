"""The examples of the README run."""

import doctest
from pathlib import Path


def test_readme():
    readme = Path(__file__).resolve().parent.parent / "README.md"
    outcome = doctest.testfile(str(readme), module_relative=False)
    assert outcome.attempted > 0
    assert outcome.failed == 0
