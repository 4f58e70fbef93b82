"""The commented configuration file that `homodyne config` prints, made from the dataclasses."""

import dataclasses
import textwrap

from homodyne_cli._config import Configuration
from homodyne_cli._config_keys import key_name
from homodyne_model import PARAMETERS, AnalysisMode

_WIDTH = 100

_HEADER = """\
Configuration of a homodyne analysis: homodyne --config THIS_FILE
Every key may be left out: the values below are the defaults. null means automatic.
A number in another unit than the one in brackets carries it, e.g. 200 um, 0.054 nm^-1, 1.3 ms.
"""


def template(analysis_mode: str | None = None) -> str:
    """YAML text with every key, its default and its explanation.

    Parameters
    ----------
    analysis_mode : str or None
        Mode written into the file, and whose parameters the comments list; None for the default.

    Raises
    ------
    homodyne_model.ModelError
        If there is no such mode.
    """
    mode = AnalysisMode.parse(analysis_mode or Configuration().analysis_mode)
    lines = [f"# {line}" for line in _HEADER.splitlines()]
    for spec in dataclasses.fields(Configuration):
        lines.append("")
        lines += _key(spec, Configuration(analysis_mode=mode.value), 0, mode)
    return "\n".join(lines) + "\n"


def _key(spec: dataclasses.Field, owner: object, depth: int, mode: AnalysisMode) -> list[str]:
    """Lines of one key of `owner`, with everything beneath it."""
    indent = "  " * depth
    value = getattr(owner, spec.name)
    name = key_name(spec)
    if "section" in spec.metadata:
        explanation = spec.default_factory.__doc__
        lines = [*_comment(explanation, indent), f"{indent}{name}:"]
        for nested in dataclasses.fields(value):
            lines += _key(nested, value, depth + 1, mode)
        return lines
    lines = _comment(spec.metadata["explanation"], indent)
    if "items" in spec.metadata:
        return [*lines, f"{indent}{name}: []", *_examples(name, indent, mode)]
    return [*lines, f"{indent}{name}: {spec.metadata['example'] or _yaml(value)}"]


def _examples(name: str, indent: str, mode: AnalysisMode) -> list[str]:
    """Commented entries of a list: what one would write instead of ``[]``."""
    if name == "target_ranges":
        return [
            f"{indent}# - {{min_angle: -20.0, max_angle: 20.0}}",
            f"{indent}# - {{min_angle: 160.0, max_angle: -160.0}}",
        ]
    lines = [f"{indent}# The default bounds:"]
    for parameter in ("contrast", "offset", *mode.physical_names):
        entry = PARAMETERS[parameter]
        values = f"min: {_yaml(entry.lower)}, max: {_yaml(entry.upper)}"
        unit = f" [{entry.unit}]" if entry.unit else ""
        lines.append(f"{indent}# - {{name: {parameter}, {values}}}  # {entry.description}{unit}")
    return lines


def _comment(sentence: str, indent: str) -> list[str]:
    return textwrap.wrap(sentence, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _yaml(value: object) -> str:
    """Value as YAML that reads back as the same."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float() if value in (float("inf"), -float("inf")):
            return ".inf" if value > 0 else "-.inf"
        case float():
            # YAML 1.1 takes a number for text unless its mantissa has a point.
            mantissa, e, exponent = f"{value!r}".partition("e")
            return mantissa + ("" if "." in mantissa else ".0") + e + exponent
        case tuple() | list():
            return f"[{', '.join(_yaml(item) for item in value)}]"
        case dict():
            return "{" + ", ".join(f"{name}: {_yaml(item)}" for name, item in value.items()) + "}"
        case _:
            return str(value)
