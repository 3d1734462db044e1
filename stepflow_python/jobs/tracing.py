"""Spans around the steps of a job: wrappers, as for everything that is not a step."""

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from stepflow_python.jobs.job import Job, JobRunner
from stepflow_python.jobs.pipeline import Floor
from stepflow_python.model.environment import Environment, EnvironmentId
from stepflow_python.model.module import Dependency, PythonModule
from stepflow_python.model.result import ExecutionResult, SandboxOutcome
from stepflow_python.model.security import SecurityStatus
from stepflow_python.ports import (
    Environments,
    EnvironmentSpec,
    IsolationReport,
    PythonParser,
    Sandbox,
    SandboxRun,
    Steps,
)
from stepflow_python.tracing import Tracer, Value


def traced(run: JobRunner, tracer: Tracer) -> JobRunner:
    """A span for each attempt, from the claim to the record."""

    async def spanned(job: Job) -> ExecutionResult:
        request = job.request
        facts: dict[str, Value | None] = {"execution_id": request.execution_id, "attempt": job.attempt}
        facts["tool"] = request.tool_id
        with tracer.span("attempt", **facts) as span:
            result = await run(job)
            span.note(status=result.status.value, environment_id=result.environment_id, reused_from=result.reused_from)
            return result

    return spanned


def traced_floor(floor: Floor, tracer: Tracer) -> Floor:
    """The same floor, with a span for each step that takes time."""
    return replace(
        floor,
        sources=replace(floor.sources, parser=TracedParser(parser=floor.sources.parser, tracer=tracer)),
        environments=TracedEnvironments(environments=floor.environments, tracer=tracer),
        sandbox=TracedSandbox(sandbox=floor.sandbox, tracer=tracer),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedParser:
    """Implements `ports.PythonParser` over another one."""

    parser: PythonParser
    tracer: Tracer

    async def parse_code(self, code: str, *, name: str = "tool") -> PythonModule:
        """As the parser below."""
        with self.tracer.span("parse", module=name, characters=len(code)):
            return await self.parser.parse_code(code, name=name)

    async def parse_file(self, path: Path) -> PythonModule:
        """As the parser below."""
        return await self.parser.parse_file(path)

    async def validate_syntax(self, code: str) -> None:
        """As the parser below."""
        await self.parser.validate_syntax(code)

    async def analyze_dependencies(self, code: str) -> tuple[Dependency, ...]:
        """As the parser below."""
        return await self.parser.analyze_dependencies(code)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedEnvironments:
    """Implements `ports.Environments` over others."""

    environments: Environments
    tracer: Tracer

    async def ensure(self, spec: EnvironmentSpec, *, steps: Steps | None = None, refresh: bool = False) -> Environment:
        """As below; the span has each step's time, in ms."""
        steps = steps or Steps()
        with self.tracer.span("environment", requirements=len(spec.requirements)) as span:
            environment = await self.environments.ensure(spec, steps=steps, refresh=refresh)
            span.note(environment_id=environment.id, **{f"{step}_ms": took for step, took in steps.times.items()})
            return environment

    def lease(self, environment: Environment) -> AbstractAsyncContextManager[bool]:
        """As below."""
        return self.environments.lease(environment)

    async def get(self, environment_id: EnvironmentId) -> Environment:
        """As below."""
        with self.tracer.span("environment", environment_id=environment_id):
            return await self.environments.get(environment_id)

    async def list(self) -> tuple[Environment, ...]:
        """As below."""
        return await self.environments.list()

    async def remove(self, environment_id: EnvironmentId) -> None:
        """As below."""
        await self.environments.remove(environment_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedSandbox:
    """Implements `ports.Sandbox` over another one."""

    sandbox: Sandbox
    tracer: Tracer

    async def run(self, run: SandboxRun, *, cancel: asyncio.Event | None = None) -> SandboxOutcome:
        """As the sandbox below."""
        with self.tracer.span("run", module=run.module_name, function=run.function) as span:
            outcome = await self.sandbox.run(run, cancel=cancel)
            span.note(
                status=outcome.status.value,
                warm=outcome.warm,
                isolation=outcome.isolation,
                dispatch_ms=outcome.dispatch_time_ms,
                execution_ms=outcome.execution_time_ms,
            )
            return outcome

    def status(self, execution_id: str) -> SecurityStatus:
        """As the sandbox below."""
        return self.sandbox.status(execution_id)

    def printed(self, execution_id: str, *, stdout_from: int = 0, stderr_from: int = 0) -> tuple[bytes, bytes]:
        """As the sandbox below."""
        return self.sandbox.printed(execution_id, stdout_from=stdout_from, stderr_from=stderr_from)

    async def isolation(self) -> IsolationReport:
        """As the sandbox below."""
        return await self.sandbox.isolation()

    async def close(self) -> None:
        """As the sandbox below."""
        await self.sandbox.close()
