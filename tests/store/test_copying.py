"""Moving a record: all of it, once, whatever happens on the way."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from support.records import CODE, attempt, module, outcome, request, with_store

from stepflow_python.errors import DatabaseError, ParseError
from stepflow_python.messages import Delivery
from stepflow_python.model.extension import ExtensionCall
from stepflow_python.model.history import HistoryFilter
from stepflow_python.model.result import Status
from stepflow_python.model.values import now
from stepflow_python.ports import Attempt
from stepflow_python.store import copying
from stepflow_python.store.copying import Copied, copy
from stepflow_python.store.opening import Store
from stepflow_python.store.schema import metadata

OTHER_CODE = CODE + "# another\n"
NAN = {"not a number": float("inf"), "one": 1.0, "text": "\0"}
DELIVERY = Delivery(queue="stepflow", message={"task": "stepflow.execute", "args": [{"code": CODE}]})
WHOLE = {
    "tools": 1,
    "python_modules": 1,
    "python_environments": 1,
    "python_dependencies": 2,
    "executions": 4,
    "python_executions": 4,
    "execution_files": 6,
    "extension_calls": 1,
    "deliveries": 1,
    "reusable_results": 1,
}


@pytest.fixture
def target(url: str, tmp_path: Path) -> str:
    """Another database of each kind, empty; a file is not there yet."""
    return f"sqlite:///{tmp_path / 'folder' / 'target.db'}" if url.startswith("sqlite") else url


def call() -> ExtensionCall:
    """A call of an extension."""
    return ExtensionCall(
        extension="kv", function="get", called_at=now(), duration_ms=1, request_bytes=1, response_bytes=1, outcome="ok"
    )


async def fill(store: Store) -> None:
    """One of everything: ends, an attempt before the last, one that waits with its message, one that runs."""
    for name in ("one", "two", "tried"):
        await store.ledger.claim(request(name, tool_id="doubling", extensions=["kv"]))
    tried = request("tried", tool_id="doubling", max_attempts=3)
    assert await store.ledger.give_back(Attempt(request=tried, result=outcome(tried, Status.LOST)))
    await store.ledger.claim(tried)
    await store.ledger.finish(attempt(request("one", tool_id="doubling"), result=NAN))
    await store.ledger.finish(attempt(request("two", tool_id="doubling"), Status.FAILED))
    await store.ledger.finish(attempt(tried, attempt=2))
    await store.ledger.record_calls("one", [call()])
    await store.reusable.keep("a" * 64, "one")
    await store.ledger.enqueue(request("waits"), DELIVERY)
    await store.ledger.claim(request("zz-runs"))


def moved(copied: Copied) -> dict[str, int]:
    """What was moved, without zeros."""
    return {name: count for name, count in copied.moved.items() if count}


def both(sqlite_url: str, target: str, question: Callable[[Store], Awaitable[object]]) -> tuple[object, object]:
    """What two records answer."""
    return with_store(sqlite_url, question), with_store(target, question)


def test_everything_comes_along(sqlite_url: str, target: str) -> None:
    """Each table's rows are counted and each record is the same, to the last value; the second time nothing moves."""
    with_store(sqlite_url, fill)
    first = asyncio.run(copy(sqlite_url, target))
    assert moved(first) == WHOLE
    assert (sum(first.already.values()), first.running) == (0, 1)
    assert set(WHOLE) | {"live_output"} == {table.name for table in metadata.sorted_tables}
    for name in ("one", "two", "tried", "waits"):
        before, after = both(sqlite_url, target, lambda store, name=name: store.history.get(name))  # type: ignore[misc]
        assert before is not None
        assert before == after
    for question in (
        lambda store: store.history.source("doubling"),
        lambda store: store.history.recipe("two"),
        lambda store: store.reusable.find("a" * 64, younger_than_s=3600),
    ):
        before, after = both(sqlite_url, target, question)
        assert before is not None
        assert before == after
    again = asyncio.run(copy(sqlite_url, target))
    assert moved(again) == {}
    assert again.already["executions"] == 4


