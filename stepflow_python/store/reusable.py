"""Which execution has a result that may be used again."""

from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection, select

from stepflow_python.model.result import ExecutionResult, Status
from stepflow_python.model.values import now
from stepflow_python.store.history import SqlHistory
from stepflow_python.store.reads import read_result
from stepflow_python.store.recorder import Recorder
from stepflow_python.store.schema import executions, reusable_results
from stepflow_python.store.upsert import upsert


class SqlReusable:
    """Implements `ports.Reusable`."""

    def __init__(self, recorder: Recorder, history: SqlHistory) -> None:
        self._recorder = recorder
        self._history = history

    async def find(self, key: str, *, younger_than_s: float) -> ExecutionResult | None:
        """The result of this key, if there is one of this age that succeeded."""
        return await self._history.ask(_find, key, now() - timedelta(seconds=younger_than_s))

    async def keep(self, key: str, execution_id: str) -> None:
        """From now on this execution's result is the one of this key."""
        await self._recorder.write(partial(_keep, key=key, execution_id=execution_id, moment=now()))


def _find(connection: Connection, key: str, since: datetime) -> ExecutionResult | None:
    known = (
        select(executions.c.id)
        .select_from(reusable_results.join(executions, executions.c.id == reusable_results.c.execution_id))
        .where(
            reusable_results.c.key == key,
            reusable_results.c.recorded_at > since,
            executions.c.status == Status.SUCCEEDED,
        )
    )
    execution_id = connection.execute(known).scalar_one_or_none()
    return None if execution_id is None else read_result(connection, execution_id)


def _keep(connection: Connection, *, key: str, execution_id: str, moment: datetime) -> None:
    row = {"key": key, "execution_id": execution_id, "recorded_at": moment}
    statement = upsert(connection, reusable_results, key=("key",), changed=("execution_id", "recorded_at"))
    connection.execute(statement, row)
