"""The steps of an execution up to its end, each guarded in SQL: whoever comes second changes nothing."""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, Double, and_, bindparam, func, not_, null, or_, select, true, update

from stepflow_python.errors import QueueFullError
from stepflow_python.messages import Delivered, Delivery
from stepflow_python.model.history import ExecutionRecord
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import Status
from stepflow_python.ports import Attempt, Claim
from stepflow_python.store import deliveries, rows
from stepflow_python.store.claimant import is_dead, this_process
from stepflow_python.store.clock import lease_clock, lease_now
from stepflow_python.store.ending import cancelled, finish, keep_attempt, lost
from stepflow_python.store.prepared import Prepared
from stepflow_python.store.reads import read_record, read_result
from stepflow_python.store.rows import tool_of
from stepflow_python.store.schema import STATUS_OF_ROW, executions
from stepflow_python.store.types import Moment
from stepflow_python.store.upsert import upsert_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who claims, and for how many seconds without a sign of life; of one tool `per_tool` at a time, 0: any number."""

    worker_id: str
    lease_s: float
    per_tool: int = 0
    process: str = field(default_factory=this_process)


_this = executions.c.id == bindparam("of_id")
_is_queued = STATUS_OF_ROW == Status.QUEUED
_is_running = STATUS_OF_ROW == Status.RUNNING
_lease_is_over = or_(executions.c.lease_ends < lease_now(), executions.c.lease_clock.is_distinct_from(lease_clock()))
_is_mine = executions.c.claimed_by == bindparam("owner")
_lease = {"lease_ends": lease_now() + bindparam("lease_s", type_=Double), "lease_clock": lease_clock()}
NO_LEASE = dict.fromkeys(("lease_ends", "lease_clock", "claimed_by", "claimed_from", "watched_until"), null())

IS_ABANDONED = and_(_is_running, _lease_is_over)
MAY_GO_ON = and_(not_(executions.c.cancel_requested), executions.c.attempts < executions.c.max_attempts)

_take = Prepared(
    update(executions)
    .where(_this, or_(_is_queued, and_(IS_ABANDONED, MAY_GO_ON)))
    .values(
        status=Status.RUNNING.value,
        attempts=executions.c.attempts + 1,
        started_at=bindparam("moment", type_=Moment),
        claimed_by=bindparam("owner"),
        claimed_from=bindparam("process"),
        **_lease,
    )
    .returning(executions.c.attempts)
)
_found = Prepared(select(executions.c.status, executions.c.claimed_from, deliveries.is_kept).where(_this))
_given_up = (
    select(executions.c.attempts, executions.c.cancel_requested)
    .where(_this, IS_ABANDONED, not_(MAY_GO_ON))
    .with_for_update()
)
_make = Prepared(lambda dialect: upsert_in(dialect, executions, ("id",)).returning(executions.c.id))
_void = (
    update(executions)
    .where(_this, _is_running, executions.c.claimed_from == bindparam("process"))
    .values(lease_ends=lease_now() - 1, lease_clock=lease_clock())
)
_renew = update(executions).where(_this, _is_running, _is_mine).values(**_lease)
_give_back = update(executions).where(_this, _is_running, _is_mine, MAY_GO_ON).values(status=Status.QUEUED, **NO_LEASE)
_mark = (
    update(executions)
    .where(_this, or_(_is_queued, _is_running))
    .values(cancel_requested=true())
    .returning(executions.c.status, executions.c.request)
)
_stop_queued = (
    update(executions).where(_this, _is_queued).values(cancel_requested=true()).returning(_mark.table.c.request)
)


def enqueue(
    connection: Connection, request: ExecutionRequest, delivery: Delivery | None, *, most: int, moment: datetime
) -> Claim:
    """Make a queued row, and keep its message; one that is there stays as it is.

    Raises:
        QueueFullError: `most` executions wait already; 0: any number may.
    """
    if most:
        _check_room(connection, request.execution_id, most)
    if _make_queued(connection, request, moment=moment):
        if delivery is not None:
            deliveries.keep(connection, request.execution_id, delivery)
        return Claim()
    return Claim(result=read_result(connection, request.execution_id))


def claim(
    connection: Connection, request: ExecutionRequest, delivery: Delivered | None, owner: Owner, *, moment: datetime
) -> Claim:
    """Queued to running, or running to running where the lease has passed and attempts remain.

    One that was left by its worker and may not go on ends here: lost, or cancelled if somebody had asked.
    """
    values = {
        "of_id": request.execution_id,
        "moment": moment,
        "owner": owner.worker_id,
        "process": owner.process,
        "lease_s": owner.lease_s,
    }
    found = _found(connection, values).row
    if found is None:
        _make_queued(connection, request, moment=moment)
    elif found.status == Status.RUNNING:
        void_if_dead(connection, request.execution_id, found.claimed_from)
    if owner.per_tool and _others_running(connection, request) >= owner.per_tool:
        deliveries.put_off(connection, request.execution_id)
        return Claim(result=read_result(connection, request.execution_id), crowded=True)
    taken = _take(connection, values).value
    if taken is not None:
        if delivery is not None and not (found is not None and found.kept):
            deliveries.keep(connection, request.execution_id, delivery())
        if taken > 1:
            keep_attempt(connection, request, lost(request.execution_id, attempt=taken - 1), moment=moment)
        return Claim(attempt=taken, taken_over=found is not None and found.status == Status.RUNNING)
    given_up = connection.execute(_given_up, values).one_or_none()
    if given_up is None:
        return Claim(result=read_result(connection, request.execution_id))
    end = cancelled if given_up.cancel_requested else lost
    result = end(request.execution_id, attempt=given_up.attempts)
    return Claim(result=finish(connection, Attempt(request=request, result=result), moment=moment))


def void_if_dead(connection: Connection, execution_id: str, claimant: str | None) -> bool:
    """End the lease of a process of this host that is no more."""
    if claimant is None or not is_dead(claimant):
        return False
    voided = bool(connection.execute(_void, {"of_id": execution_id, "process": claimant}).rowcount)
    if voided:
        deliveries.make_due(connection, execution_id)
    return voided


def give_back(connection: Connection, attempt: Attempt, owner: Owner, *, delay_s: float, moment: datetime) -> bool:
    """Running to queued, the attempt kept; false where none remains, where it is to stop, or is another's by now."""
    execution_id = attempt.result.execution_id
    values = {"of_id": execution_id, "owner": owner.worker_id}
    if not connection.execute(_give_back, values).rowcount:
        return False
    keep_attempt(connection, attempt.request, attempt.result, moment=moment)
    deliveries.put_off(connection, execution_id, delay_s=delay_s)
    return True


