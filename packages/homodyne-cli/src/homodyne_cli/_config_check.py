"""`homodyne config --check`: what a configuration means, without running it."""

from pathlib import Path

from homodyne_cli._config import PLOT_FORMATS
from homodyne_cli._config_read import load_configuration
from homodyne_cli._console import Terminal, warnings_to
from homodyne_cli._reading import choose_q, opened, plan
from homodyne_cli._run_files import results_directory
from homodyne_cmc import CMCConfig, Prior
from homodyne_model import AnalysisMode
from homodyne_nlsq import NLSQConfig

_METHODS = {
    "nlsq": "nlsq, least squares",
    "cmc": "cmc, a posterior that starts from a fit",
    "both": "both, a fit and its posterior",
}
_LAYERS = ("hierarchical", "regularization", "gradient_monitoring", "shear_weighting")


def check(path: Path, terminal: Terminal) -> None:
    """Read a configuration and print what it asks for. A data file that is absent is a warning here.

    Raises
    ------
    ConfigurationError
        If the configuration cannot be used; for a data file that is there, also if its q do not fit.
    homodyne_data.DataError
        If the data file that is there does not hold what is selected.
    """
    loaded = load_configuration(path)
    configuration = loaded.configuration
    settings = loaded.settings
    source = configuration.experimental_data.path(path.parent)
    for warning in loaded.warnings:
        terminal.warn(warning)
    if source.is_file():
        terminal.say(f"data      {source}")
        for asked, held in choose_q(configuration, source):
            with warnings_to(terminal.warn), opened(configuration, source, asked) as stream:
                terminal.say(f"          q = {held:.5g} 1/Å: {plan(configuration, stream).sentence}")
    else:
        terminal.warn(f"the data file {source} does not exist")
    terminal.say(f"method    {_METHODS[loaded.method]}")
    engine = "structured, nlsq first" if settings.use_adapter else settings.engine
    robust = "" if settings.loss == "linear" else f" from {settings.f_scale:g} standard deviations on"
    terminal.say(
        f"fit       {settings.analysis_mode}, {settings.shear_kernel}, {settings.loss} loss{robust}, engine {engine}"
    )
    terminal.say(f"scaling   {_scaling(settings)}")
    if settings.enable_cmaes or settings.enable_multi_start:
        terminal.say(f"search    {_search(settings)}")
    profiles = f"; profile likelihood of {', '.join(settings.profile)}" if settings.profile else ""
    terminal.say(f"errors    {settings.covariance_type}{profiles}")
    for label, values in (("start", settings.initial), ("fixed", settings.fixed)):
        if values:
            terminal.say(f"{label:<9} " + ", ".join(f"{name} {value:g}" for name, value in values.items()))
    if settings.bounds:
        listed = (f"{name} {low:g} to {high:g}" for name, (low, high) in settings.bounds.items())
        terminal.say(f"bounds    {', '.join(listed)}")
    if loaded.sampling is not None:
        terminal.say(f"posterior {_sampling(loaded.sampling, configuration.optimization.cmc.n_workers)}")
        if loaded.sampling.priors:
            terminal.say(f"priors    {', '.join(_prior(*item) for item in loaded.sampling.priors.items())}")
    plots = ", ".join(configuration.output.plots) or "none"
    formats = ", ".join(f for f in PLOT_FORMATS if f in configuration.output.formats)
    terminal.say(f"results   {results_directory(loaded)}; plots: {plots} as {formats}")
    terminal.say("the configuration is valid", "green")


def _sampling(settings: CMCConfig, n_workers: int | None) -> str:
    """How a posterior is sampled."""
    who = "in this process" if n_workers is None else f"in {n_workers} processes"
    if settings.method == "laplace":
        return f"laplace: {settings.certificate_draws} draws about the mode"
    chains = f"{settings.num_chains} chains of {settings.num_warmup} + {settings.num_samples} draws"
    if settings.method == "nuts":
        return f"nuts: {chains}, {who}"
    shards = "shards as many as workers" if settings.num_shards is None else f"{settings.num_shards} shards"
    return f"cmc: {shards}, {chains} each, {who}"


def _prior(name: str, prior: Prior) -> str:
    numbers = ", ".join(f"{number:g}" for number in (prior.mu, prior.sigma) if number is not None)
    return f"{name} {prior.type}({numbers})"


def _scaling(settings: NLSQConfig) -> str:
    """How contrast and offset may vary with the angle, and the layers that are switched on."""
    system = settings.anti_degeneracy
    if not settings.per_angle_scaling:
        return "constant, as per_angle_scaling is false"
    if not system.enable:
        return f"{system.per_angle_mode}, anti-degeneracy off"
    if settings.analysis_mode != AnalysisMode.LAMINAR_FLOW:
        return f"{system.per_angle_mode}, anti-degeneracy off without shear"
    on = [name for name in _LAYERS if getattr(system, name).enable]
    return f"{system.per_angle_mode}, anti-degeneracy layers: {', '.join(on) or 'none'}"


def _search(settings: NLSQConfig) -> str:
    """Which global search comes before the fit, where one is enabled."""
    parts = []
    if settings.enable_cmaes:
        cmaes = settings.cmaes
        limit = f"bounds are more than {cmaes.scale_threshold:g} times apart in width"
        parts.append(
            f"CMA-ES{f' where {limit}' if cmaes.auto_select else ''}, {cmaes.generations} generations a run, "
            f"restarts {cmaes.restart_strategy}"
        )
    if settings.enable_multi_start and (not parts or settings.cmaes.auto_select):
        parts.append(f"multistart from {settings.multi_start.n_starts} starts")
    return "; else ".join(parts)
