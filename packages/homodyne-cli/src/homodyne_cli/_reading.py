"""From a configuration to the data of one q: in memory, or in their file where they would not fit."""

import contextlib
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from homodyne_cli._config import Configuration
from homodyne_cli._config_keys import ConfigurationError
from homodyne_data import DataError, TwoTimeData, TwoTimeStream, list_q, load_xpcs, open_xpcs
from homodyne_memory import memory_threshold_gb
from homodyne_model import AnalysisMode

DEFAULT_GAP = 2e6
"""Gap [Å] of laminar flow where neither the configuration nor the data give one."""

Q_TOLERANCE = 0.1
"""Distance from a q that is asked for, as a part of it, beyond which the nearest of a file is another one."""

_COPIES = 3
"""Memory of a run in units of its maps: the maps, and beside them the two triangles' mean and weights during a
fit of maps that are not symmetric, or afterwards the fitted maps and residuals that are written."""


@dataclass(frozen=True)
class Plan:
    """How the maps of one q are held.

    Attributes
    ----------
    streamed : bool
        Whether they stay in their file.
    sentence : str
        How large they are, and why they are held so.
    """

    streamed: bool
    sentence: str


def plan(configuration: Configuration, stream: TwoTimeStream) -> Plan:
    """Decide how the maps of one q are held, by their size before more than one is read.

    Raises
    ------
    ConfigurationError
        If they must stay in their file and the engine, or the fit after CMA-ES, takes them in memory only.
    DataError
        If the first map cannot be read.
    """
    asked = configuration.experimental_data.stream
    nlsq = configuration.optimization.nlsq
    size = stream.n_phi * stream.angle(0).c2.nbytes / 1e9
    allowed = memory_threshold_gb(nlsq.memory_fraction)
    streamed = _COPIES * size > allowed if asked == "auto" else asked
    maps = f"{stream.n_phi} maps of {stream.n_t} x {stream.n_t} frames, {size:.3g} GB"
    if not streamed:
        return Plan(False, f"{maps}, are read into memory")
    because = "experimental_data.stream is true"
    if asked == "auto":
        because = f"a fit in memory takes about {_COPIES * size:.3g} GB, of {allowed:.3g} GB that it may"
    if nlsq.engine != "structured":
        raise ConfigurationError(
            f"optimization.nlsq.engine is {nlsq.engine}, which takes maps in memory, but {maps}, stay in their "
            f"file: {because}; expected engine structured, or experimental_data.stream false"
        )
    if nlsq.cmaes.enable and nlsq.cmaes.refinement_workflow == "standard":
        raise ConfigurationError(
            "optimization.nlsq.cmaes.refinement_workflow is standard, which takes maps in memory, but "
            f"{maps}, stay in their file: {because}; expected auto or streaming, or experimental_data.stream false"
        )
    return Plan(True, f"{maps}, stay in their file, which every pass reads: {because}")


@contextmanager
def opened(configuration: Configuration, source: Path, q: float) -> Iterator[TwoTimeStream]:
    """Maps of one q as the configuration selects them, in their file.

    With a default gap, and a warning, where laminar flow needs one and there is none. Errors and warnings of
    `homodyne_data.open_xpcs`.
    """
    with ExitStack() as stack:
        options = _selection(configuration, q)
        stream = stack.enter_context(open_xpcs(source, **options))
        if stream.L is None and _is_sheared(configuration):
            warnings.warn(
                f"no gap in the configuration or in {source.name}: {DEFAULT_GAP:g} Å (200 µm) is used; shear "
                "rates are wrong by the factor by which it is",
                stacklevel=2,
            )
            stream = stack.enter_context(open_xpcs(source, **options | {"L": DEFAULT_GAP}))
        yield stream


@contextmanager
def measurement(
    configuration: Configuration, source: Path, q: float
) -> Iterator[tuple[TwoTimeData | TwoTimeStream, Plan]]:
    """Data of one q as the configuration selects them, held as `plan` decides.

    Data in memory have the noise estimated where it is not given and can be. Errors and warnings of
    `homodyne_data.load_xpcs`.
    """
    with opened(configuration, source, q) as stream:
        how = plan(configuration, stream)
        gap = stream.L
        if how.streamed:
            yield stream, how
            return
    data = load_xpcs(source, **_selection(configuration, q) | {"L": gap})
    if data.sigma is None:
        # Without an estimate the fit takes its default and says so in `sigma_source`.
        with contextlib.suppress(DataError):
            data = data.with_estimated_sigma()
    yield data, how


def _selection(configuration: Configuration, q: float) -> dict[str, object]:
    """Keywords that `load_xpcs` and `open_xpcs` share."""
    analyzer = configuration.analyzer_parameters
    return {
        "q": q,
        "phi_ranges": configuration.phi_filtering.ranges,
        "fallback_to_all_angles": configuration.phi_filtering.fallback_to_all_angles,
        "start_frame": analyzer.start_frame,
        "end_frame": analyzer.end_frame,
        "skip_first_frames": analyzer.skip_first_frames,
        "bad_frames": analyzer.bad_frames,
        "sigma": configuration.noise.sigma,
        "dt": analyzer.dt,
        "L": analyzer.geometry.gap,
        "time_origin": analyzer.time_origin,
    }


def _is_sheared(configuration: Configuration) -> bool:
    return AnalysisMode.parse(configuration.analysis_mode) is AnalysisMode.LAMINAR_FLOW


def choose_q(configuration: Configuration, source: Path) -> list[tuple[float, float]]:
    """Wavevectors that the configuration asks for, each with the nearest of the file [1/Å], increasing.

    Raises
    ------
    ConfigurationError
        If the file holds several and none is named, none is near one of those named, or two mean the same.
    """
    asked = configuration.analyzer_parameters.scattering.wavevector_q
    held = [float(q) for q in list_q(source)]
    listing = ", ".join(f"{q:.5g}" for q in held)
    where = "analyzer_parameters.scattering.wavevector_q"
    if asked == "all":
        return [(q, q) for q in held]
    if asked is None:
        if len(held) > 1:
            raise ConfigurationError(
                f"{source.name} holds {len(held)} values of q ({listing} 1/Å); expected {where}: one, a "
                "list, or all"
            )
        return [(held[0], held[0])]
    nearest: dict[float, float] = {}
    for q in asked:
        found = min(held, key=lambda value: abs(value - q))
        if abs(found - q) > Q_TOLERANCE * q:
            raise ConfigurationError(
                f"{where}: no q within {Q_TOLERANCE:.0%} of {q:g} 1/Å; {source.name} holds {listing}"
            )
        if found in nearest:
            raise ConfigurationError(
                f"{where}: {nearest[found]:g} and {q:g} 1/Å are both nearest to {found:.5g} 1/Å of "
                f"{source.name}, which holds {listing}"
            )
        nearest[found] = q
    return [(nearest[found], found) for found in sorted(nearest)]
