"""Requests that are unusable as they stand: refused on the record."""

from stepflow_python.errors import PythonError
from stepflow_python.jobs.job import Job
from stepflow_python.jobs.results import refusal_of
from stepflow_python.model.request import ExecutionRequest, new_execution_id
from stepflow_python.model.result import ExecutionResult
from stepflow_python.model.values import now
from stepflow_python.ports import Ledger


async def refuse(execution_id: str | None, error: PythonError, *, ledger: Ledger) -> ExecutionResult:
    """Record that a request is unusable; an execution of its id that runs, or has ended, stays as it is.

    Args:
        execution_id: the request's id; none takes a new one.
        error: what is wrong with it.
        ledger: the record.

    Returns:
        The refusal, or the result of the execution that had this id before.
    """
    blank = ExecutionRequest(execution_id=execution_id or new_execution_id(), code="")
    claim = await ledger.claim(blank)
    if claim.result is not None:
        return claim.result
    job = Job(request=blank, attempt=claim.attempt or 0, started_at=now())
    refusal = refusal_of(job, error)
    return refusal if claim.attempt is None else await ledger.finish(job.ended_with(refusal))
