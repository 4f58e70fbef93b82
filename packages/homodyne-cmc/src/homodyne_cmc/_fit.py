"""`fit_mcmc_jax`: from two-time data to a certified posterior."""

import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np

from homodyne_cmc._certificate import Certificate, Normal, Round, certify, pareto_smoothed, weighted_moments
from homodyne_cmc._checkpoint import Checkpoint, identity
from homodyne_cmc._config import CMCConfig
from homodyne_cmc._consensus import Consensus, combine
from homodyne_cmc._execution import Progress, ShardFailure, check_executor, run_jobs, worker_count
from homodyne_cmc._input import Request, as_config, as_data
from homodyne_cmc._mode import Start, find_start
from homodyne_cmc._nuts import ShardDraws
from homodyne_cmc._posterior import ExactPosterior
from homodyne_cmc._result import CMCResult
from homodyne_cmc._robust import RobustPosterior
from homodyne_cmc._shards import ShardSet, make_shards
from homodyne_cmc._tasks import SamplingJob, SumsJob, eval_draws, run_shard
from homodyne_cmc._tree import Run, build_tree
from homodyne_data import TwoTimeData

# Draws that diverge, effective draws and R-hat of one run over all the data that may be called certified.
_NUTS_R_HAT, _NUTS_ESS, _NUTS_DIVERGENCES, _NUTS_K_HAT = 1.01, 400, 0.01, 0.7


