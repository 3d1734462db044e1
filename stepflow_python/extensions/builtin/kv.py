"""`kv`: what a tool wants to know again in its next run.

Each tool has a store of its own, which all its runs share, with a bound: `max_bytes` in the worker's section `[kv]`.
"""

import contextlib
import hashlib
import itertools
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from stepflow_python.extensions.description import Module, UnusableExtensionError
from stepflow_python.extensions.lending import Lending

DEFAULT_BYTES: Final = 16 * 1024 * 1024
LEAST_BYTES: Final = 64 * 1024
PAGE_BYTES: Final = 4096
MAX_KEY: Final = 1024
WAIT_S: Final = 5.0
TABLE: Final = "CREATE TABLE IF NOT EXISTS pairs (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"


def module(lending: Lending) -> Module:
    """The store of the tool that runs."""
    bound = lending.config.get("max_bytes", DEFAULT_BYTES)
    if (
        isinstance(bound, bool)
        or not isinstance(bound, int)
        or bound < LEAST_BYTES
        or lending.config.keys() - {"max_bytes"}
    ):
        raise UnusableExtensionError(f"[kv] takes max_bytes, a number of at least {LEAST_BYTES}")
    # Named by a hash: a tool's id is a client's text, and no text leads out of the folder.
    name = hashlib.sha256(lending.tool.encode("utf-8", "surrogatepass")).hexdigest()
    store = Store(lending.folder / f"{name}.db", max_bytes=bound)
    functions: list[Callable[..., object]] = [store.get, store.set, store.delete, store.keys]
    return Module(functions=functions, constants={"MAX_BYTES": bound}, doc="A small store that outlives the run.")


class Store:
    """Keys and JSON values in a file; each call is a transaction."""

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes

    def get(self, key: str, default: JsonValue = None) -> JsonValue:
        """The value of a key, or `default`."""
        with self._open() as connection:
            row = connection.execute("SELECT value FROM pairs WHERE key = ?", (_usable(key),)).fetchone()
        value: JsonValue = default if row is None else json.loads(row[0])
        return value

    def set(self, key: str, value: JsonValue) -> None:
        """Keep a value under a key.

        Raises:
            OSError: the store is full.
        """
        with self._open() as connection:
            pair = (_usable(key), json.dumps(value))
            connection.execute(
                "INSERT INTO pairs VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", pair
            )

    def delete(self, key: str) -> bool:
        """Forget a key; whether it was there."""
        with self._open() as connection:
            return connection.execute("DELETE FROM pairs WHERE key = ?", (_usable(key),)).rowcount > 0

    def keys(self, prefix: str = "") -> list[str]:
        """All keys that begin so, in order."""
        with self._open() as connection:
            found = connection.execute("SELECT key FROM pairs WHERE key >= ? ORDER BY key", (prefix,))
            return list(itertools.takewhile(lambda key: key.startswith(prefix), (key for (key,) in found)))

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with contextlib.closing(sqlite3.connect(self._path, timeout=WAIT_S)) as connection, connection:
                connection.execute(f"PRAGMA max_page_count = {self._max_bytes // PAGE_BYTES}")
                connection.execute(TABLE)
                yield connection
        except UnicodeEncodeError as error:
            raise ValueError("a key is text of whole characters; this one has half a surrogate pair") from error
        except sqlite3.OperationalError as error:
            full = "full" in str(error)
            words = f"the store is full, at {self._max_bytes} bytes; delete keys" if full else str(error)
            raise OSError(words) from error


def _usable(key: str) -> str:
    if not key or len(key) > MAX_KEY:
        raise ValueError(f"a key has 1 to {MAX_KEY} characters")
    return key
