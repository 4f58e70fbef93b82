"""From a YAML file to a `Configuration`: every key checked, every error with its line."""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from homodyne_cli._cmc_settings import cmc_config
from homodyne_cli._config import Configuration
from homodyne_cli._config_history import FORMER_KEYS, FORMER_VALUES
from homodyne_cli._config_keys import ConfigurationError, key_name
from homodyne_cli._fit_settings import nlsq_config
from homodyne_cmc import CMCConfig
from homodyne_model import AnalysisMode
from homodyne_nlsq import NLSQConfig

_TYPO = 0.9
"""Likeness from which an unknown key is a misspelt one of its section, even where another section has it."""


@dataclass(frozen=True)
class LoadedConfiguration:
    """A configuration and where it came from.

    Attributes
    ----------
    configuration : Configuration
        The checked values.
    method : {"nlsq", "cmc", "both"}
        What is run.
    settings : NLSQConfig
        What the values mean for the fit.
    sampling : CMCConfig or None
        What they mean for the posterior, where there is one.
    path : Path
        The file.
    text : str
        Its content, kept with the results.
    warnings : tuple of str
        Sentences: keys without effect, unusual magnitudes.
    """

    configuration: Configuration
    method: str
    settings: NLSQConfig
    sampling: CMCConfig | None
    path: Path
    text: str
    warnings: tuple[str, ...]


