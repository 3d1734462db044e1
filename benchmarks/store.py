"""What recording and listing executions costs, beside one commit for each write and beside skipping by offset."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from figure import Figure
from sqlalchemy import insert, select

from stepflow_python.model.history import HistoryFilter
from stepflow_python.model.module import PythonModule
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import ExecutionResult, Status
from stepflow_python.model.values import now
from stepflow_python.ports import Attempt
from stepflow_python.store import recorder
from stepflow_python.store.engines import reading_engine, writing_engine
from stepflow_python.store.history import _cursor_after
from stepflow_python.store.opening import Store, open_store
from stepflow_python.store.schema import executions
from stepflow_python.store.urls import place_of

CALLERS = 32
PAGE = 50
MODULE = PythonModule(name="tool", source_code="print(1)", source_hash="ab" * 32)


def figures(*, quick: bool) -> list[Figure]:
    """Executions recorded each second by 32 callers at once, and the time of a page deep in the history."""
    count, rounds, rows = (500, 3, 20_000) if quick else (2_000, 5, 200_000)
    shared, single = [], []
    for _ in range(rounds):
        # By turns, so that a noisy minute hits both.
        shared.append(recorded_each_second(count))
        with one_write_in_a_commit():
            single.append(recorded_each_second(count))
    page, offset = asyncio.run(page_ms(rows, turns=30))
    return [
        Figure.of(
            id="store.rate",
            name=f"executions recorded (queued, claimed, ended) by {CALLERS} callers, beside one write in a commit",
            value=round(statistics.median(shared), 1),
            baseline=round(statistics.median(single), 1),
            unit="executions/s",
            goal=">= 1.2x",
        ),
        Figure.of(
            id="store.page",
            name=f"page of {PAGE} in the middle of {rows} executions, beside skipping by offset",
            value=round(page, 3),
            baseline=round(offset, 3),
            unit="ms",
            goal="<= 10 ms",
        ),
    ]


@contextmanager
def one_write_in_a_commit() -> Iterator[None]:
    """The same recorder, but each write has a transaction of its own."""
    before, recorder.MAX_BATCH = recorder.MAX_BATCH, 1
    try:
        yield
    finally:
        recorder.MAX_BATCH = before


def recorded_each_second(count: int) -> float:
    """Whole executions on a fresh file, each write durable before the caller's next one."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_record(f"sqlite:///{folder}/record.db", count))


async def _record(url: str, count: int) -> float:
    async with open_store(url) as store:
        slots = asyncio.Semaphore(CALLERS)
        await asyncio.gather(*(_one(store, slots) for _ in range(CALLERS)))
        began = time.perf_counter()
        await asyncio.gather(*(_one(store, slots) for _ in range(count)))
        return count / (time.perf_counter() - began)


async def _one(store: Store, slots: asyncio.Semaphore) -> None:
    async with slots:
        request = ExecutionRequest(code=MODULE.source_code)
        await store.ledger.enqueue(request)
        claim = await store.ledger.claim(request)
        result = ExecutionResult(
            execution_id=request.execution_id,
            status=Status.SUCCEEDED,
            attempt=claim.attempt or 0,
            result={"doubled": 42},
            stdout="x" * 400,
            started_at=now(),
            finished_at=now(),
        )
        await store.ledger.finish(Attempt(request=request, result=result, module=MODULE))


async def page_ms(rows: int, *, turns: int) -> tuple[float, float]:
    """Median times of a page by cursor and of the same page by offset."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/record.db"
        async with open_store(url) as store:
            await asyncio.to_thread(_fill, url, rows)
            first = await store.history.page(HistoryFilter(), limit=1)
            newest = first.items[0]
            middle = newest.model_copy(
                update={"queued_at": newest.queued_at - timedelta(seconds=rows // 2), "execution_id": "~"}
            )
            cursor = _cursor_after(middle)
            ours = [await _page_by_cursor(store, cursor) for _ in range(turns)]
        theirs = _pages_by_offset(url, rows // 2, turns=turns)
        return statistics.median(ours), statistics.median(theirs)


async def _page_by_cursor(store: Store, cursor: str) -> float:
    began = time.perf_counter()
    await store.history.page(HistoryFilter(), limit=PAGE, cursor=cursor)
    return (time.perf_counter() - began) * 1000


def _pages_by_offset(url: str, offset: int, *, turns: int) -> list[float]:
    engine = reading_engine(place_of(url))
    columns = [column for column in executions.c if column.name != "request"]
    order = executions.c.queued_at.desc(), executions.c.id.desc()
    statement = select(*columns).order_by(*order).limit(PAGE).offset(offset)
    times = []
    for _ in range(turns):
        began = time.perf_counter()
        with engine.connect() as connection:
            connection.execute(statement).all()
        times.append((time.perf_counter() - began) * 1000)
    engine.dispose()
    return times


def _fill(url: str, rows: int) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    engine = writing_engine(place_of(url))
    with engine.begin() as connection:
        for first in range(0, rows, 5_000):
            batch = [
                {
                    "id": f"job-{number:08d}",
                    "tool_id": f"tool-{number % 20}",
                    "tool_name": f"tool-{number % 20}",
                    "status": "queued",
                    "request": {"parameters": {"number": number}},
                    "priority": 0,
                    "attempts": 0,
                    "max_attempts": 3,
                    "queued_at": start + timedelta(seconds=number),
                }
                for number in range(first, min(first + 5_000, rows))
            ]
            connection.execute(insert(executions), batch)
    engine.dispose()
