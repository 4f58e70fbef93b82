"""A run: from a configuration to the results of every q."""

import dataclasses
import hashlib
from contextlib import ExitStack
from pathlib import Path

from homodyne_cli._cmc_settings import without_fit
from homodyne_cli._config_keys import ConfigurationError
from homodyne_cli._config_read import LoadedConfiguration
from homodyne_cli._console import ProgressLine, Terminal, warnings_to
from homodyne_cli._fits import Fit, Run
from homodyne_cli._interrupt import kept_interrupts
from homodyne_cli._output import ResultsFolder
from homodyne_cli._passes import KeptPasses, is_repeatable
from homodyne_cli._posterior import KeptChains, look_before, sample
from homodyne_cli._posterior_files import plot_posterior, write_posterior
from homodyne_cli._reading import Plan, choose_q, measurement
from homodyne_cli._report_run import show_run
from homodyne_cli._run_files import as_start, folder_names, results_directory, write_fit, write_shared
from homodyne_data import TwoTimeData, TwoTimeStream
from homodyne_model import HomodyneError
from homodyne_nlsq import OptimizationResult, fit_nlsq_jax


def run(
    loaded: LoadedConfiguration,
    terminal: Terminal,
    *,
    output: Path | None = None,
    overwrite: bool = False,
    warm_start: bool = True,
) -> Run:
    """Fit or sample every q that the configuration asks for, and write and print the results.

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
    warm_start : bool
        Whether a posterior starts from a fit; False only with method cmc.

    Raises
    ------
    ConfigurationError, homodyne_data.DataError, homodyne_nlsq errors, homodyne_cmc.CMCInputError, OSError
        If nothing can be fitted. When one of several q cannot be fitted the others still are.
    """
    configuration = loaded.configuration
    source = configuration.experimental_data.path(loaded.path.parent)
    if not source.is_file():
        what = "is a folder, not a file" if source.is_dir() else "does not exist"
        raise FileNotFoundError(f"the data file {source} {what} (from {loaded.path.name})")
    unfinished = _identity(loaded, warm_start)
    folder = ResultsFolder(output or results_directory(loaded), overwrite=overwrite, unfinished=unfinished)
    for warning in loaded.warnings:
        terminal.warn(warning)
    if folder.goes_on:
        terminal.note(f"the run that was interrupted in {folder.path} goes on")
    if not warm_start:
        terminal.note(
            "without a fit to start from, the mode is looked for in the data, which costs some hundred evaluations, and "
            "there are no robust errors to compare with"
        )
    wanted = choose_q(configuration, source)
    with terminal.progress() as progress:
        work = _Work(
            loaded,
            source,
            folder,
            terminal,
            progress,
            overwrite=overwrite or folder.goes_on,
            warm_start=warm_start,
        )
        done = work.all(wanted)
    show_run(terminal, done, loaded, folder, work.passes, work.chains)
    return done


def _identity(loaded: LoadedConfiguration, warm_start: bool) -> dict[str, object] | None:
    """What two runs have in common when the second goes on with the posterior of the first; None without a posterior."""
    if loaded.sampling is None:
        return None
    digest = hashlib.sha256(loaded.text.encode()).hexdigest()
    return {"method": loaded.method, "warm_start": warm_start, "configuration": digest}


