"""The whole fit, from a poor start, compilation included; against SciPy on the full residual of all parameters."""

import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from measurement import SIGMA, machine, poor_start, sheared_colloid
from scipy.optimize import least_squares

from homodyne_memory import peak_memory_gb
from homodyne_model import map_c2, testing
from homodyne_nlsq import fit_nlsq_jax


def one_fit(n_t: int) -> None:
    """Two fits in this process, which is fresh: the first compiles."""
    data, truth = sheared_colloid(23, n_t)
    jax.clear_caches()
    before = peak_memory_gb()
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        result = fit_nlsq_jax(data, {"analysis_mode": "laminar_flow"}, initial_params=poor_start(truth))
        seconds.append(time.perf_counter() - started)
    print(
        f"{n_t:>8}{data.c2.size:>14,}{seconds[0]:>12.2f}{seconds[1]:>12.2f}{result.iterations:>9}"
        f"{data.c2.nbytes / 1e6:>12.0f}{1e3 * before:>15.0f}{1e3 * peak_memory_gb():>13.0f}  {result.convergence_status}",
        flush=True,
    )


def against_scipy(n_t: int = 200) -> None:
    """The same optimum by SciPy's trust region on every point and all 53 parameters, with a compiled Jacobian."""
    data, truth = sheared_colloid(23, n_t)
    model = testing.rheometer_flow(23, n_t).model
    i, j = np.tril_indices(n_t, -1)
    with jax.enable_x64(True):
        measured = jnp.asarray(data.c2[:, i, j], dtype=float)

        @jax.jit
        def residual(p):
            return ((map_c2(model, p[46:], p[:23], p[23:46])[:, i, j] - measured) / SIGMA).ravel()

        jacobian = jax.jit(jax.jacfwd(residual))
        start = np.concatenate([np.full(23, 0.3), np.full(23, 1.0), list(poor_start(truth).values())])
        started = time.perf_counter()
        found = least_squares(
            lambda p: np.asarray(residual(p)),
            start,
            lambda p: np.asarray(jacobian(p)),
            x_scale="jac",
            ftol=1e-12,
            xtol=1e-12,
            gtol=1e-12,
            max_nfev=200,
        )
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    ours = fit_nlsq_jax(data, {"analysis_mode": "laminar_flow"}, initial_params=poor_start(truth))
    ours_seconds = time.perf_counter() - started
    print(f"\nAgainst SciPy on the full residual, 23 angles x {n_t} frames, both with compilation")
    print(f"{'':>12}{'seconds':>10}{'chi squared':>18}{'evaluations':>14}")
    print(f"{'SciPy':>12}{seconds:>10.2f}{2 * found.cost:>18.4f}{found.nfev:>14}")
    print(f"{'homodyne':>12}{ours_seconds:>10.2f}{ours.chi_squared:>18.4f}{ours.iterations:>14}")
    print(f"ratio {seconds / ours_seconds:.1f}, peak memory of both {peak_memory_gb():.1f} GB")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        one_fit(int(sys.argv[1]))
    else:
        print(machine())
        print("\nThe whole fit from a poor start, 23 angles, each size in a fresh process")
        print(
            f"{'frames':>8}{'entries':>14}{'first [s]':>12}{'second [s]':>12}{'passes':>9}{'data [MB]':>12}"
            f"{'before [MB]':>15}{'peak [MB]':>13}"
        )
        for n_t in (200, 1000, 2000):
            subprocess.run([sys.executable, __file__, str(n_t)], check=True)
        against_scipy()
