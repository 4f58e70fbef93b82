"""The folder of results: refused when it holds some, and a list of what a run wrote."""

import json
import os
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

from homodyne_cli._files import write_text

MANIFEST = "run.json"
"""Name of the file that lists a run's files."""

_OURS = (MANIFEST, "configuration.yaml", "summary.csv", "*_vs_q.*", "result.json", "*/result.json", "q_*/*")
"""What a run writes, and would replace where it is there."""

_SCHEMA = {"name": "homodyne-run", "version": 1}


class ResultsFolder:
    """A folder that takes the results of one run.

    Parameters
    ----------
    path : Path
        The folder; made when the first file is written.
    overwrite : bool
        Whether files that the run would replace may be there, results of an earlier run or others. Of those,
        only files that the earlier list names and that this run does not write anew are removed, at the end.
    unfinished : Mapping, optional
        What an interrupted run of the same kind notes as ``unfinished`` in its list: where it stands there, this run goes on with
        it and may replace its files.

    Attributes
    ----------
    goes_on : bool
        Whether it does.

    Raises
    ------
    FileExistsError
        If the folder holds files that the run would replace and `overwrite` is false.
    NotADirectoryError
        If `path` or a folder above it is a file.
    PermissionError
        If nothing may be written there.
    """

    def __init__(
        self, path: Path, *, overwrite: bool, unfinished: Mapping[str, object] | None = None
    ) -> None:
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(f"the results folder {path} is a file")
        there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
        if not there.is_dir():
            raise NotADirectoryError(f"the results folder {path} cannot be made: {there} is a file")
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(f"the results folder {path} cannot be written: no permission for {there}")
        begun = _manifest(path).get("unfinished")
        self.goes_on = begun is not None and begun == unfinished
        if not (overwrite or self.goes_on) and holds_results(path):
            again = (
                ""
                if begun is None
                else (
                    "; the run there was interrupted, and goes on where method and configuration are the same"
                )
            )
            raise FileExistsError(
                f"{path} already holds results, or files of their names; name another folder with --output, "
                f"or replace them with --overwrite{again}"
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
    """Whether a folder holds results of a run, or files that a run would replace."""
    return any(file for pattern in _OURS for file in path.glob(pattern))


def _listed(path: Path) -> tuple[str, ...]:
    """Files below the folder that an earlier run's list names."""
    root = path.resolve()
    names = _manifest(path).get("files", ())
    try:
        return tuple(name for name in names if (root / name).resolve().is_relative_to(root))
    except (OSError, TypeError):
        return ()


def _manifest(path: Path) -> Mapping[str, object]:
    """The list of an earlier run; empty where there is none that can be read."""
    try:
        content = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
