"""The command line: options, exit codes, and the settings of the process.

Exit codes: 0 done (a fit: converged), 3 a fit ran but did not converge, 1 an error, wrong usage included.

The modules that do the work import JAX and Matplotlib; they are imported by the command that needs them, so
that ``--help`` and ``inspect`` answer at once.
"""

import argparse
import difflib
import os
import platform
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from homodyne_cli._console import Terminal, warnings_to
from homodyne_cli._simulation import REFERENCE, Simulation, Speckle
from homodyne_cli._units import LENGTH, TIME, WAVEVECTOR, Quantity

_EPILOG = """\
exit codes: 0 converged, 3 ran but did not converge, 1 error

  homodyne config > analysis.yaml          a configuration with all keys and defaults
  homodyne inspect results.hdf             which q, angles and frames a file holds
  homodyne --config analysis.yaml          fit, and write results and plots
  homodyne COMMAND --help                  options of a command
"""


_COMMANDS = ("demo", "inspect", "config", "simulate")


def _method(text: str) -> str:
    """Reader of the method of a fit."""
    if text != "nlsq":
        later = " (Monte Carlo is to come)" if text in ("cmc", "both") else ""
        raise argparse.ArgumentTypeError(f"{text!r} is not available{later}; this version fits by nlsq")
    return text


def _whole(text: str) -> int:
    """Reader of a whole number that is not negative."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _quantity(quantity: Quantity) -> Callable[[str], float]:
    """Reader of a number with or without unit."""

    def read(text: str) -> float:
        try:
            return quantity.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


class _Parser(argparse.ArgumentParser):
    """Wrong usage is an error like any other: exit code 1."""

    def error(self, message: str) -> None:
        self.print_usage(sys.stderr)
        self.exit(1, f"error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default those of the process.

    Returns
    -------
    int
        Exit code: 0 converged or done, 3 ran but did not converge, 1 error.

    Raises
    ------
    SystemExit
        For ``--help`` and ``--version`` (0) and wrong usage (1).
    """
    _configure_streams()
    parser = _parser()
    argv = _with_negative_numbers(sys.argv[1:] if argv is None else list(argv))
    _refuse_unknown(parser, argv)
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


def _with_negative_numbers(argv: Sequence[str]) -> list[str]:
    """``--D_offset -1e3`` as ``--D_offset=-1e3``: argparse takes -1e3 for an option, though not -1000."""
    joined: list[str] = []
    for argument in argv:
        before = joined[-1] if joined else ""
        if before.startswith("--") and "=" not in before and re.match(r"-\.?\d", argument):
            joined[-1] = f"{before}={argument}"
        else:
            joined.append(argument)
    return joined


def _refuse_unknown(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """End with an error at a misspelt option or command: argparse would take its value for a command."""
    known = parser._option_string_actions
    arguments = iter(argv)
    for argument in arguments:
        if not argument.startswith("-"):
            if argument not in _COMMANDS:
                parser.error(f"unknown command {argument!r}; {_meant(argument)}")
            return
        option = argument.partition("=")[0]
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            parser.error(f"unknown option {option}" + (f"; did you mean {near[0]}?" if near else ""))
        if known[option].nargs is None and "=" not in argument:
            next(arguments, None)  # its value


def _meant(word: str) -> str:
    """What was probably meant by a word that is no command."""
    if word.endswith((".yaml", ".yml")):
        return f"to run a configuration: homodyne --config {word}"
    near = difflib.get_close_matches(word, _COMMANDS, n=1)
    return f"did you mean {near[0]}?" if near else f"expected one of {', '.join(_COMMANDS)}"


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
    fit_options = arguments.replace or any(option is not None for option in given)
    if arguments.command is None:
        if arguments.config is None:
            if fit_options:
                parser.error("--method, --output and --overwrite need --config")
            parser.print_help()
            return 0
        return _fit(arguments, terminal)
    if fit_options:
        parser.error(
            f"--config, --method, --output and --overwrite before {arguments.command} start a fit; "
            f"options of {arguments.command} stand after it"
        )
    return {"inspect": _inspect, "simulate": _simulate, "demo": _demo, "config": _config}[arguments.command](
        arguments, terminal
    )


def _fit(arguments: argparse.Namespace, terminal: Terminal) -> int:
    _configure_numerics()
    from homodyne_cli._config_read import load_configuration
    from homodyne_cli._run import run

    loaded = load_configuration(arguments.config)
    return run(loaded, terminal, output=arguments.results, overwrite=arguments.replace).exit_code


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
    settings = given(*(option for option, *_ in _SIMULATION_OPTIONS)) | {"parameters": given(*sorted(names))}
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
    ).exit_code


