"""What the command writes to the terminal: results to stdout; progress, warnings and errors to stderr."""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

_QUIET_SECONDS = 15.0
_NARROWEST_NOTE = 12


class Terminal:
    """The two consoles of a command.

    Attributes
    ----------
    out : rich.console.Console
        Results.
    err : rich.console.Console
        Progress, warnings, errors.
    """

    def __init__(self) -> None:
        self.out = Console(highlight=False, emoji=False)
        self.err = Console(highlight=False, emoji=False, stderr=True)
        self._said: set[str] = set()

    def say(self, sentence: str, style: str = "") -> None:
        """One line of the result, not broken at the width of the terminal."""
        self.out.print(Text(sentence, style=style), soft_wrap=True)

    def table(self, table: Table) -> None:
        """A table. Numbers stay whole on a narrow terminal: columns that may wrap give way, then lines grow."""
        for column in table.columns:
            lines = (line for cell in (column.header, *column.cells) for line in str(cell).split("\n"))
            widest = max(cell_len(line) for line in lines)
            column.min_width = widest if column.no_wrap else min(widest, _NARROWEST_NOTE)
        needed = sum(column.min_width + 2 for column in table.columns)
        width = self.out.width
        self.out.width = max(width, needed)
        self.out.print(table)
        self.out.width = width

    def warn(self, sentence: str) -> None:
        """One warning; the same is not said twice."""
        self._once(Text.assemble(("warning: ", "yellow"), sentence))

    def note(self, sentence: str) -> None:
        """One thing that was done to the data, for those who want to know; not what was a warning already."""
        self._once(Text.assemble(("note: ", "dim"), (sentence, "dim")))

    def _once(self, line: Text) -> None:
        sentence = line.plain.partition(": ")[2]
        if sentence not in self._said:
            self._said.add(sentence)
            self.err.print(line, soft_wrap=True)

    def error(self, sentence: str) -> None:
        """One error."""
        self.err.print(Text.assemble(("error: ", "bold red"), sentence), soft_wrap=True)

    def progress(self) -> "ProgressLine":
        """A line that tells what is going on, for use in a ``with`` statement."""
        return ProgressLine(self.err)


class ProgressLine:
    """One line on stderr: what is done now, and for how long.

    On a terminal the line is redrawn in place. Elsewhere (a log file, a batch job) every new step is one
    plain line, and the details of a step at most one line in 15 s.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = None
        if console.is_terminal:
            self._live = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                TimeElapsedColumn(),
                console=console,
                transient=True,
            )
            self._task = self._live.add_task("starting", total=None)
        self._step = ""
        self._last_line = time.monotonic()

    def __enter__(self) -> "ProgressLine":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def step(self, step: str) -> None:
        """Begin a step."""
        self._step = step
        self._show(step, now=True)

    def detail(self, detail: str) -> None:
        """How far the step is."""
        self._show(f"{self._step}: {detail}", now=False)

    def fit(self, stage: str, iteration: int, chi_squared: float, message: str) -> None:
        """Progress of a fit, with the signature that `homodyne_nlsq.fit_nlsq_jax` calls."""
        if stage == "global search":
            # The message counts; without one, what was found is compared on all the data.
            what, more = message or "what the search found, on all data", ""
        else:
            # Only the fit itself goes through all the data again and again.
            known = {"fit": f"pass {iteration}", "error bars": "error bars"}
            what = known.get(stage, f"{stage}, iteration {iteration}")
            more = f", {message}" if message else ""
        found = f", χ² {chi_squared:.6g}" if math.isfinite(chi_squared) else ""
        self.detail(f"{what}{found}{more}")

    def posterior(self, stage: str, done: int, total: int, seconds_left: float | None) -> None:
        """Progress of a posterior, with the signature that `homodyne_cmc.fit_mcmc_jax` calls."""
        if stage == "start":
            self.detail("looking for where to begin")
            return
        # The rounds of the certificate count themselves, and say how they went.
        known = {
            "sampling": f"{done} of {total} chains",
            "certificate": f"certificate, {done} of {total} shards",
        }
        left = f", about {how_long(seconds_left)} left" if seconds_left else ""
        self.detail(f"{known.get(stage, stage)}{left}")

    def _show(self, sentence: str, *, now: bool) -> None:
        if self._live is not None:
            self._live.update(self._task, description=sentence)
        elif now or time.monotonic() - self._last_line > _QUIET_SECONDS:
            self._last_line = time.monotonic()
            self._console.print(Text(sentence), soft_wrap=True)


def how_long(seconds: float) -> str:
    """A time as one would say it.

    Examples
    --------
    >>> how_long(3.2), how_long(95), how_long(4000)
    ('3 s', '2 min', '1 h 7 min')
    """
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def warnings_to(say: Callable[[str], None]) -> Iterator[None]:
    """Hand what libraries tell the user through `warnings.warn` to `say`, at the end of the block."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        finally:
            for item in caught:
                say(str(item.message))
