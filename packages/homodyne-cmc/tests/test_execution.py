import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

from homodyne_cmc import CMCInputError, fit_mcmc_jax
from homodyne_cmc._execution import ShardFailure, check_executor, run_jobs, worker_count

SMALL = {"num_shards": 2, "num_warmup": 40, "num_samples": 60, "certificate_draws": 500}


class Job(int):
    """A job that is its own number."""

    @property
    def label(self):
        return f"shard {int(self)}"


def numbered(count):
    return [Job(k) for k in range(count)]


def suicidal(job):
    """Dies in a worker where the flag file is not there yet; runs in the process of the test."""
    if job == 1 and multiprocessing.parent_process() is not None:
        os._exit(1)
    time.sleep(0.2)
    return 2 * job


def run(executor, function, jobs, notes=None, progress=None, timeout=None):
    notes = [] if notes is None else notes
    return run_jobs(
        executor, function, jobs, stage="sampling", progress=progress, notes=notes, timeout=timeout
    )


class Flaky:
    """Fails at a job a number of times."""

    def __init__(self, failures):
        self.left = failures

    def __call__(self, job):
        if job == 1 and self.left:
            self.left -= 1
            raise FloatingPointError("not finite")
        return 2 * job


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_job_that_fails_is_run_again(elsewhere):
    notes, told = [], []
    with ThreadPoolExecutor(1) as pool:
        found = run(pool if elsewhere else None, Flaky(2), numbered(4), notes, lambda *a: told.append(a))
    assert found == [0, 2, 4, 6]
    assert len(notes) == 2
    assert "shard 1 failed (FloatingPointError: not finite) and was run again" in notes[0]
    assert [t[1] for t in told] == [0, 1, 2, 3, 4]
    assert told[-1][3] == 0.0


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_job_that_always_fails_ends_in_words(elsewhere):
    with ThreadPoolExecutor(1) as pool, pytest.raises(ShardFailure, match="shard 1 failed .* 3 times"):
        run(pool if elsewhere else None, Flaky(99), numbered(4))


def test_a_worker_that_dies_leaves_its_jobs_to_this_process():
    notes = []
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert run(pool, suicidal, numbered(4), notes) == [0, 2, 4, 6]
    assert "a worker died" in notes[0]


def test_an_interruption_cancels_what_waits():
    started = []

    def job(number):
        started.append(number)
        time.sleep(0.1)
        return number

    def interrupt(stage, done, total, left):
        if done:
            raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as pool, pytest.raises(KeyboardInterrupt):
        run(pool, job, numbered(6), progress=interrupt)
    assert len(started) < 6


def test_a_forked_pool_is_refused_with_a_sentence(rest_data):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        with pytest.raises(CMCInputError, match="pool of forked processes; expected .*spawn"):
            fit_mcmc_jax(rest_data, SMALL, executor=pool)
        assert worker_count(pool) == 2


def test_what_cannot_run_jobs_is_refused(rest_data):
    with pytest.raises(TypeError, match="executor is a str"):
        fit_mcmc_jax(rest_data, SMALL, executor="dask")
    check_executor(None)
    assert worker_count(None) == 1


@pytest.mark.slow
def test_spawned_processes_give_the_same_to_the_bit(rest_data, tmp_path):
    here = fit_mcmc_jax(rest_data, SMALL)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        there = fit_mcmc_jax(rest_data, SMALL | {"checkpoint_dir": str(tmp_path)}, executor=pool)
    np.testing.assert_array_equal(here.draws, there.draws)
    np.testing.assert_array_equal(here.tree["shards"]["z"], there.tree["shards"]["z"])
    # The files that the workers read are gone; the draws are kept.
    assert [path.name.partition("-")[0] for path in tmp_path.iterdir()] == ["draws"]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_a_dask_cluster_gives_the_same_to_the_bit_though_a_worker_dies(rest_data):
    distributed = pytest.importorskip("dask.distributed")
    settings = SMALL | {"num_shards": 4}
    here = fit_mcmc_jax(rest_data, settings)
    killed = []

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        processes = client.run(os.getpid)

        def kill_one(stage, done, total, left):
            if stage == "sampling" and done == 1 and not killed:
                busy = [address for address, tasks in client.processing().items() if tasks]
                killed.append(processes[busy[0]])
                os.kill(killed[0], signal.SIGKILL)

        there = fit_mcmc_jax(rest_data, settings, executor=client.get_executor(pure=False), progress=kill_one)
    assert killed
    np.testing.assert_array_equal(here.draws, there.draws)