# Option, reader, placeholder, help. Names are those of `Simulation`, which has the defaults.
_SIMULATION_OPTIONS = (
    ("mode", str, "MODE", " or ".join(REFERENCE)),
    ("angles", _whole, "N", "angles, evenly around the circle"),
    ("frames", _whole, "N", "frames"),
    ("dt", _quantity(TIME), "TIME", "time between frames [s], or with unit: 1.3ms"),
    ("q", _quantity(WAVEVECTOR), "Q", "wavevector [1/Å], or with unit: 0.054nm^-1"),
    ("gap", _quantity(LENGTH), "LENGTH", "stator-rotor gap [Å], or with unit: 200um"),
    ("contrast", float, "X", "speckle contrast of every angle"),
    ("offset", float, "X", "baseline of every angle"),
    ("sigma", float, "X", "noise of single entries of a map"),
    ("seed", _whole, "N", "seed of the noise"),
)


def _add_simulation_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        required=True,
        help="file to write: .npz, or .hdf (APS-U layout)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    for name, reader, placeholder, summary in _SIMULATION_OPTIONS:
        default = getattr(Simulation, name)
        shown = f"{default:g}" if isinstance(default, float) else default
        parser.add_argument(
            f"--{name}", type=reader, metavar=placeholder, help=f"{summary} (default: {shown})"
        )
    speckle = parser.add_argument_group("first principles: speckle and photons instead of normal noise")
    speckle.add_argument("--speckle", action="store_true", help="simulate speckle fields and photon counts")
    speckle.add_argument(
        "--pixels", type=_whole, metavar="N", help=f"pixels per angle (default: {Speckle.pixels})"
    )
    speckle.add_argument(
        "--counts", type=float, metavar="X", help=f"photons per pixel and frame (default: {Speckle.counts:g})"
    )
    parameters = parser.add_argument_group(
        "physical parameters", "Å²/s, 1/s, degrees; the static mode has the first three"
    )
    for name, default in REFERENCE["laminar_flow"].items():
        static = REFERENCE["static_isotropic"].get(name)
        also = "" if static is None else f"; static: {static:g}"
        parameters.add_argument(f"--{name}", type=float, metavar="X", help=f"(default: {default:g}{also})")


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show where an error comes from"
    )
    parser = _Parser(
        prog="homodyne",
        description="Fit transport models to XPCS two-time correlation maps.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(debug=False)
    parser.add_argument("--version", action="version", version=f"homodyne {version('homodyne-cli')}")
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    fit = parser.add_argument_group("fit")
    fit.add_argument(
        "--config", type=Path, metavar="FILE", help="configuration (YAML) of the analysis to run"
    )
    fit.add_argument(
        "--method",
        type=_method,
        metavar="METHOD",
        help="how: nlsq, least squares (default, and the only one yet)",
    )
    fit.add_argument("--output", type=Path, metavar="DIR", dest="results", help="results folder")
    fit.add_argument(
        "--overwrite", action="store_true", dest="replace", help="replace results that are there"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    def add(name: str, summary: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=summary, description=summary, parents=[common], allow_abbrev=False
        )

    demo = add("demo", "simulate a sheared colloid, fit it, compare with the truth")
    demo.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder (default: homodyne-demo, or -2, -3 ... if it exists)",
    )
    demo.add_argument("--overwrite", action="store_true", help="replace an earlier demo in DIR")
    demo.add_argument(
        "--seed", type=_whole, default=Simulation.seed, help=f"of the noise (default: {Simulation.seed})"
    )

    inspect = add("inspect", "show which q, angles and frames a data file holds, and its noise")
    inspect.add_argument("file", type=Path, metavar="FILE")
    inspect.add_argument("--json", action="store_true", help="as JSON")

    config = add("config", "print a configuration with all keys and defaults, or check one")
    config.add_argument("--mode", metavar="MODE", help="analysis mode of the template")
    config.add_argument("--check", type=Path, metavar="FILE", help="check a configuration instead")

    _add_simulation_options(add("simulate", "write two-time maps of known parameters"))
    return parser
