"""What a global search costs beside one local fit, from the middle of the bounds: 23 angles of 200 frames, default settings."""

import subprocess
import sys

import numpy as np
from measurement import machine, sheared_colloid, timed

from homodyne_memory import peak_memory_gb
from homodyne_model import PARAMETERS
from homodyne_nlsq import fit_nlsq_cmaes, fit_nlsq_jax, fit_nlsq_multistart

METHODS = {"local": fit_nlsq_jax, "multi_start": fit_nlsq_multistart, "cmaes": fit_nlsq_cmaes}


def middle() -> dict[str, float]:
    """The middle of the default bounds, on a logarithmic scale for the two rates; the flow at 0 degrees."""
    start = dict.fromkeys(("alpha", "D_offset", "beta", "gamma_dot_t_offset", "phi0"), 0.0)
    for name in ("D0", "gamma_dot_t0"):
        start[name] = float(np.sqrt(PARAMETERS[name].lower * PARAMETERS[name].upper))
    return start


def one_method(method: str) -> None:
    """Three fits in this process, which is fresh: the first compiles, the third draws other candidates."""
    data, _ = sheared_colloid(23, 200)
    seconds = []
    for seed in (1, 1, 2):
        settings = {"analysis_mode": "laminar_flow", "initial": middle()}
        if method != "local":
            settings[method] = {"seed": seed}
        spent, result = timed(lambda settings=settings: METHODS[method](data, settings))
        seconds.append(f"{spent:>12.2f}")
    evaluations = result.search.evaluations if result.search else 0
    print(
        f"{method:>12}{''.join(seconds)}{evaluations:>13}{result.iterations:>9}{result.chi_squared:>16.4f}"
        f"{1e3 * peak_memory_gb():>13.0f}  {result.convergence_status}",
        flush=True,
    )


if __name__ == "__main__":
    if sys.argv[1:]:
        one_method(sys.argv[1])
    else:
        print(machine())
        print("\nA fit from the middle of the bounds, 23 angles x 200 frames, each method in a fresh process")
        print(
            f"{'':>12}{'first [s]':>12}{'second [s]':>12}{'other seed':>12}{'candidates':>13}{'passes':>9}{'chi squared':>16}"
            f"{'peak [MB]':>13}",
            flush=True,
        )
        for name in METHODS:
            subprocess.run([sys.executable, __file__, name], check=True)
