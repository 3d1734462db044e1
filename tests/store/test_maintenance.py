"""Forgetting what is old, and nothing else."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update
from support.records import attempt, request, with_store

from stepflow_python.model.result import Status
from stepflow_python.store import maintenance
from stepflow_python.store.engines import writing_engine
from stepflow_python.store.maintenance import Pruned, prune
from stepflow_python.store.opening import Store
from stepflow_python.store.schema import executions, metadata, modules, tools
from stepflow_python.store.urls import place_of

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def counts(url: str) -> dict[str, int]:
    """Rows by table."""
    engine = writing_engine(place_of(url))
    names = ("executions", "python_executions", "execution_files", "python_modules", "tools", "python_environments")
    with engine.connect() as connection:
        found = {
            name: connection.execute(select(func.count()).select_from(metadata.tables[name])).scalar_one()
            for name in names
        }
    engine.dispose()
    return found


def age(url: str, *names: str) -> None:
    """Make executions, and all sources, a year old."""
    engine = writing_engine(place_of(url))
    with engine.begin() as connection:
        for name in names:
            one = update(executions).where(executions.c.id == name)
            connection.execute(one.values(queued_at=LONG_AGO))
            connection.execute(one.where(executions.c.finished_at.is_not(None)).values(finished_at=LONG_AGO))
        for table in (tools, modules):
            connection.execute(update(table).values(created_at=LONG_AGO))
    engine.dispose()


async def fill(store: Store) -> None:
    """Two that ended, one that runs, one that waits."""
    for name in ("old", "new", "running"):
        await store.ledger.claim(request(name))
    await store.ledger.finish(attempt(request("old")))
    await store.ledger.finish(attempt(request("new"), Status.FAILED, finished_at=None))
    await store.ledger.enqueue(request("queued"))


def test_only_what_ended_long_ago_goes(url: str) -> None:
    """Old ends go with their attempts and files; what waits, runs, or ended lately stays, and so does its source."""
    with_store(url, fill)
    age(url, "old", "running", "queued")
    assert asyncio.run(prune(url, older_than=timedelta(days=30))) == Pruned(executions=1, modules=0, tools=0)
    found = counts(url)
    assert (found["executions"], found["python_executions"], found["execution_files"]) == (3, 1, 2)
    assert (found["python_modules"], found["tools"]) == (1, 1)


def test_sources_go_with_the_last_execution_of_them(url: str) -> None:
    """When nothing refers to an old source any more, it goes, and its tool; environments stay."""
    with_store(url, fill)
    age(url, "old", "new")
    assert asyncio.run(prune(url, older_than=timedelta(days=30))) == Pruned(executions=2, modules=1, tools=1)
    found = counts(url)
    assert (found["python_modules"], found["tools"], found["python_environments"]) == (0, 0, 1)


def test_many_go_in_several_transactions(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one transaction's worth is removed as well, and a second time there is nothing left to remove."""
    monkeypatch.setattr(maintenance, "BATCH", 3)

    async def many(store: Store) -> None:
        for number in range(7):
            await store.ledger.claim(request(f"job-{number}"))
            await store.ledger.finish(attempt(request(f"job-{number}")))

    with_store(url, many)
    age(url, *(f"job-{number}" for number in range(7)))
    assert asyncio.run(prune(url, older_than=timedelta(days=1))).executions == 7
    assert asyncio.run(prune(url, older_than=timedelta(days=1))) == Pruned(executions=0, modules=0, tools=0)
