"""Faults of what lies below: a clock that jumps, a lock that stays, a disk that is full, messages that are none."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import ConnectionError, Redis  # noqa: A004 - the name of Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from sqlalchemy import text
from support.cli import Stepflow
from support.product import (
    attempts_of,
    make_due,
    send,
    settings_of,
    sleeper,
    wait_for_end,
    wait_for_processes,
)
from support.records import request, with_store
from support.services import postgresql_database

from stepflow_python.messaging.app import make_app
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.ports import Claim
from stepflow_python.store.engines import writing_engine
from stepflow_python.store.opening import Store
from stepflow_python.store.urls import place_of

EMBEDDED = pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)
EACH_RECORD = pytest.mark.parametrize("pair", ["embedded+sqlite", "rabbitmq+postgresql"], indirect=True)
EACH_BROKER = pytest.mark.parametrize("pair", ["embedded+sqlite", "redis+sqlite", "rabbitmq+postgresql"], indirect=True)
LOCKED_S = 20
TESTS = Path(__file__).resolve().parents[1]
FAKED = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
CLAIM = """
import asyncio, sys
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.store.opening import open_store

async def main():
    async with open_store(sys.argv[1]) as store:
        claim = await store.ledger.claim(ExecutionRequest(execution_id="held", code="1"))
        ended = await store.loose.end_abandoned()
        print(claim.attempt, claim.result, ended, len(await store.loose.take_abandoned()))

asyncio.run(main())
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A record of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'record.db'}"
    else:
        with postgresql_database() as made:
            yield made


