"""The summary of a whole run for the terminal."""

from collections.abc import Mapping

from homodyne_cli._config import Output
from homodyne_cli._config_read import LoadedConfiguration
from homodyne_cli._console import Terminal
from homodyne_cli._fits import Fit, Run
from homodyne_cli._output import ResultsFolder
from homodyne_cli._passes import KeptPasses, is_repeatable
from homodyne_cli._posterior import KeptChains
from homodyne_cli._report import show_files, show_fit, show_series
from homodyne_cli._report_posterior import show_posterior, show_posteriors


def show_run(
    terminal: Terminal,
    done: Run,
    loaded: LoadedConfiguration,
    folder: ResultsFolder,
    passes: KeptPasses,
    chains: Mapping[str, KeptChains],
) -> None:
    """Print what was found for every q, what was written, and what is left to go on with.

    Parameters
    ----------
    terminal : Terminal
        Where to.
    done : Run
        What was found.
    loaded : LoadedConfiguration
        What was asked for.
    folder : ResultsFolder
        Where it is.
    passes : KeptPasses
        Finished passes of streamed fits.
    chains : Mapping of str to KeptChains
        Finished chains of every q, by the name of its folder.
    """
    fitted = [fit for fit in done.fits if _shows_fit(fit, done.method)]
    for fit in done.fits:
        if fit in fitted:
            show_fit(terminal, fit.result, streamed=fit.streamed)
        if fit.posterior is not None:
            show_posterior(terminal, fit.posterior, fit.result, alone=fit not in fitted)
    if len(fitted) > 1:
        show_series(terminal, [fit.result for fit in fitted])
    sampled = [fit.posterior for fit in done.fits if fit.posterior is not None]
    if len(sampled) > 1:
        show_posteriors(terminal, sampled)
    show_files(terminal, folder.path, folder.written)
    _show_what_is_not_there(done, loaded.configuration.output, passes, terminal)
    if done.interrupted is not None:
        sentence = how_interrupted(done, chains[done.interrupted.folder.name], is_repeatable(loaded.settings))
        terminal.say(sentence, "yellow")
    for fit in done.fits:
        kept = chains.get(fit.folder.name)
        if fit.posterior is not None and fit.posterior.status == "failed" and kept.present:
            terminal.say(
                f"finished chains are kept in {kept.folder}: the same command with --overwrite does not repeat them"
            )


def _shows_fit(fit: Fit, method: str) -> bool:
    """Whether the summary of the fit is printed: where it is a result, and where it is all there is."""
    return fit.result is not None and (method != "cmc" or fit.posterior is None)


def _show_what_is_not_there(done: Run, output: Output, passes: KeptPasses, terminal: Terminal) -> None:
    """Print what was left out of the results, and what is left to go on with."""
    if output.fitted_maps == "auto" and done.method != "cmc":
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
    elif passes.present and not all(fit.converged for fit in done.fits):
        terminal.say(
            f"finished passes are kept in {passes.folder}: a fit that may take more of them "
            "(optimization.nlsq.max_iterations, hybrid_streaming.gauss_newton_max_iterations) does not repeat "
            "them"
        )


def how_stopped(done: Run) -> str:
    """What Ctrl-C ended, and what was not begun, in a sentence."""
    said = [f"stopped by Ctrl-C: the results of q = {done.stopped.q:.4g} 1/Å are the best so far"]
    if done.method != "nlsq":
        said.append("its posterior was not sampled")
    said += what_is_left(done, "fitted")
    return "; ".join(said)


def what_is_left(done: Run, verb: str) -> list[str]:
    """The q that were not begun, in parts of a sentence."""
    said = []
    if done.left:
        listed = ", ".join(f"{q:.4g}" for q in done.left)
        said.append(
            f"{len(done.left)} more q ({listed} 1/Å) {'was' if len(done.left) == 1 else 'were'} not {verb}"
        )
    if any(folder.exists() for folder in done.left.values()):
        said.append("what an earlier run found there stays")
    return said


def how_interrupted(done: Run, kept: KeptChains, repeatable: bool) -> str:
    """How far the sampling came that Ctrl-C ended, and how to go on with it, in a sentence.

    Parameters
    ----------
    done : Run
        Its last q was interrupted.
    kept : KeptChains
        The chains of that q.
    repeatable : bool
        Whether the same command fits the same again, so that the chains fit to it.
    """
    fit = done.interrupted
    said = [f"the sampling of q = {fit.q:.4g} 1/Å was interrupted by Ctrl-C", *what_is_left(done, "begun")]
    if not kept.present:
        said.append("no chain was finished: the same command begins the sampling again")
    elif repeatable or fit.result is None:
        said.append(f"finished chains are kept in {kept.folder}: the same command goes on with them")
    else:
        search = fit.result.search
        said.append(
            f"finished chains are kept in {kept.folder}: the same command with --overwrite and "
            f"optimization.nlsq.{search.method}.seed: {search.seed} goes on with them"
        )
    return "; ".join(said)
