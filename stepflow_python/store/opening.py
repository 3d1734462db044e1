"""Opening the record."""

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from stepflow_python.store.engines import reading_engine, writing_engine
from stepflow_python.store.failures import translated
from stepflow_python.store.history import SqlHistory
from stepflow_python.store.ledger import LEASE_S, Bounds, SqlLedger
from stepflow_python.store.live import SqlLive
from stepflow_python.store.loose import SqlLoose
from stepflow_python.store.news import News
from stepflow_python.store.recorder import Recorder
from stepflow_python.store.reusable import SqlReusable
from stepflow_python.store.schema import HEAD
from stepflow_python.store.urls import Place, place_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """An open record.

    `ledger` to write it, `history` to read it, `loose` for what died, `live` for what prints, `news` to hear of ends.
    """

    ledger: SqlLedger
    history: SqlHistory
    loose: SqlLoose
    live: SqlLive
    reusable: SqlReusable
    news: News


@asynccontextmanager
async def open_store(
    url: str, *, worker_id: str | None = None, lease_s: float = LEASE_S, bounds: Bounds | None = None
) -> AsyncIterator[Store]:
    """Open the record at an SQLAlchemy URL, its tables made or upgraded where they are behind.

    Args:
        url: `sqlite:////folder/file.db` or `postgresql://user:password@host/database`.
        worker_id: under which name this process claims executions; a new one if none.
        lease_s: for how many seconds a claim holds without a sign of life.
        bounds: how many executions may wait, and run of one tool; any number if none.

    Raises:
        DatabaseError: it cannot be opened, or its schema is ahead of this version.
    """
    place = place_of(url)
    await asyncio.to_thread(_bring_up_to_date, url, place)
    writing, reading = writing_engine(place), reading_engine(place)
    recorder = Recorder(writing, place)
    history, news = SqlHistory(reading, place), News(place)
    try:
        ledger = SqlLedger(recorder, history, worker_id=worker_id, lease_s=lease_s, bounds=bounds)
        yield Store(
            ledger=ledger,
            history=history,
            loose=SqlLoose(recorder, history),
            live=SqlLive(recorder, history),
            reusable=SqlReusable(recorder, history),
            news=news,
        )
    finally:
        news.close()
        await asyncio.to_thread(recorder.close)
        await asyncio.to_thread(writing.dispose)
        await asyncio.to_thread(history.close)


def _bring_up_to_date(url: str, place: Place) -> None:
    if not _is_current(place):
        # Loading the migrations' own library takes longer than a quick run; only a schema that is behind needs it.
        importlib.import_module("stepflow_python.store.migrate").upgrade(url)


def _is_current(place: Place) -> bool:
    """Read the revision, without any lock."""
    if place.file is not None and not place.file.exists():
        return False
    engine = writing_engine(place)
    try:
        with translated(place):
            return _revision(engine) == HEAD
    finally:
        engine.dispose()


def _revision(engine: Engine) -> str | None:
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
            return found
    except DBAPIError as error:
        words = str(error.orig)
        if "alembic_version" in words:
            return None
        raise
