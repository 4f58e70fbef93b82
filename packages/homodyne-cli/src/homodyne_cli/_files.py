"""Writing text files so that a reader finds the old one or the new one, never a part."""

from pathlib import Path

from homodyne_data import atomic_path


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text, atomically; an existing file is replaced."""
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text(content, encoding="utf-8", newline="")
