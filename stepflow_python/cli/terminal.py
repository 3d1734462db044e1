"""What is drawn on a terminal only: tables, and what takes time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stepflow_python.cli.render import Column
from stepflow_python.ports import Progress

if TYPE_CHECKING:
    from rich.status import Status

SHORTEST = 8
"""Characters that stay of a cell that is cut."""


def draw(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Draw a table as wide as the terminal."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        drawn.add_column(
            column.title,
            justify=column.justify,
            no_wrap=not column.wraps,
            overflow="fold" if column.wraps else "ellipsis",
            min_width=SHORTEST if column.flexible else None,
        )
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)


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
