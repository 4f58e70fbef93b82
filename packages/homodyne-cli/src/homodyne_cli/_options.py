"""The options of the command line.

Nothing here imports what takes long, so that ``--help`` answers at once.
"""

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from homodyne_cli import _values as v
from homodyne_cli._simulation import REFERENCE, Simulation, Speckle
from homodyne_cli._units import LENGTH, TIME, WAVEVECTOR, Quantity

_EPILOG = """\
exit codes: 0 converged (a posterior: certified), 3 ran but not so far, 1 error

  homodyne config > analysis.yaml          a configuration with all keys and defaults
  homodyne inspect results.hdf             which q, angles and frames a file holds
  homodyne --config analysis.yaml          fit, and write results and plots
  homodyne --method both --config FILE     fit, sample the posterior, and write both
  homodyne COMMAND --help                  options of a command
"""


_COMMANDS = ("demo", "inspect", "config", "simulate")


def _method(text: str) -> str:
    """Reader of the method of a run."""
    try:
        return v.method(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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


def with_negative_numbers(argv: Sequence[str]) -> list[str]:
    """``--D_offset -1e3`` as ``--D_offset=-1e3``: argparse takes -1e3 for an option, though not -1000."""
    joined: list[str] = []
    for argument in argv:
        before = joined[-1] if joined else ""
        if before.startswith("--") and "=" not in before and re.match(r"-\.?\d", argument):
            joined[-1] = f"{before}={argument}"
        else:
            joined.append(argument)
    return joined


def refuse_unknown(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
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


# Option, reader, placeholder, help. Names are those of `Simulation`, which has the defaults.
SIMULATION_OPTIONS = (
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
    for name, reader, placeholder, summary in SIMULATION_OPTIONS:
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


def command_parser() -> argparse.ArgumentParser:
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
        help="nlsq: least squares (default); cmc: the posterior by Monte Carlo, which starts from a fit; both: the two, as "
        "results. Instead of optimization.method",
    )
    fit.add_argument(
        "--no-nlsq-warmstart",
        action="store_true",
        dest="cold",
        help="with cmc: sample without a fit. The mode is looked for in the data, which costs some hundred evaluations, and "
        "there are no robust errors to compare with",
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
    demo.add_argument(
        "--method",
        type=_method,
        dest="demo_method",
        metavar="METHOD",
        help="nlsq (default), cmc or both; a posterior takes a minute or more",
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
