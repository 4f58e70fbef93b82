"""`homodyne config --check`: what a configuration means, without running it."""

from pathlib import Path

from homodyne_cli._config import PLOT_FORMATS
from homodyne_cli._config_read import load_configuration
from homodyne_cli._console import Terminal
from homodyne_cli._run import choose_q, results_directory


def check(path: Path, terminal: Terminal) -> None:
    """Read a configuration and print what it asks for. A data file that is absent is a warning here.

    Raises
    ------
    ConfigurationError
        If the configuration cannot be used; for a data file that is there, also if its q do not fit.
    """
    loaded = load_configuration(path)
    configuration = loaded.configuration
    settings = loaded.settings
    source = configuration.experimental_data.path(path.parent)
    for warning in loaded.warnings:
        terminal.warn(warning)
    if source.is_file():
        found = ", ".join(f"{held:.5g}" for _, held in choose_q(configuration, source))
        terminal.say(f"data      {source}: q = {found} 1/Å")
    else:
        terminal.warn(f"the data file {source} does not exist")
    terminal.say(
        f"fit       {settings.analysis_mode}, {settings.shear_kernel}, {settings.per_angle_mode} scaling"
    )
    for label, values in (("start", settings.initial), ("fixed", settings.fixed)):
        if values:
            terminal.say(f"{label:<9} " + ", ".join(f"{name} {value:g}" for name, value in values.items()))
    if settings.bounds:
        listed = (f"{name} {low:g} to {high:g}" for name, (low, high) in settings.bounds.items())
        terminal.say(f"bounds    {', '.join(listed)}")
    plots = ", ".join(configuration.output.plots) or "none"
    formats = ", ".join(f for f in PLOT_FORMATS if f in configuration.output.formats)
    terminal.say(f"results   {results_directory(loaded)}; plots: {plots} as {formats}")
    terminal.say("the configuration is valid", "green")
