"""What the user hands in, checked and brought to one form before anything is computed."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from homodyne_data import TwoTimeData, TwoTimeStream, from_mapping, from_points
from homodyne_model import AnalysisMode
from homodyne_nlsq._config import NLSQConfig
from homodyne_nlsq.errors import FitInputError


def as_data(data, pooled: Mapping | None = None) -> TwoTimeData | TwoTimeStream:
    """Two-time data from what `fit_nlsq_jax` takes; `pooled` are the keywords of pooled points."""
    pooled = pooled or dict.fromkeys(("t1", "t2", "phi", "q"))
    named = [name for name, value in pooled.items() if value is not None]
    if isinstance(data, TwoTimeData | TwoTimeStream | Mapping):
        if named:
            raise FitInputError(
                f"{', '.join(named)} belong to pooled points, but data is a {type(data).__name__} that holds them."
            )
        return from_mapping(data) if isinstance(data, Mapping) else data
    missing = [name for name in ("t1", "t2", "phi", "q") if pooled[name] is None]
    if missing:
        raise FitInputError(
            f"data is a {type(data).__name__}; expected a TwoTimeData, a mapping, or pooled points with t1, t2, phi and q "
            f"({', '.join(missing)} missing)."
        )
    return from_points(data, **pooled)


def as_config(config, analysis_mode=None, initial_params=None) -> NLSQConfig:
    """Settings from what `fit_nlsq_jax` takes."""
    if config is None:
        config = {}
    if isinstance(config, Mapping):
        config = dict(config)
        if analysis_mode is not None:
            config["analysis_mode"] = analysis_mode
        config = NLSQConfig.from_mapping(config)
    elif not isinstance(config, NLSQConfig):
        raise TypeError(
            f"config is a {type(config).__name__}; expected an NLSQConfig or a mapping of its fields."
        )
    elif analysis_mode is not None:
        config = replace(config, analysis_mode=analysis_mode)
    if initial_params is not None:
        if not isinstance(initial_params, Mapping):
            raise TypeError(
                f"initial_params is a {type(initial_params).__name__}; expected a mapping of parameter name to start value."
            )
        config = replace(config, initial={**config.initial, **initial_params})
    return config


def check_together(data: TwoTimeData | TwoTimeStream, config: NLSQConfig) -> None:
    """Refuse data that the settings cannot be fitted to."""
    if config.analysis_mode == AnalysisMode.LAMINAR_FLOW:
        if data.L is None:
            raise FitInputError(
                "data have no L: laminar_flow needs the stator-rotor gap in Å (200 µm is 2e6)."
            )
        if data.n_phi < 2 and "phi0" not in config.fixed:
            raise FitInputError(
                "data hold one angle: the flow direction phi0 needs several, or fixed['phi0']."
            )
    if isinstance(data, TwoTimeData) and config.hybrid_streaming.checkpoint_dir is not None:
        raise FitInputError(
            f"hybrid_streaming.checkpoint_dir is {config.hybrid_streaming.checkpoint_dir!r}, but the data are in memory; "
            "expected maps of homodyne_data.open_xpcs, which alone are fitted long enough to be interrupted."
        )
    start_and_box(config)
    if isinstance(data, TwoTimeData) and data.sigma is not None and np.ndim(data.sigma) < 2:
        check_noise(np.atleast_1d(data.sigma))


def check_noise(sigma: np.ndarray) -> None:
    """Refuse a σ whose square is out of the range of numbers; C2 is of order 1."""
    far = (sigma < 1e-12) | (sigma > 1e12)
    if far.any():
        raise FitInputError(f"sigma is {sigma[far][0]:g}; expected the noise of C2, which is of order 1.")


def start_and_box(config: NLSQConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Known start values (NaN where the data shall give them), which are fixed, and the bounds."""
    names = AnalysisMode(config.analysis_mode).physical_names
    bounds = config.physical_bounds()
    given, fixed = np.full(len(names), np.nan), np.zeros(len(names), dtype=bool)
    for k, name in enumerate(names):
        if name in config.initial:
            given[k] = config.initial[name]
        if name in config.fixed:
            fixed[k] = True
            if config.fixed[name] is not None:
                given[k] = config.fixed[name]
            if not bounds[k, 0] <= given[k] <= bounds[k, 1]:
                raise FitInputError(
                    f"fixed[{name!r}] is {given[k]:g}; expected a value within its bounds, {bounds[k, 0]:g} to "
                    f"{bounds[k, 1]:g} (bounds[{name!r}] widens them)."
                )
        elif name in config.initial and not bounds[k, 0] <= given[k] <= bounds[k, 1]:
            raise FitInputError(
                f"initial[{name!r}] is {given[k]:g}; expected a value within its bounds, {bounds[k, 0]:g} to {bounds[k, 1]:g}."
            )
    return given, fixed, bounds
