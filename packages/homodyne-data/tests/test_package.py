"""The package as a whole: its names, its needs, its silence on import."""

import subprocess
import sys

import homodyne_data


def test_public_names_exist_and_are_sorted():
    assert homodyne_data.__all__ == sorted(homodyne_data.__all__)
    for name in homodyne_data.__all__:
        assert getattr(homodyne_data, name) is not None


def test_importing_needs_only_numpy_and_h5py_and_changes_nothing():
    code = (
        "import os, sys, signal, logging\n"
        "before = dict(os.environ), list(logging.getLogger().handlers), signal.getsignal(signal.SIGINT)\n"
        "import homodyne_data\n"
        "assert before == (dict(os.environ), logging.getLogger().handlers, signal.getsignal(signal.SIGINT))\n"
        "loaded = {'jax', 'scipy', 'matplotlib', 'yaml', 'pandas'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
