"""The posterior of one q: a look at what the sampler will be given, the sampling, and the chains that an interruption leaves."""

import dataclasses
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from homodyne_cli._console import ProgressLine
from homodyne_cli._interrupt import kept_interrupts
from homodyne_cli._workers import workers
from homodyne_cmc import CMCConfig
from homodyne_data import TwoTimeData, TwoTimeStream
from homodyne_model import AnalysisMode
from homodyne_nlsq import OptimizationResult

if TYPE_CHECKING:  # NumPyro and xarray take seconds to import
    from homodyne_cmc import CMCResult

FOLDER = "shards"
"""Name of the folder in the results of a q, where the configuration names none."""


class KeptChains:
    """The folder of finished chains of one q.

    Parameters
    ----------
    named : Path or None
        Folder that the configuration names.
    results : Path
        Results of the q.

    Attributes
    ----------
    folder : Path
        Where they are.
    """

    def __init__(self, named: Path | None, results: Path) -> None:
        self._own = named is None
        self.folder = results / FOLDER if named is None else named

    @property
    def present(self) -> bool:
        """Whether there are any."""
        return any(self.folder.rglob("*.npz"))

    def clear(self) -> None:
        """Remove a folder of our own: what it is kept for is done."""
        if self._own and self.folder.is_dir():
            shutil.rmtree(self.folder)


class _Accepted(Exception):
    """Thrown where sampling would begin: nothing of what was given was refused."""


def look_before(
    data: TwoTimeData | TwoTimeStream,
    settings: CMCConfig,
    n_workers: int | None,
    *,
    from_fit: bool,
) -> None:
    """Let the sampler refuse what it does not take before a fit is made for it.

    It is given a few frames of the same angles, noise and settings.

    Parameters
    ----------
    data : TwoTimeData or TwoTimeStream
        What will be sampled.
    settings : CMCConfig
        How.
    n_workers : int or None
        Workers, whose number is that of the shards where the settings name none.
    from_fit : bool
        Whether there will be a fit to start from.

    Raises
    ------
    homodyne_cmc.CMCInputError
        If it would be refused.
    """
    from homodyne_cmc import fit_mcmc_jax

    names = AnalysisMode.parse(settings.analysis_mode).physical_names
    some = np.eye(len(names))
    fit = {"names": names, "values": np.ones(len(names)), "covariances": {"hessian": some, "robust": some}}
    start = fit if from_fit else None

    def stop(*_: object) -> None:
        raise _Accepted

    try:
        fit_mcmc_jax(_few_frames(data, settings.num_shards or n_workers or 1), settings, start, progress=stop)
    except _Accepted:
        return


def _few_frames(data: TwoTimeData | TwoTimeStream, n_shards: int) -> TwoTimeData:
    """Maps without a signal, as few frames as can be divided where all can, with the noise as it is known."""
    first = data if isinstance(data, TwoTimeData) else data.angle(0)
    n_t = min(data.n_t, max(4, n_shards + 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they were given when the data were read
        return TwoTimeData(
            np.ones((data.n_phi, n_t, n_t)),
            phi=data.phi,
            t=data.t[:n_t],
            q=data.q,
            L=data.L,
            sigma=None if first.sigma is None else 1.0,
            sigma_source=first.sigma_source,
            symmetric=True,
            time_origin=data.time_origin,
        )


def sample(
    data: TwoTimeData | TwoTimeStream,
    settings: CMCConfig,
    start: OptimizationResult | None,
    kept: KeptChains,
    n_workers: int | None,
    progress: ProgressLine,
) -> "CMCResult":
    """Sample the posterior of one q.

    Parameters
    ----------
    data : TwoTimeData or TwoTimeStream
        The maps.
    settings : CMCConfig
        How.
    start : OptimizationResult or None
        Fit that it starts from.
    kept : KeptChains
        Where finished chains are kept.
    n_workers : int or None
        Shards at a time in processes of their own, None for one after the other here.
    progress : ProgressLine
        Told how far it is.

    Raises
    ------
    KeyboardInterrupt
        If it was interrupted; the finished chains are kept.
    homodyne_cmc.CMCInputError
        If the sampler refuses what it is given.
    """
    from homodyne_cmc import fit_mcmc_jax

    settings = dataclasses.replace(settings, checkpoint_dir=str(kept.folder))
    with kept_interrupts() as raise_again, workers(n_workers) as pool:

        def told(*at: object) -> None:
            raise_again()
            progress.posterior(*at)

        return fit_mcmc_jax(data, settings, start, executor=pool, progress=told)
