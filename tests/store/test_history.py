"""The record as it is read, the same on both databases."""

import asyncio
import base64
import json
import sqlite3
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite
from support.records import attempt, module, outcome, request, with_store

from stepflow_python.errors import ParseError
from stepflow_python.model.history import ExecutionSummary, HistoryFilter, PythonMetrics
from stepflow_python.model.module import PythonModule
from stepflow_python.model.result import Status
from stepflow_python.model.values import now
from stepflow_python.ports import Attempt
from stepflow_python.store.engines import BUSY_TIMEOUT_S, reading_engine, writing_engine
from stepflow_python.store.history import SqlHistory, _cursor_after, _key_of
from stepflow_python.store.opening import Store
from stepflow_python.store.reads import Key, summaries
from stepflow_python.store.urls import place_of

FILTERS = {
    "all": HistoryFilter(),
    "status": HistoryFilter(status=Status.QUEUED),
    "tool": HistoryFilter(tool="doubling"),
    "workflow": HistoryFilter(workflow_id="nightly"),
    "since": HistoryFilter(since=now()),
    "status and tool": HistoryFilter(status=Status.FAILED, tool="doubling", since=now()),
}


async def all_pages(store: Store, query: HistoryFilter, *, limit: int) -> list[str]:
    """Every id that the pages give, in their order."""
    ids: list[str] = []
    cursor = None
    while True:
        page = await store.history.page(query, limit=limit, cursor=cursor)
        assert len(page.items) <= limit
        ids += [item.execution_id for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return ids


@pytest.mark.parametrize("limit", [1, 3, 7, 8])
def test_pages_give_each_execution_once_newest_first(url: str, limit: int) -> None:
    """Whatever the size of a page, going on by its cursor gives everything once, in order."""

    async def scenario(store: Store) -> None:
        names = [f"job-{number}" for number in range(7)]
        for name in names:
            await store.ledger.enqueue(request(name))
        assert await all_pages(store, HistoryFilter(), limit=limit) == names[::-1]

    with_store(url, scenario)


def test_filters(url: str) -> None:
    """Each filter lets through what it names; a tool goes by its id or by its name."""

    async def scenario(store: Store) -> None:
        await store.ledger.enqueue(request("a", tool_id="other", workflow_id="nightly"))
        await store.ledger.enqueue(request("b"))
        middle = now()
        await store.ledger.claim(request("c"))
        await store.ledger.finish(attempt(request("c"), Status.FAILED))
        tool_id = f"doubling-{module().source_hash[:12]}"
        for query, expected in (
            (HistoryFilter(tool="other"), ["a"]),
            (HistoryFilter(tool="doubling"), ["c", "b", "a"]),
            (HistoryFilter(tool=tool_id), ["c", "b"]),
            (HistoryFilter(tool=tool_id, status=Status.FAILED), ["c"]),
            (HistoryFilter(tool="unknown"), []),
            (HistoryFilter(status=Status.QUEUED), ["b", "a"]),
            (HistoryFilter(workflow_id="nightly"), ["a"]),
            (HistoryFilter(since=middle), ["c"]),
            (HistoryFilter(since=middle + timedelta(days=1)), []),
        ):
            assert await all_pages(store, query, limit=2) == expected, query

    with_store(url, scenario)


def test_a_line_says_how_it_went(url: str) -> None:
    """A line of history has the times and figures of the attempt that ended it, and why it did not succeed."""

    async def scenario(store: Store) -> ExecutionSummary:
        one = request(step_id="load", workflow_id="nightly", priority=4, max_attempts=2)
        await store.ledger.claim(one)
        await store.ledger.finish(attempt(one, Status.FAILED))
        return (await store.history.page(HistoryFilter(), limit=5)).items[0]

    line = with_store(url, scenario)
    assert (line.status, line.attempts, line.max_attempts, line.priority) == (Status.FAILED, 1, 2, 4)
    assert (line.workflow_id, line.step_id, line.tool) == ("nightly", "load", "doubling")
    assert (line.execution_time_ms, line.memory_usage_kb, line.isolation) == (12.345678, 6_768, "namespaces")
    assert (line.started_at, line.finished_at) == (outcome(request()).started_at, outcome(request()).finished_at)
    assert line.why == "ValueError: no"


ENDS = (Status.SUCCEEDED, Status.FAILED, Status.LOST)


def test_metrics(url: str) -> None:
    """Totals count what the filter lets through, queued ones in the total only."""

    async def scenario(store: Store) -> list[PythonMetrics]:
        await store.ledger.enqueue(request("queued"))
        for name, status, took in zip("abc", ENDS, (10.0, 20.0, 60.0), strict=True):
            await store.ledger.claim(request(name))
            await store.ledger.finish(attempt(request(name), status, execution_time_ms=took))
        middle = now()
        queries = (
            HistoryFilter(),
            HistoryFilter(tool="nobody"),
            HistoryFilter(status=Status.FAILED),
            HistoryFilter(since=middle),
            HistoryFilter(until=middle),
            HistoryFilter(tool="doubling", until=middle, status=Status.LOST),
        )
        return [await store.history.metrics(query) for query in queries]

    found, none, failed, *by_time = with_store(url, scenario)
    assert (found.total_executions, found.successful_executions, found.failed_executions) == (4, 1, 2)
    assert (found.average_execution_time, found.memory_usage) == (30.0, 6_768)
    assert found.executions_by_status == dict.fromkeys((Status.QUEUED, *ENDS), 1)
    assert (none.total_executions, none.average_execution_time, none.memory_usage) == (0, 0.0, 0)
    assert (failed.total_executions, failed.average_execution_time) == (1, 20.0)
    assert [one.total_executions for one in by_time] == [0, 4, 1]


def test_source(url: str) -> None:
    """A tool's source comes back with all that parsing found; an unknown tool has none."""

    async def scenario(store: Store) -> tuple[PythonModule | None, PythonModule | None]:
        one = request(tool_id="doubling-tool")
        await store.ledger.claim(one)
        await store.ledger.finish(Attempt(request=one, result=outcome(one), module=module()))
        return await store.history.source("doubling-tool"), await store.history.source("nobody")

    assert with_store(url, scenario) == (module(), None)


def test_unknown_executions_are_none(url: str) -> None:
    """An id that is not on record gives nothing, not an error."""
    assert with_store(url, lambda store: store.history.get("nobody")) is None


def test_a_result_is_there_once_it_has_ended(url: str) -> None:
    """Nothing while it is queued or unknown; then the same as in the whole record."""

    async def scenario(store: Store) -> None:
        assert await store.history.result("one") is None
        await store.ledger.enqueue(request("one"))
        assert await store.history.result("one") is None
        await store.ledger.request_cancel("one")
        record = await store.history.get("one")
        assert record is not None
        assert record.result is not None
        assert await store.history.result("one") == record.result

    with_store(url, scenario)


def test_who_asks_for_an_end_does_not_stop_the_loop_for_a_locked_file(sqlite_url: str) -> None:
    """By itself SQLite waits half a minute, in the middle of everything; so that is left to a thread."""
    place = place_of(sqlite_url)
    locked = sqlite3.connect(str(place.file), isolation_level=None)
    locked.execute("PRAGMA journal_mode=DELETE")  # readers of a log are never kept out
    locked.execute("BEGIN EXCLUSIVE")
    history = SqlHistory(reading_engine(place), place)

    async def scenario() -> float:
        asked, longest_s = asyncio.create_task(history.ended("one")), 0.0
        for _ in range(20):
            before = time.monotonic()
            await asyncio.sleep(0.02)
            longest_s = max(longest_s, time.monotonic() - before)
        assert not asked.done()
        locked.execute("COMMIT")
        assert await asked == (None, None)
        return longest_s

    try:
        assert asyncio.run(scenario()) < BUSY_TIMEOUT_S / 3
    finally:
        history.close()
        locked.close()


def test_cancelled_reads_leave_no_connection_open(url: str) -> None:
    """However often a caller stops waiting half-way, no more files are open than its engine keeps for later."""

    async def scenario(store: Store) -> None:
        for pauses in range(60):
            reads = [asyncio.create_task(store.history.get("one")) for _ in range(8)]
            for _ in range(pauses):
                await asyncio.sleep(0)
            for read in reads:
                read.cancel()
            await asyncio.gather(*reads, return_exceptions=True)
        assert await store.history.get("one") is None

    def files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with_store(url, lambda store: store.history.get("one"))
    before = files()
    with_store(url, scenario)
    assert files() == before


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_bounds(sqlite_url: str, limit: int) -> None:
    """A page of no lines, or of too many, is an error that says which numbers are right."""
    with pytest.raises(ParseError, match=r"limit: -?\d+ is not a number from 1 to 1000"):
        with_store(sqlite_url, lambda store: store.history.page(HistoryFilter(), limit=limit))


@given(cursor=st.text() | st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode()))
@example(base64.urlsafe_b64encode(json.dumps(["2026-01-01", 3]).encode()).decode())
@example(base64.urlsafe_b64encode(json.dumps(["2026-01-01T00:00:00Z"]).encode()).decode())
@example(base64.urlsafe_b64encode(b"[" * 100_000).decode())
@example("ä")
def test_a_cursor_that_we_did_not_give_is_refused(cursor: str) -> None:
    """Whatever is passed as a cursor, it is refused in words."""
    with pytest.raises(ParseError, match="cursor: not one that a page of history gave"):
        _key_of(cursor)


