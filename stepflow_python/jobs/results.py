"""From how a job ended to its `ExecutionResult`."""

from stepflow_python.errors import ErrorCategory, InternalError, PythonError
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
        environment_times=dict(job.found.environment_times),
        attempt=job.attempt,
        reused_from=job.found.reused_from,
        started_at=job.started_at,
        finished_at=now(),
    )


def refusal_of(job: Job, error: PythonError) -> ExecutionResult:
    """The result of a job that did not run: refused where the caller can mend it, failed where only we can."""
    status = Status.REJECTED if error.category is ErrorCategory.REQUEST else Status.FAILED
    return result_of(job, SandboxOutcome(status=status, error=ErrorInfo.of(error)))


def stopped_of(job: Job) -> ExecutionResult:
    """The result of a job whose worker had to stop before the job had ended."""
    message = f"the worker of attempt {job.attempt} was stopped before it ended; submit it again under another id"
    error = InternalError(message)
    return result_of(job, SandboxOutcome(status=Status.LOST, error=ErrorInfo.of(error)))
