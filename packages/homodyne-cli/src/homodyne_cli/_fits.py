"""What a run found."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from homodyne_nlsq import OptimizationResult

if TYPE_CHECKING:
    from homodyne_cmc import CMCResult


@dataclass(frozen=True)
class Fit:
    """What was found for one q.

    Attributes
    ----------
    folder : Path
        Its results.
    q : float
        Wavevector [1/Å].
    streamed : bool
        Whether the data stayed in their file. They are not kept here: those of one q can fill the memory.
    result : OptimizationResult or None
        The fit; None where there was none.
    posterior : CMCResult or None
        The posterior; None where none was sampled to its end.
    interrupted : bool
        Whether Ctrl-C ended the sampling.
    """

    folder: Path
    q: float
    streamed: bool
    result: OptimizationResult | None = None
    posterior: "CMCResult | None" = None
    interrupted: bool = False

    @property
    def stopped(self) -> bool:
        """Whether Ctrl-C ended a fit with a global search: the parameters are the best so far."""
        return self.result is not None and self.result.search is not None and self.result.search.stopped

    @property
    def converged(self) -> bool:
        """Whether the fit did."""
        return self.result is not None and self.result.convergence_status == "converged"

    @property
    def certified(self) -> bool:
        """Whether the posterior is."""
        return self.posterior is not None and self.posterior.status == "certified"

    @property
    def state(self) -> dict[str, object]:
        """What the list of a run says about it."""
        state: dict[str, object] = {"q": self.q}
        if self.result is not None:
            state["convergence_status"] = self.result.convergence_status
            state["quality_flag"] = self.result.quality_flag
        if self.posterior is not None:
            state["posterior_status"] = self.posterior.status
        elif self.interrupted:
            state["posterior_status"] = "interrupted"
        return state


@dataclass(frozen=True)
class Run:
    """A whole run.

    Attributes
    ----------
    fits : tuple of Fit
        In the order of q.
    errors : Mapping of float to str
        What was wrong with a q [1/Å] that could not be fitted or sampled.
    left : Mapping of float to Path
        The q [1/Å] that were not begun, because the run was stopped, and where their results would be.
    method : {"nlsq", "cmc", "both"}
        What was asked for.
    """

    fits: tuple[Fit, ...]
    errors: Mapping[float, str]
    left: Mapping[float, Path]
    method: str = "nlsq"

    @property
    def stopped(self) -> Fit | None:
        """The last fit, where it was stopped."""
        return self.fits[-1] if self.fits and self.fits[-1].stopped else None

    @property
    def interrupted(self) -> Fit | None:
        """The last of the q, where its sampling was interrupted."""
        return self.fits[-1] if self.fits and self.fits[-1].interrupted else None

    @property
    def exit_code(self) -> int:
        """0: what was asked for was reached; 3: not everywhere, or the run was stopped; 1: a q could not be used."""
        if self.errors:
            return 1
        fitted = self.method == "cmc" or all(fit.converged for fit in self.fits)
        sampled = self.method == "nlsq" or all(fit.certified for fit in self.fits)
        return 0 if fitted and sampled and self.stopped is None else 3
