"""Settings and fixtures that every test suite of the repository shares.

A package's suite runs in an environment that holds only what the package needs, so nothing here may
require more than pytest and Hypothesis.
"""

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import settings

# Timing says nothing on a shared machine. Examples are the same in every run, so that a failure is one that can be repeated;
# HOMODYNE_EXPLORE=1 looks for new ones.
settings.register_profile("homodyne", deadline=None, derandomize=not os.environ.get("HOMODYNE_EXPLORE"))
settings.load_profile("homodyne")

if importlib.util.find_spec("jax") is not None:
    import jax

    # Set in this process and not through environment variables, so that a subprocess started by a test sees
    # JAX as a user's process does, and a missing `enable_x64` shows.
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the measured maps: ``HOMODYNE_REAL_DATA``, else ``shared/data`` beside the repository."""
    named = os.environ.get("HOMODYNE_REAL_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parent.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no measured data at {folder}; name their folder in HOMODYNE_REAL_DATA")
    return folder
