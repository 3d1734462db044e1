"""A record that is away for a while costs time, not results."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from stepflow_python.errors import DatabaseError
from stepflow_python.messages import Delivered, Delivery
from stepflow_python.model.history import ExecutionRecord
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import ExecutionResult
from stepflow_python.ports import Attempt, Claim, Ledger, Wishes

T = TypeVar("T")
log = logging.getLogger(__name__)

Delays = Callable[[int], float]
"""Seconds until the try after this one, the first being 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientLedger:
    """Implements `ports.Ledger` over another one: how a job ended is held until it could be written.

    After `patience_s` it gives up, and the job is the next worker's.
    """

    ledger: Ledger
    delays: Delays
    patience_s: float = 600.0

    async def enqueue(self, request: ExecutionRequest, delivery: Delivery | None = None) -> Claim:
        """As the ledger below."""
        return await self.ledger.enqueue(request, delivery)

    async def claim(self, request: ExecutionRequest, delivery: Delivered | None = None) -> Claim:
        """As the ledger below."""
        return await self.ledger.claim(request, delivery)

    async def finish(self, attempt: Attempt) -> ExecutionResult:
        """End an execution, however long that takes."""
        return await self._insist(lambda: self.ledger.finish(attempt), attempt)

    async def give_back(self, attempt: Attempt, *, delay_s: float = 0.0) -> bool:
        """Queue an execution again, however long that takes."""
        return await self._insist(lambda: self.ledger.give_back(attempt, delay_s=delay_s), attempt)

    async def request_cancel(self, execution_id: str, *, running: bool = True) -> ExecutionRecord:
        """As the ledger below."""
        return await self.ledger.request_cancel(execution_id, running=running)

    async def wishes(self, execution_id: str) -> Wishes:
        """As the ledger below."""
        return await self.ledger.wishes(execution_id)

    async def _insist(self, write: Callable[[], Awaitable[T]], attempt: Attempt) -> T:
        until, tries = time.monotonic() + self.patience_s, 0
        while True:
            tries += 1
            try:
                return await write()
            except DatabaseError as error:
                delay_s = self.delays(tries)
                if time.monotonic() + delay_s > until:
                    raise
                log.warning(
                    "execution %s ended %s and is not on record yet, next try in %.1f s: %s",
                    attempt.result.execution_id,
                    attempt.result.status,
                    delay_s,
                    error,
                )
            await asyncio.sleep(delay_s)
