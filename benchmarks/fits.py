"""The whole fit, from a poor start, compilation included; data held in three ways; against SciPy on the full residual of all parameters."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from measurement import SIGMA, machine, physical_parameters, poor_start, sheared_colloid, timed
from scipy.optimize import least_squares

from homodyne_data import load_xpcs, open_xpcs, save_apsu
from homodyne_memory import peak_memory_gb
from homodyne_model import map_c2, testing
from homodyne_nlsq import LargeDatasetExecutor, StandardExecutor, StreamingExecutor, fit_nlsq_jax

# Every executor with how it finds the maps of a file.
HELD = {
    "whole": (StandardExecutor, load_xpcs),
    "in chunks": (LargeDatasetExecutor, load_xpcs),
    "in the file": (StreamingExecutor, open_xpcs),
}
LOSSES = {"linear": {}, "huber": {"loss": "huber", "f_scale": 1.345}}


def one_size(n_t: int) -> None:
    """Two fits in this process, which is fresh: the first compiles."""
    data, truth = sheared_colloid(23, n_t)
    jax.clear_caches()
    before = peak_memory_gb()
    (first, _), (second, result) = [
        timed(lambda: fit_nlsq_jax(data, {"analysis_mode": "laminar_flow"}, initial_params=poor_start(truth)))
        for _ in range(2)
    ]
    print(
        f"{n_t:>8}{data.c2.size:>14,}{first:>12.2f}{second:>12.2f}{result.iterations:>9}"
        f"{data.c2.nbytes / 1e6:>12.0f}{1e3 * before:>15.0f}{1e3 * peak_memory_gb():>13.0f}  {result.convergence_status}",
        flush=True,
    )


def one_way(path: str, held: str, loss: str) -> None:
    """Two fits of the maps of a file in this process, which is fresh."""
    executor, found = HELD[held]
    data = found(path)
    truth = physical_parameters(testing.rheometer_flow(data.n_phi, data.n_t))
    config = {"analysis_mode": "laminar_flow", "initial": poor_start(truth), **LOSSES[loss]}
    before = peak_memory_gb()
    (first, _), (second, result) = [timed(lambda: executor().fit(data, config)) for _ in range(2)]
    chi_squared = result.chi_squared if loss == "linear" else result.robust_cost
    print(
        f"{held:>12}{loss:>8}{first:>12.2f}{second:>12.2f}{result.iterations:>9}{chi_squared:>18.4f}"
        f"{1e3 * before:>15.0f}{1e3 * peak_memory_gb():>13.0f}  {result.convergence_status}",
        flush=True,
    )


def by_size() -> None:
    """The fit of maps in memory, for several sizes."""
    print("\nThe whole fit from a poor start, 23 angles, each size in a fresh process")
    print(
        f"{'frames':>8}{'entries':>14}{'first [s]':>12}{'second [s]':>12}{'passes':>9}{'data [MB]':>12}"
        f"{'before [MB]':>15}{'peak [MB]':>13}"
    )
    for n_t in (200, 1000, 2000):
        subprocess.run([sys.executable, __file__, str(n_t)], check=True)


def by_way(n_t: int = 1000) -> None:
    """The fit of the same file with the data held in three ways, by least squares and robust."""
    print(
        f"\nThe same, 23 angles x {n_t} frames from a file, by how the data are held, each in a fresh process"
    )
    print(
        f"{'held':>12}{'loss':>8}{'first [s]':>12}{'second [s]':>12}{'passes':>9}{'minimum':>18}"
        f"{'before [MB]':>15}{'peak [MB]':>13}",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "maps.hdf"
        save_apsu(path, sheared_colloid(23, n_t)[0])
        for loss in LOSSES:
            for held in HELD:
                subprocess.run([sys.executable, __file__, str(path), held, loss], check=True)


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
    ours_seconds, ours = timed(
        lambda: fit_nlsq_jax(data, {"analysis_mode": "laminar_flow"}, initial_params=poor_start(truth))
    )
    print(f"\nAgainst SciPy on the full residual, 23 angles x {n_t} frames, both with compilation")
    print(f"{'':>12}{'seconds':>10}{'chi squared':>18}{'evaluations':>14}")
    print(f"{'SciPy':>12}{seconds:>10.2f}{2 * found.cost:>18.4f}{found.nfev:>14}")
    print(f"{'homodyne':>12}{ours_seconds:>10.2f}{ours.chi_squared:>18.4f}{ours.iterations:>14}")
    print(f"ratio {seconds / ours_seconds:.1f}, peak memory of both {peak_memory_gb():.1f} GB", flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case [n_t]:
            one_size(int(n_t))
        case [path, held, loss]:
            one_way(path, held, loss)
        case _:
            print(machine(), flush=True)
            by_size()
            against_scipy()
            by_way()
