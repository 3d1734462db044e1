"""The three Celery tasks: decode, call, encode. What they mean is decided behind `Jobs`."""

from typing import Any, Protocol, TypeAlias

from celery import Celery, Task

from stepflow_python.errors import ParseError, PythonError
from stepflow_python.messaging.dispatch import CLEANUP, EXECUTE, PROVISION

JsonObject: TypeAlias = dict[str, Any]
"""A reply as it travels: a JSON object."""

LONGEST_DELAY_S = 60
MAX_RETRIES = 8


class Jobs(Protocol):
    """The work behind the tasks; called from many threads at a time. Payloads are undecoded JSON."""

    def execute(self, payload: object, previous: object | None) -> JsonObject:
        """Run an `ExecutionRequest`; an `ExecutionResult` as JSON.

        Args:
            payload: the request as JSON.
            previous: in a chain the predecessor's result, in a chord the list of them; else none.
        """

    def provision(self, payload: object) -> JsonObject:
        """Build the environment of `{"dependencies": [...], "python_version": ...}`; `{"environment_id": ...}`."""

    def cleanup(self, payload: object) -> JsonObject:
        """Remove what is older than `{"older_than_days": n}`; what was removed, as counts."""


def register(app: Celery, jobs: Jobs) -> None:
    """Define the tasks on this application alone; Celery would share them with every other in the process."""

    @app.task(name=EXECUTE, bind=True, max_retries=MAX_RETRIES, shared=False)
    def execute(task: Task, *arguments: object) -> JsonObject:
        # Celery puts a predecessor's result before the arguments of a chain's or chord's next task.
        previous, payload = _one_or_two(arguments)
        try:
            return jobs.execute(payload, previous)
        except PythonError as error:
            raise _verdict(task, error) from error

    @app.task(name=PROVISION, bind=True, max_retries=MAX_RETRIES, shared=False)
    def provision(task: Task, payload: object) -> JsonObject:
        try:
            return jobs.provision(payload)
        except PythonError as error:
            raise _verdict(task, error) from error

    @app.task(name=CLEANUP, bind=True, max_retries=MAX_RETRIES, shared=False)
    def cleanup(task: Task, payload: object) -> JsonObject:
        try:
            return jobs.cleanup(payload)
        except PythonError as error:
            raise _verdict(task, error) from error


def _one_or_two(arguments: tuple[object, ...]) -> tuple[object | None, object]:
    match arguments:
        case (payload,):
            return None, payload
        case (previous, payload):
            return previous, payload
    raise ParseError(f"{EXECUTE} takes one argument, the ExecutionRequest as a JSON object, not {len(arguments)}")


def _verdict(task: Task, error: PythonError) -> Exception:
    """What the task raises: the error, or Celery's sign to try again later."""
    if not error.retryable or task.request.called_directly:
        return error
    delay_s = min(2**task.request.retries, LONGEST_DELAY_S)
    retry: Exception = task.retry(exc=error, countdown=delay_s, throw=False)
    return retry
