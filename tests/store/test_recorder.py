"""One writer, shared commits, each change for itself."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import IntegrityError

from stepflow_python.errors import DatabaseError, ExecutionError
from stepflow_python.store.engines import writing_engine
from stepflow_python.store.recorder import Recorder
from stepflow_python.store.urls import place_of


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """A writer's engine."""
    engine = writing_engine(place_of(url))
    yield engine
    engine.dispose()


@pytest.fixture
def recorder(engine: Engine, url: str) -> Iterator[Recorder]:
    """A running recorder."""
    recorder = Recorder(engine, place_of(url))
    yield recorder
    recorder.close()


def insert(tool: str) -> Callable[[Connection], str]:
    """A change that works once for each tool."""

    def change(connection: Connection) -> str:
        statement = "INSERT INTO tools (id, name, version, source_hash, created_at) VALUES (:id, '', 1, '', :now)"
        connection.execute(text(statement), {"id": tool, "now": "2026-01-01 00:00:00"})
        return tool

    return change


def held(recorder: Recorder) -> threading.Event:
    """Keep the recorder busy until the event is set, so that what is submitted before gathers into one batch."""
    busy, gate = threading.Event(), threading.Event()

    def change(_connection: Connection) -> None:
        busy.set()
        gate.wait(30)

    recorder.submit(change)
    assert busy.wait(30)
    return gate


def tools(url: str) -> set[str]:
    """What another connection sees."""
    engine = writing_engine(place_of(url))
    with engine.connect() as connection:
        found = set(connection.execute(text("SELECT id FROM tools")).scalars())
    engine.dispose()
    return found


def test_waiting_writes_share_a_commit(recorder: Recorder, engine: Engine, url: str) -> None:
    """What gathers while a commit is under way goes with the next one, all of it."""
    commits: list[object] = []
    event.listen(engine, "commit", commits.append)
    gate = held(recorder)
    rest = [recorder.submit(insert(f"tool-{number}")) for number in range(50)]
    gate.set()
    assert [write.result(30) for write in rest] == [f"tool-{number}" for number in range(50)]
    assert len(tools(url)) == 50
    assert len(commits) == 2


def test_a_failing_write_fails_alone(recorder: Recorder, url: str) -> None:
    """Of a batch, only what is wrong is refused, each with its own error; all others are written."""

    def refused(_connection: Connection) -> None:
        raise ExecutionError("refused")

    gate = held(recorder)
    good = recorder.submit(insert("good"))
    twice = recorder.submit(insert("good"))
    ours = recorder.submit(refused)
    last = recorder.submit(insert("last"))
    gate.set()
    assert (good.result(30), last.result(30)) == ("good", "last")
    assert isinstance(ours.exception(30), ExecutionError)
    error = twice.exception(30)
    assert isinstance(error, DatabaseError)
    assert isinstance(error.__cause__, IntegrityError)
    assert tools(url) == {"good", "last"}


def test_it_serves_several_loops_at_once(recorder: Recorder, url: str) -> None:
    """Callers in several threads, each with its own loop, are all answered."""

    async def write(worker: int) -> list[str]:
        return list(await asyncio.gather(*(recorder.write(insert(f"{worker}-{number}")) for number in range(20))))

    found: list[str] = []
    threads = [threading.Thread(target=lambda w=worker: found.extend(asyncio.run(write(w)))) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(found) == tools(url)
    assert len(found) == 80


def test_a_cancelled_caller_loses_nothing(recorder: Recorder, url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever stops waiting, even with its loop, leaves a change that is written all the same, and in peace."""
    gate = held(recorder)

    async def scenario() -> None:
        task = asyncio.create_task(recorder.write(insert("left")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    gate.set()
    recorder.submit(insert("after")).result(30)
    assert tools(url) == {"left", "after"}
    assert not caplog.records


def test_closing_writes_what_waits(engine: Engine, url: str) -> None:
    """What is in line when the recorder closes is written; what comes later is refused in words."""
    recorder = Recorder(engine, place_of(url))
    gate = held(recorder)
    waiting = [recorder.submit(insert(f"tool-{number}")) for number in range(10)]
    gate.set()
    recorder.close()
    recorder.close()
    assert {write.result(0) for write in waiting} == tools(url)
    with pytest.raises(DatabaseError, match="the record is closed; open it again"):
        recorder.submit(insert("late"))


def test_a_full_disk_loses_no_promise(sqlite_url: str) -> None:
    """When the file may not grow, exactly what was promised is on record, the rest is told what to do."""
    engine = writing_engine(place_of(sqlite_url))

    def limited(connection: sqlite3.Connection, _entry: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 3}")

    event.listen(engine, "connect", limited)
    recorder = Recorder(engine, place_of(sqlite_url))
    gate = held(recorder)
    writes = {name: recorder.submit(insert(name)) for name in [f"{number}-" + "x" * 400 for number in range(60)]}
    gate.set()
    errors = {name: write.exception(30) for name, write in writes.items()}
    recorder.close()
    engine.dispose()
    assert {name for name, error in errors.items() if error is None} == tools(sqlite_url)
    failures = [str(error) for error in errors.values() if error is not None]
    assert failures
    assert all("the disk is full; free some space" in message for message in failures)


def test_a_locked_database_is_told_to_all(sqlite_url: str) -> None:
    """When another process keeps the lock too long, all that wait hear it, the first and those behind."""
    engine = writing_engine(place_of(sqlite_url))
    event.listen(engine, "connect", lambda connection, _entry: connection.execute("PRAGMA busy_timeout = 300"))
    recorder = Recorder(engine, place_of(sqlite_url))
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writes = [recorder.submit(insert(f"tool-{number}")) for number in range(4)]
    errors = [write.exception(30) for write in writes]
    assert all(isinstance(error, DatabaseError) and "kept it locked" in error.message for error in errors)
    other.execute("ROLLBACK")
    other.close()
    assert recorder.submit(insert("later")).result(30) == "later"
    recorder.close()
    engine.dispose()
    assert tools(sqlite_url) == {"later"}
