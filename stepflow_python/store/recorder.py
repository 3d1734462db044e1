"""One thread writes for the whole process; writes that wait together share a commit."""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from stepflow_python.errors import DatabaseError, PythonError
from stepflow_python.store.failures import database_error, is_transient
from stepflow_python.store.urls import Place

T = TypeVar("T")

MAX_BATCH = 256
TRIES = 5


@dataclass(frozen=True, slots=True)
class Write(Generic[T]):
    """One change, and who waits for it to be durable."""

    change: Callable[[Connection], T]
    done: "Future[T]"


@dataclass(frozen=True, slots=True)
class Ended:
    """How one write of a batch went."""

    write: Write[Any]
    value: Any = None
    error: BaseException | None = None


class UndoneError(Exception):
    """The database undid a whole batch because of one change in it."""


class Recorder:
    """Runs changes in the order they come in, from any thread and any event loop.

    A change that fails fails alone. A caller that is cancelled stops waiting; its change is written all the same.
    """

    def __init__(self, engine: Engine, place: Place) -> None:
        self._engine = engine
        self._place = place
        self._writes: queue.SimpleQueue[Write[Any] | None] = queue.SimpleQueue()
        self._door = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="stepflow-recorder", daemon=True)
        self._thread.start()

    async def write(self, change: Callable[[Connection], T]) -> T:
        """Run a change; returns when it is durable.

        Raises:
            DatabaseError: it could not be written.
            PythonError: whatever of our own tree the change raised.
        """
        return await asyncio.shield(asyncio.wrap_future(self.submit(change)))

    def submit(self, change: Callable[[Connection], T]) -> "Future[T]":
        """Put a change in line, for callers without a loop."""
        write = Write(change, Future[T]())
        write.done.set_running_or_notify_cancel()
        with self._door:
            if self._closed:
                raise DatabaseError(f"database {self._place}: the record is closed; open it again")
            self._writes.put(write)
        return write.done

    def close(self) -> None:
        """Write what is in line, then end. Calling it again does nothing."""
        with self._door:
            if not self._closed:
                self._closed = True
                self._writes.put(None)
        self._thread.join()

    def _run(self) -> None:
        going_on = True
        while going_on:
            batch, going_on = self._next_batch()
            try:
                ended = self._commit(batch)
            except Exception as error:  # noqa: BLE001 - the boundary that records: whatever it was, its callers are told
                ended = [Ended(write, error=error) for write in batch]
            for end in ended:
                self._tell(end)

    def _next_batch(self) -> tuple[list[Write[Any]], bool]:
        """All that wait, at least one; false when the last one has come."""
        batch: list[Write[Any]] = []
        try:
            while len(batch) < MAX_BATCH:
                write = self._writes.get(block=not batch)
                if write is None:
                    return batch, False
                batch.append(write)
        except queue.Empty:
            pass
        return batch, True

    def _commit(self, batch: list[Write[Any]]) -> list[Ended]:
        try:
            return self._transact(batch)
        except UndoneError:
            pass
        except SQLAlchemyError as error:
            # Another process's batch may hold rows of this one in another order; one change has no such neighbours.
            if not is_transient(error):
                raise
        return [end for write in batch for end in self._alone(write)]

    def _alone(self, write: Write[Any]) -> Iterable[Ended]:
        tries = 0
        while True:
            tries += 1
            try:
                return self._transact([write])
            except Exception as error:  # noqa: BLE001 - the boundary that records: its caller is told
                if tries == TRIES or not is_transient(error):
                    return [Ended(write, error=error)]

    def _transact(self, batch: list[Write[Any]]) -> list[Ended]:
        if not batch:
            return []
        with self._engine.begin() as connection:
            if len(batch) == 1:
                return [Ended(batch[0], value=batch[0].change(connection))]
            return [_beside_others(connection, write) for write in batch]

    def _tell(self, end: Ended) -> None:
        done = end.write.done
        if end.error is None:
            done.set_result(end.value)
        elif isinstance(end.error, PythonError):
            done.set_exception(end.error)
        else:
            error = database_error(end.error, self._place)
            error.__cause__ = end.error
            done.set_exception(error)


def _beside_others(connection: Connection, write: Write[Any]) -> Ended:
    try:
        with connection.begin_nested():
            return Ended(write, value=write.change(connection))
    except Exception as error:  # the boundary that records: its caller is told, its neighbours go on
        if connection.invalidated or is_transient(error):
            raise
        if not _in_transaction(connection):
            raise UndoneError from error
        return Ended(write, error=error)


def _in_transaction(connection: Connection) -> bool:
    """Whether the changes before this one still stand: SQLite undoes them all when it finds the disk full."""
    return bool(getattr(connection.connection.dbapi_connection, "in_transaction", True))
