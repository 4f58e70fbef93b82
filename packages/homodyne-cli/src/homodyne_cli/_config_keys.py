"""What the sections of a configuration are made of: keys with a default, a reader and an explanation."""

from collections.abc import Callable
from dataclasses import Field, field
from pathlib import Path
from types import MappingProxyType

from homodyne_cli import _values as v
from homodyne_model.errors import HomodyneError


class ConfigurationError(HomodyneError, ValueError):
    """A configuration cannot be used; the message says where it is wrong and what was expected."""


def key(
    default: object,
    read: v.Reader,
    explanation: str,
    *,
    example: str | None = None,
    doubt: Callable[[object], str | None] | None = None,
    also: tuple[str, ...] = (),
):
    """Field for a key: its default, its reader, one sentence for the template.

    `example` is what the template shows instead of the default; `doubt` returns a sentence for an unusual
    value; `also` are other names of the key that are understood.
    """
    return field(
        default=default,
        metadata={
            "read": read,
            "explanation": explanation,
            "example": example,
            "doubt": doubt,
            "also": also,
        },
    )


def key_name(spec: Field) -> str:
    """The key that a field stands for: a word of the language, such as ``lambda``, has an underscore behind it."""
    return spec.name.rstrip("_")


def named_path(named: str | None, folder: Path, where: str) -> Path | None:
    """Path that the key `where` names, None where it names none; relative ones start at `folder`.

    Raises
    ------
    ConfigurationError
        If a variable in the name is not set.
    """
    try:
        return None if named is None else v.expand(named, folder)
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}") from None


SECTION = MappingProxyType({"section": True})
"""Metadata of a field that is a nested section; its default factory is the section's class."""


def items(cls: type, explanation: str):
    """Field for a list whose entries are sections."""
    return field(default=(), metadata={"items": cls, "explanation": explanation})
