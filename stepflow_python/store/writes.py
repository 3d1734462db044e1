"""The steps of an execution up to its end, each guarded in SQL: whoever comes second changes nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, bindparam, not_, or_, select, true, update

from stepflow_python.model.history import ExecutionRecord
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import Status
from stepflow_python.ports import Attempt, Claim
from stepflow_python.store import rows
from stepflow_python.store.ending import cancelled, finish, lost, record_dead_attempt
from stepflow_python.store.reads import read_record, read_result
from stepflow_python.store.rows import tool_of
from stepflow_python.store.schema import STATUS_OF_ROW, executions
from stepflow_python.store.types import Moment
from stepflow_python.store.upsert import upsert


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who claims, and for how long without a sign of life."""

    worker_id: str
    lease: timedelta


_this = executions.c.id == bindparam("of_id")
_is_queued = STATUS_OF_ROW == Status.QUEUED
_is_running = STATUS_OF_ROW == Status.RUNNING
_is_abandoned = and_(_is_running, executions.c.lease_until < bindparam("moment", type_=Moment))
_may_go_on = and_(not_(executions.c.cancel_requested), executions.c.attempts < executions.c.max_attempts)

_take = (
    update(executions)
    .where(_this, or_(_is_queued, and_(_is_abandoned, _may_go_on)))
    .values(
        status=Status.RUNNING.value,
        attempts=executions.c.attempts + 1,
        started_at=bindparam("moment", type_=Moment),
        claimed_by=bindparam("owner"),
        lease_until=bindparam("until"),
    )
    .returning(executions.c.attempts)
)
_exists = select(executions.c.id).where(_this)
_given_up = (
    select(executions.c.attempts, executions.c.cancel_requested)
    .where(_this, _is_abandoned, not_(_may_go_on))
    .with_for_update()
)
_renew = (
    update(executions)
    .where(_this, _is_running, executions.c.claimed_by == bindparam("owner"))
    .values(lease_until=bindparam("until"))
)
_mark = (
    update(executions)
    .where(_this, or_(_is_queued, _is_running))
    .values(cancel_requested=true())
    .returning(executions.c.status, executions.c.request)
)


def enqueue(connection: Connection, request: ExecutionRequest, *, moment: datetime) -> Claim:
    """Make a queued row; one that is there stays as it is."""
    if _make_queued(connection, request, moment=moment):
        return Claim()
    return Claim(result=read_result(connection, request.execution_id))


def claim(connection: Connection, request: ExecutionRequest, owner: Owner, *, moment: datetime) -> Claim:
    """Queued to running, or running to running where the lease has passed and attempts remain.

    One that was left by its worker and may not go on ends here: lost, or cancelled if somebody had asked.
    """
    values = {
        "of_id": request.execution_id,
        "moment": moment,
        "owner": owner.worker_id,
        "until": moment + owner.lease,
    }
    taken = connection.execute(_take, values).scalar_one_or_none()
    if taken is None and connection.execute(_exists, values).first() is None:
        _make_queued(connection, request, moment=moment)
        taken = connection.execute(_take, values).scalar_one_or_none()
    if taken is not None:
        if taken > 1:
            record_dead_attempt(connection, request, attempt=taken - 1, moment=moment)
        return Claim(attempt=taken)
    given_up = connection.execute(_given_up, values).one_or_none()
    if given_up is None:
        return Claim(result=read_result(connection, request.execution_id))
    end = cancelled if given_up.cancel_requested else lost
    result = end(request.execution_id, attempt=given_up.attempts)
    return Claim(result=finish(connection, Attempt(request=request, result=result), moment=moment))


def renew(connection: Connection, execution_id: str, owner: Owner, *, moment: datetime) -> bool:
    """Put off the end of a lease; false where the execution has ended or is another worker's now."""
    values = {"of_id": execution_id, "owner": owner.worker_id, "until": moment + owner.lease}
    return bool(connection.execute(_renew, values).rowcount)


def request_cancel(connection: Connection, execution_id: str, *, moment: datetime) -> ExecutionRecord | None:
    """End a queued execution, mark a running one, leave an ended one; none where there is no such execution."""
    # Marked first: from then on no worker can claim it before this transaction ends.
    marked = connection.execute(_mark, {"of_id": execution_id}).one_or_none()
    if marked is not None and marked.status == Status.QUEUED:
        attempt = Attempt(request=rows.request_of(marked.request), result=cancelled(execution_id, attempt=0))
        finish(connection, attempt, moment=moment)
    return read_record(connection, execution_id)


def _make_queued(connection: Connection, request: ExecutionRequest, *, moment: datetime) -> bool:
    row = rows.execution_row(request, tool_of(request), queued_at=moment) | {"status": Status.QUEUED.value}
    made = connection.execute(upsert(connection, executions, key=("id",)).returning(executions.c.id), row)
    return made.scalar_one_or_none() is not None
