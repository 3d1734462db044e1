"""What a producer with Celery needs to call tools and wait for them. It imports nothing of stepflow-python: copy it.

Used by the examples of Celery canvas, Prefect and Airflow beside this file.
"""

import contextlib
import uuid
from typing import Any

from celery import Celery, Signature
from celery.exceptions import TimeoutError as NoReplyError

QUEUE = "stepflow"


class ToolError(Exception):
    """A tool did not succeed; `reply` is the whole `ExecutionResult`."""

    def __init__(self, reply: dict[str, Any]) -> None:
        self.reply = reply
        super().__init__(f"execution {reply['execution_id']}: {reply['status']}: {reply['error']['message']}")


class NoAnswerError(Exception):
    """No result came in time."""


def make_app(broker: str, replies: str) -> Celery:
    """An application that sends to workers; `replies` is the result backend that they are started with."""
    app = Celery("producer", broker=broker, backend=replies, set_as_current=False)
    # On RabbitMQ a queue must be declared as workers do; other brokers do not mind.
    app.conf.update(task_create_missing_queue_type="quorum", task_create_missing_queue_exchange_type="topic")
    return app


def tool(app: Celery, code: str, function: str, *, execution_id: str | None = None, **parameters: object) -> Signature:
    """One call of a function, to be sent or put into a chain, group or chord.

    An `execution_id` that is the same when it is sent again makes sure that it runs once. `{"$previous": ""}` as a
    parameter is the result of the step before, `{"$previous": "/key"}` a part of it.
    """
    execution_id = execution_id or uuid.uuid4().hex
    payload = {"execution_id": execution_id, "code": code, "function_name": function, "parameters": parameters}
    return app.signature("stepflow.execute", args=[payload], queue=QUEUE, task_id=execution_id)


def result_of(reply: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever the tool returned, as JSON
    """What a tool returned.

    Raises:
        ToolError: it did not succeed.
    """
    if reply["status"] != "succeeded":
        raise ToolError(reply)
    return reply["result"]


def call(app: Celery, step: Signature, *, timeout_s: float) -> Any:  # noqa: ANN401 - as above
    """Send one call, wait for its end, give what it returned.

    Raises:
        ToolError: it did not succeed.
        NoAnswerError: it has not ended in time; it is stopped, or will never start.
    """
    # A message that nobody has taken by then is dropped, so that nothing runs that nobody waits for.
    sent = step.apply_async(expires=timeout_s)
    try:
        reply = sent.get(timeout=timeout_s)
    except NoReplyError as error:
        why = situation(app)
        cancel(app, sent.id)
        raise NoAnswerError(f"execution {sent.id}: no result within {timeout_s:g} s: {why}; it is stopped") from error
    except BaseException:
        cancel(app, sent.id)
        raise
    finally:
        with contextlib.suppress(NotImplementedError):
            sent.forget()
    return result_of(reply)


def cancel(app: Celery, execution_id: str) -> None:
    """Stop a call, whether it waits or runs."""
    app.control.revoke(execution_id, terminate=True)


def situation(app: Celery) -> str:
    """Why nothing came, as far as workers say."""
    alive = app.control.ping(timeout=2)
    return f"it waits or runs on one of {len(alive)} workers" if alive else f"no worker takes from the queue {QUEUE!r}"
