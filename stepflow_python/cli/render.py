"""What is written, and where: values to stdout, words about them to stderr.

On a terminal tables are drawn and JSON is indented; in a pipe it is plain text without colours or control characters.
"""

import json
import sys
from collections.abc import Mapping, Sequence

import click
from pydantic import BaseModel, JsonValue

from stepflow_python.cli.columns import Column
from stepflow_python.model.result import ErrorInfo

PROGRAM = "stepflow"
GAP = "  "


def write(text: str, *, err: bool = False) -> None:
    """Write text as it is, in UTF-8 whatever the locale; what UTF-8 cannot hold is escaped."""
    click.echo(text.encode("utf-8", "backslashreplace"), nl=False, err=err)


def line(text: str = "") -> None:
    """One line of our own on stdout, in one line's width of characters that a terminal does not obey."""
    write(plain(text) + "\n")


def note(text: str) -> None:
    """One line about what happens, on stderr."""
    write(f"{PROGRAM}: {single_line(text)}\n", err=True)


def complain(error: ErrorInfo, *, place: str = "") -> None:
    """One line on stderr that says what is wrong."""
    where = f"{place}: " if place else ""
    note(f"error: {where}{worded(error)}")


def worded(error: ErrorInfo) -> str:
    """An error's message, with the line in the tool unless it says so itself."""
    missing = error.line is not None and f"line {error.line}" not in error.message
    return f"{error.message} (line {error.line})" if missing else error.message


def emit_json(value: JsonValue) -> None:
    """Exactly one JSON value on stdout: indented on a terminal, else on one line."""
    indent = 2 if sys.stdout.isatty() else None
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate: JSON can only hold it escaped
        text = json.dumps(value, indent=indent)
    write(text + "\n")


def as_json(value: BaseModel) -> dict[str, JsonValue]:
    """A value as a JSON object."""
    dumped: dict[str, JsonValue] = value.model_dump(mode="json")
    return dumped


def plain(text: str) -> str:
    """Text without characters that a terminal obeys: a stranger's words may be in it."""
    return "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text)


def single_line(text: str) -> str:
    """Text of several lines in one."""
    return plain(" ".join(text.split()))


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout."""
    cells = [[single_line(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from stepflow_python.cli.terminal import draw  # noqa: PLC0415 - rich is slow to import, a pipe never needs it

        draw(columns, cells)
    else:
        write(plain_table(columns, cells))


def plain_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """A table as aligned text, one line a row, its titles in capitals first."""
    lines = [[column.title.upper() for column in columns], *rows]
    widths = [max(len(row[index]) for row in lines) for index in range(len(columns))]
    return "".join(_aligned(columns, widths, row) + "\n" for row in lines)


def _aligned(columns: Sequence[Column], widths: Sequence[int], row: Sequence[str]) -> str:
    padded = [
        cell.rjust(width) if column.justify == "right" else cell.ljust(width)
        for column, width, cell in zip(columns, widths, row, strict=True)
    ]
    return GAP.join(padded).rstrip()


def milliseconds(value: float | None) -> str:
    """A time in ms for people; empty where it is not known."""
    return "" if value is None else f"{value:,.1f}"


def times(values_ms: Mapping[str, float]) -> str:
    """The times of some steps, in ms, for people."""
    return ", ".join(f"{step} {milliseconds(took)} ms" for step, took in values_ms.items())


def mebibytes(value_kb: int | None) -> str:
    """Memory in MiB for people; empty where it is not known."""
    return "" if value_kb is None else f"{value_kb / 1024:,.1f} MiB"
