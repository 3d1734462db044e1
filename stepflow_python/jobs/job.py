"""What travels through the life of one job."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from stepflow_python.model.environment import Environment
from stepflow_python.model.limits import Limits
from stepflow_python.model.module import PythonFunction, PythonModule
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import ExecutionResult
from stepflow_python.model.security import SecuritySettings
from stepflow_python.model.values import Instant
from stepflow_python.ports import Attempt, EnvironmentSpec, Progress, silent

BUILT = "sealing"
"""The last step of building an environment, among the times of one that was built for a job."""


class TryLaterError(Exception):
    """An execution that nobody can run or end just now; its message is to come again.

    Args:
        why: for the log.
        delay_s: after so many seconds; none leaves it to whoever handles the message.
    """

    def __init__(self, why: str, *, delay_s: float | None = None) -> None:
        super().__init__(why)
        self.delay_s = delay_s


@dataclass(slots=True, kw_only=True)
class Found:
    """What the steps found on their way; the record has it even of a job that was refused halfway.

    `handed_back` is set when the worker stops before the job has ended.
    """

    module: PythonModule | None = None
    environment: Environment | None = None
    environment_times: dict[str, float] = field(default_factory=dict)
    """How long each step on the way to the environment took, in ms."""
    handed_back: bool = False
    reused_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One attempt at one request; `cancel` is set when somebody wants it to stop.

    `refresh`: dependencies are resolved anew, whatever was resolved before.
    """

    request: ExecutionRequest
    attempt: int
    started_at: Instant
    cancel: asyncio.Event = field(default_factory=asyncio.Event)
    progress: Progress = silent
    refresh: bool = False
    found: Found = field(default_factory=Found)

    def ended_with(self, result: ExecutionResult) -> Attempt:
        """All there is to record of it."""
        return Attempt(
            request=self.request, result=result, module=self.found.module, environment=self.found.environment
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A request that may run: everything decided, nothing started. `function` none: a script."""

    module: PythonModule
    function: PythonFunction | None
    limits: Limits
    security: SecuritySettings
    environment: EnvironmentSpec


JobRunner = Callable[[Job], Awaitable[ExecutionResult]]
"""Runs a job to its result; a wrapper of one is another one."""
