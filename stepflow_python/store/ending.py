"""How an execution ends: once, with a result, whoever ends it."""

import functools
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, null, or_, select, update

from stepflow_python.errors import ErrorCategory, ErrorKind, InternalError
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import ErrorInfo, ExecutionResult, Status
from stepflow_python.ports import Attempt
from stepflow_python.store import deliveries, rows
from stepflow_python.store.prepared import Prepared
from stepflow_python.store.reads import read_result
from stepflow_python.store.rows import Tool, tool_of
from stepflow_python.store.schema import STATUS_OF_ROW, attempts, executions, files
from stepflow_python.store.sources import known_environment, known_module, note_use, record_environment, record_module
from stepflow_python.store.states import sources_of
from stepflow_python.store.types import Moment
from stepflow_python.store.upsert import upsert

_status = select(executions.c.status).where(executions.c.id == bindparam("of_id"))
# Its environment and its source are on record but for the first time.
_insert_attempt = Prepared(
    insert(attempts)
    .values(environment_id=known_environment, module_id=known_module)
    .returning(attempts.c.id, attempts.c.environment_id, attempts.c.module_id)
)
_insert_file = insert(files)


def finish(connection: Connection, attempt: Attempt, *, moment: datetime) -> ExecutionResult:
    """End an execution with what an attempt gave; one that has ended keeps its first end.

    A row is made where there is none. Times that the result lacks are taken from the row, or are `moment`.

    Returns:
        The result on record.

    Raises:
        InternalError: the result is no end, or the execution was never claimed and this end needs a run.
    """
    result, tool = attempt.result, tool_of(attempt.request, attempt.module)
    if not result.status.ended:
        raise InternalError(f"execution {result.execution_id}: {result.status} is no end; finish it with one")
    ended = _end(connection, result, tool, moment=moment)
    if ended is None:
        status = connection.execute(_status, {"of_id": result.execution_id}).scalar_one_or_none()
        if status is None:
            _make_running(connection, attempt.request, result, tool, moment=moment)
            ended = _end(connection, result, tool, moment=moment)
        elif not Status(status).ended:
            raise InternalError(
                f"execution {result.execution_id} is {status} and cannot become {result.status}; claim it first"
            )
    if ended is None:
        return _on_record(connection, result.execution_id)
    deliveries.forget(connection, result.execution_id)
    times = {"queued_at": ended.queued_at, "started_at": ended.started_at, "finished_at": ended.finished_at}
    recorded = result.model_copy(update=times)
    if recorded.attempt < ended.attempts:
        # It came back after its lease had passed: it is on record as lost.
        _forget_attempt(connection, recorded)
    _record_attempt(connection, attempt, recorded, tool, moment=moment)
    return recorded


def keep_attempt(
    connection: Connection, request: ExecutionRequest, result: ExecutionResult, *, moment: datetime
) -> None:
    """Keep an attempt that did not end its execution, now that there is to be another one."""
    finished = result.model_copy(update={"finished_at": result.finished_at or moment})
    row = rows.attempt_row(request, finished, moment=moment)
    connection.execute(upsert(connection, attempts, key=("execution_id", "attempt")), row)


def cancelled(execution_id: str, *, attempt: int) -> ExecutionResult:
    """The result of an execution that stopped, or never started, because somebody asked."""
    message = "cancelled before it ran" if attempt == 0 else "cancelled; its worker died before it could stop it"
    error = ErrorInfo(kind=ErrorKind.EXECUTION_ERROR, message=message)
    return ExecutionResult(execution_id=execution_id, status=Status.CANCELLED, attempt=attempt, error=error)


def lost(execution_id: str, *, attempt: int) -> ExecutionResult:
    """The result of an attempt whose worker gave no sign of life any more."""
    error = ErrorInfo(
        kind=ErrorKind.INTERNAL_ERROR,
        message=f"the worker of attempt {attempt} died; look at its log, then submit again under another id",
        retryable=True,
        category=ErrorCategory.PLATFORM,
    )
    return ExecutionResult(execution_id=execution_id, status=Status.LOST, attempt=attempt, error=error)


