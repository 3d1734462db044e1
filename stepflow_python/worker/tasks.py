"""The three Celery tasks: decode, call, encode. What they mean is decided behind `Jobs`."""

import json
import re
from typing import Any, Protocol, TypeAlias

from celery import Celery, Task
from celery.exceptions import Reject
from kombu.utils.json import dumps

from stepflow_python.errors import PythonError
from stepflow_python.jobs.job import TryLaterError
from stepflow_python.messages import Delivered, Delivery
from stepflow_python.messaging.app import EXECUTE
from stepflow_python.messaging.dispatch import CLEANUP, PROVISION, backoff_s

DELAYED = re.compile(r"^(?:[01]\.){28}")
"""What RabbitMQ's routing keys begin with while a message is delayed: the seconds, in binary."""
NO_RESULT = 1
"""Characters of a result that Celery puts into logs and events: it may hold what a tool was not to tell."""

JsonObject: TypeAlias = dict[str, Any]
"""A reply as it travels: a JSON object."""


class Jobs(Protocol):
    """The work behind the tasks; called from many threads at a time. Payloads are undecoded JSON."""

    def execute(self, payload: object, previous: object | None, delivery: Delivered | None) -> JsonObject:
        """Run an `ExecutionRequest`; an `ExecutionResult` as JSON.

        Args:
            payload: the request as JSON.
            previous: in a chain the predecessor's result, in a chord the list of them; else none.
            delivery: the message itself, to be sent again should this worker die.

        Raises:
            TryLaterError: the message is to come again.
        """

    def provision(self, payload: object) -> JsonObject:
        """Build the environment of `{"dependencies": [...], "python_version": ...}`; `{"environment_id": ...}`."""

    def cleanup(self, payload: object) -> JsonObject:
        """Remove what is older than `{"older_than_days": n}`; what was removed, as counts."""

    def cancel(self, execution_id: str, *, running: bool) -> None:
        """Stop an execution that waits, and, if `running`, one that runs, on whichever worker; returns at once."""

    def drop(self, payload: object) -> None:
        """Record that a message will not be run, since it was revoked or has expired; returns at once."""

    def hand_back(self) -> None:
        """End the runs of this worker and queue their executions again; returns at once."""


def register(app: Celery, jobs: Jobs) -> None:
    """Define the tasks on this application alone; Celery would share them with every other in the process."""

    @app.task(name=EXECUTE, bind=True, max_retries=None, shared=False, resultrepr_maxsize=NO_RESULT)
    def execute(task: Task, *arguments: object) -> JsonObject:
        # Celery puts a predecessor's result before the arguments of a chain's or chord's next task.
        previous, payload = _one_or_two(arguments)
        try:
            return jobs.execute(payload, previous, delivery_of(task))
        except TryLaterError as later:
            raise _again(task, later, later.delay_s) from later
        except PythonError as error:
            raise _verdict(task, error) from error

    @app.task(name=PROVISION, bind=True, max_retries=None, shared=False)
    def provision(task: Task, payload: object) -> JsonObject:
        try:
            return jobs.provision(payload)
        except PythonError as error:
            raise _verdict(task, error) from error

    @app.task(name=CLEANUP, bind=True, max_retries=None, shared=False)
    def cleanup(task: Task, payload: object) -> JsonObject:
        try:
            return jobs.cleanup(payload)
        except PythonError as error:
            raise _verdict(task, error) from error


def delivery_of(task: Task) -> Delivered | None:
    """The message that a task was made from, with what follows it in a chain or chord; none where it was called."""
    request = task.request
    if request.called_directly or request.delivery_info is None:
        return None
    key = str(request.delivery_info.get("routing_key") or task.app.conf.task_default_queue)

    def delivered() -> Delivery:
        queue = DELAYED.sub("", key)
        message = task.signature_from_request(request, args=request.args, kwargs=request.kwargs, queue=queue)
        return Delivery(queue=queue, message=json.loads(dumps(dict(message))))

    return delivered


def _one_or_two(arguments: tuple[object, ...]) -> tuple[object | None, object]:
    match arguments:
        case (payload,):
            return None, payload
        case (previous, payload):
            return previous, payload
    # Refused on record like any other payload that is no request.
    return None, list(arguments)


def _verdict(task: Task, error: PythonError) -> Exception:
    """What the task raises: the error, or Celery's sign to try again later."""
    return _again(task, error, None) if error.retryable and not task.request.called_directly else error


def _again(task: Task, why: Exception, delay_s: float | None) -> Exception:
    delay_s = backoff_s(task.request.retries) if delay_s is None else delay_s
    # RabbitMQ delays by whole seconds, and refuses less than one.
    countdown = max(delay_s, 1.0) if delay_s else delay_s
    try:
        retry: Exception = task.retry(exc=why, countdown=countdown, throw=False)
    except Reject as rejected:
        # It could not be sent. Celery would have its message dropped; the broker keeps it, and delivers it again.
        raise Reject(rejected.reason, requeue=True) from why
    return retry
