"""The folder of results: refused when it holds some, and a list of what a run wrote."""

import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

from homodyne_cli._files import write_text

MANIFEST = "run.json"
"""Name of the file that lists a run's files."""

_SCHEMA = {"name": "homodyne-run", "version": 1}


class ResultsFolder:
    """A folder that takes the results of one run.

    Parameters
    ----------
    path : Path
        The folder; made when the first file is written.
    overwrite : bool
        Whether results of an earlier run may be replaced. Of those, only files that its list names and that
        this run does not write anew are removed, at the end.

    Raises
    ------
    FileExistsError
        If the folder holds results and `overwrite` is false.
    NotADirectoryError
        If `path` is a file.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(f"the results folder {path} is a file")
        if not overwrite and holds_results(path):
            raise FileExistsError(
                f"{path} already holds results; name another folder with --output, or replace them with "
                "--overwrite"
            )
        self.path = path
        self._earlier = _listed(path)
        self._written: list[Path] = []

    @property
    def written(self) -> tuple[Path, ...]:
        """Files of this run, in the order written."""
        return tuple(self._written)

    def add(self, files: Iterable[Path], about: Mapping[str, object]) -> None:
        """Note files that were written, and rewrite the list so that it survives an interruption.

        Parameters
        ----------
        files : iterable of Path
            In this folder.
        about : Mapping
            What else the list says: plain values for JSON.
        """
        self._written.extend(files)
        names = [file.relative_to(self.path).as_posix() for file in self._written]
        stale = [name for name in self._earlier if name not in names]
        content = {
            "schema": _SCHEMA,
            "homodyne_cli": version("homodyne-cli"),
            **about,
            "files": names + stale,
        }
        write_text(
            self.path / MANIFEST, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        )

    def finish(self, about: Mapping[str, object]) -> None:
        """Remove what is left of the earlier run, and write the final list."""
        names = {file.relative_to(self.path).as_posix() for file in self._written}
        for name in self._earlier:
            file = self.path / name
            if name not in names:
                file.unlink(missing_ok=True)
                if file.parent != self.path and file.parent.is_dir() and not any(file.parent.iterdir()):
                    file.parent.rmdir()
        self._earlier = ()
        self.add((), about)


def holds_results(path: Path) -> bool:
    """Whether a folder holds results of a run."""
    return (path / MANIFEST).exists() or any(path.glob("*/result.json")) or (path / "result.json").exists()


def _listed(path: Path) -> tuple[str, ...]:
    """Files below the folder that an earlier run's list names."""
    try:
        names = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["files"]
        root = path.resolve()
        return tuple(name for name in names if (root / name).resolve().is_relative_to(root))
    except (OSError, ValueError, KeyError, TypeError):
        return ()
