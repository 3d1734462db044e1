"""Messages of executions that have not ended, kept to be sent again.

A message that is sent once too often does no harm, since whoever is handed it finds the execution taken, or ended.
One that is missing would leave an execution waiting for ever. So a message is due again some seconds after it was sent;
each time it is sent that takes twice as long.
"""

from collections.abc import Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)

from stepflow_python.messages import Delivery
from stepflow_python.model.result import Status
from stepflow_python.store.clock import lease_clock, lease_now
from stepflow_python.store.prepared import Prepared
from stepflow_python.store.schema import deliveries, executions
from stepflow_python.store.upsert import upsert_in

RESEND_S = 15.0
LONGEST_DOUBLINGS = 6
BATCH = 200

_due_now = or_(deliveries.c.due < lease_now(), deliveries.c.clock != lease_clock())
is_kept = exists().where(deliveries.c.execution_id == executions.c.id).label("kept")
"""Whether the message of an execution is kept."""
_forget = Prepared(delete(deliveries).where(deliveries.c.execution_id == bindparam("of_id")))
_put_off = (
    update(deliveries)
    .where(deliveries.c.execution_id == bindparam("of_id"))
    .values(due=lease_now() + bindparam("delay_s", type_=Double), clock=lease_clock())
)


_first_due = {"due": lease_now() + bindparam("delay_s", type_=Double), "clock": lease_clock()}


_keep = Prepared(lambda dialect: upsert_in(dialect, deliveries, ("execution_id",)).values(_first_due))


def keep(connection: Connection, execution_id: str, delivery: Delivery) -> None:
    """Keep a message that was just sent, or is about to be; one that is kept already stays."""
    row = {"execution_id": execution_id, "queue": delivery.queue, "sends": 1, "message": delivery.message}
    row |= {"delay_s": RESEND_S}
    _keep(connection, row)


def forget(connection: Connection, execution_id: str) -> None:
    """The execution has ended."""
    _forget(connection, {"of_id": execution_id})


def put_off(connection: Connection, execution_id: str, *, delay_s: float = 0.0) -> None:
    """Its message is on its way again and arrives in so many seconds."""
    connection.execute(_put_off, {"of_id": execution_id, "delay_s": delay_s + RESEND_S})


def make_due(connection: Connection, execution_id: str) -> None:
    """Whoever had it has died; it is to be sent at once."""
    connection.execute(_put_off, {"of_id": execution_id, "delay_s": -1.0})


def queues_with_due(connection: Connection) -> dict[str, int]:
    """Queues with messages that are due though nobody has claimed their execution: how many of it wait there."""
    waiting = (
        select(deliveries.c.queue, func.count().label("waiting"), func.count().filter(_due_now).label("due"))
        .select_from(deliveries.join(executions, executions.c.id == deliveries.c.execution_id))
        .where(executions.c.status == Status.QUEUED)
        .group_by(deliveries.c.queue)
    )
    return {row.queue: row.waiting for row in connection.execute(waiting) if row.due}


def take_due(connection: Connection, queue: str) -> Sequence[Delivery]:
    """Messages of a queue's waiting executions that are due, for the caller to send: nobody else is given them."""
    return _take(connection, and_(executions.c.status == Status.QUEUED, deliveries.c.queue == queue))


def take_abandoned(connection: Connection, is_abandoned: ColumnElement[bool]) -> Sequence[Delivery]:
    """Messages of executions whose worker died, likewise."""
    return _take(connection, is_abandoned)


def _take(connection: Connection, condition: ColumnElement[bool]) -> Sequence[Delivery]:
    chosen = (
        select(deliveries.c.execution_id)
        .select_from(deliveries.join(executions, executions.c.id == deliveries.c.execution_id))
        .where(_due_now, condition)
        .order_by(executions.c.priority.desc(), executions.c.queued_at)
        .limit(BATCH)
    )
    doublings = case((deliveries.c.sends < LONGEST_DOUBLINGS, deliveries.c.sends), else_=LONGEST_DOUBLINGS)
    pause = RESEND_S * literal(1).bitwise_lshift(doublings)
    taken = (
        update(deliveries)
        .where(deliveries.c.execution_id.in_(chosen), _due_now)
        .values(sends=deliveries.c.sends + 1, due=lease_now() + pause, clock=lease_clock())
        .returning(deliveries.c.queue, deliveries.c.message)
    )
    return [Delivery(queue=row.queue, message=row.message) for row in connection.execute(taken)]
