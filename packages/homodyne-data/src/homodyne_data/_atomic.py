"""Write a file so that a reader sees the old one or the new one, never a part."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary path in the same directory that becomes `path` when the block succeeds.

    Parameters
    ----------
    path : path-like
        Final place. A symbolic link is followed, so the link survives.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    FileExistsError
        If `path` exists and `overwrite` is false, checked before and after the work.
    FileNotFoundError
        If the directory does not exist.
    """
    final = Path(os.path.realpath(path))
    if not final.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the directory {final.parent} does not exist")
    _refuse_existing(final, path, overwrite)
    # A plain name instead of tempfile.mkstemp: the file then gets the user's umask, not 0600,
    # and stays readable for the group that shares the experiment.
    temporary = final.with_name(f".{final.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        _refuse_existing(final, path, overwrite)
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def _refuse_existing(final: Path, path: str | os.PathLike, overwrite: bool) -> None:
    if final.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a directory")
    if final.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite=True to replace it")
