"""Forgetting what is old."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, delete, exists, not_, select

from stepflow_python.model.values import Instant, now
from stepflow_python.store.engines import writing_engine
from stepflow_python.store.failures import translated
from stepflow_python.store.schema import attempts, executions, modules, tools
from stepflow_python.store.states import ENDED
from stepflow_python.store.urls import place_of

BATCH = 500
"""Executions removed in one transaction: recorders of other processes wait no longer than that takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """How many rows were removed; attempts and files go with their executions and are not counted."""

    executions: int
    modules: int
    tools: int


async def prune(url: str, *, older_than: timedelta) -> Pruned:
    """Remove executions that ended longer ago than this, then sources and tools of that age that none is left of.

    Raises:
        DatabaseError: the record cannot be written.
    """
    return await asyncio.to_thread(_prune, url, now() - older_than)


def _prune(url: str, before: Instant) -> Pruned:
    place = place_of(url)
    engine = writing_engine(place)
    try:
        with translated(place):
            removed = 0
            while True:
                with engine.begin() as connection:
                    count = _remove_executions(connection, before)
                removed += count
                if count < BATCH:
                    break
            with engine.begin() as connection:
                old_modules, old_tools = _remove_sources(connection, before)
            return Pruned(executions=removed, modules=old_modules, tools=old_tools)
    finally:
        engine.dispose()


def _remove_executions(connection: Connection, before: Instant) -> int:
    ended = executions.c.status.in_(ENDED)
    # An execution cannot end before it was queued: the index over that time narrows the search.
    old = (executions.c.queued_at < before) & (executions.c.finished_at < before)
    oldest = select(executions.c.id).where(ended, old).order_by(executions.c.queued_at).limit(BATCH)
    return connection.execute(delete(executions).where(executions.c.id.in_(oldest))).rowcount


def _remove_sources(connection: Connection, before: Instant) -> tuple[int, int]:
    unused = not_(exists().where(attempts.c.module_id == modules.c.id))
    old_modules = connection.execute(delete(modules).where(modules.c.created_at < before, unused)).rowcount
    empty = not_(exists().where(modules.c.tool_id == tools.c.id))
    old_tools = connection.execute(delete(tools).where(tools.c.created_at < before, empty)).rowcount
    return old_modules, old_tools
