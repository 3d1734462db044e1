"""Statements in the way of every job: compiled once, and on SQLite handed to the driver itself.

What SQLAlchemy does each time it runs a statement takes several times what SQLite takes to run it. It still makes the
text, and converts values by the types of columns. On a server the way there is longer than both.
"""

import functools
import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Delete, Dialect, Insert, Select, Update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from stepflow_python.store.urls import SQLITE

Statement = Select[Any] | Insert | Update | Delete
Converter = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement gave: its rows, with columns as attributes, and how many it changed."""

    rows: Sequence[Any]
    changed: int

    @property
    def row(self) -> Any:  # noqa: ANN401 - columns have types of their own
        """Its first row; none if there is none."""
        return self.rows[0] if self.rows else None

    @property
    def value(self) -> Any:  # noqa: ANN401 - same
        """The first column of its first row; none if there is none."""
        return self.rows[0][0] if self.rows else None


class Prepared:
    """One statement, or one for each database by what makes it from the database's name."""

    def __init__(self, statement: Statement | Callable[[str], Statement]) -> None:
        self._statement = statement
        self._lite: dict[tuple[str, ...], _Lite] = {}

    def __call__(self, connection: Connection, values: Mapping[str, object]) -> Answer:
        """Run it, on a connection that has begun its transaction.

        Raises:
            DBAPIError: as from SQLAlchemy.
        """
        if connection.dialect.name != SQLITE:
            result = connection.execute(self._of(connection.dialect.name), values)
            return Answer(result.all() if result.returns_rows else (), result.rowcount)
        names = tuple(values)
        lite = self._lite.get(names)
        if lite is None:
            lite = self._lite[names] = _compiled(self._of(SQLITE), connection.dialect, names)
        return lite.run(connection, values)

    def _of(self, dialect: str) -> Statement:
        return self._statement(dialect) if callable(self._statement) else self._statement


@dataclass(frozen=True, slots=True)
class _Lite:
    """The text; name, value where none is given, and converter of each parameter; what makes a row of a tuple."""

    text: str
    parameters: tuple[tuple[str, object, Converter], ...]
    row: Callable[[tuple[Any, ...]], Any]

    def run(self, connection: Connection, values: Mapping[str, object]) -> Answer:
        given = tuple(convert(values.get(name, default)) for name, default, convert in self.parameters)
        rows, changed = run_by_driver(connection, self.text, given)
        return Answer([self.row(row) for row in rows], changed)


def run_by_driver(
    connection: Connection, text: str, values: Sequence[Any] = ()
) -> tuple[Sequence[tuple[Any, ...]], int]:
    """Run a text by SQLite's driver itself; rows, and how many it changed.

    Raises:
        DBAPIError: as from SQLAlchemy.
    """
    driver: Any = connection.connection.dbapi_connection
    try:
        cursor = driver.execute(text, values)
        return cursor.fetchall(), cursor.rowcount
    except sqlite3.Error as error:
        raise DBAPIError.instance(
            text, None, error, sqlite3.Error, hide_parameters=True, dialect=connection.dialect
        ) from error


def _compiled(statement: Statement, dialect: Dialect, names: tuple[str, ...]) -> _Lite:
    compiled: Any = statement.compile(dialect=dialect, column_keys=list(names))
    binds = [compiled.binds[name] for name in compiled.positiontup]
    parameters = [(bind.key, bind.value, _bound(bind.type, dialect)) for bind in binds]
    columns = list(statement.exported_columns)
    return _Lite(compiled.string, tuple(parameters), _row_maker([(str(one.key), one.type) for one in columns], dialect))


def _bound(type_: TypeEngine[Any], dialect: Dialect) -> Converter:
    return type_.dialect_impl(dialect).bind_processor(dialect) or _same


def _row_maker(columns: Sequence[tuple[str, TypeEngine[Any]]], dialect: Dialect) -> Callable[[tuple[Any, ...]], Any]:
    kind: Any = namedtuple("Row", [name for name, _ in columns])  # type: ignore[misc]  # noqa: PYI024 - by its columns
    processors = [type_.dialect_impl(dialect).result_processor(dialect, None) for _, type_ in columns]
    converters = [(index, convert) for index, convert in enumerate(processors) if convert is not None]
    return functools.partial(_made, kind, converters)


def _made(kind: Any, converters: Sequence[tuple[int, Converter]], row: tuple[Any, ...]) -> Any:  # noqa: ANN401 - a row of its columns
    values = list(row)
    for index, convert in converters:
        values[index] = convert(values[index])
    return kind._make(values)


def _same(value: Any) -> Any:  # noqa: ANN401 - a value that needs no conversion
    return value
