"""What is counted of jobs and of the record: wrappers, so that neither knows of it."""

import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from stepflow_python import metrics
from stepflow_python.errors import DatabaseError, ErrorKind
from stepflow_python.jobs.job import BUILT, Job, JobRunner
from stepflow_python.messages import Delivered, Delivery
from stepflow_python.metrics import Meter
from stepflow_python.model.history import ExecutionRecord
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import ExecutionResult, Status
from stepflow_python.ports import Attempt, Claim, Ledger, Wishes

T = TypeVar("T")

UNNAMED = "tool"
FOUND, WAITED = "found", "waiting"
"""Steps that tell, beside `BUILT`, how an environment was had."""


def metered(run: JobRunner, meter: Meter) -> JobRunner:
    """Count jobs by how they ended, and what each part of them took."""

    async def counted(job: Job) -> ExecutionResult:
        meter.add(metrics.RUNNING)
        try:
            result = await run(job)
        finally:
            meter.add(metrics.RUNNING, amount=-1.0)
        _count(job, result, meter)
        return result

    return counted


def _count(job: Job, result: ExecutionResult, meter: Meter) -> None:
    tool = _tool(job)
    meter.add(metrics.EXECUTIONS, tool, result.status.value)
    if result.attempt == 1 and result.queued_at is not None and result.started_at is not None:
        waited = (result.started_at - result.queued_at).total_seconds()
        meter.observe(metrics.QUEUE_WAIT_S, max(waited, 0.0))
    if result.isolation is not None and result.reused_from is None:
        _count_run(result, tool, meter)
    _count_environment(job, result, meter)


def _count_run(result: ExecutionResult, tool: str, meter: Meter) -> None:
    start = "waiting" if result.warm else "new"
    meter.add(metrics.RUNS, result.isolation or "", start)
    meter.observe(metrics.EXECUTION_S, result.execution_time_ms / 1000, tool)
    if result.dispatch_time_ms is not None:
        meter.observe(metrics.DISPATCH_S, result.dispatch_time_ms / 1000, start)
    if result.cpu_time_ms is not None:
        meter.add(metrics.CPU_S, tool, amount=result.cpu_time_ms / 1000)
    if result.memory_usage_kb is not None:
        meter.observe(metrics.MEMORY, result.memory_usage_kb * 1024.0)


def _count_environment(job: Job, result: ExecutionResult, meter: Meter) -> None:
    steps = job.found.environment_times
    for step, took_ms in steps.items():
        meter.observe(metrics.ENVIRONMENT_STEP_S, took_ms / 1000, step)
    if BUILT in steps:
        packages = job.found.environment.packages if job.found.environment is not None else ()
        meter.add(metrics.INSTALLED, amount=len(packages))
    outcome = _outcome(result, steps)
    if outcome is not None:
        meter.add(metrics.ENVIRONMENTS, outcome)


def _outcome(result: ExecutionResult, steps: dict[str, float]) -> str | None:
    """How the environment was had; none where nobody came so far as to ask for one."""
    for step, outcome in ((BUILT, "built"), (FOUND, "found"), (WAITED, "waited")):
        if step in steps:
            return outcome
    kind = result.error.kind if result.error is not None else None
    return "failed" if kind in {ErrorKind.ENVIRONMENT_ERROR, ErrorKind.DEPENDENCY_ERROR} else None


def _tool(job: Job) -> str:
    """Its id, else the name of its module: an id that is made of the source would be another one each time."""
    module = job.found.module
    return job.request.tool_id or (module.name if module is not None else job.request.module_name) or UNNAMED


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredLedger:
    """Implements `ports.Ledger` over another one: how long it takes, and when it fails."""

    ledger: Ledger
    meter: Meter

    async def enqueue(self, request: ExecutionRequest, delivery: Delivery | None = None) -> Claim:
        """As the ledger below."""
        return await self._timed("enqueue", self.ledger.enqueue(request, delivery))

    async def claim(self, request: ExecutionRequest, delivery: Delivered | None = None) -> Claim:
        """As the ledger below."""
        claim = await self._timed("claim", self.ledger.claim(request, delivery))
        if claim.taken_over:
            self.meter.add(metrics.TAKEN_OVER)
        return claim

    async def finish(self, attempt: Attempt) -> ExecutionResult:
        """As the ledger below."""
        return await self._timed("finish", self.ledger.finish(attempt))

    async def give_back(self, attempt: Attempt, *, delay_s: float = 0.0) -> bool:
        """As the ledger below."""
        given = await self._timed("give_back", self.ledger.give_back(attempt, delay_s=delay_s))
        if given:
            stopped = attempt.result.status is Status.LOST
            self.meter.add(metrics.RETRIES, metrics.STOPPED if stopped else metrics.LATER)
        return given

    async def request_cancel(self, execution_id: str, *, running: bool = True) -> ExecutionRecord:
        """As the ledger below."""
        return await self._timed("cancel", self.ledger.request_cancel(execution_id, running=running))

    async def wishes(self, execution_id: str) -> Wishes:
        """As the ledger below."""
        return await self._timed("wishes", self.ledger.wishes(execution_id))

    async def _timed(self, operation: str, answer: Awaitable[T]) -> T:
        started = time.monotonic()
        try:
            return await answer
        except DatabaseError:
            self.meter.add(metrics.RECORD_ERRORS, operation)
            raise
        finally:
            self.meter.observe(metrics.RECORD_S, time.monotonic() - started, operation)
