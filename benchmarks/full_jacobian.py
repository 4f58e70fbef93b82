"""The whole fit by our engine and by nlsq's ``CurveFit`` on the full Jacobian, side by side in one process."""

import os
import subprocess
import sys
from importlib.metadata import version

from measurement import machine, poor_start, sheared_colloid, timed

from homodyne_memory import peak_memory_gb
from homodyne_nlsq import StandardExecutor


def side_by_side(n_t: int) -> None:
    """Two fits by each engine in turn, in this process, which is fresh: the first of each compiles."""
    data, truth = sheared_colloid(23, n_t)
    config = {"analysis_mode": "laminar_flow", "initial": poor_start(truth)}
    # In this order: the peak after a first fit is that of the engine, as ours needs less.
    executors = {engine: StandardExecutor(engine) for engine in ("structured", "nlsq")}
    first, peak = {}, {"before": peak_memory_gb()}
    for engine, executor in executors.items():
        first[engine], _ = timed(lambda: executor.fit(data, config))  # noqa: B023
        peak[engine] = peak_memory_gb()
    second = {}
    for engine, executor in executors.items():
        second[engine], result = timed(lambda: executor.fit(data, config))  # noqa: B023
        print(
            f"{n_t:>8}{engine:>12}{first[engine]:>12.2f}{second[engine]:>12.2f}{result.iterations:>9}"
            f"{result.chi_squared:>18.4f}{1e3 * peak['before']:>15.0f}{1e3 * peak[engine]:>13.0f}  {result.convergence_status}",
            flush=True,
        )
    ratios = (times["nlsq"] / times["structured"] for times in (first, second))
    print("{:>8}{:>12}{:>12.1f}{:>12.1f}".format("", "ratio", *ratios), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        side_by_side(int(sys.argv[1]))
    else:
        threads = os.environ.get("OPENBLAS_NUM_THREADS", "not set")
        print(f"{machine()}, nlsq {version('nlsq')}, OPENBLAS_NUM_THREADS {threads}")
        print("\nThe whole fit by nlsq on the full Jacobian, 23 angles, each size in a fresh process")
        print(
            f"{'frames':>8}{'engine':>12}{'first [s]':>12}{'second [s]':>12}{'passes':>9}{'chi squared':>18}"
            f"{'before [MB]':>15}{'peak [MB]':>13}",
            flush=True,
        )
        for frames in (100, 200):
            subprocess.run([sys.executable, __file__, str(frames)], check=True)
