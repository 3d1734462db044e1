"""Embedded brokers for tests: connections, and a look into the file as another program would take it."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kombu import Connection

from stepflow_python.messaging.transport import CLASS_PATH, broker_url


def connection(path: Path) -> Connection:
    """A connection of kombu to the broker in a file."""
    return Connection(broker_url(path), transport=CLASS_PATH)


def rows(path: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Run a statement on the file from outside, and commit it."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        return database.execute(sql, values).fetchall()


@contextlib.contextmanager
def channel(path: Path) -> Iterator[Any]:
    """An open channel."""
    with connection(path) as opened, opened.channel() as made:
        yield made