def test_what_waits_is_sent_and_numbers_go_on(sqlite_url: str, target: str) -> None:
    """The target's workers are told of what waits, and what they record has numbers of its own."""

    async def scenario(store: Store) -> None:
        assert await store.loose.waiting() == {"stepflow": 1}
        assert await store.loose.take_due("stepflow") == [DELIVERY]
        assert (await store.ledger.claim(request("waits"))).attempt == 1
        await store.ledger.finish(attempt(request("waits")))
        page = await store.history.page(HistoryFilter(status=Status.SUCCEEDED), limit=10)
        assert {item.execution_id for item in page.items} == {"one", "tried", "waits"}

    with_store(sqlite_url, fill)
    asyncio.run(copy(sqlite_url, target))
    with_store(target, scenario)


def test_what_has_ended_since(sqlite_url: str, target: str) -> None:
    """Copied while it waited or ran: the next copy brings its end, unless the target has one of its own."""

    async def end(store: Store) -> None:
        await store.ledger.claim(request("waits"))
        await store.ledger.finish(attempt(request("waits"), Status.FAILED))
        await store.ledger.finish(attempt(request("zz-runs")))

    with_store(sqlite_url, fill)
    asyncio.run(copy(sqlite_url, target))
    with_store(sqlite_url, end)
    again = asyncio.run(copy(sqlite_url, target))
    assert (again.moved["executions"], again.already["executions"], again.running) == (2, 3, 0)
    for name in ("waits", "zz-runs"):
        before, after = both(sqlite_url, target, lambda store, name=name: store.history.get(name))  # type: ignore[misc]
        assert before == after

    async def requeue(store: Store) -> None:
        await store.ledger.enqueue(request("both"))

    async def run(store: Store) -> None:
        await store.ledger.claim(request("both"))
        await store.ledger.finish(attempt(request("both"), Status.TIMED_OUT))

    with_store(target, requeue)
    with_store(target, run)
    with_store(sqlite_url, requeue)
    asyncio.run(copy(sqlite_url, target))
    record = with_store(target, lambda store: store.history.get("both"))
    assert record is not None
    assert record.status is Status.TIMED_OUT


def test_versions_of_a_tool_in_both(sqlite_url: str, target: str) -> None:
    """A tool that both have keeps its newest source, whichever record that was in."""

    async def newer(store: Store) -> None:
        one = request("newer", tool_id="doubling", code=OTHER_CODE)
        await store.ledger.claim(one)
        await store.ledger.finish(Attempt(request=one, result=outcome(one), module=module(OTHER_CODE)))

    with_store(sqlite_url, fill)
    with_store(target, newer)
    asyncio.run(copy(sqlite_url, target))
    source = with_store(target, lambda store: store.history.source("doubling"))
    assert source is not None
    assert source.source_code == OTHER_CODE


def test_a_copy_that_is_cut_off(sqlite_url: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was copied is whole, and the next copy brings the rest."""
    monkeypatch.setattr(copying, "BATCH", 1)

    def die(_message: str) -> None:
        raise KeyboardInterrupt

    with_store(sqlite_url, fill)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(copy(sqlite_url, target, progress=die))
    first = with_store(target, lambda store: store.history.page(HistoryFilter(), limit=10))
    assert [item.execution_id for item in first.items] == ["one"]
    before, after = both(sqlite_url, target, lambda store: store.history.get("one"))
    assert before == after
    assert asyncio.run(copy(sqlite_url, target)).moved["executions"] == 3


def test_what_cannot_be_copied(sqlite_url: str, tmp_path: Path) -> None:
    """The same twice, none at all, and one that is ahead on either side: refused, and nothing is changed."""
    missing = f"sqlite:///{tmp_path / 'missing.db'}"
    with pytest.raises(ParseError, match="name two databases"):
        asyncio.run(copy(sqlite_url, sqlite_url))
    with pytest.raises(DatabaseError, match="there is no such file"):
        asyncio.run(copy(missing, sqlite_url))
    assert not (tmp_path / "missing.db").exists()
    with_store(missing, lambda store: store.history.get("one"))
    with sqlite3.connect(tmp_path / "missing.db") as ahead:
        ahead.execute("UPDATE alembic_version SET version_num = '9999'")
    ahead.close()
    for one, other in ((missing, sqlite_url), (sqlite_url, missing)):
        with pytest.raises(DatabaseError, match="schema is ahead of this version"):
            asyncio.run(copy(one, other))
