"""Settings of the global searches, each with an effect, checked when they are made."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from homodyne_global.errors import GlobalSearchError

PRESETS = {"cmaes-fast": 50, "cmaes": 100, "cmaes-global": 200}
RESTART_STRATEGIES = ("none", "bipop")
REFINEMENT_WORKFLOWS = ("auto", "standard", "streaming")
LOSSES = ("linear", "soft_l1", "huber")


class _Settings:
    """Conversion from and to mappings, for dataclasses of settings."""

    @classmethod
    def from_mapping(cls, mapping: Mapping) -> Self:
        """Settings from a mapping such as the section of a configuration file.

        Raises
        ------
        GlobalSearchError
            For an unknown key, with the nearest known one, and for a value that is not allowed.
        """
        if not isinstance(mapping, Mapping):
            raise GlobalSearchError(f"{cls._section} is {mapping!r}; expected a mapping.")
        known = [f.name for f in fields(cls)]
        for key in mapping:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."
                raise GlobalSearchError(f"unknown setting {cls._section}.{key}. {hint}")
        return cls(**mapping)

    def to_mapping(self) -> dict:
        """The settings with the keys of `from_mapping`."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True)
class CMAESWrapperConfig(_Settings):
    """Settings of `CMAESWrapper`, the section ``cmaes`` of a configuration.

    Parameters
    ----------
    enable : bool
        Whether `choose_search` considers CMA-ES.
    preset : {"cmaes-fast", "cmaes", "cmaes-global"}
        Most generations of one run: 50, 100, 200.
    max_generations : int or None
        Most generations of one run, instead of the preset's.
    max_evaluations : int or None
        Most evaluations of the cost by all runs together. By default those of ``max_restarts`` + 1 runs of the default population with
        ``max_generations`` each: large populations do not make a search longer, only fewer.
    sigma : float
        Standard deviation of the first generation, in coordinates in which the bounds lie at -1 and 1: 0.5 is a quarter of their distance.
    tol_fun : float
        A run ends when the best costs of its last generations and all costs of the newest differ by less than this share of the cost.
    tol_x : float
        A run ends when its distribution is narrower than this in all coordinates (see ``sigma``).
    restart_strategy : {"bipop", "none"}
        Whether runs with large and small populations follow the first.
    max_restarts : int
        Most doublings of the population. The small runs between them are not counted, as in the published rule; their budget limits them.
    population_batch_size : int or None
        Candidates in one call of the cost. By default all of a generation, as far as ``memory_limit_gb`` admits.
    data_chunk_size : int or None
        Points at which `CMAESWrapper.fit` evaluates the model at a time, rounded up to whole blocks of 1024. By default all, as far as
        ``memory_limit_gb`` admits.
    refine_with_nlsq : bool
        Whether the local solver starts from the best candidate.
    auto_select : bool
        Whether the scale ratio of the bounds decides on CMA-ES; else it is used wherever it is enabled.
    scale_threshold : float
        CMA-ES is chosen above this scale ratio.
    memory_limit_gb : float
        What the evaluation of candidates and the ``auto`` workflow of the refinement may hold.
    seed : int or None
        Of everything random. By default a new one, found in the result.
    refinement_workflow : {"auto", "standard", "streaming"}
        Whether the refinement holds the whole Jacobian or passes over the data in chunks; ``auto`` goes by ``memory_limit_gb``.
    refinement_ftol, refinement_xtol, refinement_gtol : float
        Tolerances of the refinement.
    refinement_max_nfev : int
        Most evaluations of the refinement.
    refinement_loss : {"linear", "soft_l1", "huber"}
        Loss of the refinement, and in `CMAESWrapper.fit` of the search before it: stages are compared in one measure.

    Raises
    ------
    GlobalSearchError
        If a value is not allowed.

    Examples
    --------
    >>> CMAESWrapperConfig.from_mapping({"preset": "cmaes-fast"}).generations
    50
    """

    enable: bool = False
    preset: str = "cmaes"
    max_generations: int | None = None
    max_evaluations: int | None = None
    sigma: float = 0.5
    tol_fun: float = 1e-8
    tol_x: float = 1e-8
    restart_strategy: str = "bipop"
    max_restarts: int = 9
    population_batch_size: int | None = None
    data_chunk_size: int | None = None
    refine_with_nlsq: bool = True
    auto_select: bool = True
    scale_threshold: float = 1000.0
    memory_limit_gb: float = 8.0
    seed: int | None = None
    refinement_workflow: str = "auto"
    refinement_ftol: float = 1e-10
    refinement_xtol: float = 1e-10
    refinement_gtol: float = 1e-10
    refinement_max_nfev: int = 500
    refinement_loss: str = "linear"

    _section = "cmaes"

    def __post_init__(self) -> None:
        for name in ("enable", "refine_with_nlsq", "auto_select"):
            _check_flag(self, name)
        _check_choice(self, "preset", tuple(PRESETS))
        _check_choice(self, "restart_strategy", RESTART_STRATEGIES)
        _check_choice(self, "refinement_workflow", REFINEMENT_WORKFLOWS)
        _check_choice(self, "refinement_loss", LOSSES)
        for name in ("max_generations", "max_evaluations", "population_batch_size", "data_chunk_size"):
            _check_whole(self, name, 1, optional=True)
        _check_whole(self, "seed", 0, optional=True)
        _check_whole(self, "max_restarts", 0)
        _check_whole(self, "refinement_max_nfev", 1)
        for name in ("sigma", "scale_threshold", "memory_limit_gb"):
            _check_number(self, name)
        for name in ("tol_fun", "tol_x", "refinement_ftol", "refinement_xtol", "refinement_gtol"):
            _check_number(self, name, below=1)

    @property
    def generations(self) -> int:
        """Most generations of one run."""
        return PRESETS[self.preset] if self.max_generations is None else int(self.max_generations)

    @property
    def refinement_settings(self) -> dict:
        """Keywords with which the local solver is called."""
        return {
            "ftol": self.refinement_ftol,
            "xtol": self.refinement_xtol,
            "gtol": self.refinement_gtol,
            "max_nfev": self.refinement_max_nfev,
            "loss": self.refinement_loss,
            "workflow": self.refinement_workflow,
        }


