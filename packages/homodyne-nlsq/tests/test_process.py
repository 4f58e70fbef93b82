"""The fit inside a process that has its own settings of JAX, and none of ours."""

import subprocess
import sys

from homodyne_nlsq import fit_nlsq_jax

SCRIPT = """
import os, sys, logging, warnings
warnings.simplefilter("error")
environment, handlers = dict(os.environ), list(logging.root.handlers)
import jax
before = {name: getattr(jax.config, name) for name in ("jax_enable_x64", "jax_numpy_dtype_promotion", "jax_numpy_rank_promotion")}
assert before["jax_enable_x64"] is False
import numpy as np
import homodyne_nlsq
from homodyne_data import TwoTimeData
from homodyne_model.testing import colloid
from homodyne_nlsq import fit_nlsq_jax
truth = colloid(3, 60)
data = TwoTimeData(truth.noisy_maps(0.02, seed=1), truth.model.phi, truth.model.t, truth.model.q, sigma=0.02)
fit = fit_nlsq_jax(data)
fitted = fit.fitted()
assert fitted.dtype == np.float32 and fit.parameters.dtype == np.float64
after = {name: getattr(jax.config, name) for name in before}
assert after == before, after
assert jax.numpy.ones(1).dtype == "float32"
try:
    fit_nlsq_jax(data, initial_params={"D0": 1e4, "alpha": 5.0})
except ValueError:
    pass
assert {name: getattr(jax.config, name) for name in before} == before
assert "homodyne_global" not in sys.modules
assert dict(os.environ) == environment and list(logging.root.handlers) == handlers
print(repr(fit.chi_squared), fit.quality_flag)
"""


def run():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    chi_squared, flag = done.stdout.split()
    return float(chi_squared), flag


def test_a_process_in_single_precision_fits_in_double_and_stays_as_it_was(rest):
    chi_squared, flag = run()
    assert flag == "good"
    assert abs(chi_squared / fit_nlsq_jax(rest.data).chi_squared - 1) < 1e-12
