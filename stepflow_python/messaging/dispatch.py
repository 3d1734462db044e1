"""Sends requests on their way, by task name: a client never imports the worker."""

import asyncio
from collections.abc import Callable, Sequence

from celery import Celery, Signature, chain
from kombu.exceptions import OperationalError

from stepflow_python.config import Settings
from stepflow_python.errors import InternalError
from stepflow_python.messaging.app import broker_name, sent_priority
from stepflow_python.model.request import ExecutionRequest

EXECUTE = "stepflow.execute"
PROVISION = "stepflow.provision"
CLEANUP = "stepflow.cleanup"
_RETRY = {"max_retries": 3, "interval_start": 0.1, "interval_step": 0.4, "interval_max": 1.0}


class CeleryDispatcher:
    """Publishes through a Celery application made by `make_app` from the same settings."""

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def send(self, request: ExecutionRequest) -> None:
        """Publish `stepflow.execute` with the request; its message's id is the execution's.

        Raises:
            InternalError: the broker cannot be reached.
        """
        await asyncio.to_thread(self._publish, request)

    async def send_chain(self, requests: Sequence[ExecutionRequest]) -> None:
        """Publish a Celery chain: each runs after the one before has ended, and is handed its result.

        Raises:
            InternalError: the broker cannot be reached.
        """
        await asyncio.to_thread(self._publish_chain, requests)

    def _publish(self, request: ExecutionRequest) -> None:
        self._reaching_broker(self._signature(request).apply_async)

    def _publish_chain(self, requests: Sequence[ExecutionRequest]) -> None:
        steps = chain(*map(self._signature, requests), app=self._app)
        self._reaching_broker(steps.apply_async)

    def _signature(self, request: ExecutionRequest) -> Signature:
        return self._app.signature(
            EXECUTE,
            args=[request.model_dump(mode="json", exclude_defaults=True)],
            task_id=request.execution_id,
            queue=self._settings.queue,
            priority=sent_priority(self._settings, request.priority),
            ignore_result=not self._settings.result_backend,
            retry=True,
            retry_policy=_RETRY,
        )

    def _reaching_broker(self, publish: Callable[[], object]) -> None:
        try:
            publish()
        except (OperationalError, OSError) as error:
            raise InternalError(
                f"broker {broker_name(self._settings)} cannot be reached: {error};"
                " start it, or correct STEPFLOW_PYTHON_BROKER_URL, and submit again"
            ) from error
