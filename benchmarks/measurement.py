"""What the benchmarks share: data of a sheared colloid, alternating timing, peak memory."""

import os
import time
from collections.abc import Callable, Mapping

import jax
import numpy as np

from homodyne_data import TwoTimeData
from homodyne_model import map_c2, testing
from homodyne_nlsq import OptimizationResult

SIGMA = 0.02


def sheared_colloid(
    n_phi: int, n_t: int, shear_kernel: str = "gap_average"
) -> tuple[TwoTimeData, dict[str, float]]:
    """Noisy maps in single precision, made angle by angle, and the true physical parameters."""
    measurement = testing.rheometer_flow(n_phi, n_t, shear_kernel=shear_kernel)
    model = measurement.model
    rng = np.random.default_rng(1)
    maps = np.empty((n_phi, n_t, n_t), dtype=np.float32)
    predict = jax.jit(map_c2)
    for a in range(n_phi):
        one = model.at_angles(model.phi[a : a + 1])
        clean = predict(
            one, measurement.physical, measurement.contrast[a : a + 1], measurement.offset[a : a + 1]
        )
        noise = np.tril(rng.standard_normal((n_t, n_t), dtype=np.float32))
        maps[a] = np.asarray(clean[0], dtype=np.float32) + SIGMA * (noise + np.tril(noise, -1).T)
    data = TwoTimeData(maps, model.phi, model.t, model.q, model.L, sigma=SIGMA, symmetric=True)
    return data, physical_parameters(measurement)


def physical_parameters(measurement: testing.Measurement) -> dict[str, float]:
    """True physical parameters by name."""
    names = measurement.model.analysis_mode.physical_names
    return dict(zip(names, np.asarray(measurement.physical).tolist(), strict=True))


def poor_start(truth: Mapping[str, float]) -> dict[str, float]:
    """Start values a factor of 2 and some degrees off."""
    factors = {"D0": 2.0, "D_offset": 0.5, "gamma_dot_t0": 0.6, "gamma_dot_t_offset": 0.5}
    shifts = {"alpha": 0.2, "beta": -0.2, "phi0": 15.0}
    return {name: value * factors.get(name, 1.0) + shifts.get(name, 0.0) for name, value in truth.items()}


def alternating(runs: Mapping[str, Callable[[], object]], repeats: int = 20) -> dict[str, float]:
    """Median seconds of functions that are called in turn; the first round, which compiles, does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats + 1):
        for name, function in runs.items():
            started = time.perf_counter()
            jax.block_until_ready(function())
            seconds[name].append(time.perf_counter() - started)
    return {name: float(np.median(values[1:])) for name, values in seconds.items()}


def timed(fit: Callable[[], OptimizationResult]) -> tuple[float, OptimizationResult]:
    """Seconds of one fit, and its result."""
    started = time.perf_counter()
    result = fit()
    return time.perf_counter() - started, result


def machine() -> str:
    """Processors and versions, for the heading of a table."""
    return f"{os.cpu_count()} processors, jax {jax.__version__}, numpy {np.__version__}, load {os.getloadavg()[0]:.1f}"
