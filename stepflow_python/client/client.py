"""For callers of workers: submit, wait, result, history, cancel."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from stepflow_python.bootstrap.connection import Connection, open_connection
from stepflow_python.config import Settings
from stepflow_python.errors import ExecutionError, PythonError
from stepflow_python.jobs.refusing import refuse
from stepflow_python.jobs.submission import submit, submit_chain
from stepflow_python.jobs.watching import Transcript
from stepflow_python.messages import Heard
from stepflow_python.model.history import ExecutionRecord, HistoryFilter, Page, Printed, PythonMetrics
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import ExecutionResult

FIRST_POLL_S = 0.001
HEARD_POLL_S = 0.01
"""Where ends are heard, should one not be told of: its worker may be of an older version."""
LONGEST_POLL_S = 0.1
WATCH_AGAIN_S = 2.0
POLL_SHARE = 0.05
"""Of the time that was waited so far: that much later than it came, a result is seen at the most."""


class Client:
    """Talks to the record and the broker; never to a worker directly."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def submit(self, request: ExecutionRequest) -> str:
        """Record and send a request; its id. Twice the same id sends once.

        Raises:
            ParseError: its script cannot be read.
            DatabaseError: the record cannot be written.
            InternalError: the broker cannot be reached; the execution stays queued.
        """
        connection = self._connection
        await submit(
            request,
            ledger=connection.ledger,
            dispatcher=connection.dispatcher,
            max_code_size=connection.settings.max_code_size,
        )
        return request.execution_id

    async def refuse(self, execution_id: str | None, error: PythonError) -> ExecutionResult:
        """Record that a request is unusable, instead of sending it; see `jobs.refusing`."""
        return await refuse(execution_id, error, ledger=self._connection.ledger)

    async def submit_chain(self, requests: Sequence[ExecutionRequest]) -> list[str]:
        """Record and send a chain; the ids of its steps. See `jobs.submission.submit_chain`."""
        connection = self._connection
        await submit_chain(
            requests,
            ledger=connection.ledger,
            dispatcher=connection.dispatcher,
            max_code_size=connection.settings.max_code_size,
        )
        return [request.execution_id for request in requests]

    async def result(self, execution_id: str) -> ExecutionResult | None:
        """The result, if the execution has ended.

        Raises:
            ExecutionError: no such execution.
        """
        record = await self.show(execution_id)
        return record.result if record.status.ended else None

    async def wait(self, execution_id: str, *, timeout_s: float | None = None) -> ExecutionResult:
        """The result, as soon as it is on record.

        Raises:
            ExecutionError: no such execution.
            TimeoutError: the time was up; the execution goes on.
        """
        started, history = time.monotonic(), self._connection.history
        async with asyncio.timeout(timeout_s):
            with self._connection.news.heard() as news:
                while True:
                    status, result = await history.ended(execution_id)
                    if result is not None:
                        return result
                    if status is None or status.ended:
                        raise _unknown(execution_id)
                    await _pause(news, waited_s=time.monotonic() - started)

    async def history(self, query: HistoryFilter | None = None, *, limit: int = 50, cursor: str | None = None) -> Page:
        """A page of executions, newest first."""
        return await self._connection.history.page(query or HistoryFilter(), limit=limit, cursor=cursor)

    async def show(self, execution_id: str) -> ExecutionRecord:
        """All that is recorded of an execution.

        Raises:
            ExecutionError: no such execution.
        """
        record = await self._connection.history.get(execution_id)
        if record is None:
            raise _unknown(execution_id)
        return record

    async def follow(self, execution_id: str, *, for_s: float | None = None) -> AsyncIterator[Printed]:
        """What an execution prints, from its start, as it comes; until it has ended, or for so many seconds.

        Each piece names its attempt: output starts anew with each.

        Raises:
            ExecutionError: no such execution.
        """
        transcript, started, asked = Transcript(), time.monotonic(), -math.inf
        result = await self.result(execution_id)
        while result is None and (for_s is None or time.monotonic() - started < for_s):
            if time.monotonic() - asked > WATCH_AGAIN_S:
                asked = time.monotonic()
                await self._connection.live.watch(execution_id)
            await asyncio.sleep(LONGEST_POLL_S)
            for piece in await self._connection.live.read(execution_id, after=transcript.number):
                yield transcript.take(piece)
            result = await self._connection.history.result(execution_id)
        for rest in transcript.rest(result) if result is not None else ():
            yield rest

    async def tie_up(self) -> None:
        """End executions of processes that died and that nobody can run again; workers do so all the time."""
        await self._connection.loose.end_abandoned()

    async def metrics(self, query: HistoryFilter) -> PythonMetrics:
        """Totals over the executions that the filter lets through, from the record."""
        return await self._connection.history.metrics(query)

    async def cancel(self, execution_id: str) -> ExecutionRecord:
        """Stop an execution: a queued one never starts, a running one is killed.

        Raises:
            ExecutionError: no such execution.
        """
        return await self._connection.ledger.request_cancel(execution_id)


async def _pause(news: Heard, *, waited_s: float) -> None:
    """Until the record is worth another look: an execution has ended, or it is time for one in any case."""
    share_s = min(waited_s * POLL_SHARE, LONGEST_POLL_S)
    if news.deaf:
        await asyncio.sleep(max(share_s, FIRST_POLL_S))
    else:
        await asyncio.sleep(share_s)  # others may end all the time
        await news.wait(within_s=max(share_s, HEARD_POLL_S))


def _unknown(execution_id: str) -> ExecutionError:
    return ExecutionError(f"no execution {execution_id!r} is on record; `stepflow history` lists what is")


@asynccontextmanager
async def open_client(settings: Settings) -> AsyncIterator[Client]:
    """A client of the workers that share these settings' database and broker."""
    async with open_connection(settings) as connection:
        yield Client(connection)
