"""What a posterior costs: from a fit, from nothing, and by a sampler of the natural parameters; and of 23 million map entries with two workers."""

import multiprocessing
import resource
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from arviz_stats.base import array_stats
from measurement import machine, sheared_colloid

from homodyne_cmc import fit_mcmc_jax
from homodyne_data import TwoTimeData
from homodyne_memory import peak_memory_gb
from homodyne_model import PARAMETERS, pair_sums, testing
from homodyne_nlsq import fit_nlsq_jax

CASES = {"static": (testing.colloid(5, 100), 0.02), "laminar": (testing.rheometer_flow(6, 100), 0.01)}
SHARDS = 4


def data_of(case: str) -> TwoTimeData:
    """Noisy maps of a case."""
    truth, sigma = CASES[case]
    model = truth.model
    return TwoTimeData(truth.noisy_maps(sigma, seed=1), model.phi, model.t, model.q, model.L, sigma=sigma)


def ours(case: str, *, warm: bool) -> str:
    """Shards from a fit or from nothing; the second of two runs, so that compilation does not count."""
    data, mode = data_of(case), CASES[case][0].model.analysis_mode.value
    settings = {"analysis_mode": mode, "noise": "global", "num_shards": SHARDS}
    for _ in range(2):
        began = time.process_time()
        fit = fit_nlsq_jax(data, {"analysis_mode": mode}) if warm else None
        before = time.process_time() - began
        result = fit_mcmc_jax(data, settings, fit)
        spent = time.process_time() - began
    shards = result.tree["shards"]
    return row(
        case,
        "fit first" if warm else "no start",
        float(shards["diverging"].mean()),
        float(shards["steps"].mean()),
        result.ess,
        spent,
        f"{result.status}, of it fit {before:.1f} s",
    )


def natural(case: str) -> str:
    """NUTS of NumPyro as it comes, on the natural parameters between their bounds, all the data, as many draws as one shard has."""
    data, truth = data_of(case), CASES[case][0]
    names, model = truth.model.layout.physical_names, truth.model
    mask = data.mask
    y = np.where(mask, data.c2 - 1.0, 0.0)
    n, y1, yy = (jnp.asarray(part.sum((1, 2))) for part in (mask.astype(float), y, y**2))

    def scattering(c2):
        physical = jnp.stack([numpyro.sample(k, dist.Uniform(*limits(k))) for k in names])
        f1, ff, fy = pair_sums(model, physical, c2).T
        spread, along = ff - f1**2 / n, fy - f1 * y1 / n
        residual = (yy - y1**2 / n - along**2 / spread).sum()
        numpyro.factor(
            "data", -0.5 * (n.sum() - 2 * len(n)) * jnp.log(residual) - 0.5 * jnp.log(n * spread).sum()
        )

    began = time.process_time()
    sampler = numpyro.infer.MCMC(
        numpyro.infer.NUTS(scattering),
        num_warmup=150,
        num_samples=250,
        num_chains=4,
        chain_method="sequential",
        progress_bar=False,
    )
    watched = ("diverging", "num_steps")
    sampler.run(jax.random.key(0), jnp.asarray(np.where(mask, data.c2, np.nan)), extra_fields=watched)
    draws = sampler.get_samples(group_by_chain=True)
    spent = time.process_time() - began
    extra = sampler.get_extra_fields()
    ess = min(float(array_stats.ess(np.asarray(draws[k]), method="bulk")) for k in names)
    r_hat = max(float(array_stats.rhat(np.asarray(draws[k]))) for k in names)
    return row(
        case,
        "natural",
        float(extra["diverging"].mean()),
        float(extra["num_steps"].mean()),
        ess,
        spent,
        f"R-hat {r_hat:.2f}, compilation included",
    )


def limits(name: str) -> tuple[float, float]:
    """Default bounds; any direction of the flow."""
    return (-90.0, 90.0) if name == "phi0" else (PARAMETERS[name].lower, PARAMETERS[name].upper)


def row(case: str, name: str, divergences: float, steps: float, ess: float, spent: float, more: str) -> str:
    """A line of the first table."""
    return f"{case:>10}{name:>12}{100 * divergences:>14.2f}{steps:>12.1f}{ess:>10.0f}{spent:>10.1f}{ess / spent:>12.2f}  {more}"


def large(method: str, n_t: int) -> None:
    """A posterior of 23 angles with two spawned workers, from a fit."""
    data, truth = sheared_colloid(23, n_t)
    fit = fit_nlsq_jax(data, {"analysis_mode": "laminar_flow"})
    began = time.perf_counter()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        result = fit_mcmc_jax(data, {"analysis_mode": "laminar_flow", "method": method}, fit, executor=pool)
        spent = time.perf_counter() - began
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (
        1e6 if sys.platform != "darwin" else 1e9
    )
    off = max(abs(result.mean[k] - v) / result.sd[k] for k, v in truth.items())
    print(
        f"{method:>10}{n_t:>8}{spent:>10.0f}{result.ess:>10.0f}{result.k_hat:>8.2f}{off:>14.2f}{worker:>14.2f}{peak_memory_gb():>14.2f}  {result.status}; "
        + ", ".join(
            f"{stage} {seconds:.0f} s" for stage, seconds in result.seconds.items() if stage != "total"
        ),
        flush=True,
    )


def in_a_fresh_process(*arguments: str) -> None:
    """Run a part of this module by itself."""
    subprocess.run([sys.executable, __file__, *arguments], check=True)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    match sys.argv[1:]:
        case ["natural", case]:
            print(natural(case), flush=True)
        case ["fit", case]:
            print(ours(case, warm=True), flush=True)
        case ["nothing", case]:
            print(ours(case, warm=False), flush=True)
        case ["large", method, frames]:
            large(method, int(frames))
        case _:
            print(machine())
            print(
                f"\nSampling in {SHARDS} shards beside a sampler of the natural parameters, each in a fresh process"
            )
            print(
                f"{'':>10}{'start':>12}{'divergent [%]':>14}{'steps/draw':>12}{'ESS':>10}{'CPU [s]':>10}{'ESS/CPU s':>12}",
                flush=True,
            )
            for name in CASES:
                for start in ("fit", "nothing", "natural"):
                    in_a_fresh_process(start, name)
            print("\n23 angles, from a fit, two workers")
            print(
                f"{'method':>10}{'frames':>8}{'time [s]':>10}{'ESS':>10}{'k-hat':>8}{'off [sd]':>14}{'worker [GB]':>14}{'here [GB]':>14}",
                flush=True,
            )
            for how, frames in (("laplace", "200"), ("cmc", "200"), ("laplace", "1000"), ("cmc", "1000")):
                in_a_fresh_process("large", how, frames)
