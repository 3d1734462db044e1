"""A broker and a record that are away when a worker starts, and in the middle of its work."""

import contextlib
import json
import socket
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
from support.cli import Stepflow
from support.doors import Door, door
from support.product import attempts_of, send, sleeper, wait_for_end, wait_for_processes
from support.services import postgresql_database, redis_database

from stepflow_python.model.request import ExecutionRequest

PATIENCE_S = 90.0
ALL = {"loop": True, "record": True, "broker": True, "taking": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A worker whose ways to its broker and its record have doors; `near` is a client that has none."""

    broker: Door
    record: Door
    far: Stepflow
    near: Stepflow
    port: int
    said: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def worker(self) -> Iterator[None]:
        """A worker that may not be ready yet; what it says is kept."""
        with self.far.start("worker", "--concurrency", "2", "--health-port", str(self.port)) as process:
            listeners = [
                threading.Thread(target=lambda stream=stream: self.said.extend(stream), daemon=True)
                for stream in (process.stdout, process.stderr)
            ]
            for listener in listeners:
                listener.start()
            try:
                yield
                assert process.poll() is None, self.said
            finally:
                process.terminate()
                process.wait(60)
                for listener in listeners:
                    listener.join()

    def checks(self, path: str = "ready") -> dict[str, bool]:
        """What the worker answers; nothing where it does not yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=30) as response:
                found: dict[str, bool] = json.load(response)
        except HTTPError as error:
            assert error.code == 503
            found = json.load(error)
        except (URLError, OSError):
            return {}
        return found

    def has_said(self, *parts: str) -> bool:
        """Whether some line of the worker has all of these."""
        return any(all(part in line for part in parts) for line in list(self.said))


def until(reached: Callable[[], bool], said: list[str]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline, "".join(said[-20:])
        time.sleep(0.1)


@pytest.fixture
def place(tmp_path: Path, environments: Path) -> Iterator[Place]:
    """Both doors are shut."""
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(redis_database())
        record = stack.enter_context(postgresql_database())
        broker_door, far_broker = stack.enter_context(door(broker))
        record_door, far_record = stack.enter_context(door(record))
        shared = {"VIRTUAL_ENV_PATH": str(environments), "LEASE": "300"}
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            port = free.getsockname()[1]
        yield Place(
            broker=broker_door,
            record=record_door,
            far=Stepflow(
                home=tmp_path / "far", settings={**shared, "BROKER_URL": far_broker, "DATABASE_URL": far_record}
            ),
            near=Stepflow(home=tmp_path / "near", settings={**shared, "BROKER_URL": broker, "DATABASE_URL": record}),
            port=port,
        )


def hello(execution_id: str) -> ExecutionRequest:
    """A short job."""
    return ExecutionRequest(execution_id=execution_id, code="print('ran')")


@pytest.mark.timeout(300)
def test_servers_that_are_away(place: Place, mark: str) -> None:
    """It says which is away, tries again, is alive and not ready meanwhile, and loses nothing.

    First neither can be reached, then the broker cannot; later the record goes while a job runs, then the broker.
    """
    send(place.near, hello("before"))
    with place.worker():
        until(
            lambda: place.has_said("waiting for the record, next try in", "postgresql", "cannot be reached"), place.said
        )
        until(lambda: place.checks() == {"loop": True, "record": False}, place.said)
        assert place.checks("live") == {"loop": True}
        place.record.open()
        until(lambda: place.has_said("Cannot connect to"), place.said)
        until(lambda: place.checks().get("broker") is False, place.said)
        until(lambda: place.checks().get("record") is True, place.said)
        assert place.checks("live") == {"loop": True}
        place.broker.open()
        assert wait_for_end(place.near, "before")["status"] == "succeeded"
        until(lambda: place.checks() == ALL, place.said)

        send(place.near, sleeper("through", mark))
        wait_for_processes(mark, there=True)
        place.record.shut()
        until(lambda: place.has_said("execution through runs on while its record is away"), place.said)
        until(lambda: place.checks().get("record") is False, place.said)
        send(place.near, hello("meanwhile"))
        assert place.near("cancel", "through").code == 0
        wait_for_processes(mark, there=True)
        place.record.open()
        ended = wait_for_end(place.near, "through")
        assert (ended["status"], ended["attempts"], ended["result"]["stdout"]) == ("cancelled", 1, "before\n")
        assert wait_for_end(place.near, "meanwhile")["status"] == "succeeded"
        until(lambda: place.checks() == ALL, place.said)

        place.broker.shut()
        until(lambda: place.checks().get("broker") is False, place.said)
        send(place.near, hello("sent"))
        refused = place.far("submit", "-", "--id", "unsent", stdin="print('ran')")
        assert (refused.code, "cannot be reached" in refused.stderr) == (3, True)
        place.broker.open()
        for name in ("sent", "unsent"):
            assert wait_for_end(place.near, name)["status"] == "succeeded"
        until(lambda: place.checks() == ALL, place.said)
    assert attempts_of(place.near) == dict.fromkeys(("before", "through", "meanwhile", "sent", "unsent"), 1)


def test_a_schema_that_is_ahead(tmp_path: Path) -> None:
    """A worker refuses at once, with what to do: waiting would not help."""
    stepflow = Stepflow(home=tmp_path / "home")
    assert stepflow("db", "upgrade").code == 0
    with sqlite3.connect(stepflow.home / "stepflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    refused = stepflow("worker")
    assert refused.code == 3
    assert "schema is ahead of this version (revision 9999" in refused.stderr
    assert "install the version of stepflow-python that made it" in refused.stderr
