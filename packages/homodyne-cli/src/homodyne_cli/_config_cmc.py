"""The section ``optimization.cmc``: how a posterior is sampled, with the defaults of `homodyne_cmc`."""

from dataclasses import dataclass
from pathlib import Path

from homodyne_cli import _values as v
from homodyne_cli._config_keys import key, named_path
from homodyne_cmc import CMCConfig


def _mode_of_scaling(value: object) -> str | None:
    """How contrast and offset vary with the angle; ``auto`` is None, as in the fit."""
    return None if value == "auto" else v.text(value)


@dataclass(frozen=True)
class CMC:
    """The posterior of methods cmc and both: sampled in shards of the data, certified on all of them."""

    method: str = key(
        CMCConfig.method,
        v.text,
        "cmc: shards, combined and certified; nuts: one sampler over all the data; laplace: no sampler, the "
        "certificate about the mode, in seconds.",
    )
    num_shards: int | None = key(
        CMCConfig.num_shards,
        v.integer(1),
        "Shards of cmc. null: one, or one for each of n_workers; more where a shard would exceed a gigabyte.",
    )
    num_warmup: int = key(CMCConfig.num_warmup, v.integer(1), "Draws of a chain that adapt its step size.")
    num_samples: int = key(CMCConfig.num_samples, v.integer(1), "Draws of a chain that are kept.")
    num_chains: int = key(CMCConfig.num_chains, v.integer(1), "Chains of every shard.")
    target_accept_prob: float = key(
        CMCConfig.target_accept_prob,
        v.number,
        "Acceptance that the step size is adapted to, 0.5 to below 1; higher where draws diverge.",
    )
    certificate_draws: int = key(
        CMCConfig.certificate_draws, v.integer(1), "Draws of a round of the certificate, and of the result."
    )
    robust_draws: bool = key(
        CMCConfig.robust_draws,
        v.boolean,
        "Also draw from the posterior widened to the clustered (robust) covariance of the fit.",
    )
    seed: int = key(CMCConfig.seed, v.integer(0), "Of all random numbers: the same seed, the same draws.")
    noise: str | None = key(
        CMCConfig.noise,
        v.text,
        "given: σ is known; global: one factor of it is inferred; per_angle: σ of every angle is. null: given where it "
        "was given, else inferred.",
    )
    per_angle_mode: str | None = key(
        CMCConfig.per_angle_mode,
        _mode_of_scaling,
        "How contrast and offset vary with the angle: individual, fourier or constant. null or auto: as in the fit.",
    )
    fourier_order: int | None = key(
        None, v.integer(1), "Order of the series of fourier. null: that of optimization.nlsq.anti_degeneracy."
    )
    shard_timeout: float | None = key(
        CMCConfig.shard_timeout,
        v.positive,
        "Time [s] that a chain may take: with one that takes longer the sampling has failed, and the finished ones are kept. null: any.",
    )
    n_workers: int | None = key(
        None,
        v.integer(1),
        "Chains at a time, each in a process of its own. null: one after the other in this process.",
    )
    checkpoint_dir: str | None = key(
        CMCConfig.checkpoint_dir,
        v.text,
        "Where finished chains are kept, relative to this file: an interrupted run, started again, does not repeat "
        "them. null: shards/ in the results of the q, until it is finished.",
    )

    def path(self, folder: Path) -> Path | None:
        """The folder for finished chains, None where it is not named; relative entries start at `folder`.

        Raises
        ------
        ConfigurationError
            If a variable in the name is not set.
        """
        return named_path(self.checkpoint_dir, folder, "optimization.cmc.checkpoint_dir")
