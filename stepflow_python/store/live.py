"""What runs that somebody watches have printed so far, by way of the record: from any host to any other."""

from collections.abc import Sequence
from functools import partial

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from stepflow_python.messages import Piece
from stepflow_python.store.clock import lease_now
from stepflow_python.store.history import SqlHistory
from stepflow_python.store.recorder import Recorder
from stepflow_python.store.schema import STATUS_OF_ROW, executions, live_output
from stepflow_python.store.states import ENDED

WATCHED_S = 5.0
"""Who follows says so again before that has passed."""

_watch = (
    update(executions)
    .where(executions.c.id == bindparam("of_id"), STATUS_OF_ROW.not_in(sorted(ENDED)))
    .values(watched_until=lease_now() + WATCHED_S)
)


class SqlLive:
    """Implements `messages.Live`."""

    def __init__(self, recorder: Recorder, history: SqlHistory) -> None:
        self._recorder = recorder
        self._history = history

    async def watch(self, execution_id: str) -> None:
        """Ask whoever runs it to pass on what it prints, for the next seconds."""
        await self._recorder.write(partial(_ask, execution_id=execution_id))

    async def append(self, execution_id: str, pieces: Sequence[Piece]) -> None:
        """Pass on what was printed."""
        await self._recorder.write(partial(_append, execution_id=execution_id, pieces=pieces))

    async def read(self, execution_id: str, *, after: int) -> Sequence[Piece]:
        """Pieces with a higher number, in their order."""
        return await self._history.ask(_read, execution_id, after)

    async def clear(self, execution_id: str) -> None:
        """It has ended: its record has it all."""
        await self._recorder.write(partial(_clear, execution_id=execution_id))


def _ask(connection: Connection, *, execution_id: str) -> None:
    connection.execute(_watch, {"of_id": execution_id})


def _append(connection: Connection, *, execution_id: str, pieces: Sequence[Piece]) -> None:
    rows = [
        {
            "execution_id": execution_id,
            "attempt": piece.attempt,
            "stream": piece.stream,
            "start": piece.start,
            "content": piece.content,
        }
        for piece in pieces
    ]
    connection.execute(insert(live_output), rows)


def _read(connection: Connection, execution_id: str, after: int) -> list[Piece]:
    found = (
        select(live_output)
        .where(live_output.c.execution_id == execution_id, live_output.c.id > after)
        .order_by(live_output.c.id)
    )
    return [
        Piece(number=row.id, attempt=row.attempt, stream=row.stream, start=row.start, content=bytes(row.content))
        for row in connection.execute(found)
    ]


def _clear(connection: Connection, *, execution_id: str) -> None:
    connection.execute(delete(live_output).where(live_output.c.execution_id == execution_id))
