"""The command line: what an option starts, exit codes, and the settings of the process.

Exit codes: 0 done (a fit: converged, a posterior: certified), 3 it ran but not so far, 1 an error, wrong usage included.

The modules that do the work import JAX and Matplotlib; they are imported by the command that needs them, so
that ``--help`` and ``inspect`` answer at once.
"""

import argparse
import os
import platform
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

from homodyne_cli._console import Terminal, warnings_to
from homodyne_cli._options import SIMULATION_OPTIONS, command_parser, refuse_unknown, with_negative_numbers
from homodyne_cli._simulation import REFERENCE, Simulation, Speckle


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default those of the process.

    Returns
    -------
    int
        Exit code: 0 done, converged or certified; 3 ran but not so far; 1 error.

    Raises
    ------
    SystemExit
        For ``--help`` and ``--version`` (0) and wrong usage (1).
    """
    _configure_streams()
    parser = command_parser()
    argv = with_negative_numbers(sys.argv[1:] if argv is None else list(argv))
    refuse_unknown(parser, argv)
    arguments = parser.parse_args(argv)
    terminal = Terminal()
    try:
        return _dispatch(parser, arguments, terminal)
    except KeyboardInterrupt as stop:
        terminal.error(str(stop) or "interrupted; what was written so far is complete")
        return 1
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing is left to say, not even at exit.
        sys.stdout = None
        return 1
    except Exception as error:
        if arguments.debug:
            traceback.print_exc()
        terminal.error(_sentence(error))
        return 1


def _sentence(error: Exception) -> str:
    """What went wrong, for the user."""
    # A library that an engine needs may not be installed.
    expected = isinstance(error, ValueError | TypeError | OSError | ImportError) or type(
        error
    ).__module__.startswith("homodyne_")
    message = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:  # without "[Errno 28]"
        message = error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"
    if isinstance(error, MemoryError):
        return f"not enough memory: {message}"
    return (
        message
        if expected
        else f"{type(error).__name__}: {message} (a defect of this program; --debug shows where)"
    )


def _configure_streams() -> None:
    """Print what the terminal's encoding has not as '?', instead of failing in the middle of a report."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _configure_numerics() -> None:
    """The settings of the process: 64-bit JAX that keeps what it compiled, and Matplotlib without a display."""
    import jax
    import matplotlib

    jax.config.update("jax_enable_x64", True)
    matplotlib.use("Agg")
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ and (folder := _folder_of_compiled_code()):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def _folder_of_compiled_code() -> Path | None:
    """Where JAX keeps compiled code between runs; None where nothing can be written, and every run compiles.

    One folder a machine: a home directory may be shared by processors that differ.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = caches / "homodyne" / f"compiled-{platform.node()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _dispatch(parser: argparse.ArgumentParser, arguments: argparse.Namespace, terminal: Terminal) -> int:
    given = (arguments.config, arguments.results, arguments.method)
    fit_options = arguments.replace or arguments.cold or any(option is not None for option in given)
    if arguments.command is None:
        if arguments.config is None:
            if fit_options:
                parser.error("--method, --no-nlsq-warmstart, --output and --overwrite need --config")
            parser.print_help()
            return 0
        return _fit(arguments, terminal)
    if fit_options:
        parser.error(
            f"--config, --method, --no-nlsq-warmstart, --output and --overwrite before {arguments.command} start a fit; "
            f"options of {arguments.command} stand after it"
        )
    return {"inspect": _inspect, "simulate": _simulate, "demo": _demo, "config": _config}[arguments.command](
        arguments, terminal
    )


def _fit(arguments: argparse.Namespace, terminal: Terminal) -> int:
    _configure_numerics()
    from homodyne_cli._config_read import load_configuration
    from homodyne_cli._run import run

    loaded = load_configuration(arguments.config, method=arguments.method)
    if arguments.cold and loaded.method != "cmc":
        raise ValueError(
            f"--no-nlsq-warmstart is for method cmc, got {loaded.method}, whose result the fit is"
        )
    return run(
        loaded,
        terminal,
        output=arguments.results,
        overwrite=arguments.replace,
        warm_start=not arguments.cold,
    ).exit_code


def _inspect(arguments: argparse.Namespace, terminal: Terminal) -> int:
    from homodyne_cli._inspect import inspect

    inspect(arguments.file, terminal, as_json=arguments.json)
    return 0


def _config(arguments: argparse.Namespace, terminal: Terminal) -> int:
    if arguments.check is None:
        from homodyne_cli._config_template import template

        terminal.out.print(template(arguments.mode), end="", markup=False, soft_wrap=True)
        return 0
    if arguments.mode is not None:
        raise ValueError("--mode is for a template; --check takes the mode from the file")
    from homodyne_cli._config_check import check

    check(arguments.check, terminal)
    return 0


def _simulate(arguments: argparse.Namespace, terminal: Terminal) -> int:
    simulation = _simulation_of(arguments)
    _configure_numerics()
    from homodyne_cli._simulate import write_simulation

    with terminal.progress() as progress, warnings_to(terminal.warn):
        progress.step("simulating speckle and photons" if simulation.speckle else "simulating")
        data, truth = write_simulation(simulation, arguments.output, overwrite=arguments.overwrite)
    terminal.say(f"written {data} and {truth}")
    return 0


def _simulation_of(arguments: argparse.Namespace) -> Simulation:
    """Settings of a simulation: what was given, defaults for the rest."""

    def given(*names: str) -> dict[str, object]:
        return {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}

    names = {name for reference in REFERENCE.values() for name in reference}
    settings = given(*(option for option, *_ in SIMULATION_OPTIONS)) | {"parameters": given(*sorted(names))}
    speckle = given("pixels", "counts")
    if arguments.speckle:
        useless = given("sigma", "offset")
        if useless:
            raise ValueError(
                f"no effect with --speckle (photons make the noise, the offset is 1): {_options(useless)}"
            )
        settings["speckle"] = Speckle(**speckle)
    elif speckle:
        raise ValueError(f"no effect without --speckle: {_options(speckle)}")
    simulation = Simulation(**settings)
    if "gap" in settings and not simulation.sheared:
        raise ValueError("no effect in static_isotropic: --gap")
    return simulation


def _options(names: Iterable[str]) -> str:
    return ", ".join(f"--{name}" for name in names)


def _demo(arguments: argparse.Namespace, terminal: Terminal) -> int:
    _configure_numerics()
    from homodyne_cli._demo import demo

    return demo(
        terminal,
        output=arguments.output,
        overwrite=arguments.overwrite,
        simulation=Simulation(seed=arguments.seed),
        method=arguments.demo_method,
    ).exit_code