def load_configuration(path: str | Path, *, method: str | None = None) -> LoadedConfiguration:
    """Read a configuration file.

    Parameters
    ----------
    path : str or Path
        YAML file.
    method : {"nlsq", "cmc", "both"}, optional
        Instead of the file's.

    Raises
    ------
    ConfigurationError
        If the file is not YAML, has an unknown or repeated key, or a value that cannot be used. The message
        names the file, the line and the key.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"the configuration {path} {what}")
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not a text file; expected a configuration in YAML") from None
    return parse_configuration(content, path=path, method=method)


def parse_configuration(
    content: str, *, path: Path = Path("configuration"), method: str | None = None
) -> LoadedConfiguration:
    """Read YAML text; `path` is where it came from, its name stands in messages. Errors as above."""
    name = path.name
    try:
        loader = yaml.SafeLoader(content)
    except yaml.YAMLError as error:  # a character that no YAML file may hold
        raise ConfigurationError(_yaml_message(name, error)) from None
    try:
        root = loader.get_single_node()
        reader = _Reader(name, loader)
        if root is None or reader.is_null(root):
            raise ConfigurationError(f"{name} is empty; `homodyne config` prints a template")
        configuration = reader.section(Configuration, root, "")
        method = method or configuration.optimization.method
        try:
            settings, left_out = nlsq_config(configuration)
            sampling, about_posterior = cmc_config(configuration, settings, method)
        except ConfigurationError as error:
            raise ConfigurationError(f"{reader.place(str(error))}: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(_yaml_message(name, error)) from None
    finally:
        loader.dispose()
    warnings = (*reader.warnings(settings), *left_out, *about_posterior)
    return LoadedConfiguration(configuration, method, settings, sampling, path, content, warnings)


def _yaml_message(name: str, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"{name}, line {mark.line + 1}, column {mark.column + 1}" if mark else name
    if isinstance(error, yaml.reader.ReaderError):
        return f"{where}: not valid YAML: it holds the control character #x{error.character:02x}"
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    return f"{where}: not valid YAML: {problem}"


class _Reader:
    """Walks YAML nodes along the dataclasses. Holds the warnings met on the way."""

    def __init__(self, name: str, loader: yaml.SafeLoader) -> None:
        self.name = name
        self.loader = loader
        self.former: dict[str, str] = {}
        self.doubts: list[str] = []
        self.lines: dict[str, int] = {}

    def warnings(self, settings: NLSQConfig) -> tuple[str, ...]:
        """The doubts one by one; one warning about what a file of homodyne 2.x means here."""
        if not self.former:
            return tuple(self.doubts)
        warning = f"{self.name}: keys of homodyne 2.x files that have no effect here: {_listed(self.former)}"
        if settings.analysis_mode == AnalysisMode.LAMINAR_FLOW and "shear_kernel" not in self.lines:
            warning += (
                f". Shear rates are those of shear_kernel {settings.shear_kernel}; homodyne2 reproduces "
                "those of homodyne 2.x, which are 2.2 to 3.1 times larger"
            )
        return (*self.doubts, warning)

    def error(self, node: yaml.Node, path: str, message: str) -> ConfigurationError:
        where = f"{self.name}, line {node.start_mark.line + 1}"
        return ConfigurationError(f"{where}: {path}: {message}" if path else f"{where}: {message}")

    def place(self, message: str) -> str:
        """File, and line where `message` begins with a key that stands in it."""
        key = message.partition(" ")[0].partition("[")[0].rstrip(":")
        lines = [line for path, line in self.lines.items() if path == key or path.endswith(f".{key}")]
        return f"{self.name}, line {lines[0]}" if lines else self.name

    def section(self, cls: type, node: yaml.Node, path: str):
        """Instance of the dataclass `cls` from a mapping node; a null node gives the defaults."""
        if self.is_null(node):
            return self.build(cls, {}, node, path)
        if not isinstance(node, yaml.MappingNode):
            raise self.error(node, path, f"expected keys and values, got {self.plain(node)!r}")
        self.refuse_repeated(node, path)
        # Resolves YAML merge keys: merged entries come first, later ones win.
        self.loader.flatten_mapping(node)
        fields = {key_name(f): f for f in dataclasses.fields(cls)}
        also = {other: f for f in fields.values() for other in f.metadata.get("also", ())}
        values: dict[str, object] = {}
        for key, (key_node, value_node) in {str(self.plain(k)): (k, v) for k, v in node.value}.items():
            below = f"{path}.{key}" if path else key
            self.lines[below] = key_node.start_mark.line + 1
            if self.without_effect(key_node, value_node, below):
                continue
            spec = fields.get(key) or also.get(key)
            if spec is None:
                raise self.error(key_node, path, _unknown(key, fields))
            if self.is_null(value_node) and "section" not in spec.metadata:
                continue
            if spec.name in values:
                one, other = key_name(spec), spec.metadata["also"][0]
                raise self.error(key_node, path, f"{one} and {other} are one key; expected one of them")
            values[spec.name] = self.value(spec, value_node, below)
        return self.build(cls, values, node, path)

    def refuse_repeated(self, node: yaml.MappingNode, path: str) -> None:
        """YAML takes the last of two equal keys without a word."""
        seen: set[object] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue
            key = key_node.value
            if key in seen and key_node.tag != "tag:yaml.org,2002:merge":
                raise self.error(key_node, f"{path}.{key}" if path else str(key), "the key stands here twice")
            seen.add(key)

    def value(self, spec: dataclasses.Field, node: yaml.Node, path: str):
        """Value of one key."""
        meta = spec.metadata
        if "section" in meta:
            return self.section(spec.default_factory, node, path)
        if "items" in meta:
            if not isinstance(node, yaml.SequenceNode):
                raise self.error(node, path, f"expected a list of entries, got {self.plain(node)!r}")
            return tuple(self.section(meta["items"], item, f"{path}[]") for item in node.value)
        if isinstance(node, yaml.MappingNode):
            self.refuse_repeated(node, path)
        plain = self.plain(node)
        try:
            value = meta["read"](plain)
        except ValueError as error:
            raise self.error(node, path, str(error)) from None
        doubt = meta["doubt"](plain) if meta["doubt"] else None
        if doubt:
            self.doubts.append(f"{self.name}, line {node.start_mark.line + 1}: {path}: {doubt}")
        return value

    def build(self, cls: type, values: dict[str, object], node: yaml.Node, path: str):
        try:
            return cls(**values)
        except ConfigurationError as error:
            raise self.error(node, path, str(error)) from None

    def without_effect(self, key_node: yaml.Node, value_node: yaml.Node, path: str) -> bool:
        """Whether the key belongs to a former program; notes it for the warning."""
        if path in FORMER_KEYS:
            self.former[path] = FORMER_KEYS[path]
            return True
        if path in FORMER_VALUES:
            value = self.plain(value_node)
            try:
                note = FORMER_VALUES[path](value)
            except ValueError as error:
                raise self.error(key_node, path, str(error)) from None
            if note:
                self.former[path] = note
            return note is not None
        return False

    def plain(self, node: yaml.Node) -> object:
        try:
            return self.loader.construct_object(node, deep=True)
        except ValueError as error:  # 2024-99-99, or !!int "abc"
            raise self.error(node, "", f"not valid YAML: {error}") from None

    @staticmethod
    def is_null(node: yaml.Node) -> bool:
        return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _listed(former: Mapping[str, str]) -> str:
    """Dotted keys with what to know about them; several of one section in braces behind its name."""
    sections: dict[str, list[str]] = {}
    for path, note in former.items():
        section, _, key = path.rpartition(".")
        sections.setdefault(section, []).append(key + (f" ({note})" if note else ""))
    parts = []
    for section, keys in sections.items():
        joined = ", ".join(keys)
        if section and len(keys) > 1:
            joined = f"{{{joined}}}"
        parts.append(f"{section}.{joined}" if section else joined)
    return ", ".join(parts)


def _unknown(key: str, fields: Mapping[str, dataclasses.Field]) -> str:
    """Sentence about an unknown key, with the nearest key here or the place where it does exist."""
    message = f"unknown key {key!r}"
    elsewhere = [p for p in _all_paths(Configuration) if p.rpartition(".")[2] == key]
    near = difflib.get_close_matches(key, fields, n=1)
    if elsewhere and not difflib.get_close_matches(key, fields, cutoff=_TYPO):
        return f"{message}; the key of that name is {' or '.join(elsewhere)}"
    if near:
        return f"{message}; did you mean {near[0]!r}?"
    return f"{message}; expected one of {', '.join(fields)}"


def _all_paths(cls: type, path: str = "") -> list[str]:
    """Dotted paths of all keys below a dataclass."""
    paths = []
    for spec in dataclasses.fields(cls):
        below = f"{path}.{key_name(spec)}" if path else key_name(spec)
        paths.append(below)
        if "section" in spec.metadata:
            paths += _all_paths(spec.default_factory, below)
        if "items" in spec.metadata:
            paths += _all_paths(spec.metadata["items"], f"{below}[]")
    return paths