def test_finished_chains_are_not_sampled_again(rest_data, tmp_path, monkeypatch):
    import homodyne_cmc._tasks as tasks

    sampled = []
    original = tasks.draw_chain

    def counted(problem, shard, index, chain, *rest):
        if len(sampled) == 5:
            raise KeyboardInterrupt
        sampled.append((index, chain))
        return original(problem, shard, index, chain, *rest)

    settings = SMALL | {"num_shards": 2, "checkpoint_dir": str(tmp_path)}
    monkeypatch.setattr(tasks, "draw_chain", counted)
    with pytest.raises(KeyboardInterrupt):
        fit_mcmc_jax(rest_data, settings)
    monkeypatch.setattr(tasks, "draw_chain", lambda *a: sampled.append((a[2], a[3])) or original(*a))
    resumed = fit_mcmc_jax(rest_data, settings)
    assert sampled == [(shard, chain) for shard in range(2) for chain in range(4)]
    assert any("5 of 8 chains were taken" in sentence for sentence in resumed.warnings)
    monkeypatch.undo()
    np.testing.assert_array_equal(resumed.draws, fit_mcmc_jax(rest_data, SMALL).draws)
    # Other settings are another run.
    other = fit_mcmc_jax(rest_data, settings | {"seed": 1})
    assert not any("were taken" in sentence for sentence in other.warnings)


def test_a_resumed_run_keeps_its_start(rest, rest_data, tmp_path, warm):
    """A fit that is run again ends at other last digits: its chains would not fit those that are there."""
    settings = SMALL | {"checkpoint_dir": str(tmp_path)}
    width = np.diag(np.array([200.0, 0.01, 100.0]) ** 2)
    begin = warm(rest) | {"covariance": width}
    first = fit_mcmc_jax(rest_data, settings, begin)
    alike = begin | {"values": rest.physical * (1 + 1e-9), "covariance": width * (1 + 1e-9)}
    again = fit_mcmc_jax(rest_data, settings, alike)
    assert any("8 of 8 chains were taken" in sentence for sentence in again.warnings)
    np.testing.assert_array_equal(again.draws, first.draws)
    # Another start is another run beside it.
    other = fit_mcmc_jax(rest_data, settings, begin | {"values": rest.physical * 1.01})
    assert not any("were taken" in sentence for sentence in other.warnings)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_chain_that_takes_too_long_ends_the_run_in_words(rest, rest_data, warm):
    found = fit_mcmc_jax(rest_data, SMALL | {"shard_timeout": 1e-3}, warm(rest))
    assert found.status == "failed"
    assert "chain 0 of shard 0 had 50 of 100 draws" in found.message
    assert "a longer shard_timeout, or more shards" in found.message


def test_a_worker_that_is_silent_loses_its_job(monkeypatch):
    import homodyne_cmc._execution as execution

    monkeypatch.setattr(execution, "_GRACE", 0.2)
    held, notes, asked = threading.Event(), [], []

    def job(number):
        asked.append(int(number))
        if number == 1 and asked.count(1) == 1:
            held.wait(20)
        return 2 * number

    with ThreadPoolExecutor(2) as pool:
        found = run(pool, job, numbered(4), notes, timeout=0.1)
        held.set()
    assert found == [0, 2, 4, 6]
    assert asked.count(1) == 2
    assert "shard 1 failed (TimeoutError: no answer in 0 s) and was run again" in notes[0]
