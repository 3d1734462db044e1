"""Loose ends on record: executions whose worker died, messages that seem to be lost."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import Connection, and_, not_, or_, select

from stepflow_python.messages import Delivery
from stepflow_python.model.result import Status
from stepflow_python.model.values import now
from stepflow_python.ports import Attempt
from stepflow_python.store import deliveries, rows
from stepflow_python.store import schema as tables
from stepflow_python.store.ending import cancelled, finish, lost
from stepflow_python.store.history import SqlHistory
from stepflow_python.store.recorder import Recorder
from stepflow_python.store.schema import executions
from stepflow_python.store.writes import IS_ABANDONED, MAY_GO_ON, void_if_dead

BATCH = 100
_may_be_run_again = and_(IS_ABANDONED, MAY_GO_ON)


class SqlLoose:
    """Implements `messages.Loose`. Looks before it writes: it is called often, and there is seldom anything to do."""

    def __init__(self, recorder: Recorder, history: SqlHistory) -> None:
        self._recorder = recorder
        self._history = history

    async def end_abandoned(self) -> int:
        """End executions whose worker died and that may not go on; how many there were."""
        if not await self._history.ask(_anything_runs):
            return 0
        return await self._recorder.write(partial(_end_abandoned, moment=now()), ends=True)

    async def waiting(self) -> dict[str, int]:
        """Queues of which a message seems to be lost."""
        return await self._history.ask(deliveries.queues_with_due)

    async def take_due(self, queue: str) -> Sequence[Delivery]:
        """Messages of a queue that seem to be lost; see `messages.Loose`."""
        return await self._recorder.write(partial(deliveries.take_due, queue=queue))

    async def take_abandoned(self) -> Sequence[Delivery]:
        """Messages of executions whose worker died and that may go on."""
        return await self._recorder.write(
            partial(deliveries.take_abandoned, is_abandoned=and_(IS_ABANDONED, MAY_GO_ON))
        )


def _anything_runs(connection: Connection) -> bool:
    running = select(executions.c.id).where(executions.c.status == Status.RUNNING).limit(1)
    return connection.execute(running).first() is not None


def _anything_abandoned(connection: Connection) -> bool:
    return connection.execute(select(executions.c.id).where(_may_be_run_again).limit(1)).first() is not None


def _end_abandoned(connection: Connection, *, moment: datetime) -> int:
    """Those without a message are runs of a command line that was killed: nobody else has their source."""
    running = select(executions.c.id, executions.c.claimed_from).where(executions.c.status == Status.RUNNING)
    for execution_id, claimant in connection.execute(running).all():
        void_if_dead(connection, execution_id, claimant)
    sent = tables.deliveries
    hopeless = (
        select(executions.c.id, executions.c.attempts, executions.c.cancel_requested, executions.c.request)
        .select_from(executions.outerjoin(sent, sent.c.execution_id == executions.c.id))
        .where(IS_ABANDONED, or_(not_(MAY_GO_ON), sent.c.execution_id.is_(None)))
        .limit(BATCH)
    )
    found = connection.execute(hopeless).all()
    for row in found:
        end = cancelled if row.cancel_requested else lost
        attempt = Attempt(request=rows.request_of(row.request), result=end(row.id, attempt=row.attempts))
        finish(connection, attempt, moment=moment)
    return len(found)
