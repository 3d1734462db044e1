"""The work behind the tasks: a runtime on an event loop, called from the threads of Celery's pool."""

import logging
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from pydantic import Field, ValidationError

from stepflow_python.bootstrap.loop import LoopThread
from stepflow_python.errors import ParseError, PythonError
from stepflow_python.messages import Delivered
from stepflow_python.model.result import ExecutionResult
from stepflow_python.model.values import Value
from stepflow_python.ports import Environments, EnvironmentSpec
from stepflow_python.worker.tasks import JsonObject

log = logging.getLogger(__name__)

Model = TypeVar("Model", bound=Value)


class WorkerRuntime(Protocol):
    """What the worker needs of the runtime."""

    @property
    def environments(self) -> Environments:
        """Where environments are built."""

    async def execute_delivery(
        self, payload: object, previous: object = None, delivery: Delivered | None = None
    ) -> ExecutionResult:
        """Run what a message holds."""

    async def cancel(self, execution_id: str, *, running: bool) -> None:
        """Stop an execution that waits, and, if `running`, one that runs."""

    async def drop(self, payload: object) -> None:
        """Record that a message will not be run."""

    async def hand_back(self) -> None:
        """End what runs here and queue it again."""

    async def cleanup(self, *, older_than_days: float) -> dict[str, int]:
        """Remove unused environments and old records; counts by what was removed."""


class ProvisionRequest(Value):
    """An environment to build before it is needed."""

    dependencies: tuple[str, ...] = ()
    python_version: str | None = None


class CleanupRequest(Value):
    """What may go: records and environments that were not used for so many days."""

    older_than_days: float = Field(default=30.0, ge=0, allow_inf_nan=False)


class JobService:
    """Celery's threads wait here while the loop works; see `tasks.Jobs`."""

    def __init__(self, runtime: WorkerRuntime, loop: LoopThread) -> None:
        self._runtime = runtime
        self._loop = loop

    def execute(self, payload: object, previous: object | None, delivery: Delivered | None = None) -> JsonObject:
        """Run an execution."""
        result = self._loop.call(self._runtime.execute_delivery(payload, previous, delivery))
        return result.model_dump(mode="json")

    def provision(self, payload: object) -> JsonObject:
        """Build an environment."""
        request = _decoded(ProvisionRequest, payload)
        spec = EnvironmentSpec(requirements=request.dependencies, python=request.python_version)
        environment = self._loop.call(self._runtime.environments.ensure(spec))
        return {"environment_id": environment.id}

    def cleanup(self, payload: object) -> JsonObject:
        """Remove what is old."""
        request = _decoded(CleanupRequest, payload)
        return dict(self._loop.call(self._runtime.cleanup(older_than_days=request.older_than_days)))

    def cancel(self, execution_id: str, *, running: bool) -> None:
        """Stop an execution, on whichever worker; returns at once."""
        self._loop.start(_logged(self._runtime.cancel(execution_id, running=running)))

    def drop(self, payload: object) -> None:
        """Record that a message will not be run; returns at once."""
        self._loop.start(_logged(self._runtime.drop(payload)))

    def hand_back(self) -> None:
        """End the runs of this worker and queue their executions again; returns at once."""
        self._loop.start(self._runtime.hand_back())


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    """For work that nobody waits for."""
    try:
        await work
    except PythonError as error:
        log.warning("an execution could not be cancelled, ask again: %s", error)


def _decoded(model: type[Model], payload: object) -> Model:
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, p['loc'])) or 'payload'}: {p['msg']}" for p in error.errors())
        raise ParseError(f"the payload is not usable: {problems}") from error
