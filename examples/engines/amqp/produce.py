"""A producer that knows AMQP and JSON, and neither Celery nor stepflow-python: enqueue a tool, wait for its result.

With pika; a client in any other language does the same. Workers reply where they have the result backend `rpc://`.
"""

import json
import os
import sys
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, UnroutableError

QUEUE = "stepflow"
SOURCE = "def shout(text: str) -> str:\n    return text.upper() + '!'\n"


class ToolError(Exception):
    """A tool did not succeed; `reply` is the whole `ExecutionResult`."""

    def __init__(self, reply: dict[str, Any]) -> None:
        self.reply = reply
        super().__init__(f"execution {reply['execution_id']}: {reply['status']}: {reply['error']['message']}")


class NoAnswerError(Exception):
    """No result came in time."""


def call(url: str, request: dict[str, Any], *, timeout_s: float) -> Any:  # noqa: ANN401 - what the tool returned, as JSON
    """Send an `ExecutionRequest`, wait for its end, give what the tool returned.

    Raises:
        ToolError: it did not succeed.
        NoAnswerError: it has not ended in time, or there is no queue to send it to.
    """
    request = {"execution_id": uuid.uuid4().hex, **request}
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        replies = channel.queue_declare("", exclusive=True).method.queue
        send(channel, request, reply_to=replies, timeout_s=timeout_s)
        for _, _, body in channel.consume(replies, auto_ack=True, inactivity_timeout=timeout_s):
            if body is None:
                break
            answer = json.loads(body)
            if answer["status"] != "SUCCESS":  # a fault of the worker's own; a tool's failure is a result
                raise NoAnswerError(f"execution {request['execution_id']}: {answer['result']}")
            if answer["result"]["status"] != "succeeded":
                raise ToolError(answer["result"])
            return answer["result"]["result"]
        why = situation(channel)
    raise NoAnswerError(f"execution {request['execution_id']}: no result within {timeout_s:g} s: {why}")


def send(channel: BlockingChannel, request: dict[str, Any], *, reply_to: str, timeout_s: float) -> None:
    """One message of Celery's protocol 2, which the broker has taken when this returns."""
    task = request["execution_id"]
    headers = {
        "lang": "py",
        "task": "stepflow.execute",
        "id": task,
        "root_id": task,
        "parent_id": None,
        "group": None,
        # A message that nobody has taken by then is dropped, so that nothing runs that nobody waits for.
        "expires": (datetime.now(UTC) + timedelta(seconds=timeout_s)).isoformat(),
    }
    body = [[request], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    properties = pika.BasicProperties(
        content_type="application/json",
        content_encoding="utf-8",
        correlation_id=task,
        reply_to=reply_to,
        delivery_mode=pika.DeliveryMode.Persistent,
        headers=headers,
    )
    channel.confirm_delivery()
    try:
        # To the queue by its name: workers have declared it, and a producer need not know how.
        channel.basic_publish("", QUEUE, json.dumps(body).encode(), properties, mandatory=True)
    except UnroutableError as error:
        raise NoAnswerError(f"there is no queue {QUEUE!r}: no worker has run on this broker") from error


def situation(channel: BlockingChannel) -> str:
    """Why nothing came, as far as the broker says."""
    try:
        declared = channel.queue_declare(QUEUE, passive=True).method
    except ChannelClosedByBroker as error:
        return str(error)
    if declared.consumer_count == 0:
        return f"no worker takes from the queue {QUEUE!r}"
    return f"it waits or runs on one of {declared.consumer_count} workers, {declared.message_count} wait"


def main() -> int:
    """Print what came of it."""
    request = {"code": SOURCE, "function_name": "shout", "parameters": {"text": "plain AMQP"}}
    try:
        print(json.dumps(call(os.environ["BROKER_URL"], request, timeout_s=60)))
    except (ToolError, NoAnswerError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
