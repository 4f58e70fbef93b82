"""A run: from a configuration to the results of every q."""

import contextlib
import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from homodyne_cli._config import Configuration, ConfigurationError, Output
from homodyne_cli._config_read import LoadedConfiguration
from homodyne_cli._console import ProgressLine, Terminal, warnings_to
from homodyne_cli._files import write_text
from homodyne_cli._output import ResultsFolder
from homodyne_cli._plots import SummaryPoint, plot_against_q, plot_fit
from homodyne_cli._report import show_files, show_fit, show_series
from homodyne_cli._tables import write_parameters, write_series
from homodyne_data import DataError, TwoTimeData, list_q, load_xpcs
from homodyne_model import AnalysisMode, HomodyneError
from homodyne_nlsq import OptimizationResult, fit_nlsq_jax

DEFAULT_GAP = 2e6
"""Gap [Å] of laminar flow where neither the configuration nor the data give one."""

Q_TOLERANCE = 0.1
"""Distance from a q that is asked for, as a part of it, beyond which the nearest of a file is another one."""


@dataclass(frozen=True)
class Fit:
    """The fit of one q.

    Attributes
    ----------
    folder : Path
        Its results.
    result : OptimizationResult
        The fit.
    dropped : Mapping of str to int
        `TwoTimeData.n_dropped`. The data themselves are not kept: those of one q can fill the memory.
    """

    folder: Path
    result: OptimizationResult
    dropped: Mapping[str, int]


@dataclass(frozen=True)
class Run:
    """A whole run.

    Attributes
    ----------
    fits : tuple of Fit
        In the order of q.
    errors : Mapping of float to str
        What was wrong with a q [1/Å] that could not be fitted.
    """

    fits: tuple[Fit, ...]
    errors: Mapping[float, str]

    @property
    def exit_code(self) -> int:
        """0: all converged; 3: not all; 1: a q could not be fitted."""
        if self.errors:
            return 1
        return 0 if all(fit.result.convergence_status == "converged" for fit in self.fits) else 3


def run(
    loaded: LoadedConfiguration, terminal: Terminal, *, output: Path | None = None, overwrite: bool = False
) -> Run:
    """Fit every q that the configuration asks for, and write and print the results.

    Parameters
    ----------
    loaded : LoadedConfiguration
        What to do.
    terminal : Terminal
        Where to report.
    output : Path, optional
        Results folder, instead of the configuration's.
    overwrite : bool
        Replace results that are there.

    Raises
    ------
    ConfigurationError, homodyne_data.DataError, homodyne_nlsq errors, OSError
        If nothing can be fitted. When one of several q cannot be fitted the others still are.
    """
    configuration = loaded.configuration
    source = configuration.experimental_data.path(loaded.path.parent)
    if not source.is_file():
        what = "is a folder, not a file" if source.is_dir() else "does not exist"
        raise FileNotFoundError(f"the data file {source} {what} (from {loaded.path.name})")
    folder = ResultsFolder(output or results_directory(loaded), overwrite=overwrite)
    for warning in loaded.warnings:
        terminal.warn(warning)

    wanted = choose_q(configuration, source)
    names = _folder_names([held for _, held in wanted])
    fits: list[Fit] = []
    states: dict[str, dict[str, object]] = {}
    errors: dict[float, str] = {}
    about = {"configuration": loaded.path.name, "data": source.name, "fits": states}
    with terminal.progress() as progress:
        for number, ((asked, held), name) in enumerate(zip(wanted, names, strict=True), start=1):
            head = f"q = {held:.4g} 1/Å" + (f" ({number} of {len(wanted)})" if len(wanted) > 1 else "")
            try:
                progress.step(f"{head}: reading")
                with warnings_to(terminal.warn):
                    data = read(configuration, source, asked)
                for note in data.provenance.notes:
                    terminal.note(note)
                progress.step(f"{head}: fitting")
                with warnings_to(terminal.warn):
                    result = fit_nlsq_jax(data, loaded.settings, progress=progress.fit)
            except (HomodyneError, ValueError, TypeError) as error:
                if len(wanted) == 1:
                    raise
                errors[held] = str(error)
                states[name] = {"q": held, "error": str(error)}
                terminal.error(f"{head}: {error}")
                continue
            progress.step(f"{head}: writing")
            fit = Fit(folder.path / name, result, data.n_dropped)
            files = _write_fit(fit, data, configuration.output, progress, overwrite=overwrite)
            fits.append(fit)
            states[name] = {
                "q": held,
                "convergence_status": result.convergence_status,
                "quality_flag": result.quality_flag,
            }
            folder.add(files, about)
        if not fits:
            raise ConfigurationError(f"none of the {len(wanted)} values of q could be fitted")
        folder.add(_write_shared(loaded, folder.path, fits), about)
    folder.finish(about)

    for fit in fits:
        show_fit(terminal, fit.result, fit.dropped)
    if len(fits) > 1:
        show_series(terminal, [fit.result for fit in fits])
    show_files(terminal, folder.path, folder.written)
    return Run(tuple(fits), errors)


