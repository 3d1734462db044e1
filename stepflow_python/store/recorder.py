"""One thread writes for the whole process; writes that wait together share a commit."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine

from stepflow_python.errors import DatabaseError, PythonError
from stepflow_python.store.failures import database_error, is_transient
from stepflow_python.store.news import tell
from stepflow_python.store.urls import Place

T = TypeVar("T")

MAX_BATCH = 256
TRIES = 5


@dataclass(frozen=True, slots=True)
class Write(Generic[T]):
    """One change, and who waits for it to be durable; `ends`: it may end an execution."""

    change: Callable[[Connection], T]
    done: "Future[T]"
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """How one write of a batch went."""

    write: Write[Any]
    value: Any = None
    error: BaseException | None = None


class ChangeError(Exception):
    """One change of a batch failed, not the database as a whole."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


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
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._run, name="stepflow-recorder", daemon=True)
        self._thread.start()

    async def write(self, change: Callable[[Connection], T], *, ends: bool = False) -> T:
        """Run a change; returns when it is durable.

        Args:
            change: what to run.
            ends: it may end an execution, and who waits for one is told.

        Raises:
            DatabaseError: it could not be written.
            PythonError: whatever of our own tree the change raised.
        """
        done = asyncio.wrap_future(self.submit(change, ends=ends))
        # Asked for, or the loop would complain of an error that nobody waits for any more.
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        return await asyncio.shield(done)

    def submit(self, change: Callable[[Connection], T], *, ends: bool = False) -> "Future[T]":
        """Put a change in line, for callers without a loop."""
        write = Write(change, Future[T](), ends)
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
            ends = self._commit(batch)
            if any(write.ends for write in batch):
                tell(self._place)
            for end in ends:
                self._tell(end)
        self._let_go()

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
        ended: list[Ended] = []
        try:
            if len(batch) > 1:
                with contextlib.suppress(ChangeError):
                    return self._transact(batch)
            # One of them failed, and all were undone: each for itself now, so that it fails alone.
            for write in batch:
                ended.append(self._alone(write))  # noqa: PERF401 - what has ended before a failure must be known
        except Exception as error:  # noqa: BLE001 - the boundary that records: its callers are told
            # Not a change but the database: the others would only wait for it in vain, one after the other.
            ended += [Ended(write, error=error) for write in batch[len(ended) :]]
        return ended

    def _alone(self, write: Write[Any]) -> Ended:
        tries = 0
        while True:
            tries += 1
            try:
                return self._transact([write])[0]
            except ChangeError as failed:
                if tries == TRIES or not is_transient(failed.cause):
                    return Ended(write, error=failed.cause)

    def _transact(self, batch: list[Write[Any]]) -> list[Ended]:
        with self._transaction() as connection:
            return [Ended(write, value=_changed(connection, write)) for write in batch]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """A file's connection is kept from one to the next; a server's pool looks whether one is still good."""
        if self._place.file is None:
            with self._engine.begin() as connection:
                yield connection
            return
        if self._connection is None:
            self._connection = self._engine.connect()
        try:
            with self._connection.begin():
                yield self._connection
        except BaseException:
            self._let_go()
            raise

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

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


def _changed(connection: Connection, write: Write[T]) -> T:
    try:
        return write.change(connection)
    except Exception as error:
        raise ChangeError(error) from error
