"""Questions to the record, each one or two statements on a connection of either kind."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, exists, false, func, select, tuple_

from stepflow_python.model.history import (
    EarlierAttempt,
    ExecutionRecord,
    ExecutionSummary,
    HistoryFilter,
    PythonMetrics,
)
from stepflow_python.model.module import PythonModule
from stepflow_python.model.result import ExecutionResult, Status
from stepflow_python.ports import Recipe, Wishes
from stepflow_python.store import rows
from stepflow_python.store.calls import read_calls
from stepflow_python.store.clock import lease_now
from stepflow_python.store.prepared import Prepared
from stepflow_python.store.schema import (
    READY,
    STATUS_OF_ROW,
    attempts,
    dependencies,
    environments,
    executions,
    files,
    modules,
    tools,
)
from stepflow_python.store.states import ENDED

Key = tuple[datetime, str]
"""Where a page of history ends: the time of queueing and the id of its last line."""

FINAL = and_(attempts.c.execution_id == executions.c.id, attempts.c.attempt == executions.c.final_attempt)
SUMMARY = (
    executions.c.id.label("execution_id"),
    executions.c.tool_id,
    executions.c.tool_name.label("tool"),
    executions.c.status,
    executions.c.workflow_id,
    executions.c.step_id,
    executions.c.priority,
    executions.c.attempts,
    executions.c.max_attempts,
    executions.c.queued_at,
    executions.c.started_at,
    executions.c.finished_at,
    attempts.c.execution_time_ms,
    attempts.c.memory_usage_kb,
    attempts.c.isolation,
    attempts.c.error,
)


_ended = Prepared(
    select(
        executions.c.status.label("now"),
        executions.c.queued_at,
        exists().where(files.c.attempt_id == attempts.c.id).label("left_files"),
        *attempts.c,
    )
    .select_from(executions.outerjoin(attempts, FINAL))
    .where(executions.c.id == bindparam("of_id"))
)
_wishes = Prepared(
    select(
        executions.c.cancel_requested,
        func.coalesce(executions.c.watched_until > lease_now(), false()).label("watched"),
    ).where(executions.c.id == bindparam("of_id"), STATUS_OF_ROW == Status.RUNNING)
)
_result = Prepared(
    select(attempts, executions.c.queued_at)
    .select_from(attempts.join(executions, FINAL))
    .where(executions.c.id == bindparam("of_id"))
)
_files = Prepared(
    select(files.c.name, files.c.content).where(files.c.attempt_id == bindparam("of_attempt")).order_by(files.c.id)
)


def summaries(query: HistoryFilter, *, by_tool_id: bool, after: Key | None, limit: int) -> Select[tuple[object, ...]]:
    """The statement of one page, newest first, one line more than `limit` to see whether there are further ones."""
    statement = select(*SUMMARY).select_from(executions.outerjoin(attempts, FINAL))
    statement = statement.where(*_conditions(query, by_tool_id=by_tool_id))
    if after is not None:
        statement = statement.where(tuple_(executions.c.queued_at, executions.c.id) < tuple_(*after))
    return statement.order_by(executions.c.queued_at.desc(), executions.c.id.desc()).limit(limit + 1)


def read_page(
    connection: Connection, query: HistoryFilter, *, after: Key | None, limit: int
) -> Sequence[ExecutionSummary]:
    """Up to `limit` + 1 lines."""
    statement = summaries(query, by_tool_id=_names_an_id(connection, query), after=after, limit=limit)
    return [rows.summary_of(row) for row in connection.execute(statement).mappings()]


def read_record(connection: Connection, execution_id: str) -> ExecutionRecord | None:
    """One execution, whole."""
    statement = (
        select(*SUMMARY, executions.c.request)
        .select_from(executions.outerjoin(attempts, FINAL))
        .where(executions.c.id == execution_id)
    )
    row = connection.execute(statement).mappings().one_or_none()
    if row is None:
        return None
    lent = row["request"].get("extensions")
    calls = read_calls(connection, execution_id) if lent else ((), 0)
    record = rows.record_of(row, read_result(connection, execution_id), calls)
    return record.model_copy(update={"earlier_attempts": _earlier_attempts(connection, record)})


def _earlier_attempts(connection: Connection, record: ExecutionRecord) -> tuple[EarlierAttempt, ...]:
    last = record.result.attempt if record.result is not None else record.attempts + 1
    columns = (attempts.c.attempt, attempts.c.status, attempts.c.error, attempts.c.started_at, attempts.c.finished_at)
    earlier = (
        select(*columns)
        .where(attempts.c.execution_id == record.execution_id, attempts.c.attempt != last)
        .order_by(attempts.c.attempt)
    )
    return tuple(map(rows.earlier_attempt_of, connection.execute(earlier).mappings()))


def read_result(connection: Connection, execution_id: str) -> ExecutionResult | None:
    """The result on record, if the execution has ended."""
    if not connection.in_transaction():
        connection.begin()  # the files are those of this row
    row = _result(connection, {"of_id": execution_id}).row
    if row is None:
        return None
    left = {file.name: bytes(file.content) for file in _files(connection, {"of_attempt": row.id}).rows}
    return rows.result_of(row._asdict(), queued_at=row.queued_at, files=left)


def read_recipe(connection: Connection, execution_id: str) -> Recipe | None:
    """The request, the source and the lock of an execution."""
    statement = (
        select(executions.c.request, modules.c.source_code, environments.c.lock, environments.c.python_version)
        .select_from(
            executions.outerjoin(attempts, FINAL)
            .outerjoin(modules, modules.c.id == attempts.c.module_id)
            .outerjoin(environments, environments.c.id == attempts.c.environment_id)
        )
        .where(executions.c.id == execution_id)
    )
    row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    return Recipe(
        request=rows.request_of(row.request),
        source=row.source_code,
        lock=None if row.lock is None else tuple(row.lock.splitlines()),
        python_version=row.python_version,
        file_names=tuple(row.request["files"]),
        variables=tuple(row.request["env"]),
    )


def read_ready_environments(connection: Connection, folder: Path) -> frozenset[str]:
    """Ids of the environments of a folder that are not retired."""
    ready = select(environments.c.id, environments.c.virtual_env_path).where(environments.c.status == READY)
    return frozenset(row.id for row in connection.execute(ready) if Path(row.virtual_env_path).parent == folder)


def read_ended(connection: Connection, execution_id: str) -> tuple[Status | None, ExecutionResult | None]:
    """Its status, asked for again and again by whoever waits for a result, and that."""
    row = _ended(connection, {"of_id": execution_id}).row
    if row is None:
        return None, None
    status = Status(row.now)
    if not status.ended or row.id is None:
        return status, None
    if row.left_files:
        return status, read_result(connection, execution_id)
    return status, rows.result_of(row._asdict(), queued_at=row.queued_at, files={})


def read_wishes(connection: Connection, execution_id: str) -> Wishes:
    """What others want of it while it runs."""
    row = _wishes(connection, {"of_id": execution_id}).row
    return Wishes() if row is None else Wishes(cancel=row.cancel_requested, watched=row.watched)


def read_source(connection: Connection, tool_id: str) -> PythonModule | None:
    """The newest version of a tool's source."""
    statement = select(modules).where(modules.c.tool_id == tool_id).order_by(modules.c.version.desc()).limit(1)
    row = connection.execute(statement).mappings().one_or_none()
    return None if row is None else rows.module_of(row)


