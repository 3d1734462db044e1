"""Thousands of short jobs while workers, their children, brokers and connections are killed at random.

`make soak` runs it on every pair of broker and record and writes its table into docs/reliability.md. Redis and RabbitMQ
are started here, on free ports, and killed and started again; PostgreSQL is the one that answers on 127.0.0.1, where a
database is made and dropped, and only connections to that one are killed. Exit code 1: a job was lost, or ended twice.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from marked import put
from sqlalchemy import Engine, text

from stepflow_python.client.client import open_client
from stepflow_python.config import Settings
from stepflow_python.errors import PythonError
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.store.engines import reading_engine, writing_engine
from stepflow_python.store.urls import place_of

PAIRS = ("embedded+sqlite", "redis+sqlite", "redis+postgresql", "rabbitmq+postgresql")
POSTGRESQL = "postgresql://postgres@127.0.0.1:5432"
RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"
DOCS = Path(__file__).resolve().parents[1] / "docs" / "reliability.md"
CODE = "import time\n\ndef work(n: int) -> int:\n    time.sleep(0.05)\n    return n * n\n"
WORKERS, CONCURRENCY, MAX_ATTEMPTS = 2, 4, 50
KILL_EVERY_S = (1.0, 5.0)
LOCKED_S = 1.5
PATIENCE_S = 180.0
"""Without any job ending for so long, what has not ended is lost."""


class Program:
    """A process that is started again when it was killed."""

    def __init__(self, words: list[str], environ: dict[str, str], log: Path) -> None:
        self._words, self._environ, self._log = words, environ, log
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(self._words, env=self._environ, stdout=log, stderr=log, start_new_session=True)

    def kill_and_start(self) -> int:
        """Kill it as the kernel would; the number of the process that was killed."""
        killed = self.process.pid
        self.process.kill()
        self.process.wait()
        self.process = self._start()
        return killed

    def stop(self) -> None:
        """End it, in good order where that is possible."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclasses.dataclass(slots=True)
