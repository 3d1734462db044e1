"""Sends requests on their way, by task name: a client never imports the worker."""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from celery import Celery, Signature
from celery.canvas import maybe_signature
from celery.utils.time import get_exponential_backoff_interval
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from kombu.utils.json import dumps

from stepflow_python.config import Settings
from stepflow_python.errors import InternalError
from stepflow_python.messages import Delivery
from stepflow_python.messaging.app import EXECUTE, broker_name, sent_priority
from stepflow_python.model.request import ExecutionRequest

T = TypeVar("T")

PROVISION = "stepflow.provision"
CLEANUP = "stepflow.cleanup"
HIGHEST_PRIORITY = 9
FIRST_DELAY_S = 1
LONGEST_DELAY_S = 60
CONNECT_TIMEOUT_S = 5.0
_RETRY = {"max_retries": 3, "interval_start": 0.1, "interval_step": 0.4, "interval_max": 1.0}


class CeleryDispatcher:
    """Publishes through a Celery application made by `make_app` from the same settings."""

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    def pack(self, request: ExecutionRequest) -> Delivery:
        """The message `stepflow.execute` with the request; its id is the execution's."""
        return Delivery(queue=self._queue_of(request), message=dict(self._signature(request)))

    def pack_chain(self, requests: Sequence[ExecutionRequest]) -> Delivery:
        """A Celery chain: each runs after the one before has ended, and is handed its result.

        The first one's message, with those that follow it, the last in front. The steps of Celery's own `chain`, once
        it is read back from JSON, have no application (5.7): the current one's broker would get them, not ours.
        """
        first, *others = map(self._signature, requests)
        followed = first.set(chain=others[::-1])
        return Delivery(queue=self._queue_of(requests[0]), message=json.loads(dumps(dict(followed))))

    async def send(self, delivery: Delivery, *, first: bool = False) -> None:
        """Publish a message; `first`: before all that wait, where the broker knows priorities.

        Raises:
            InternalError: the broker cannot be reached.
        """
        await asyncio.to_thread(self._publish, delivery, first=first)

    async def depth(self, queue: str) -> int:
        """How many messages wait in a queue; 0 of one that is not there.

        Raises:
            InternalError: the broker cannot be reached.
        """
        return await asyncio.to_thread(self._depth, queue)

    def _publish(self, delivery: Delivery, *, first: bool) -> None:
        message = maybe_signature(delivery.message, app=self._app)
        options = {"priority": sent_priority(self._settings, HIGHEST_PRIORITY)} if first else {}
        self._reaching_broker(lambda: message.apply_async(**options))

    def _depth(self, queue: str) -> int:
        with self._app.connection_for_write() as connection:
            return self._reaching_broker(lambda: _waiting(connection, queue))

    def _queue_of(self, request: ExecutionRequest) -> str:
        return request.queue or self._settings.queue_by_python.get(request.python_version or "", self._settings.queue)

    def _signature(self, request: ExecutionRequest) -> Signature:
        return self._app.signature(
            EXECUTE,
            args=[request.model_dump(mode="json", exclude_defaults=True)],
            task_id=request.execution_id,
            # What Celery shows in logs, events and monitors; made of the arguments by default, secrets included.
            argsrepr=f"({request.execution_id!r},)",
            queue=self._queue_of(request),
            priority=sent_priority(self._settings, request.priority),
            ignore_result=not self._settings.result_backend,
            retry=True,
            retry_policy=_RETRY,
        )

    def _reaching_broker(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except (OperationalError, OSError) as error:
            raise InternalError(
                f"broker {broker_name(self._settings)} cannot be reached: {error};"
                " start it, or correct STEPFLOW_PYTHON_BROKER_URL; what is recorded is sent when it is back"
            ) from error


def _waiting(connection: Connection, queue: str) -> int:
    """Messages of a queue that nobody has been handed."""
    connection.ensure_connection(max_retries=1, timeout=CONNECT_TIMEOUT_S)
    with connection.channel() as channel:
        try:
            return int(channel.queue_declare(queue=queue, passive=True).message_count)
        except connection.channel_errors:
            return 0


def backoff_s(attempt: int) -> float:
    """Seconds until the try after this one: doubling up to a minute, anywhere in its second half.

    Celery's own; what it draws from zero on would try again at once now and then.
    """
    most = get_exponential_backoff_interval(factor=FIRST_DELAY_S, retries=attempt, maximum=LONGEST_DELAY_S)
    return float(most) / 2 + random.uniform(0, float(most) / 2)  # noqa: S311 - spreads tries, hides nothing
