"""Settings of a global search: checked here, chosen between by homodyne-global, which is imported only where one is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from homodyne_model import AnalysisMode
from homodyne_nlsq.errors import FitInputError

if TYPE_CHECKING:
    from homodyne_global import CMAESWrapperConfig, MultiStartConfig, SearchChoice
    from homodyne_nlsq._config import NLSQConfig

# A direction of flow and its opposite are the same: one half turn holds them all.
_HALF_TURN = (-90.0, 90.0)


def search_settings(name: str, value) -> CMAESWrapperConfig | MultiStartConfig | None:
    """The section ``cmaes`` or ``multi_start`` of the settings as what homodyne-global takes.

    Raises
    ------
    FitInputError
        If homodyne-global is not installed or refuses a setting.
    """
    if value is None:
        return None
    try:
        import homodyne_global
    except ImportError:
        raise FitInputError(
            f"{name} holds settings of a global search, which needs homodyne-global; expected homodyne-nlsq[global] to be installed, or no {name}."
        ) from None
    kind = {"cmaes": homodyne_global.CMAESWrapperConfig, "multi_start": homodyne_global.MultiStartConfig}[
        name
    ]
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} is a {type(value).__name__}; expected a {kind.__name__} or a mapping.")
    try:
        return kind.from_mapping(value)
    except homodyne_global.GlobalSearchError as error:
        raise FitInputError(f"{name}: {error}") from None


def search_choice(config: NLSQConfig) -> SearchChoice | None:
    """Which search the settings and the bounds ask for; None where none is enabled.

    Raises
    ------
    FitInputError
        If there is nothing to search, or the bounds do not enclose it.
    """
    enabled = [name for name in ("cmaes", "multi_start") if getattr(config, f"enable_{name}")]
    if not enabled:
        return None
    from homodyne_global import choose_search

    names = AnalysisMode(config.analysis_mode).physical_names
    free = ~is_fixed(config)
    if not free.any():
        raise FitInputError(
            f"{enabled[0]} is enabled, but fixed holds every physical parameter; expected one to search for."
        )
    box = search_box(config)
    for name, (lower, upper) in zip(np.array(names)[free], box[free], strict=True):
        if not np.isfinite([lower, upper]).all():
            raise FitInputError(
                f"bounds[{str(name)!r}] is {lower:g} to {upper:g}; expected finite bounds, since {enabled[0]} searches the space between them."
            )
    return choose_search(box[free].T, config.cmaes, config.multi_start)


def is_fixed(config: NLSQConfig) -> np.ndarray:
    """Which physical parameters are held, (n_physical,) bool."""
    return np.array([name in config.fixed for name in AnalysisMode(config.analysis_mode).physical_names])


def search_box(config: NLSQConfig) -> np.ndarray:
    """Bounds of the search, (n_physical, 2): those of the fit, and half a turn for a direction without bounds."""
    box = config.physical_bounds()
    if turns_freely(config):
        box[6] = _HALF_TURN
    return box


def turns_freely(config: NLSQConfig) -> bool:
    """Whether nothing bounds the direction of the flow, which repeats after half a turn."""
    names = AnalysisMode(config.analysis_mode).physical_names
    return "phi0" in names and "phi0" not in config.bounds and "phi0" not in config.fixed


def refinement_settings(config: NLSQConfig, choice: SearchChoice | None) -> NLSQConfig:
    """Settings of the fit that follows a search: after CMA-ES, ``cmaes`` has its own."""
    if choice is None or choice.method != "cmaes":
        return config
    cmaes = config.cmaes
    return replace(
        config,
        tolerance=cmaes.refinement_ftol,
        xtol=cmaes.refinement_xtol,
        gtol=cmaes.refinement_gtol,
        max_iterations=cmaes.refinement_max_nfev,
        loss=config.loss if cmaes.refinement_loss == "linear" else cmaes.refinement_loss,
        chunk_points=config.chunk_points if cmaes.data_chunk_size is None else cmaes.data_chunk_size,
    )
