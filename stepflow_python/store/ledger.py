"""The record as workers and clients write it."""

import os
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from stepflow_python.errors import ExecutionError
from stepflow_python.messages import Delivered, Delivery
from stepflow_python.model.environment import Environment
from stepflow_python.model.extension import ExtensionCall
from stepflow_python.model.history import ExecutionRecord
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import ExecutionResult
from stepflow_python.model.values import now
from stepflow_python.ports import Attempt, Claim, Wishes
from stepflow_python.store import ending, sources, writes
from stepflow_python.store.calls import record_calls
from stepflow_python.store.history import SqlHistory
from stepflow_python.store.recorder import Recorder

LEASE_S = 30.0
RENEWALS_PER_LEASE = 6
"""So often that a database which is locked for twenty seconds costs nobody its lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many executions may wait, and how many of one tool may run at a time; 0: any number."""

    queued: int = 0
    per_tool: int = 0


def new_worker_id() -> str:
    """Names this process, to people and to the record; never the same twice."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


class SqlLedger:
    """Implements `ports.Ledger`; may be called from any thread and any event loop.

    Whoever claims an execution holds a lease on it of `lease_s` seconds, and keeps it by asking for `wishes`
    now and then, or by `renew`. When it has passed, the next `claim` takes the execution over.
    """

    def __init__(
        self,
        recorder: Recorder,
        history: SqlHistory,
        *,
        worker_id: str | None = None,
        lease_s: float = LEASE_S,
        bounds: Bounds | None = None,
    ) -> None:
        self._recorder = recorder
        self._history = history
        self._bounds = bounds or Bounds()
        self._owner = writes.Owner(
            worker_id=worker_id or new_worker_id(), lease_s=lease_s, per_tool=self._bounds.per_tool
        )
        self._renewal_s = lease_s / RENEWALS_PER_LEASE
        self._renewed: dict[str, float] = {}

    @property
    def worker_id(self) -> str:
        """Under which name this process claims."""
        return self._owner.worker_id

    async def enqueue(self, request: ExecutionRequest, delivery: Delivery | None = None) -> Claim:
        """Record a queued execution; see `ports.Ledger`."""
        change = partial(writes.enqueue, request=request, delivery=delivery, most=self._bounds.queued, moment=now())
        return await self._recorder.write(change)

    async def claim(self, request: ExecutionRequest, delivery: Delivered | None = None) -> Claim:
        """Take an execution to run it; see `ports.Ledger`.

        An empty claim may be asked again: it gives an attempt once the other worker's lease has passed, or the result.
        """
        started = time.monotonic()
        change = partial(writes.claim, request=request, delivery=delivery, owner=self._owner, moment=now())
        claim = await self._recorder.write(change)
        if claim.attempt is not None:
            self._renewed[request.execution_id] = started
        return claim

    async def finish(self, attempt: Attempt) -> ExecutionResult:
        """Record an attempt and end its execution; see `ports.Ledger`."""
        try:
            return await self._recorder.write(partial(ending.finish, attempt=attempt, moment=now()), ends=True)
        finally:
            self._renewed.pop(attempt.result.execution_id, None)

    async def give_back(self, attempt: Attempt, *, delay_s: float = 0.0) -> bool:
        """Record an attempt and queue its execution again; see `ports.Ledger`."""
        change = partial(writes.give_back, attempt=attempt, owner=self._owner, delay_s=delay_s, moment=now())
        given = await self._recorder.write(change)
        if given:
            self._renewed.pop(attempt.result.execution_id, None)
        return given

    async def request_cancel(self, execution_id: str, *, running: bool = True) -> ExecutionRecord:
        """Cancel: a queued execution ends at once, a running one is marked; see `ports.Ledger`."""
        change = partial(writes.request_cancel, execution_id=execution_id, running=running, moment=now())
        record = await self._recorder.write(change, ends=True)
        if record is None:
            raise ExecutionError(f"no execution {execution_id!r} is on record; `stepflow history` lists what is")
        return record

    async def wishes(self, execution_id: str) -> Wishes:
        """What others want of a running execution; asking is the claimant's sign of life."""
        renewed = self._renewed.get(execution_id)
        if renewed is not None and time.monotonic() - renewed > self._renewal_s:
            await self.renew(execution_id)
        return await self._history.wishes(execution_id)

    async def renew(self, execution_id: str) -> bool:
        """Keep an execution for another `lease_s`; false where it has ended or is another worker's by now."""
        started = time.monotonic()
        renewed = await self._recorder.write(partial(writes.renew, execution_id=execution_id, owner=self._owner))
        if renewed:
            self._renewed[execution_id] = started
        else:
            self._renewed.pop(execution_id, None)
        return renewed

    async def record_calls(self, execution_id: str, calls: Sequence[ExtensionCall]) -> None:
        """Add calls of extensions; see `ports.CallLog`."""
        await self._recorder.write(partial(record_calls, execution_id=execution_id, calls=calls))

    async def environment_made(self, environment: Environment) -> None:
        """Note that an environment is there, with its packages."""
        await self._recorder.write(partial(sources.record_environment, environment=environment, moment=now()))

    async def environment_removed(self, environment_id: str) -> None:
        """Note that an environment is no longer there."""
        await self._recorder.write(partial(sources.retire_environment, environment_id=environment_id))
