"""The examples of the README files and of docs/ run as they are printed.

Fences marked ``python`` and ``console`` are run; what a reader alone can run (an installation, a fit of their
own file) is marked ``sh`` or ``text``. The examples of one file follow each other in one process, in an empty
folder, without this test suite's settings: as a reader would run them.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("packages/*/README.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

RUN_PYTHON = """
import doctest, json, sys
names = {"__name__": "__main__"}
for where, line, code in json.load(sys.stdin):
    if ">>>" not in code:
        exec(compile("\\n" * line + code, where, "exec"), names)
        continue
    test = doctest.DocTestParser().get_doctest(code, names, where, where, line)
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(
        test, out=sys.stderr.write, clear_globs=False
    )
    names.update(test.globs)
    if result.failed:
        sys.exit(1)
"""


def examples(page: Path, language: str) -> list[tuple[str, int, str]]:
    """File, number of lines above it, and text of every fence of one language."""
    text = page.read_text(encoding="utf-8")
    return [
        (str(page.relative_to(ROOT)), text.count("\n", 0, match.start(2)), match[2])
        for match in FENCE.finditer(text)
        if match[1] == language
    ]


def run(command: list[str], folder: Path, stdin: str | None = None) -> None:
    """Run a command as a reader's shell would, in an empty folder, and show what it said if it fails."""
    # The folder of the interpreter comes first, so that `homodyne` is the one of this environment.
    env = os.environ | {"PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]}
    done = subprocess.run(command, input=stdin, cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.fail(
            f"{shlex.join(command[:2])} ... ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        )


def pages_with(language: str) -> list:
    """Pages that have an example in a language, named by their path."""
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES if examples(page, language)]


@pytest.mark.parametrize("page", pages_with("python"))
def test_python_examples(page, tmp_path):
    run([sys.executable, "-c", RUN_PYTHON], tmp_path, stdin=json.dumps(examples(page, "python")))


@pytest.mark.parametrize("page", pages_with("console"))
def test_console_examples(page, tmp_path):
    for where, line, text in examples(page, "console"):
        # A prompt starts a command, a backslash continues it; other lines are what it prints.
        commands = re.findall(r"^\$ (.*(?:(?<=\\)\n.*)*)", text, re.MULTILINE)
        assert commands, f"the console example at {where}:{line} has no line that starts with '$ '"
        for command in commands:
            run(["bash", "-c", command], tmp_path)
