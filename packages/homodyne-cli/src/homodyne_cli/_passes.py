"""Finished passes of streamed fits, which an interrupted run leaves behind for the next one."""

import dataclasses
from pathlib import Path

from homodyne_nlsq import GlobalSearch, NLSQConfig

FOLDER = "passes"
"""Name of the folder in the results, where the configuration names none."""


def is_repeatable(settings: NLSQConfig) -> bool:
    """Whether the same fit goes through the same parameters again: no search draws another seed every time."""
    drawn = (settings.enable_cmaes and settings.cmaes.seed is None) or (
        settings.enable_multi_start and settings.multi_start.seed is None
    )
    return not drawn


class KeptPasses:
    """The folder of finished passes of a run.

    Parameters
    ----------
    named : Path or None
        Folder that the configuration names.
    results : Path
        Results of the run.

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
        return any(self.folder.glob("*.npz"))

    def used_by(self, settings: NLSQConfig) -> NLSQConfig:
        """Settings of a fit that keeps its passes here."""
        streaming = dataclasses.replace(settings.hybrid_streaming, checkpoint_dir=str(self.folder))
        return dataclasses.replace(settings, hybrid_streaming=streaming)

    def how_to_go_on(self, settings: NLSQConfig) -> str:
        """What to say when a fit is interrupted."""
        if not self.present:
            return "interrupted before the first pass over the data was finished"
        kept = f"interrupted; the finished passes are kept in {self.folder}"
        if is_repeatable(settings):
            return f"{kept}: the same command goes on with them"
        return f"{kept}, but the same command searches with another seed, unless the configuration names one"

    def how_to_search_on(self, search: GlobalSearch) -> str:
        """What to say when a fit with a global search was stopped."""
        return (
            f"finished passes are kept in {self.folder}: the same command with --overwrite and "
            f"optimization.nlsq.{search.method}.seed: {search.seed} goes on with them"
        )

    def clear(self) -> None:
        """Remove what is left in a folder of our own: every fit of the run has converged."""
        if self._own and self.folder.is_dir():
            for file in self.folder.glob("*.npz"):  # of data or settings of an earlier run
                file.unlink()
            if not any(self.folder.iterdir()):
                self.folder.rmdir()