class _Work:
    """What is done for all q, and what is known of those that are done."""

    def __init__(
        self,
        loaded: LoadedConfiguration,
        source: Path,
        folder: ResultsFolder,
        terminal: Terminal,
        progress: ProgressLine,
        *,
        overwrite: bool,
        warm_start: bool,
    ) -> None:
        self.loaded, self.source, self.folder = loaded, source, folder
        self.terminal, self.progress = terminal, progress
        self.overwrite, self.warm_start = overwrite, warm_start
        nlsq = loaded.configuration.optimization.nlsq
        self.passes = KeptPasses(nlsq.hybrid_streaming.path(loaded.path.parent), folder.path)
        self.chains: dict[str, KeptChains] = {}
        self.fits: dict[str, Fit] = {}
        self.errors: dict[float, str] = {}
        self.left: dict[float, Path] = {}
        self.states: dict[str, dict[str, object]] = {}
        self.about = {"configuration": loaded.path.name, "data": source.name, "fits": self.states}
        if loaded.sampling is not None:
            self.about |= {"method": loaded.method, "unfinished": _identity(loaded, warm_start)}

    def all(self, wanted: list[tuple[float, float]]) -> Run:
        """Go through the q: as asked for, and as the file has them."""
        names = folder_names([held for _, held in wanted])
        for number, ((asked, held), name) in enumerate(zip(wanted, names, strict=True), start=1):
            head = f"q = {held:.4g} 1/Å" + (f" ({number} of {len(wanted)})" if len(wanted) > 1 else "")
            try:
                fit = self._one(asked, held, head, name)
            except (HomodyneError, ValueError, TypeError) as error:
                if len(wanted) == 1:
                    raise
                self.errors[held] = str(error)
                self.states[name] = {"q": held} | self.states.get(name, {}) | {"error": str(error)}
                self.terminal.error(f"{head}: {error}")
                continue
            except KeyboardInterrupt as stop:
                # A streamed fit says how to go on with it; what is written already would be in the way.
                in_the_way = self.fits and not self.overwrite and self.loaded.sampling is None
                refused = str(stop) and self.passes.present and in_the_way
                raise KeyboardInterrupt(f"{stop}, with --overwrite" if refused else str(stop)) from None
            if fit.stopped or fit.interrupted:
                for (_, other), its_name in zip(wanted[number:], names[number:], strict=True):
                    self.left[other] = self.folder.path / its_name
                    self.states[its_name] = {"q": other, "left": True}
                break
        if not self.fits:
            raise ConfigurationError(f"none of the {len(wanted)} values of q could be fitted")
        fits = tuple(self.fits.values())
        done = Run(fits, self.errors, self.left, self.loaded.method)
        if not done.interrupted:
            self.about.pop("unfinished", None)
        self.folder.add(write_shared(self.loaded, self.folder.path, fits), self.about)
        if not self.left and not done.interrupted:
            # What an earlier run found for the q that are left stays.
            self.folder.finish(self.about)
        self._clear(done)
        return done

    def _clear(self, done: Run) -> None:
        """Remove what is kept for a run that would go on."""
        if done.interrupted:
            return
        if all(fit.converged for fit in done.fits) and not done.errors and done.stopped is None:
            self.passes.clear()
        for name, fit in self.fits.items():
            if fit.posterior is not None and fit.posterior.status != "failed":
                self.chains[name].clear()

    def _one(self, asked: float, held: float, head: str, name: str) -> Fit:
        """Read, fit, sample and write one q, called `head` in messages; its files lie in the folder `name`."""
        loaded, output = self.loaded, self.loaded.configuration.output
        with ExitStack() as stack:
            self.progress.step(f"{head}: reading")
            with warnings_to(self.terminal.warn):
                data, how = stack.enter_context(measurement(loaded.configuration, self.source, asked))
            for note in data.provenance.notes:
                self.terminal.note(note)
            self._look_before(data)
            fit = Fit(self.folder.path / name, held, how.streamed)
            if self.warm_start:
                result = self._least_squares(data, how, head)
                fit = dataclasses.replace(fit, result=result)
                self.progress.step(
                    f"{head}: {'stopped, writing the best so far' if fit.stopped else 'writing'}"
                )
                wanted = as_start(output) if loaded.method == "cmc" and not fit.stopped else output
                with warnings_to(self.terminal.warn):
                    files = write_fit(fit, data, wanted, self.progress, overwrite=self.overwrite)
                self._keep(name, fit, files)
            if loaded.sampling is None or fit.stopped:
                return fit
            return self._posterior(data, fit, head, name)

    def _keep(self, name: str, fit: Fit, files: list[Path]) -> None:
        """Note what was found and written, so that it survives an interruption."""
        self.fits[name] = fit
        self.states[name] = fit.state
        self.folder.add(files, self.about)

    def _look_before(self, data: TwoTimeData | TwoTimeStream) -> None:
        """Refuse what the sampler does not take, before anything is fitted for it."""
        settings = self.loaded.sampling
        if settings is None:
            return
        self.progress.detail("a look at what will be sampled")
        section = self.loaded.configuration.optimization.cmc
        look_before(data, settings, section.n_workers, from_fit=self.warm_start)

    def _least_squares(self, data: TwoTimeData | TwoTimeStream, how: Plan, head: str) -> OptimizationResult:
        """The fit."""
        settings, passes, terminal = self.loaded.settings, self.passes, self.terminal
        streaming = self.loaded.configuration.optimization.nlsq.hybrid_streaming
        if how.streamed:
            terminal.note(how.sentence)
            if passes.present and is_repeatable(settings):
                terminal.note(
                    f"passes over these data that an earlier run finished, in {passes.folder}, are not repeated"
                )
            settings = passes.used_by(settings)
        elif streaming.checkpoint_dir is not None:
            terminal.warn(f"hybrid_streaming.checkpoint_dir has no effect: {how.sentence}")
        self.progress.step(f"{head}: fitting{' from the file' if how.streamed else ''}")
        try:
            with warnings_to(terminal.warn), kept_interrupts() as raise_again:

                def told(*at: object) -> None:
                    raise_again()
                    self.progress.fit(*at)

                return fit_nlsq_jax(data, settings, progress=told)
        except KeyboardInterrupt:
            if not how.streamed:
                raise
            raise KeyboardInterrupt(passes.how_to_go_on(settings)) from None

    def _posterior(self, data: TwoTimeData | TwoTimeStream, fit: Fit, head: str, name: str) -> Fit:
        """The posterior, from the fit where it helps."""
        loaded, section = self.loaded, self.loaded.configuration.optimization.cmc
        settings, start = loaded.sampling, fit.result
        if start is not None and start.convergence_status == "failed":
            self.terminal.warn(
                f"{head}: the fit failed ({start.message}): the posterior is sampled without it"
            )
            start = None
            if settings.robust_draws:
                self.terminal.warn(f"{head}: robust_draws needs the errors of a fit: there are none")
                settings = dataclasses.replace(settings, robust_draws=False)
        elif start is not None and not fit.converged:
            self.terminal.warn(
                f"{head}: the fit did not converge: sampling only begins where it ended, and looks for the mode itself"
            )
        if start is None:
            settings = without_fit(settings, loaded.settings)
        kept = self.chains[name] = KeptChains(section.path(loaded.path.parent), fit.folder)
        if kept.present:
            self.terminal.note(
                f"chains of these data that an earlier run finished, in {kept.folder}, are not repeated"
            )
        if fit.result is None:
            # What a killed run leaves says that it may be gone on with.
            fit.folder.mkdir(parents=True, exist_ok=True)
            self.states[name] = fit.state
            self.folder.add([], self.about)
        self.progress.step(f"{head}: sampling")
        try:
            with warnings_to(self.terminal.warn):
                posterior = sample(data, settings, start, kept, section.n_workers, self.progress)
        except KeyboardInterrupt:
            fit = dataclasses.replace(fit, interrupted=True)
            self._keep(name, fit, [])
            return fit
        except (HomodyneError, ValueError, TypeError) as error:
            if fit.result is None:
                raise
            raise ConfigurationError(f"{error} (what the fit found is in {fit.folder})") from error
        fit = dataclasses.replace(fit, posterior=posterior)
        self.progress.step(f"{head}: writing the posterior")
        with warnings_to(self.terminal.warn):
            self._keep(name, fit, write_posterior(posterior, fit.result, fit.folder))
        output = loaded.configuration.output
        if "posterior" in output.plots and posterior.posterior.sizes["draw"]:
            self.progress.step(f"{head}: plotting the posterior")
            with warnings_to(self.terminal.warn):
                plots = plot_posterior(posterior, fit.folder, output.formats, advance=self.progress.detail)
            self._keep(name, fit, plots)
        return fit
