"""The record as it is read."""

import asyncio
import base64
import binascii
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Engine

from stepflow_python.errors import DatabaseError, ParseError
from stepflow_python.model.history import (
    MAX_PAGE,
    ExecutionRecord,
    ExecutionSummary,
    HistoryFilter,
    Page,
    PythonMetrics,
)
from stepflow_python.model.module import PythonModule
from stepflow_python.model.result import ExecutionResult, Status
from stepflow_python.model.values import Instant
from stepflow_python.ports import Recipe, Wishes
from stepflow_python.store import reads
from stepflow_python.store.engines import BUSY_TIMEOUT_S, READERS
from stepflow_python.store.failures import translated
from stepflow_python.store.prepared import run_by_driver
from stepflow_python.store.reads import Key
from stepflow_python.store.urls import Place

P = ParamSpec("P")
T = TypeVar("T")

_key: TypeAdapter[tuple[Instant, str]] = TypeAdapter(tuple[Instant, str])


class Kept(threading.local):
    """The connection that a thread keeps, to a file, and how long it waits for whoever has locked that."""

    connection: Connection | None = None

    def __init__(self, *, patience_s: int) -> None:
        self.patience_s = patience_s


class SqlHistory:
    """Implements `ports.History`, for any event loop. Each question sees one state of the record.

    A question is one trip to a thread, however many statements it takes.
    """

    def __init__(self, engine: Engine, place: Place) -> None:
        self._engine = engine
        self._place = place
        self._threads = ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="reader")
        self._kept, self._hasty = Kept(patience_s=BUSY_TIMEOUT_S), Kept(patience_s=0)
        self._open: set[Connection] = set()

    async def get(self, execution_id: str) -> ExecutionRecord | None:
        """One execution, whole."""
        return await self.ask(reads.read_record, execution_id)

    async def ended(self, execution_id: str) -> tuple[Status | None, ExecutionResult | None]:
        """Its status, none if there is no such execution, and its result once it has ended.

        Who waits asks this, and a job is as long under way as that takes: a file that nobody has locked is read here
        and now, since to hand one row to a thread and back takes as long as to read it.
        """
        if self._place.file is not None:
            with contextlib.suppress(DatabaseError):
                return self._read(self._hasty, reads.read_ended, execution_id)
        return await self.ask(reads.read_ended, execution_id)

    async def result(self, execution_id: str) -> ExecutionResult | None:
        """Its result, once it has ended."""
        return await self.ask(reads.read_result, execution_id)

    async def page(self, query: HistoryFilter, *, limit: int, cursor: str | None = None) -> Page:
        """A page of executions, newest first; see `ports.History`.

        Raises:
            ParseError: `limit` is not 1 to `MAX_PAGE`, or the cursor is not one that we gave.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise ParseError(f"limit: {limit} is not a number from 1 to {MAX_PAGE}")
        after = _key_of(cursor) if cursor is not None else None
        found = await self.ask(reads.read_page, query, after=after, limit=limit)
        items = tuple(found[:limit])
        return Page(items=items, next_cursor=_cursor_after(items[-1]) if len(found) > limit else None)

    async def source(self, tool_id: str) -> PythonModule | None:
        """The newest recorded source of a tool."""
        return await self.ask(reads.read_source, tool_id)

    async def recipe(self, execution_id: str) -> Recipe | None:
        """What it takes to run an execution again."""
        return await self.ask(reads.read_recipe, execution_id)

    async def ready_environments(self, folder: Path) -> frozenset[str]:
        """Ids of the environments that should be there, directly below a folder."""
        return await self.ask(reads.read_ready_environments, folder)

    async def metrics(self, query: HistoryFilter) -> PythonMetrics:
        """Totals."""
        return await self.ask(reads.read_metrics, query)

    async def wishes(self, execution_id: str) -> Wishes:
        """What others want of a running execution."""
        return await self.ask(reads.read_wishes, execution_id)

    def close(self) -> None:
        """Let the reads end that are under way, then close all connections."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        while self._open:
            self._open.pop().close()
        self._engine.dispose()

    async def ask(self, question: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a question of `store.reads` finds; it cannot write.

        Raises:
            DatabaseError: the record cannot be read.
        """

        def read() -> T:
            return self._read(self._kept, question, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._threads, read)

    def _read(
        self, kept: Kept, question: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        with translated(self._place), self._connected(kept) as connection:
            return question(connection, *args, **kwargs)

    @contextlib.contextmanager
    def _connected(self, kept: Kept) -> Iterator[Connection]:
        """A file's connection stays its thread's; a server's pool looks whether one is still good."""
        if self._place.file is None:
            with self._engine.connect() as connection:
                yield connection
            return
        if kept.connection is None:
            kept.connection = self._engine.connect()
            self._open.add(kept.connection)
            run_by_driver(kept.connection, f"PRAGMA busy_timeout={kept.patience_s * 1000}")
        connection = kept.connection
        try:
            yield connection
            if connection.in_transaction():
                connection.rollback()  # what is read next is of then
        except BaseException:
            kept.connection = None
            self._open.discard(connection)
            connection.close()
            raise


def _cursor_after(item: ExecutionSummary) -> str:
    text = json.dumps([item.queued_at.isoformat(), item.execution_id])
    return base64.urlsafe_b64encode(text.encode()).decode("ascii")


def _key_of(cursor: str) -> Key:
    try:
        text = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
        return _key.validate_json(text)
    except (binascii.Error, UnicodeError, ValidationError) as error:
        raise ParseError(
            "cursor: not one that a page of history gave; pass its next_cursor unchanged, or none for the first page"
        ) from error