def fit_mcmc_jax(
    data,
    config: CMCConfig | Mapping | None = None,
    nlsq_result=None,
    *,
    cmc_config: CMCConfig | Mapping | None = None,
    executor: Executor | None = None,
    t1=None,
    t2=None,
    phi=None,
    q=None,
    L=None,
    sigma=None,
    dt=None,
    analysis_mode: str | None = None,
    progress: Progress | None = None,
) -> CMCResult:
    """Posterior of the scattering model for two-time maps, sampled in shards and certified on all the data.

    Contrast, offset and σ are integrated out of what is sampled and drawn exactly afterwards.

    Parameters
    ----------
    data : TwoTimeData, TwoTimeStream, mapping, or array_like (n_points,)
        Two-time maps in memory or in a file; or a mapping with the keys of the ``.npz`` layout or the historical dictionary; or the C2 values of
        pooled points, which need ``t1``, ``t2``, ``phi`` and ``q``.
    config : CMCConfig or mapping, optional
        Settings; a mapping has the fields of `CMCConfig`.
    nlsq_result : object or mapping, optional
        Warm start: ``names``, ``values`` (or ``parameters``) and, better, ``covariance`` of a fit. It decides where sampling begins and how the
        coordinates are whitened, and adds no information. Without, the mode of the posterior is looked for in the data.
    cmc_config : CMCConfig or mapping, optional
        Another name of ``config``.
    executor : concurrent.futures.Executor, optional
        Who samples the shards: spawned processes, or a cluster's. Without, they are sampled here, one after the other.
    t1, t2, phi, q, L, sigma, dt
        Pooled points, as in `homodyne_data.from_points`.
    analysis_mode : str, optional
        Replaces that of ``config``.
    progress : callable, optional
        Called as ``progress(stage, done, total, seconds_left)`` after every shard.

    Returns
    -------
    CMCResult
        Also when the posterior could not be certified: ``status`` and ``message`` say so.

    Raises
    ------
    CMCInputError, DataError, ModelError, ValueError, TypeError
        If data, settings, warm start or executor cannot be used, before anything is sampled; the message names what and what was expected.

    Notes
    -----
    Consensus: Scott et al. (2016), doi:10.1080/17509255.2016.1142191. Sampler: Hoffman & Gelman (2014). Certificate: Vehtari et al. (2024),
    Pareto smoothed importance sampling. Points of a map are taken for independent; measured ones share photons and speckles, so that the
    posterior is narrower than repeated measurements scatter (``robust_sd`` has the clustered errors of the fit beside it). JAX computes in 64 bits
    inside the call and is left as it was.

    Examples
    --------
    >>> import numpy as np
    >>> from homodyne_data import TwoTimeData, simulate_two_time
    >>> from homodyne_model.testing import colloid
    >>> truth = colloid(n_phi=2, n_t=40)
    >>> data = TwoTimeData(simulate_two_time(truth.maps(), 0.02, seed=1), phi=truth.model.phi, t=truth.model.t, q=truth.model.q, sigma=0.02)
    >>> result = fit_mcmc_jax(data, {"method": "laplace"})
    >>> result.status, result.posterior["D0"].sizes["draw"]
    ('certified', 2000)
    """
    check_executor(executor)
    pooled = {"t1": t1, "t2": t2, "phi": phi, "q": q, "L": L, "sigma": sigma, "dt": dt}
    config = as_config(config, cmc_config, analysis_mode)
    data = as_data(data, pooled)
    request = Request.of(data, config, nlsq_result, worker_count(executor))
    # What the host asks of its own array code must not reach into this; its precision is put back as well.
    with (
        ExitStack() as stack,
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        return _Sampling(data, request, executor, progress, stack).run()


class _Sampling:
    """One call of `fit_mcmc_jax`."""

    def __init__(self, data, request: Request, executor, progress, stack: ExitStack) -> None:
        self.data, self.request, self.executor, self.progress = data, request, executor, progress
        self.config = request.config
        self.notes: list[str] = []
        self.began = time.perf_counter()
        self.seconds: dict[str, float] = {}
        folder = None if self.config.checkpoint_dir is None else Path(self.config.checkpoint_dir).resolve()
        self.shards = self._make_shards(stack, folder)
        self.checkpoint = None
        # What has no chains has nothing to keep.
        if folder is not None and self.config.method != "laplace":
            parts = (self.shards.identity, len(self.shards), data.q, data.L, data.t, data.phi)
            self.checkpoint = Checkpoint.of(folder, identity(self.config, parts), request.warm)
        self._lap("shards")

    def _lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = now - self.began - sum(self.seconds.values())

    def _make_shards(self, stack: ExitStack, kept_in: Path | None) -> ShardSet:
        folder = None
        if self.executor is not None or not isinstance(self.data, TwoTimeData):
            if kept_in is not None:
                kept_in.mkdir(parents=True, exist_ok=True)
            made = tempfile.TemporaryDirectory(prefix="homodyne-cmc-", dir=kept_in)
            folder = Path(stack.enter_context(made))
        return make_shards(
            self.data, self.request.n_shards, known_noise=self.request.known_noise, folder=folder
        )

    def run(self) -> CMCResult:
        start = self._start()
        self._lap("start")
        posterior = ExactPosterior(
            start.problem,
            start.mu,
            start.root,
            self.shards.moments,
            self.request.scaling_priors(),
            lambda physical: self._sums(start.problem, physical),
            np.random.default_rng([self.config.seed, 1]),
        )
        draws: list[ShardDraws] = []
        consensus = None
        d = len(start.mu)
        try:
            proposal = Normal(np.zeros(d), np.eye(d))
            if self.config.method != "laplace":
                draws = self._sample(start)
                self._lap("sampling")
                consensus = combine(draws)
                self.notes += consensus.convergence.remarks()
                proposal = Normal(consensus.mean, consensus.covariance)
                if not consensus.positive:
                    self.notes.append(
                        "the shards together knew less than their anchor (more num_samples help): the certificate began at the mode instead."
                    )
            if self.config.method == "nuts":
                certificate = _weigh_draws(draws[0], consensus, posterior)
            else:
                rng = np.random.default_rng([self.config.seed, 2])
                certificate = certify(
                    proposal,
                    posterior.log_density,
                    n_draws=self.config.certificate_draws,
                    rng=rng,
                    after_round=self._report_round,
                )
            status = "certified" if certificate.certified else "not certified"
            message = certificate.message
            if not np.isfinite(certificate.log_weights).any():
                status = "failed"
            elif status == "not certified" and self.config.method != "nuts":
                message += f" {self._offer(draws)}"
        except ShardFailure as error:
            certificate, status, message = _nothing(d), "failed", str(error)
        self._lap("certificate")
        robust = None
        if self.config.robust_draws and status != "failed":
            robust = self._robust(posterior)
            self._lap("robust draws")
        run = Run(
            data=self.data,
            request=self.request,
            shards=self.shards,
            start=start,
            draws=draws,
            consensus=consensus,
            certificate=certificate,
            robust=robust,
            posterior=posterior,
            status=status,
            message=message or _CERTIFIED[self.config.method],
            notes=tuple(dict.fromkeys((*start.notes, *self.notes))),
            seconds={**self.seconds, "total": time.perf_counter() - self.began},
            versions={name: version(name) for name in _VERSIONS},
        )
        return CMCResult(build_tree(run, np.random.default_rng([self.config.seed, 3])))

    def _offer(self, draws: list[ShardDraws]) -> str:
        """What can be done where the certificate is not reached."""
        offer = "method 'nuts' samples all the data at once"
        if not draws:
            return f"{offer}, which does not depend on how normal the posterior is."
        # As many gradients of all the data as the shards took of their parts.
        steps = np.mean([shard.num_steps.mean() for shard in draws])
        seconds = sum(shard.seconds for shard in draws)
        return (
            f"{offer}: about {seconds / 60:.2g} minutes of one worker if its draws take {steps:.0f} gradients as those of the shards did, "
            "more where the posterior is bent."
        )

    def _robust(self, posterior: ExactPosterior) -> Certificate:
        widened = RobustPosterior.of(posterior, self.request.warm)
        found = certify(
            widened.proposal,
            widened.log_density,
            n_draws=self.config.certificate_draws,
            rng=np.random.default_rng([self.config.seed, 4]),
            after_round=self._report_round,
        )
        if not found.certified:
            self.notes.append(f"the draws widened to the clustered errors are not certified: {found.message}")
        return found

    def _report_round(self, number: int, found: Round) -> None:
        if self.progress is not None:
            self.progress(
                f"certificate, round {number}: k-hat {found.k_hat:.2f}, {found.ess:.0f} effective draws",
                number,
                number,
                None,
            )

    def _start(self) -> Start:
        problem, warm = self.request.problem(self.data), self.request.warm
        if self.checkpoint is not None and (kept := self.checkpoint.start(problem)) is not None:
            return kept
        if self.progress is not None:
            self.progress("start", 0, 1, None)
        start = find_start(problem, self.shards, warm, seed=self.config.seed)
        if self.checkpoint is not None:
            self.checkpoint.keep(start)
        if self.progress is not None:
            self.progress("start", 1, 1, 0.0)
        return start

    def _sample(self, start: Start) -> list[ShardDraws]:
        n_shards, n_chains, kept = len(self.shards), self.config.num_chains, self.checkpoint
        # A job is a chain, so that workers stay busy and an interruption loses little.
        jobs = [
            SamplingJob(
                start.problem,
                shard,
                chain,
                n_shards,
                start.mu,
                start.root,
                self.config.sampler,
                None if kept is None else str(kept.chain(shard.index, chain)),
                self.config.shard_timeout,
            )
            for shard in self.shards.shards
            for chain in range(n_chains)
        ]
        if found := sum(job.keep_at is not None and Path(job.keep_at).exists() for job in jobs):
            self.notes.append(
                f"{found} of {len(jobs)} chains were taken from {kept.folder.name}, where an earlier run had left them."
            )
        chains = self._run(run_shard, jobs, "sampling", self.config.shard_timeout)
        return [ShardDraws.of(k, chains[k * n_chains : (k + 1) * n_chains]) for k in range(n_shards)]

    def _sums(self, problem, physical) -> np.ndarray:
        """Sums of all the data at draws, (n_draws, n_phi, 3)."""
        jobs = [SumsJob(problem, shard, physical) for shard in self.shards.shards]
        # Added in the order of the shards, so that it does not matter who finishes first.
        return sum(self._run(eval_draws, jobs, "certificate"))

    def _run(self, function, jobs, stage: str, timeout: float | None = None) -> list:
        return run_jobs(
            self.executor,
            function,
            jobs,
            stage=stage,
            progress=self.progress,
            notes=self.notes,
            timeout=timeout,
        )


_CERTIFIED = {
    "cmc": "the exact posterior of all the data gives the draws of the shards weights that can be trusted.",
    "laplace": "the exact posterior of all the data gives draws about its mode weights that can be trusted.",
    "nuts": "the chains over all the data agree.",
}
_VERSIONS = ("homodyne-cmc", "homodyne-model", "homodyne-data", "numpyro", "jax", "arviz-stats")


def _nothing(d: int) -> Certificate:
    nan = np.full(d, np.nan)
    return Certificate(
        np.empty((0, d)), np.empty(0), (Round(np.inf, 0.0, np.nan),), nan, np.diag(nan), False, ""
    )


def _weigh_draws(draws: ShardDraws, consensus: Consensus, posterior: ExactPosterior) -> Certificate:
    """Draws of all the data as they are, with the weights exact prior / smooth prior that the walls ask for."""
    d = draws.z.shape[-1]
    z = draws.z.reshape(-1, d)
    log_weights, k_hat = pareto_smoothed(posterior.log_density(z) - posterior.log_smooth(z))
    if not np.isfinite(log_weights).any():
        return Certificate(
            z,
            log_weights,
            (Round(np.inf, 0.0, np.nan),),
            *_nan_moments(d),
            False,
            "no draw lies within the bounds.",
        )
    mean, covariance = weighted_moments(z, log_weights)
    quality = consensus.convergence
    share = 1 / (len(z) * float(np.exp(2 * log_weights).sum()))
    ess = float(quality.ess_bulk.min()) * share
    reasons = []
    if not k_hat < _NUTS_K_HAT:
        reasons.append(f"the bounds cut what was sampled (k-hat {k_hat:.2f}, limit {_NUTS_K_HAT}).")
    if not ess > _NUTS_ESS:
        reasons.append(f"only {ess:.0f} effective draws (limit {_NUTS_ESS}): more num_samples.")
    if not quality.r_hat.max() < _NUTS_R_HAT:
        reasons.append(
            f"the chains disagree (R-hat {quality.r_hat.max():.3f}, limit {_NUTS_R_HAT}): more num_samples."
        )
    if not quality.divergences.max() < _NUTS_DIVERGENCES:
        reasons.append(
            f"{100 * quality.divergences.max():.2g} % of the draws diverged: a larger target_accept_prob."
        )
    return Certificate(
        z, log_weights, (Round(k_hat, ess, np.nan),), mean, covariance, not reasons, " ".join(reasons)
    )


def _nan_moments(d: int):
    return np.full(d, np.nan), np.full((d, d), np.nan)