@functools.cache
def _ending(status: Status) -> Prepared:
    return Prepared(
        update(executions)
        .where(executions.c.id == bindparam("of_id"), or_(*map(STATUS_OF_ROW.__eq__, sources_of(status))))
        .values(
            status=status.value,
            final_attempt=bindparam("with_attempt"),
            started_at=func.coalesce(bindparam("began", type_=Moment), executions.c.started_at),
            finished_at=bindparam("ended"),
            **dict.fromkeys(("lease_ends", "lease_clock", "watched_until"), null()),
            tool_id=func.coalesce(bindparam("of_tool", type_=executions.c.tool_id.type), executions.c.tool_id),
            tool_name=func.coalesce(bindparam("of_name", type_=executions.c.tool_name.type), executions.c.tool_name),
            source_hash=func.coalesce(
                bindparam("of_hash", type_=executions.c.source_hash.type), executions.c.source_hash
            ),
        )
        .returning(executions.c.queued_at, executions.c.started_at, executions.c.finished_at, executions.c.attempts)
    )


def _end(connection: Connection, result: ExecutionResult, tool: Tool, *, moment: datetime) -> Any:  # noqa: ANN401 - a row
    """Change the status where the state machine lets it; its times and attempts, none where it does not."""
    values = {
        "of_id": result.execution_id,
        "with_attempt": result.attempt,
        "began": result.started_at,
        "ended": result.finished_at or moment,
        "of_tool": tool.id,
        "of_name": tool.name,
        "of_hash": tool.source_hash,
    }
    return _ending(result.status)(connection, values).row


def _make_running(
    connection: Connection, request: ExecutionRequest, result: ExecutionResult, tool: Tool, *, moment: datetime
) -> None:
    """A row for a result that has none: refused before it was recorded, or removed while it ran."""
    queued_at = result.queued_at or result.started_at or moment
    row = rows.execution_row(request, tool, queued_at=queued_at)
    row |= {"id": result.execution_id, "status": Status.RUNNING.value, "attempts": result.attempt}
    connection.execute(upsert(connection, executions, key=("id",)), row)


def _record_attempt(
    connection: Connection, attempt: Attempt, recorded: ExecutionResult, tool: Tool, *, moment: datetime
) -> None:
    row = rows.attempt_row(attempt.request, recorded, moment=moment)
    module, environment = attempt.module, attempt.environment
    if module is not None:
        row["module_name"] = module.name
    row |= {
        "of_tool": None if module is None else tool.id,
        "of_hash": None if module is None else module.source_hash,
        "of_environment": None if environment is None else environment.id,
    }
    made = _insert_attempt(connection, row).row
    new: dict[str, object] = {}
    if environment is not None and made.environment_id is None:
        record_environment(connection, environment, moment=moment)
        new["environment_id"] = environment.id
    elif environment is not None:
        note_use(connection, environment.id, moment=moment)
    if module is not None and made.module_id is None:
        module_id = record_module(connection, module, tool, moment=moment)
        new |= {} if module_id is None else {"module_id": module_id}
    if new:
        connection.execute(update(attempts).where(attempts.c.id == made.id).values(new))
    if recorded.files:
        left = [
            {"attempt_id": made.id, "name": name, "size": len(content), "content": content}
            for name, content in recorded.files.items()
        ]
        connection.execute(_insert_file, left)


def _forget_attempt(connection: Connection, result: ExecutionResult) -> None:
    same = (attempts.c.execution_id == result.execution_id, attempts.c.attempt == result.attempt)
    connection.execute(delete(attempts).where(*same))


def _on_record(connection: Connection, execution_id: str) -> ExecutionResult:
    recorded = read_result(connection, execution_id)
    if recorded is None:
        raise InternalError(f"execution {execution_id} has ended without a result; its record was changed by hand")
    return recorded
