"""Moving a record to another database, such as a file's to PostgreSQL."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import Column, Connection, Engine, RowMapping, Table, delete, insert, select, update

from stepflow_python.errors import DatabaseError, ParseError
from stepflow_python.model.result import Status
from stepflow_python.ports import Progress, silent
from stepflow_python.store import schema
from stepflow_python.store.clock import lease_clock, lease_now
from stepflow_python.store.engines import reading_engine, writing_engine
from stepflow_python.store.failures import translated
from stepflow_python.store.migrate import upgrade
from stepflow_python.store.schema import attempts, deliveries, environments, executions, files, modules, tools
from stepflow_python.store.states import ENDED
from stepflow_python.store.upsert import upsert
from stepflow_python.store.urls import Place, place_of

BATCH = 100
"""Executions copied in one transaction: whole, or not at all."""
AT_A_TIME = 20
"""Rows in memory; each may hold megabytes of output."""
HELD = ("lease_ends", "lease_clock", "claimed_by", "claimed_from", "watched_until")

Values: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """Rows by table: `moved`, and `already` there; `running` executions are left where they are."""

    moved: Mapping[str, int]
    already: Mapping[str, int]
    running: int


async def copy(source: str, target: str, *, progress: Progress = silent) -> Copied:
    """Copy all that one record has into another one, which may have something already; nothing is removed.

    Doing it again copies what has come since. An execution that waits is made due, so that the target's workers send
    it; one that has ended in the source since it was copied waiting is replaced, unless it was started there.

    Raises:
        ParseError: both are the same.
        DatabaseError: there is no record, one cannot be reached, or its schema is ahead of this version.
    """
    return await asyncio.to_thread(_copy, place_of(source), place_of(target), progress)


def _copy(source: Place, target: Place, progress: Progress) -> Copied:
    if source == target:
        raise ParseError(f"both are {source}; name two databases")
    if source.file is not None and not source.file.exists():
        raise DatabaseError(f"database {source}: there is no such file; name the record that is to be copied")
    for place in (source, target):
        upgrade(place.url.render_as_string(hide_password=False))
    with ExitStack() as stack:
        reading, writing = reading_engine(source), writing_engine(target)
        stack.callback(reading.dispose)
        stack.callback(writing.dispose)
        copying = _Copying(source=source, target=target, reading=reading, writing=writing)
        copying.sources()
        copying.environments()
        for number in copying.executions():
            progress(f"copied {number} executions")
        copying.reusable()
        return Copied(moved=dict(copying.moved), already=dict(copying.already), running=copying.running)


@dataclass(slots=True, kw_only=True)
class _Copying:
    """One copy under way; `modules` has the number in the target of each source's number."""

    source: Place
    target: Place
    reading: Engine
    writing: Engine
    moved: Counter[str] = field(default_factory=Counter)
    already: Counter[str] = field(default_factory=Counter)
    running: int = 0
    modules: dict[int, int] = field(default_factory=dict)

    def sources(self) -> None:
        """Tools and their sources; where both have versions of a tool, they are numbered anew by their age."""
        mixed: set[str] = set()
        with translated(self.target), self.writing.begin() as to:
            for row in self._rows(tools):
                if not self._add(to, tools, dict(row), key=("id",)):
                    mixed.add(row["id"])
            added: set[str] = set()
            for row in self._rows(modules):
                number = self._add(to, modules, _unnumbered(row), key=("tool_id", "source_hash"))
                if number is not None:
                    added.add(row["tool_id"])
                else:
                    same = (modules.c.tool_id == row["tool_id"], modules.c.source_hash == row["source_hash"])
                    number = to.execute(select(modules.c.id).where(*same)).scalar_one()
                self.modules[row["id"]] = number
            for tool in mixed & added:
                _number_anew(to, tool)

    def environments(self) -> None:
        """Environments and what is in them: the record of them, not their folders."""
        with translated(self.target), self.writing.begin() as to:
            for row in self._rows(environments):
                self._add(to, environments, dict(row), key=("id",))
            for row in self._rows(schema.dependencies):
                self._add(to, schema.dependencies, _unnumbered(row), key=("environment_id", "package_name"))

    def executions(self) -> Iterator[int]:
        """Executions with all that belongs to them, a batch at a time; how many were looked at."""
        last, seen = "", 0
        page = select(executions).order_by(executions.c.id).limit(BATCH)
        while True:
            with translated(self.source), self.reading.connect() as connection:
                batch = connection.execute(page.where(executions.c.id > last)).mappings().all()
            if not batch:
                return
            with translated(self.target), self.writing.begin() as to:
                self._batch(to, batch)
            last, seen = batch[-1]["id"], seen + len(batch)
            yield seen

    def reusable(self) -> None:
        """Which execution has the result of a pure tool."""
        table = schema.reusable_results
        with translated(self.target), self.writing.begin() as to:
            for row in self._rows(table):
                known = select(executions.c.id).where(executions.c.id == row["execution_id"])
                if to.execute(known).first() is not None:
                    self._add(to, table, dict(row), key=("key",))

    def _batch(self, to: Connection, batch: Sequence[RowMapping]) -> None:
        _forget_waiting(to, [row for row in batch if row["status"] in ENDED])
        still = [dict(row) | dict.fromkeys(HELD) for row in batch if row["status"] != Status.RUNNING]
        self.running += len(batch) - len(still)
        if not still:
            return
        statement = upsert(to, executions, key=("id",)).returning(executions.c.id)
        added = list(to.execute(statement, still).scalars())
        self.moved[executions.name] += len(added)
        self.already[executions.name] += len(still) - len(added)
        numbers: dict[int, int] = {}
        for rows in self._chunks(attempts, attempts.c.execution_id, added):
            numbers |= self._attempts(to, rows)
        for rows in self._chunks(files, files.c.attempt_id, list(numbers)):
            self._put(to, files, [_unnumbered(row) | {"attempt_id": numbers[row["attempt_id"]]} for row in rows])
        calls = schema.extension_calls
        for rows in self._chunks(calls, calls.c.execution_id, added):
            self._put(to, calls, map(_unnumbered, rows))
        for rows in self._chunks(deliveries, deliveries.c.execution_id, added):
            kept = [{name: value for name, value in row.items() if name not in {"due", "clock"}} for row in rows]
            to.execute(insert(deliveries).values(due=lease_now() - 1, clock=lease_clock()), kept)
            self.moved[deliveries.name] += len(kept)

    def _attempts(self, to: Connection, rows: Sequence[RowMapping]) -> dict[int, int]:
        """Their numbers in the target by those in the source."""
        values = [_unnumbered(row) | {"module_id": self.modules.get(row["module_id"])} for row in rows]
        statement = insert(attempts).returning(attempts.c.id, sort_by_parameter_order=True)
        numbers = to.execute(statement, values).scalars()
        self.moved[attempts.name] += len(rows)
        return dict(zip([row["id"] for row in rows], numbers, strict=True))

    def _chunks(self, table: Table, column: Column[Any], values: Sequence[object]) -> Iterator[Sequence[RowMapping]]:
        """The source's rows with certain values, a few at a time."""
        if values:
            wanted = select(table).where(column.in_(values)).order_by(*table.primary_key)
            with translated(self.source), self.reading.connect() as connection:
                found = connection.execute(wanted.execution_options(yield_per=AT_A_TIME)).mappings()
                yield from found.partitions()

    def _rows(self, table: Table) -> Iterator[RowMapping]:
        """All of the source's rows."""
        wanted = select(table).order_by(*table.primary_key).execution_options(yield_per=AT_A_TIME)
        with translated(self.source), self.reading.connect() as connection:
            yield from connection.execute(wanted).mappings()

    def _add(self, to: Connection, table: Table, values: Values, *, key: tuple[str, ...]) -> Any:  # noqa: ANN401 - a key of any type
        """The new row's key; none where there is one already."""
        (identity,) = table.primary_key
        added = to.execute(upsert(to, table, key=key).returning(identity), values).scalar_one_or_none()
        (self.already if added is None else self.moved)[table.name] += 1
        return added

    def _put(self, to: Connection, table: Table, rows: Iterable[Values]) -> None:
        values = list(rows)
        to.execute(insert(table), values)
        self.moved[table.name] += len(values)


