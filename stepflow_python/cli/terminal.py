"""What is drawn on a terminal only: tables, and what takes time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stepflow_python.cli.columns import Column
from stepflow_python.ports import Progress

if TYPE_CHECKING:
    from rich.status import Status

SHORTEST = 8
"""Characters that stay of a cell that is cut."""


GAP = 2
"""Columns of the terminal between two of the table."""


def draw(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Draw a table as wide as the terminal."""
    console = Console()
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column, width in zip(columns, widths(columns, rows, room=console.width), strict=True):
        overflow: Literal["fold", "ellipsis"] = "fold" if column.wraps else "ellipsis"
        drawn.add_column(
            column.title, justify=column.justify, no_wrap=not column.wraps, overflow=overflow, max_width=width
        )
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    console.print(drawn)


def widths(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, room: int) -> list[int]:
    """How wide each column may be: flexible ones give way from the left, down to the shortest, and no other does."""
    found = [max(cell_len(cell) for cell in cells) for cells in zip([c.title for c in columns], *rows, strict=True)]
    excess = sum(found) + GAP * (len(columns) - 1) + 2 - room
    for index, column in enumerate(columns):
        if column.flexible and excess > 0:
            given = min(excess, max(found[index] - SHORTEST, 0))
            found[index] -= given
            excess -= given
    return found


@contextmanager
def spinner() -> Iterator[Progress]:
    """Show what takes time on stderr, from the first word of it on; nothing stays of it."""
    console = Console(stderr=True)
    shown: list[Status] = []

    def tell(message: str) -> None:
        if shown:
            shown[0].update(Text(message))
            return
        shown.append(console.status(Text(message)))
        shown[0].start()

    try:
        yield tell
    finally:
        for status in shown:
            status.stop()
