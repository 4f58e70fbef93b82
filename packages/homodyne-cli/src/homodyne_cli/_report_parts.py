"""What the sections of the summary are made of: headings, sentences, tables."""

from rich.table import Table
from rich.text import Text

from homodyne_cli._console import Terminal

SCALINGS = {
    "individual": "a contrast and an offset for every angle",
    "fourier": "contrast and offset as Fourier series in the angle",
    "constant": "one contrast and one offset for all angles",
}
"""How contrast and offset vary with the angle, in words."""


def heading(terminal: Terminal, words: str) -> None:
    """Begin a section."""
    terminal.out.print()
    terminal.out.print(words, style="bold")


def bullet(terminal: Terminal, sentence: str, *, warns: bool = False) -> None:
    """One sentence, its further lines set in; marked where it warns."""
    mark = Text("! ", "yellow") if warns else Text("- ", "dim")
    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_column()
    grid.add_row(mark, Text(sentence))
    terminal.out.print(grid)


def table_of(*columns: tuple[str, str]) -> Table:
    """A table whose columns (header, justification) do not wrap."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header, justify in columns:
        table.add_column(Text(header), justify=justify, no_wrap=True)
    return table


def count(n: int, noun: str) -> str:
    """Number and noun, in the plural where it has to be."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{n} {noun if n == 1 else plural}"