def read_metrics(connection: Connection, query: HistoryFilter) -> PythonMetrics:
    """Totals over the executions that the filter lets through; environments and packages are not filtered."""
    totals = (
        select(
            executions.c.status,
            func.count().label("number"),
            func.count(attempts.c.execution_time_ms).label("timed"),
            func.sum(attempts.c.execution_time_ms).label("time"),
            func.max(attempts.c.memory_usage_kb).label("memory"),
        )
        .select_from(executions.outerjoin(attempts, FINAL))
        .where(*_conditions(query, by_tool_id=_names_an_id(connection, query)))
        .group_by(executions.c.status)
    )
    found = connection.execute(totals).all()
    by_status = {Status(row.status): row.number for row in found}
    timed = sum(row.timed for row in found)
    ready = func.count().filter(environments.c.status == READY)
    known, active = connection.execute(select(func.count(), ready).select_from(environments)).one()
    packages = connection.execute(select(func.count()).select_from(dependencies)).scalar_one()
    return PythonMetrics(
        total_executions=sum(by_status.values()),
        successful_executions=by_status.get(Status.SUCCEEDED, 0),
        failed_executions=sum(by_status.get(status, 0) for status in ENDED - {Status.SUCCEEDED}),
        executions_by_status=by_status,
        average_execution_time=sum(row.time or 0.0 for row in found) / timed if timed else 0.0,
        total_environments=known,
        active_environments=active,
        total_dependencies=packages,
        memory_usage=max((row.memory or 0 for row in found), default=0),
    )


def _names_an_id(connection: Connection, query: HistoryFilter) -> bool:
    """Whether the filter's tool is an id; else it is a name.

    Asked first, since one condition over both columns could use neither's index for the order as well.
    """
    if query.tool is None:
        return False
    known = select(tools.c.id).where(tools.c.id == query.tool)
    queued = select(executions.c.tool_id).where(executions.c.tool_id == query.tool).limit(1)
    return any(connection.execute(statement).first() is not None for statement in (known, queued))


def _conditions(query: HistoryFilter, *, by_tool_id: bool) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if query.tool is not None:
        found.append((executions.c.tool_id if by_tool_id else executions.c.tool_name) == query.tool)
    if query.status is not None:
        found.append(executions.c.status == query.status)
    if query.workflow_id is not None:
        found.append(executions.c.workflow_id == query.workflow_id)
    if query.since is not None:
        found.append(executions.c.queued_at >= query.since)
    if query.until is not None:
        found.append(executions.c.queued_at < query.until)
    return found
