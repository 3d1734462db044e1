"""Whoever waits hears of executions that end, and of a server's record knows that nothing is to be heard."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from stepflow_python.messages import Heard
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.store.news import News
from stepflow_python.store.opening import Store, open_store
from stepflow_python.store.urls import place_of

LONG_S = 20.0
SHORT_S = 0.05


def opened(path: Path, then: Callable[[Store], Awaitable[None]]) -> None:
    """Do something with a record that has been written to."""

    async def within() -> None:
        async with open_store(f"sqlite:///{path}") as store:
            await ended(store, "first")
            await then(store)

    asyncio.run(within())


async def ended(store: Store, name: str) -> None:
    """End an execution."""
    await store.ledger.enqueue(ExecutionRequest(execution_id=name, code="x = 1"))
    await store.ledger.request_cancel(name)


async def took_s(heard: Heard, within_s: float) -> float:
    """Seconds of a wait."""
    started = time.monotonic()
    await heard.wait(within_s=within_s)
    return time.monotonic() - started


def test_each_who_hears_hears_each_end(tmp_path: Path) -> None:
    """Also one between two waits; nothing is heard twice, and what ends nothing is not heard."""

    async def hear(store: Store) -> None:
        with store.news.heard() as one, store.news.heard() as other:
            assert (one.deaf, other.deaf) == (False, False)
            for heard in (one, other):
                await heard.wait(within_s=SHORT_S)
            await ended(store, "second")
            for heard in (one, other):
                assert await took_s(heard, LONG_S) < LONG_S / 2
            await store.history.get("second")
            request = ExecutionRequest(execution_id="third", code="x = 1")
            await store.ledger.enqueue(request)
            assert (await store.ledger.claim(request)).attempt == 1
            for heard in (one, other):
                assert await took_s(heard, SHORT_S) >= SHORT_S

    opened(tmp_path / "record.db", hear)


def test_an_end_by_another_store_is_heard(tmp_path: Path) -> None:
    """As of another process."""

    async def hear(store: Store) -> None:
        async with open_store(f"sqlite:///{tmp_path / 'record.db'}") as other:
            with store.news.heard() as heard:
                await heard.wait(within_s=SHORT_S)
                waiting = asyncio.create_task(took_s(heard, LONG_S))
                await asyncio.sleep(0)
                await ended(other, "second")
                assert await waiting < LONG_S / 2

    opened(tmp_path / "record.db", hear)


def test_it_can_be_closed_under_who_hears(tmp_path: Path) -> None:
    """Who waits on only waits."""

    async def hear(store: Store) -> None:
        with store.news.heard() as heard:
            store.news.close()
            await heard.wait(within_s=0)

    opened(tmp_path / "record.db", hear)


def test_one_loop_hears_at_a_time(tmp_path: Path) -> None:
    """Another one looks, as it does where nothing can be heard; once the first has stopped it hears, too."""

    async def hear(store: Store) -> None:
        async def deaf() -> bool:
            with store.news.heard() as heard:
                return heard.deaf

        with store.news.heard():
            assert await asyncio.to_thread(asyncio.run, deaf())
        assert not await asyncio.to_thread(asyncio.run, deaf())

    opened(tmp_path / "record.db", hear)


def test_a_server_is_not_heard() -> None:
    """Its files are elsewhere."""

    async def deaf() -> bool:
        with News(place_of("postgresql://user@host/database")).heard() as heard:
            return heard.deaf

    assert asyncio.run(deaf())
