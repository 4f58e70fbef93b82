"""The sections of a global search for start values, with the defaults of `homodyne_global`."""

from dataclasses import dataclass

from homodyne_cli import _values as v
from homodyne_cli._config_keys import key
from homodyne_global import PRESETS, CMAESWrapperConfig, MultiStartConfig

_WIDE_SIGMA = 1.0
_MUCH_MEMORY = 4096.0


def _wide_start(value: object) -> str | None:
    """What is unusual about the width of the first generation."""
    if v.positive(value) <= _WIDE_SIGMA:
        return None
    return (
        f"with a standard deviation of {value}, most candidates of the first generation lie beyond the bounds, which "
        "are 2 apart"
    )


def _much_memory(value: object) -> str | None:
    """What is unusual about a limit of the memory."""
    return f"{value} GB is an unusual limit" if v.positive(value) > _MUCH_MEMORY else None


@dataclass(frozen=True)
class CMAES:
    """A global search for start values by CMA-ES, on averages of the data; the fit then refines what it found."""

    enable: bool = key(
        CMAESWrapperConfig.enable,
        v.boolean,
        "Whether CMA-ES is considered; auto_select says when it is used. Ctrl-C then ends a fit with the best so far.",
    )
    preset: str = key(
        CMAESWrapperConfig.preset,
        v.text,
        f"Most generations of one run: {', '.join(f'{name} {n}' for name, n in PRESETS.items())}.",
    )
    max_generations: int | None = key(
        CMAESWrapperConfig.max_generations,
        v.integer(1),
        "Most generations of one run. null: those of the preset.",
    )
    max_evaluations: int | None = key(
        CMAESWrapperConfig.max_evaluations,
        v.integer(1),
        "Most candidates of all runs together. null: those of max_restarts + 1 runs of the default population.",
    )
    sigma: float = key(
        CMAESWrapperConfig.sigma,
        v.positive,
        "Standard deviation of the first generation, in coordinates in which the bounds lie at -1 and 1.",
        doubt=_wide_start,
    )
    tol_fun: float = key(
        CMAESWrapperConfig.tol_fun,
        v.positive,
        "Relative difference of the costs of the last generations below which a run ends.",
    )
    tol_x: float = key(
        CMAESWrapperConfig.tol_x,
        v.positive,
        "Width of the distribution of the candidates, in the coordinates of sigma, below which a run ends.",
    )
    restart_strategy: str = key(
        CMAESWrapperConfig.restart_strategy,
        v.text,
        "bipop: runs with large and small populations follow the first; none: one run.",
    )
    max_restarts: int = key(
        CMAESWrapperConfig.max_restarts,
        v.integer(0),
        "Most doublings of the population; the small runs between them are not counted.",
    )
    population_batch_size: int | None = key(
        CMAESWrapperConfig.population_batch_size,
        v.integer(1),
        "Candidates that are evaluated at once. null: all of a generation, as far as memory_limit_gb admits.",
    )
    data_chunk_size: int | None = key(
        CMAESWrapperConfig.data_chunk_size,
        v.integer(1),
        "Points of a chunk of data in memory in the fit that refines. null: as chunk_points.",
    )
    refine_with_nlsq: bool = key(
        CMAESWrapperConfig.refine_with_nlsq,
        v.boolean,
        "Fit from the best candidate on all the data. false: the best candidate is the result, not converged.",
    )
    auto_select: bool = key(
        CMAESWrapperConfig.auto_select,
        v.boolean,
        "Use CMA-ES only where scale_threshold asks for it, else multi_start if enabled. false: always.",
    )
    scale_threshold: float = key(
        CMAESWrapperConfig.scale_threshold,
        v.positive,
        "Ratio of the widest to the narrowest distance between bounds above which CMA-ES is used.",
    )
    memory_limit_gb: float = key(
        CMAESWrapperConfig.memory_limit_gb,
        v.positive,
        "Memory [GB] that the candidates evaluated at once, and a refinement without chunks, may take.",
        doubt=_much_memory,
    )
    seed: int | None = key(
        CMAESWrapperConfig.seed,
        v.seed,
        "Seed with which a search can be repeated. null, or new: another one every time, found in the results.",
    )
    refinement_workflow: str = key(
        CMAESWrapperConfig.refinement_workflow,
        v.text,
        "How the data are held in the refinement: standard (all at once), streaming (in chunks, see "
        "hybrid_streaming) or auto (by memory_limit_gb).",
    )
    refinement_ftol: float = key(
        CMAESWrapperConfig.refinement_ftol,
        v.positive,
        "What tolerance is for other fits, in the refinement.",
    )
    refinement_xtol: float = key(
        CMAESWrapperConfig.refinement_xtol, v.positive, "What xtol is for other fits, in the refinement."
    )
    refinement_gtol: float = key(
        CMAESWrapperConfig.refinement_gtol, v.positive, "What gtol is for other fits, in the refinement."
    )
    refinement_max_nfev: int = key(
        CMAESWrapperConfig.refinement_max_nfev,
        v.integer(1),
        "Most passes over the data in the refinement, instead of max_iterations.",
    )
    refinement_loss: str = key(
        CMAESWrapperConfig.refinement_loss,
        v.text,
        "Loss of the refinement: linear (then the loss of the section above decides), soft_l1 or huber.",
    )


@dataclass(frozen=True)
class MultiStart:
    """A global search for start values by fits of averages of the data from many starts, which shows all the minima."""

    enable: bool = key(
        MultiStartConfig.enable,
        v.boolean,
        "Whether there is one, where cmaes is not used. Ctrl-C then ends a fit with the best so far.",
    )
    n_starts: int = key(MultiStartConfig.n_starts, v.integer(1), "Starts, that of the fit included.")
    seed: int | None = key(
        MultiStartConfig.seed,
        v.seed,
        "Seed of the Latin hypercube of starts. new: another one every time, found in the results.",
    )
    screen_keep_fraction: float = key(
        MultiStartConfig.screen_keep_fraction,
        v.positive,
        "Share of the starts, those of lowest χ², that are fitted, at most 1.",
    )
    refine_top_k: int = key(
        MultiStartConfig.refine_top_k,
        v.integer(0),
        "Minima, the best ones, that are refined on all the data.",
    )
    n_workers: int | None = key(
        MultiStartConfig.n_workers,
        v.integer(1),
        "Fits at a time, each in a process of its own. null: one after the other in this process.",
    )
