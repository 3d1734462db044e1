"""What wraps the life of a job: it always ends with a result, and it is told to the log."""

import logging
import time

from stepflow_python.errors import InternalError, PythonError
from stepflow_python.jobs.job import BUILT, Job, JobRunner, TryLaterError
from stepflow_python.jobs.patience import Delays
from stepflow_python.jobs.results import refusal_of
from stepflow_python.logs import about
from stepflow_python.model.module import Dependency
from stepflow_python.model.result import ExecutionResult, Status
from stepflow_python.ports import Ledger, PythonMonitoring

log = logging.getLogger(__name__)


def answering(run: JobRunner, ledger: Ledger, delays: Delays) -> JobRunner:
    """Turn every refusal and every fault of ours into a recorded result.

    What may pass later is recorded too, as an attempt, and queued again while attempts remain: `TryLaterError` says
    for when. Else only a store that cannot be written still raises: then there is no record to answer from, and the
    message stays with the broker.
    """

    async def answered(job: Job) -> ExecutionResult:
        try:
            return await run(job)
        except PythonError as error:
            refusal = refusal_of(job, error)
        except Exception as error:  # the boundary that records: a fault of ours must not lose the job
            log.exception("execution %s: a fault of ours", job.request.execution_id)
            refusal = refusal_of(job, InternalError(f"{type(error).__name__}: {error}"))
        ended = job.ended_with(refusal)
        if refusal.error is not None and refusal.error.retryable and job.attempt < job.request.max_attempts:
            delay_s = delays(job.attempt)
            if await ledger.give_back(ended, delay_s=delay_s):
                raise TryLaterError(refusal.error.message, delay_s=delay_s)
        return await ledger.finish(ended)

    return answered


def logged(run: JobRunner) -> JobRunner:
    """Say when a job starts and how it ended; never its arguments or output."""

    async def told(job: Job) -> ExecutionResult:
        request, started = job.request, time.monotonic()
        facts = {"execution_id": request.execution_id, "attempt": job.attempt, "tool": request.tool_id}
        # Messages of packages and of ours may repeat what a variable holds.
        with about({**facts, "workflow_id": request.workflow_id}, secrets=request.env.values()):
            log.info("execution %s started, attempt %d, tool %s", request.execution_id, job.attempt, request.tool_id)
            result = await run(job)
            took = (time.monotonic() - started) * 1000
            log.info("execution %s %s after %.1f ms", request.execution_id, result.status, took)
        return result

    return told


def counted(run: JobRunner, monitoring: PythonMonitoring) -> JobRunner:
    """Count jobs and their time, from claim to record, and the environments that were built for them."""

    async def measured(job: Job) -> ExecutionResult:
        started = time.monotonic()
        result = await run(job)
        try:
            await _count(job, result, time.monotonic() - started, monitoring)
        except Exception:  # counting must not cost a result that is on record
            log.exception("execution %s is on record, but was not counted", result.execution_id)
        return result

    return measured


async def _count(job: Job, result: ExecutionResult, took_s: float, monitoring: PythonMonitoring) -> None:
    await monitoring.record_execution(result.execution_id, took_s, result.status is Status.SUCCEEDED)
    environment, steps = job.found.environment, job.found.environment_times
    if environment is None or BUILT not in steps:
        return
    await monitoring.record_environment_creation(environment.id, sum(steps.values()) / 1000)
    for package in environment.packages:
        dependency = Dependency(name=package.name, version=f"=={package.version}", source=package.source)
        await monitoring.record_dependency_installation(environment.id, dependency)