class Site:
    """A pair under test: its settings, its programs, what can be killed of it, and how often that was done."""

    name: str
    settings: Settings
    engine: Engine
    workers: list[Program]
    broker: Program | None
    kills: Counter[str] = dataclasses.field(default_factory=Counter)
    recovered_s: list[float] = dataclasses.field(default_factory=list)
    disrupted: list[tuple[str, float]] = dataclasses.field(default_factory=list)

    def rows(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        """What a question to the record finds."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement), values)]

    def kill_worker(self) -> None:
        """A whole worker; what it had claimed is disrupted."""
        moment = time.time()
        pid = random.choice(self.workers).kill_and_start()
        held = self.rows("SELECT id FROM executions WHERE status = 'running' AND claimed_by LIKE :it", it=f"%:{pid}:%")
        self.disrupted += [(str(row[0]), moment) for row in held]

    def kill_child(self) -> None:
        """Any process below a worker: a box, what runs in it, or what starts it."""
        children = descendants(random.choice(self.workers).process.pid)
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(children), signal.SIGKILL)

    def kill_broker(self) -> None:
        """The broker's server, started again at once on what it had written."""
        assert self.broker is not None
        self.broker.kill_and_start()

    def kill_connections(self) -> None:
        """All connections to the record's database; a file is locked instead, for a while."""
        url = self.settings.database
        if url.startswith("postgresql"):
            with psycopg.connect(f"{POSTGRESQL}/postgres", autocommit=True) as server:
                name = url.rpartition("/")[2]
                server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            return
        engine = writing_engine(place_of(url))
        with engine.begin():
            time.sleep(LOCKED_S)
        engine.dispose()

    def harm(self) -> None:
        """One act of violence."""
        acts: dict[str, tuple[int, Callable[[], None]]] = {
            "worker": (3, self.kill_worker),
            "child": (4, self.kill_child),
            "database": (2, self.kill_connections),
        }
        if self.broker is not None:
            acts["broker"] = (1, self.kill_broker)
        name = random.choices(list(acts), [weight for weight, _act in acts.values()])[0]
        self.kills[name] += 1
        with contextlib.suppress(Exception):  # the record is among what is harmed
            acts[name][1]()


def descendants(pid: int) -> list[int]:
    """Processes below one."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def wait_for_port(port: int) -> None:
    """Until somebody listens."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"nobody listens on port {port}")


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[tuple[str, Program]]:
    """A Redis that writes each change to disk before it answers."""
    port = free_port()
    words = ["redis-server", "--port", str(port), "--dir", str(folder), "--save", "", "--appendonly", "yes"]
    server = Program([*words, "--appendfsync", "always"], dict(os.environ), folder / "broker.log")
    try:
        wait_for_port(port)
        yield f"redis://127.0.0.1:{port}/0", server
    finally:
        server.stop()


@contextlib.contextmanager
def rabbitmq_server(folder: Path) -> Iterator[tuple[str, Program]]:
    """A RabbitMQ node of our own; the script below the wrapper, which would change to another user."""
    port = free_port()
    environ = dict(os.environ) | {
        "RABBITMQ_NODENAME": f"soak{port}@localhost",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "HOME": str(folder),
    }
    server = Program([RABBITMQ], environ, folder / "broker.log")
    try:
        wait_for_port(port)
        yield f"amqp://guest:guest@127.0.0.1:{port}//", RabbitProgram(server)
    finally:
        RabbitProgram(server).stop()


class RabbitProgram(Program):
    """The script starts the node below itself: both are killed."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def kill_and_start(self) -> int:
        """Kill the node with its script."""
        for child in descendants(self._program.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return self._program.kill_and_start()

    def stop(self) -> None:
        """Kill the node: nothing of it is needed any more."""
        children = descendants(self._program.process.pid)
        self._program.process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._program.process.wait()


@contextlib.contextmanager
def scratch_database() -> Iterator[str]:
    """A PostgreSQL database that is dropped at the end."""
    name = f"stepflow_soak_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(f"{POSTGRESQL}/postgres", autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]  # made above, of hex digits
        try:
            yield f"{POSTGRESQL}/{name}"
        finally:
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # type: ignore[call-overload]  # likewise


@contextlib.contextmanager
def site(name: str) -> Iterator[Site]:
    """A pair with two workers."""
    broker_kind, record = name.split("+")
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="stepflow-soak-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        environ = {key: value for key, value in os.environ.items() if not key.startswith("STEPFLOW_PYTHON_")}
        # A long queue would be what is measured, not how soon a job goes on; and its bound is soaked as well.
        own = {"HOME": str(folder / "home"), "LEASE": "10", "MAX_QUEUED": "100"}
        environ |= {f"STEPFLOW_PYTHON_{key}": value for key, value in own.items()}
        broker = None
        if broker_kind != "embedded":
            server = {"redis": redis_server, "rabbitmq": rabbitmq_server}[broker_kind]
            environ["STEPFLOW_PYTHON_BROKER_URL"], broker = stack.enter_context(server(folder))
        if record == "postgresql":
            environ["STEPFLOW_PYTHON_DATABASE_URL"] = stack.enter_context(scratch_database())
        settings = Settings.from_environ(environ)
        asyncio.run(prepare(settings))
        words = [sys.executable, "-m", "stepflow_python", "worker", "--concurrency", str(CONCURRENCY)]
        workers = [Program(words, environ, folder / f"worker-{number}.log") for number in range(WORKERS)]
        for worker in workers:
            stack.callback(worker.stop)
        engine = reading_engine(place_of(settings.database))
        stack.callback(engine.dispose)
        yield Site(name=name, settings=settings, engine=engine, workers=workers, broker=broker)


async def prepare(settings: Settings) -> None:
    """Make the record before its readers come."""
    async with open_client(settings):
        pass


async def submit_all(settings: Settings, jobs: int) -> None:
    """Submit jobs, a few at a time, each again under its id until it was taken."""
    async with open_client(settings) as client:

        async def one(number: int) -> None:
            request = ExecutionRequest(
                execution_id=f"job-{number}",
                tool_id="work",
                code=CODE,
                function_name="work",
                parameters={"n": number},
                max_attempts=MAX_ATTEMPTS,
            )
            while True:
                try:
                    await client.submit(request)
                except PythonError:
                    await asyncio.sleep(0.2)
                else:
                    return

        for start in range(0, jobs, 8):
            await asyncio.gather(*(one(number) for number in range(start, min(start + 8, jobs))))


ENDED = "SELECT count(*) FROM executions WHERE finished_at IS NOT NULL"


def wait_for_ends(place: Site, jobs: int) -> None:
    """Until all have ended, or nothing has for a long time; how long nothing ended after each kill is noted."""
    seen, since, kills = -1, time.monotonic(), 0
    while time.monotonic() - since < PATIENCE_S:
        time.sleep(0.25)
        with contextlib.suppress(Exception):
            (row,) = place.rows(ENDED)
            if row[0] == jobs:
                return
            if row[0] != seen:
                seen, since = int(str(row[0])), time.monotonic()
        if (total := place.kills.total()) >= kills + 50:
            kills = total
            print(f"  {place.name}: {seen} of {jobs} ended, {dict(place.kills)}", file=sys.stderr, flush=True)


def harmed(place: Site, jobs: int, seed: int) -> None:
    """Submit, kill and wait."""
    random.seed(seed)
    over = threading.Event()
    producer = threading.Thread(target=lambda: asyncio.run(submit_all(place.settings, jobs)), daemon=True)

    def rage() -> None:
        while not over.wait(random.uniform(*KILL_EVERY_S)):
            place.harm()

    villain = threading.Thread(target=rage, daemon=True)
    producer.start()
    villain.start()
    try:
        wait_for_ends(place, jobs)
    finally:
        over.set()
        villain.join()


def judged(place: Site, jobs: int, seconds: float) -> dict[str, object]:
    """What came of it."""
    ends = {
        str(name): (str(status), moment)
        for name, status, moment in place.rows("SELECT id, status, finished_at FROM executions")
    }
    statuses = Counter(status for status, _moment in ends.values())
    outcomes = Counter(
        str(row[0])
        for row in place.rows(
            "SELECT execution_id FROM python_executions WHERE status NOT IN ('lost')"
            " AND NOT (status = 'failed' AND error IS NOT NULL AND result IS NULL AND return_code IS NULL)"
        )
    )
    wrong = place.rows("SELECT count(*) FROM python_executions WHERE status = 'succeeded' AND result IS NULL")
    moments = [
        stamp(ends[name][1]) - moment for name, moment in place.disrupted if name in ends and ends[name][1] is not None
    ]
    moments = sorted(max(moment, 0.0) for moment in moments)
    return {
        "pair": place.name,
        "jobs": jobs,
        "kills": dict(place.kills),
        "succeeded": statuses["succeeded"],
        "failed": statuses["failed"],
        "given_up": statuses["lost"],
        "lost": jobs - sum(count for status, count in statuses.items() if status not in {"queued", "running"}),
        "twice": sum(count > 1 for count in outcomes.values()) + int(str(wrong[0][0])),
        "disrupted": len(moments),
        "recover_p50_s": round(statistics.median(moments), 1) if moments else None,
        "recover_p95_s": round(moments[int(len(moments) * 0.95)], 1) if moments else None,
        "seconds": round(seconds),
    }


def stamp(moment: object) -> float:
    """Seconds since the epoch of a time as either database gives it."""
    found = moment if isinstance(moment, datetime) else datetime.fromisoformat(str(moment))
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def table(results: list[dict[str, object]]) -> str:
    """The results for the documentation."""
    columns = (
        *("pair", "jobs", "kills: worker, child, broker, database", "succeeded", "child killed", "lost", "twice"),
        *("disrupted", "recover p50 / p95, s"),
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for found in results:
        kills = found["kills"]
        assert isinstance(kills, dict)
        counts = ", ".join(str(kills.get(what, "-")) for what in ("worker", "child", "broker", "database"))
        lines.append(
            f"| {found['pair']} | {found['jobs']} | {counts} | {found['succeeded']} | {found['failed']} |"
            f" {found['lost']} | {found['twice']} | {found['disrupted']} |"
            f" {found['recover_p50_s']} / {found['recover_p95_s']} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Soak the pairs that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--pairs", nargs="*", default=list(PAIRS), choices=PAIRS)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    options = parser.parse_args()
    results = []
    for name in options.pairs:
        with site(name) as place:
            started = time.monotonic()
            harmed(place, options.jobs, options.seed)
            results.append(judged(place, options.jobs, time.monotonic() - started))
        print(json.dumps(results[-1]), flush=True)
    if options.write:
        put(DOCS, "soak", table(results))
    print(table(results), file=sys.stderr)
    return 1 if any(found["lost"] or found["twice"] for found in results) else 0


if __name__ == "__main__":
    sys.exit(main())