def results_directory(loaded: LoadedConfiguration) -> Path:
    """Folder that the configuration names, relative to its file; by default ``<its name>-results`` here."""
    named = loaded.configuration.output.path(loaded.path.parent)
    return Path(f"{loaded.path.stem}-results") if named is None else named


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


def _folder_names(held: list[float]) -> list[str]:
    """One name a q, different even where q agree to five digits."""
    names = [f"q_{q:.5g}" for q in held]
    return [name if names.count(name) == 1 else f"{name}_{k}" for k, name in enumerate(names, start=1)]


def read(configuration: Configuration, source: Path, q: float) -> TwoTimeData:
    """Data of one q as the configuration selects them.

    With the noise estimated where it is not given and can be, and a default gap, with a warning, where
    laminar flow needs one and there is none. Errors and warnings of `homodyne_data.load_xpcs`.
    """
    analyzer = configuration.analyzer_parameters
    data = load_xpcs(
        source,
        q=q,
        phi_ranges=configuration.phi_filtering.ranges,
        fallback_to_all_angles=configuration.phi_filtering.fallback_to_all_angles,
        start_frame=analyzer.start_frame,
        end_frame=analyzer.end_frame,
        skip_first_frames=analyzer.skip_first_frames,
        bad_frames=analyzer.bad_frames,
        sigma=configuration.noise.sigma,
        dt=analyzer.dt,
        L=analyzer.geometry.gap,
        time_origin=analyzer.time_origin,
    )
    if data.L is None and AnalysisMode.parse(configuration.analysis_mode) is AnalysisMode.LAMINAR_FLOW:
        warnings.warn(
            f"no gap in the configuration or in {source.name}: {DEFAULT_GAP:g} Å (200 µm) is used; shear "
            "rates are wrong by the factor by which it is",
            stacklevel=2,
        )
        data = dataclasses.replace(data, L=DEFAULT_GAP)
    if data.sigma is None:
        # Without an estimate the fit takes its default and says so in `sigma_source`.
        with contextlib.suppress(DataError):
            data = data.with_estimated_sigma()
    return data


def _write_fit(
    fit: Fit, data: TwoTimeData, output: Output, progress: ProgressLine, *, overwrite: bool
) -> list[Path]:
    """Write the files of one fit."""
    fit.folder.mkdir(parents=True, exist_ok=True)
    files = [Path(path) for path in fit.result.save(fit.folder, data, overwrite=overwrite).values()]
    table = fit.folder / "parameters.csv"
    write_parameters(table, fit.result)
    files.append(table)
    if output.plots:
        progress.step(f"q = {data.q:.4g} 1/Å: plotting")
        files += plot_fit(
            data,
            fit.result,
            fit.folder,
            kinds=output.plots,
            formats=output.formats,
            advance=progress.detail,
        )
    return files


def _write_shared(loaded: LoadedConfiguration, directory: Path, fits: Sequence[Fit]) -> list[Path]:
    """Write what belongs to the whole run: the configuration used, and for several q a table and a plot."""
    copy = directory / "configuration.yaml"
    write_text(copy, loaded.text)
    files = [copy]
    if len(fits) > 1:
        results = [fit.result for fit in fits]
        table = directory / "summary.csv"
        write_series(table, results, [fit.folder.name for fit in fits])
        files.append(table)
        output = loaded.configuration.output
        points = [SummaryPoint(r.q, r.physical["D0"], r.physical_error["D0"]) for r in results]
        if output.plots:
            files += plot_against_q(points, "D0", directory, output.formats)
    return files
