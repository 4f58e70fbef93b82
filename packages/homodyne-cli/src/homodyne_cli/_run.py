"""A run: from a configuration to the results of every q."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from homodyne_cli._arrays import write_arrays, write_maps
from homodyne_cli._config import Output
from homodyne_cli._config_keys import ConfigurationError
from homodyne_cli._config_read import LoadedConfiguration
from homodyne_cli._console import ProgressLine, Terminal, warnings_to
from homodyne_cli._files import write_text
from homodyne_cli._interrupt import kept_interrupts
from homodyne_cli._output import ResultsFolder
from homodyne_cli._passes import KeptPasses, is_repeatable
from homodyne_cli._plots import SummaryPoint, plot_against_q, plot_fit
from homodyne_cli._reading import choose_q, measurement
from homodyne_cli._report import show_files, show_fit, show_series
from homodyne_cli._tables import write_minima, write_parameters, write_profiles, write_series
from homodyne_data import TwoTimeData, TwoTimeStream
from homodyne_model import HomodyneError
from homodyne_nlsq import OptimizationResult, fit_nlsq_jax


@dataclass(frozen=True)
class Fit:
    """The fit of one q.

    Attributes
    ----------
    folder : Path
        Its results.
    result : OptimizationResult
        The fit.
    streamed : bool
        Whether the data stayed in their file. They are not kept here: those of one q can fill the memory.
    """

    folder: Path
    result: OptimizationResult
    streamed: bool

    @property
    def stopped(self) -> bool:
        """Whether Ctrl-C ended a fit with a global search: the parameters are the best so far."""
        return self.result.search is not None and self.result.search.stopped


@dataclass(frozen=True)
class Run:
    """A whole run.

    Attributes
    ----------
    fits : tuple of Fit
        In the order of q.
    errors : Mapping of float to str
        What was wrong with a q [1/Å] that could not be fitted.
    left : Mapping of float to Path
        The q [1/Å] that were not begun, because the run was stopped, and where their results would be.
    """

    fits: tuple[Fit, ...]
    errors: Mapping[float, str]
    left: Mapping[float, Path]

    @property
    def stopped(self) -> Fit | None:
        """The last fit, where it was stopped."""
        return self.fits[-1] if self.fits and self.fits[-1].stopped else None

    @property
    def exit_code(self) -> int:
        """0: all converged; 3: not all, or the run was stopped; 1: a q could not be fitted."""
        if self.errors:
            return 1
        converged = all(fit.result.convergence_status == "converged" for fit in self.fits)
        return 0 if converged and self.stopped is None else 3


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
    passes = KeptPasses(
        configuration.optimization.nlsq.hybrid_streaming.path(loaded.path.parent), folder.path
    )
    fits: list[Fit] = []
    states: dict[str, dict[str, object]] = {}
    errors: dict[float, str] = {}
    left: dict[float, Path] = {}
    about = {"configuration": loaded.path.name, "data": source.name, "fits": states}
    with terminal.progress() as progress:
        for number, ((asked, held), name) in enumerate(zip(wanted, names, strict=True), start=1):
            head = f"q = {held:.4g} 1/Å" + (f" ({number} of {len(wanted)})" if len(wanted) > 1 else "")
            try:
                fit, files = _fit_one(
                    loaded, source, asked, head, folder.path / name, passes, terminal, progress, overwrite
                )
            except (HomodyneError, ValueError, TypeError) as error:
                if len(wanted) == 1:
                    raise
                errors[held] = str(error)
                states[name] = {"q": held, "error": str(error)}
                terminal.error(f"{head}: {error}")
                continue
            except KeyboardInterrupt as stop:
                # A streamed fit says how to go on with it; what is written already would be in the way.
                refused = str(stop) and passes.present and fits and not overwrite
                raise KeyboardInterrupt(f"{stop}, with --overwrite" if refused else str(stop)) from None
            fits.append(fit)
            states[name] = {
                "q": held,
                "convergence_status": fit.result.convergence_status,
                "quality_flag": fit.result.quality_flag,
            }
            if fit.stopped:
                for (_, other), its_name in zip(wanted[number:], names[number:], strict=True):
                    left[other] = folder.path / its_name
                    states[its_name] = {"q": other, "left": True}
            folder.add(files, about)
            if fit.stopped:
                break
        if not fits:
            raise ConfigurationError(f"none of the {len(wanted)} values of q could be fitted")
        folder.add(_write_shared(loaded, folder.path, fits), about)
    if not left:
        # What an earlier run found for the q that are left stays.
        folder.finish(about)
    done = Run(tuple(fits), errors, left)
    if done.exit_code == 0:
        passes.clear()

    for fit in fits:
        show_fit(terminal, fit.result, streamed=fit.streamed)
    if len(fits) > 1:
        show_series(terminal, [fit.result for fit in fits])
    show_files(terminal, folder.path, folder.written)
    _show_what_is_not_there(done, configuration.output, passes, terminal)
    return done


def _fit_one(
    loaded: LoadedConfiguration,
    source: Path,
    q: float,
    head: str,
    folder: Path,
    passes: KeptPasses,
    terminal: Terminal,
    progress: ProgressLine,
    overwrite: bool,
) -> tuple[Fit, list[Path]]:
    """Read, fit and write one q, called `head` in messages; its files lie in `folder`."""
    configuration, settings = loaded.configuration, loaded.settings
    with ExitStack() as stack:
        progress.step(f"{head}: reading")
        with warnings_to(terminal.warn):
            data, how = stack.enter_context(measurement(configuration, source, q))
        for note in data.provenance.notes:
            terminal.note(note)
        if how.streamed:
            terminal.note(how.sentence)
            if passes.present and is_repeatable(settings):
                terminal.note(
                    f"passes over these data that an earlier run finished, in {passes.folder}, are not repeated"
                )
            settings = passes.used_by(settings)
        elif configuration.optimization.nlsq.hybrid_streaming.checkpoint_dir is not None:
            terminal.warn(f"hybrid_streaming.checkpoint_dir has no effect: {how.sentence}")
        progress.step(f"{head}: fitting{' from the file' if how.streamed else ''}")
        try:
            with warnings_to(terminal.warn), kept_interrupts() as raise_again:

                def told(*at: object) -> None:
                    raise_again()
                    progress.fit(*at)

                result = fit_nlsq_jax(data, settings, progress=told)
        except KeyboardInterrupt:
            if not how.streamed:
                raise
            raise KeyboardInterrupt(passes.how_to_go_on(settings)) from None
        fit = Fit(folder, result, how.streamed)
        progress.step(f"{head}: {'stopped, writing the best so far' if fit.stopped else 'writing'}")
        with warnings_to(terminal.warn):
            return fit, _write_fit(fit, data, configuration.output, progress, overwrite=overwrite)


def _show_what_is_not_there(done: Run, output: Output, passes: KeptPasses, terminal: Terminal) -> None:
    """Print what was left out of the results, and what is left to go on with."""
    if output.fitted_maps == "auto":
        left_out = sum(
            2 * len(fit.result.phi) * len(fit.result.t) ** 2 * 4 for fit in done.fits if fit.streamed
        )
        if left_out:
            terminal.say(
                f"  without fitted maps and residuals ({left_out / 1e9:.2g} GB), which "
                "output.fitted_maps: true writes"
            )
    if done.stopped is not None:
        terminal.say(how_stopped(done), "yellow")
        if passes.present:
            terminal.say(passes.how_to_search_on(done.stopped.result.search))
    elif done.exit_code != 0 and passes.present:
        terminal.say(
            f"finished passes are kept in {passes.folder}: a fit that may take more of them "
            "(optimization.nlsq.max_iterations, hybrid_streaming.gauss_newton_max_iterations) does not repeat "
            "them"
        )


def how_stopped(done: Run) -> str:
    """What Ctrl-C ended, and what was not begun, in a sentence."""
    said = [f"stopped by Ctrl-C: the results of q = {done.stopped.result.q:.4g} 1/Å are the best so far"]
    if done.left:
        listed = ", ".join(f"{q:.4g}" for q in done.left)
        said.append(
            f"{len(done.left)} more q ({listed} 1/Å) {'was' if len(done.left) == 1 else 'were'} not fitted"
        )
    if any(folder.exists() for folder in done.left.values()):
        said.append("what an earlier run found there stays")
    return "; ".join(said)


def results_directory(loaded: LoadedConfiguration) -> Path:
    """Folder that the configuration names, relative to its file; by default ``<its name>-results`` here."""
    named = loaded.configuration.output.path(loaded.path.parent)
    return Path(f"{loaded.path.stem}-results") if named is None else named


def _folder_names(held: list[float]) -> list[str]:
    """One name a q, different even where q agree to five digits."""
    names = [f"q_{q:.5g}" for q in held]
    return [name if names.count(name) == 1 else f"{name}_{k}" for k, name in enumerate(names, start=1)]


def _write_fit(
    fit: Fit,
    data: TwoTimeData | TwoTimeStream,
    output: Output,
    progress: ProgressLine,
    *,
    overwrite: bool,
) -> list[Path]:
    """Write the files of one fit."""
    result, folder = fit.result, fit.folder
    folder.mkdir(parents=True, exist_ok=True)
    with_maps = not fit.streamed if output.fitted_maps == "auto" else output.fitted_maps
    if with_maps and not fit.streamed:
        files = [Path(path) for path in result.save(folder, data, overwrite=overwrite).values()]
    else:
        files = [folder / "result.json", folder / "arrays.npz"]
        write_text(files[0], result.to_json())
        write_arrays(files[1], result)
    if with_maps and fit.streamed:
        files += write_maps(data, result, folder, advance=progress.detail)
    table = folder / "parameters.csv"
    write_parameters(table, result)
    files.append(table)
    if result.profiles:
        intervals = folder / "profiles.csv"
        write_profiles(intervals, result)
        files.append(intervals)
    if result.search is not None and result.search.minima:
        minima = folder / "minima.csv"
        write_minima(minima, result)
        files.append(minima)
    if output.plots:
        progress.step(f"q = {data.q:.4g} 1/Å: plotting")
        files += plot_fit(
            data, result, folder, kinds=output.plots, formats=output.formats, advance=progress.detail
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
