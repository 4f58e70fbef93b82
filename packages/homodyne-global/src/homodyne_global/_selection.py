"""Which search suits bounds: CMA-ES where the parameters' scales are far apart."""

from dataclasses import dataclass

import numpy as np

from homodyne_global._config import CMAESWrapperConfig, MultiStartConfig
from homodyne_global._coordinates import checked_bounds
from homodyne_global.errors import GlobalSearchError


def compute_scale_ratio(bounds) -> float:
    """Widest over narrowest distance between bounds.

    Parameters
    ----------
    bounds : (lower, upper)
        Two sequences of finite numbers.

    Returns
    -------
    float
        At least 1.

    Examples
    --------
    >>> compute_scale_ratio(([0.0, -1.0], [1e4, 1.0]))
    5000.0
    """
    lower, upper = checked_bounds(bounds)
    widths = upper / 2 - lower / 2
    # Widths as far apart as the smallest and the largest number have no finite ratio.
    with np.errstate(over="ignore"):
        return float(widths.max() / widths.min())


def should_use_cmaes(bounds, scale_threshold: float = 1000.0) -> bool:
    """Whether the scale ratio of bounds exceeds a threshold.

    Parameters
    ----------
    bounds : (lower, upper)
        Two sequences of finite numbers.
    scale_threshold : float
        Above 0.

    Examples
    --------
    >>> should_use_cmaes(([0.0, -1.0], [1e4, 1.0])), should_use_cmaes(([0.0, -1.0], [2.0, 1.0]))
    (True, False)
    """
    if not scale_threshold > 0:
        raise GlobalSearchError(f"scale_threshold is {scale_threshold!r}; expected a number above 0.")
    return compute_scale_ratio(bounds) > scale_threshold


@dataclass(frozen=True)
class SearchChoice:
    """What `choose_search` decided.

    Attributes
    ----------
    method : {"cmaes", "multi_start", "local"}
        The search, or ``local`` for none.
    scale_ratio : float
        Of the bounds.
    sentence : str
        Why.
    """

    method: str
    scale_ratio: float
    sentence: str


def choose_search(
    bounds, cmaes: CMAESWrapperConfig | None = None, multi_start: MultiStartConfig | None = None
) -> SearchChoice:
    """Choose the search that the settings ask for and the bounds suggest.

    CMA-ES where it is enabled and, with ``auto_select``, the scale ratio exceeds the threshold; else multistart where it is enabled; else
    none.

    Parameters
    ----------
    bounds : (lower, upper)
        Two sequences of finite numbers.
    cmaes, multi_start
        Settings; the defaults, which enable nothing, if left out.

    Examples
    --------
    >>> choose_search(([0.0, -1.0], [1e4, 1.0]), CMAESWrapperConfig(enable=True)).method
    'cmaes'
    """
    cmaes, multi_start = cmaes or CMAESWrapperConfig(), multi_start or MultiStartConfig()
    ratio = compute_scale_ratio(bounds)
    if not cmaes.enable:
        why = "CMA-ES is not enabled"
    elif not cmaes.auto_select:
        return SearchChoice("cmaes", ratio, "CMA-ES: enabled, and auto_select is off.")
    elif should_use_cmaes(bounds, cmaes.scale_threshold):
        return SearchChoice(
            "cmaes",
            ratio,
            f"CMA-ES: the scale ratio {ratio:.3g} is above the threshold {cmaes.scale_threshold:g}.",
        )
    else:
        why = f"the scale ratio {ratio:.3g} is not above the threshold {cmaes.scale_threshold:g} of CMA-ES"
    if multi_start.enable:
        return SearchChoice("multi_start", ratio, f"Multistart: {why}.")
    return SearchChoice("local", ratio, f"Local solver alone: {why}, and multistart is not enabled.")