@pytest.mark.parametrize("jump", ["+3600", "-3600"])
def test_a_clock_that_jumps_ends_no_claim(jump: str, url: str) -> None:
    """Another process whose clock is an hour off finds a held execution held, on either database."""
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("there is no faketime to set a process's clock with")

    async def scenario(store: Store) -> None:
        assert await store.ledger.claim(request("held")) == Claim(attempt=1)
        words = [faketime, "-f", f"{jump}s", sys.executable, "-c", CLAIM, url]
        environ = os.environ | FAKED
        done = await asyncio.to_thread(
            subprocess.run, words, env=environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stdout == "None None 0 0\n", done.stderr

    with_store(url, scenario)


@contextlib.contextmanager
def locked(stepflow: Stepflow) -> Iterator[None]:
    """Nobody else can write executions."""
    engine = writing_engine(place_of(settings_of(stepflow).database))
    with engine.begin() as connection:  # of a SQLite file this is BEGIN IMMEDIATE
        if connection.dialect.name == "postgresql":
            # Whoever locks it is a stranger to us, whom the server does not hold to our terms.
            connection.execute(text("SET idle_in_transaction_session_timeout = 0"))
            connection.execute(text("LOCK TABLE executions IN ACCESS EXCLUSIVE MODE"))
        yield
    engine.dispose()


@EACH_RECORD
def test_a_record_that_is_locked_for_twenty_seconds(pair: Stepflow, mark: str) -> None:
    """A job that runs meanwhile goes on, keeps its claim, and is stopped and recorded afterwards: one attempt."""
    long = Stepflow(home=pair.home, settings={**pair.settings, "LEASE": "30"})
    with long.worker("--concurrency", "2"):
        send(long, sleeper("through", mark))
        wait_for_processes(mark, there=True)
        with locked(long):
            threading.Event().wait(LOCKED_S)  # what is tested is that this long a time does no harm
        wait_for_processes(mark, there=True)
        assert long.here("cancel", "through").code == 0
        record = wait_for_end(long, "through")
        send(long, ExecutionRequest(execution_id="next", code="print(1)"))
        assert wait_for_end(long, "next")["status"] == "succeeded"
    assert (record["status"], record["attempts"], record["result"]["stdout"]) == ("cancelled", 1, "before\n")
    assert attempts_of(long) == {"through": 1, "next": 1}


@EACH_BROKER
def test_rubbish_between_good_messages(pair: Stepflow) -> None:
    """A thousand messages that are no requests, and ten that are: all ten run, and the worker is still the same."""
    app = make_app(settings_of(pair))
    rubbish: list[list[object]] = [
        [],
        [5],
        [None],
        ["{"],
        [{"code": 5}],
        [{"nothing": 1}],
        [1, 2, 3],
        [{}, {"code": []}],
    ]
    with pair.worker("--concurrency", "4") as worker, app.producer_or_acquire() as producer:
        for number in range(1000):
            app.send_task("stepflow.execute", args=rubbish[number % len(rubbish)], queue="stepflow", producer=producer)
            if number % 100 == 0:
                payload = {"execution_id": f"good-{number}", "code": "print('ran')"}
                app.send_task("stepflow.execute", args=[payload], queue="stepflow", producer=producer)
        ends = [wait_for_end(pair, f"good-{number}") for number in range(0, 1000, 100)]
        assert worker.poll() is None
    assert {(end["status"], end["attempts"]) for end in ends} == {("succeeded", 1)}


@EACH_BROKER
def test_fifty_megabytes(pair: Stepflow) -> None:
    """A payload of fifty megabytes arrives whole, and its file's length comes back."""
    content = b"\0" * (50 * 1024 * 1024 * 3 // 4)
    code = "import os\n\ndef size():\n    return os.path.getsize('large.bin')\n"
    large = ExecutionRequest(execution_id="large", code=code, function_name="size", files={"large.bin": content})
    with pair.worker("--concurrency", "1"):
        send(pair, large.model_copy(update={"memory_limit": 1024, "timeout": 60}))
        record = wait_for_end(pair, "large")
    assert (record["status"], record["result"]["result"]) == ("succeeded", len(content)), record["why"]


FULL = """
mount -t tmpfs -o size=24m none "$STEPFLOW_PYTHON_HOME" || exit 77
exec "$PYTHON" -m support.full_disk
"""


def test_a_full_disk(tmp_path: Path, environments: Path) -> None:
    """Record and broker on a disk without room.

    A submission is refused with why, and taken when there is room; a job that ended meanwhile is recorded then, once.
    """
    home = tmp_path / "home"
    home.mkdir()
    away = Stepflow(home=home, settings={"VIRTUAL_ENV_PATH": str(environments), "LEASE": "2"})
    whoever = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(
        ["unshare", *whoever, "--mount", "sh", "-c", FULL],
        env=away.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no namespace to mount a small disk in: {done.stderr}")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["refused"]["code"] == 3
    assert "disk is full" in found["refused"]["message"]
    assert found["while full"] == "running"
    assert found["ends"] == {name: ["succeeded", 1] for name in ("runs", "refused", "after")}


@contextlib.contextmanager
def small_redis(folder: Path) -> Iterator[Redis]:
    """A server of our own with room for little more than itself."""
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server to start")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["redis-server", "--port", str(port), "--dir", str(folder), "--save", "", "--maxmemory", "2mb"]
    with subprocess.Popen([*words, "--maxmemory-policy", "noeviction"], stdout=subprocess.DEVNULL) as process:
        try:
            with Redis(port=port, retry=Retry(ConstantBackoff(0.1), 300), retry_on_error=[ConnectionError]) as server:
                server.ping()
                yield server
        finally:
            process.terminate()


def test_a_broker_without_room(tmp_path: Path, environments: Path) -> None:
    """The submission says why it was not sent, and is queued on record; a worker sends it when there is room."""
    tool = tmp_path / "tool.py"
    tool.write_text(f"# {'x' * 900_000}\nprint('ran')\n")
    with small_redis(tmp_path) as server:
        url = f"redis://127.0.0.1:{server.connection_pool.connection_kwargs['port']}/0"
        settings = {"VIRTUAL_ENV_PATH": str(environments), "LEASE": "2", "BROKER_URL": url}
        stepflow = Stepflow(home=tmp_path / "home", settings=settings)
        done = stepflow.here("submit", str(tool), "--id", "large", "--json")
        assert done.code == 3
        assert "maxmemory" in done.json["error"]["message"]
        assert stepflow.here("show", "large", "--json").json["status"] == "queued"
        server.config_set("maxmemory", "100mb")
        make_due(stepflow)
        with stepflow.worker("--concurrency", "1"):
            end = wait_for_end(stepflow, "large")
    assert (end["status"], end["attempts"]) == ("succeeded", 1)