@dataclass(frozen=True)
class MultiStartConfig(_Settings):
    """Settings of `fit_multistart`, the section ``multi_start`` of a configuration.

    Parameters
    ----------
    enable : bool
        Whether `choose_search` considers multistart.
    n_starts : int
        Starting points, the given one included.
    seed : int or None
        Of the Latin hypercube. With None a new one, found in the result.
    screen_keep_fraction : float
        Share of the starting points, the best by cost, that the local solver is given.
    refine_top_k : int
        Distinct minima that are solved for a second time, from where the first solution ended; 0 for none.
    n_workers : int or None
        Solutions at a time. Without an executor, more than one are computed in spawned processes.

    Raises
    ------
    GlobalSearchError
        If a value is not allowed.
    """

    enable: bool = False
    n_starts: int = 10
    seed: int | None = 42
    screen_keep_fraction: float = 0.5
    refine_top_k: int = 3
    n_workers: int | None = None

    _section = "multi_start"

    def __post_init__(self) -> None:
        _check_flag(self, "enable")
        _check_whole(self, "n_starts", 1)
        _check_whole(self, "seed", 0, optional=True)
        _check_number(self, "screen_keep_fraction", most=1)
        _check_whole(self, "refine_top_k", 0)
        _check_whole(self, "n_workers", 1, optional=True)


def _check_flag(config, name: str) -> None:
    if not isinstance(getattr(config, name), bool | np.bool_):
        raise GlobalSearchError(f"{name} is {getattr(config, name)!r}; expected true or false.")


def _check_choice(config, name: str, allowed) -> None:
    if getattr(config, name) not in allowed:
        raise GlobalSearchError(f"{name} is {getattr(config, name)!r}; expected one of {', '.join(allowed)}.")


def _check_whole(config, name: str, least: int, *, optional: bool = False) -> None:
    value = getattr(config, name)
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        also = " or null" if optional else ""
        raise GlobalSearchError(f"{name} is {value!r}; expected a whole number, at least {least}{also}.")


def _check_number(config, name: str, *, below: float = np.inf, most: float = np.inf) -> None:
    value = getattr(config, name)
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not (0 < value < below and value <= most and np.isfinite(value)):
        limit = (
            f" and below {below:g}" if below < np.inf else f" and at most {most:g}" if most < np.inf else ""
        )
        raise GlobalSearchError(f"{name} is {value!r}; expected a number above 0{limit}.")
