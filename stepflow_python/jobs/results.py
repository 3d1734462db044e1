"""From how a job ended to its `ExecutionResult`."""

from stepflow_python.errors import ErrorCategory, PythonError
from stepflow_python.jobs.job import Job
from stepflow_python.model.result import ErrorInfo, ExecutionResult, SandboxOutcome, Status
from stepflow_python.model.values import now


def result_of(job: Job, outcome: SandboxOutcome) -> ExecutionResult:
    """The result of a job that ran."""
    environment = job.found.environment
    return ExecutionResult(
        **dict(outcome),
        execution_id=job.request.execution_id,
        environment_id=environment.id if environment is not None else None,
        attempt=job.attempt,
        started_at=job.started_at,
        finished_at=now(),
    )


def refusal_of(job: Job, error: PythonError) -> ExecutionResult:
    """The result of a job that did not run: refused where the caller can mend it, failed where only we can."""
    status = Status.REJECTED if error.category is ErrorCategory.REQUEST else Status.FAILED
    return result_of(job, SandboxOutcome(status=status, error=ErrorInfo.of(error)))