def renew(connection: Connection, execution_id: str, owner: Owner) -> bool:
    """Put off the end of a lease; false where the execution has ended or is another worker's now."""
    values = {"of_id": execution_id, "owner": owner.worker_id, "lease_s": owner.lease_s}
    return bool(connection.execute(_renew, values).rowcount)


def request_cancel(
    connection: Connection, execution_id: str, *, running: bool, moment: datetime
) -> ExecutionRecord | None:
    """End a queued execution, mark a running one, leave an ended one; none where there is no such execution."""
    # Marked first: from then on no worker can claim it before this transaction ends.
    marked = connection.execute(_mark if running else _stop_queued, {"of_id": execution_id}).one_or_none()
    if marked is not None and (not running or marked.status == Status.QUEUED):
        attempt = Attempt(request=rows.request_of(marked.request), result=cancelled(execution_id, attempt=0))
        finish(connection, attempt, moment=moment)
    return read_record(connection, execution_id)


def _make_queued(connection: Connection, request: ExecutionRequest, *, moment: datetime) -> bool:
    row = rows.execution_row(request, tool_of(request), queued_at=moment) | {"status": Status.QUEUED.value}
    return bool(_make(connection, row).rows)


def _check_room(connection: Connection, execution_id: str, most: int) -> None:
    waiting = select(executions.c.id).where(executions.c.status == Status.QUEUED).limit(most).subquery()
    count = connection.execute(select(func.count()).select_from(waiting)).scalar_one()
    if count >= most and _found(connection, {"of_id": execution_id}).row is None:
        raise QueueFullError(
            f"{most} executions wait already, the most that the setting MAX_QUEUED allows;"
            " submit again later, or start more workers"
        )


def _others_running(connection: Connection, request: ExecutionRequest) -> int:
    """How many executions of the same tool have a live lease."""
    tool = tool_of(request).id
    if connection.dialect.name == "postgresql":
        # SQLite has one writer; here two claims could both find the last place free.
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(tool))))
    running = select(func.count()).where(
        executions.c.status == Status.RUNNING,
        executions.c.tool_id == tool,
        executions.c.id != request.execution_id,
        not_(_lease_is_over),
    )
    return connection.execute(running).scalar_one()