def _unnumbered(row: RowMapping) -> Values:
    """A row without its number: the target gives its own."""
    return {name: value for name, value in row.items() if name != "id"}


def _forget_waiting(to: Connection, ended: Sequence[RowMapping]) -> None:
    """What waits in the target and was started there no more often than in the source, where it has ended since."""
    tried = {row["id"]: row["attempts"] for row in ended}
    waiting = select(executions.c.id, executions.c.attempts).where(
        executions.c.id.in_(tried), executions.c.status == Status.QUEUED
    )
    old = [row.id for row in to.execute(waiting) if row.attempts <= tried[row.id]]
    if old:
        to.execute(delete(executions).where(executions.c.id.in_(old), executions.c.status == Status.QUEUED))


def _number_anew(to: Connection, tool: str) -> None:
    """A request that names a tool alone gets its newest source, whichever record that was in."""
    by_age = select(modules.c.id, modules.c.source_hash).where(modules.c.tool_id == tool)
    found = to.execute(by_age.order_by(modules.c.created_at, modules.c.id)).all()
    for version, row in enumerate(found, start=1):
        to.execute(update(modules).where(modules.c.id == row.id).values(version=version))
    newest = {"version": len(found), "source_hash": found[-1].source_hash}
    to.execute(update(tools).where(tools.c.id == tool).values(newest))