@given(queued_at=st.datetimes().map(lambda moment: moment.replace(tzinfo=now().tzinfo)), execution_id=st.text())
def test_a_cursor_names_its_place(queued_at: datetime, execution_id: str) -> None:
    """A cursor comes back as the time, to the microsecond, and the id that it was made of."""
    line = ExecutionSummary(
        execution_id=execution_id, tool_id=None, tool=None, status=Status.QUEUED, queued_at=queued_at
    )
    assert _key_of(_cursor_after(line)) == (queued_at, execution_id)


@pytest.mark.parametrize("after", [None, (now(), "one")], ids=["first page", "next page"])
@pytest.mark.parametrize("by_tool_id", [True, False], ids=["by id", "by name"])
@pytest.mark.parametrize("query", FILTERS.values(), ids=FILTERS.keys())
def test_every_page_is_found_by_an_index(
    sqlite_url: str, query: HistoryFilter, *, by_tool_id: bool, after: Key | None
) -> None:
    """No page reads the whole table, and none sorts: an index gives the order."""
    statement = summaries(query, by_tool_id=by_tool_id, after=after, limit=50)
    compiled = str(statement.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    engine = writing_engine(place_of(sqlite_url))
    with engine.connect() as connection:
        plan = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")]
    engine.dispose()
    assert any("executions USING INDEX ix_executions" in step for step in plan), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan
