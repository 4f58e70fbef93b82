"""`homodyne inspect`: what a data file holds."""

import json
from pathlib import Path

from homodyne_cli._console import Terminal, warnings_to
from homodyne_data import inspect_file


def inspect(path: Path, terminal: Terminal, *, as_json: bool = False) -> None:
    """Print the summary of a file, as text or as JSON. Errors of `homodyne_data.inspect_file`."""
    with warnings_to(terminal.warn):
        summary = inspect_file(path)
    if as_json:
        content = json.dumps(summary.to_dict(), indent=2, allow_nan=False)
        terminal.out.print(content, markup=False, soft_wrap=True)
    else:
        terminal.out.print(str(summary), markup=False, soft_wrap=True)
