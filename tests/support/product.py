"""The whole product as a test meets it: homes, environments shared, ends waited for, processes by a mark."""

import asyncio
import contextlib
import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from celery import Celery
from sqlalchemy import select, text

from stepflow_python.client.client import open_client
from stepflow_python.config import Settings
from stepflow_python.errors import ExecutionError
from stepflow_python.model.history import ExecutionRecord
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.security import SecurityLevel
from stepflow_python.store.engines import reading_engine, writing_engine
from stepflow_python.store.schema import attempts
from stepflow_python.store.urls import place_of
from support.cli import Stepflow

PATIENCE_S = 120.0
LEASE = {"LEASE": "2"}
"""What a killed worker held is free again soon."""

Recorded = Callable[[str], dict[str, Any]]
"""Waits for the end of an execution; its record, as `show --json` prints it."""


def beside(stepflow: Stepflow, home: Path, **settings: str) -> Stepflow:
    """The command with another home and further settings, on the same environments."""
    environments = {"VIRTUAL_ENV_PATH": str(stepflow.home / "environments")}
    return Stepflow(home=home, settings={**environments, **LEASE, **settings})


def producer(stepflow: Stepflow, *, backend: str | None = None) -> Celery:
    """A Celery application that knows the broker of a home and nothing else of ours: see `docs/producers.md`."""
    app = Celery(broker=f"stepflow://{stepflow.home / 'broker.db'}", backend=backend, set_as_current=False)
    app.conf.broker_transport = "stepflow_python.messaging.transport:Transport"
    return app


def settings_of(stepflow: Stepflow) -> Settings:
    """The settings that the command has."""
    return Settings.from_environ(stepflow.environ)


def wait_for_end(stepflow: Stepflow, execution_id: str) -> dict[str, Any]:
    """The record of an execution, which may not be there yet, once it has ended."""
    return wait_until(stepflow, execution_id, lambda record: record.status.ended)


def wait_until(stepflow: Stepflow, execution_id: str, reached: Callable[[ExecutionRecord], bool]) -> dict[str, Any]:
    """The record of an execution, once it is as it should be."""

    async def wait() -> ExecutionRecord:
        async with open_client(settings_of(stepflow)) as client, asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    record = await client.show(execution_id)
                except ExecutionError:
                    record = None
                if record is not None and reached(record):
                    return record
                await asyncio.sleep(0.02)

    value: dict[str, Any] = json.loads(asyncio.run(wait()).model_dump_json())
    return value


def processes_with(mark: str) -> set[int]:
    """Pids of the processes of this host that have an argument in their command line, boxes included."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if mark.encode() in arguments and int(entry.name) != os.getpid():
                found.add(int(entry.name))
    return found


def wait_for_processes(mark: str, *, there: bool) -> None:
    """Wait until there are, or are no longer, processes with a mark."""
    deadline = time.monotonic() + PATIENCE_S
    while bool(processes_with(mark)) is not there:
        assert time.monotonic() < deadline, f"processes with {mark}: {processes_with(mark)}"
        time.sleep(0.02)


def sleeper(execution_id: str, mark: str, *, max_attempts: int = 2) -> ExecutionRequest:
    """A tool that prints a word, then waits in a child process, which can be seen from outside by its mark."""
    return ExecutionRequest(
        execution_id=execution_id,
        code=f"import subprocess\n\nprint('before', flush=True)\nsubprocess.run(['sleep', '{mark}'])\nprint('after')\n",
        security_level=SecurityLevel.STANDARD,
        timeout=90,
        max_attempts=max_attempts,
    )


def send(stepflow: Stepflow, request: ExecutionRequest) -> None:
    """Submit a request, and wait for nothing."""

    async def submit() -> None:
        async with open_client(settings_of(stepflow)) as client:
            await client.submit(request)

    asyncio.run(submit())


def attempts_of(stepflow: Stepflow) -> Counter[str]:
    """How often each execution was tried, by the rows on record."""
    engine = reading_engine(place_of(settings_of(stepflow).database))
    try:
        with engine.connect() as connection:
            return Counter(connection.scalars(select(attempts.c.execution_id)))
    finally:
        engine.dispose()


def make_due(pair: Stepflow) -> None:
    """As if all that was sent had been sent long ago."""
    engine = writing_engine(place_of(settings_of(pair).database))
    with engine.begin() as connection:
        connection.execute(text("UPDATE deliveries SET due = 0"))
    engine.dispose()


def is_at(record: ExecutionRecord, *, attempt: int) -> bool:
    """Whether an execution is being tried for this time."""
    return record.attempts == attempt


@contextlib.contextmanager
def marked() -> Iterator[str]:
    """An argument that no other process of this host has, a number of seconds; what it marks is gone at the end."""
    seconds = f"80.{secrets.randbelow(10**9):09d}"
    yield seconds
    wait_for_processes(seconds, there=False)
