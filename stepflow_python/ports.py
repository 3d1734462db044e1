"""The outside worlds as the jobs floor sees them: protocols of at most five methods.

The first five are the public interfaces of the product; the others are the seams between its floors.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from stepflow_python.model.environment import Environment, EnvironmentConfig, EnvironmentId, PipConfig
from stepflow_python.model.history import ExecutionRecord, HistoryFilter, Page, PythonMetrics
from stepflow_python.model.limits import Limits
from stepflow_python.model.module import Dependency, Import, NeededModule, Parameter, PythonFunction, PythonModule
from stepflow_python.model.request import ExecutionRequest, FunctionRequest, PythonRequest, ScriptRequest
from stepflow_python.model.result import ExecutionResult, MemoryEnforcement, SandboxOutcome
from stepflow_python.model.security import IsolationTier, SecuritySettings, SecurityStatus, Verdict

# --- public interfaces ------------------------------------------------------------------------------------------------


class PythonParser(Protocol):
    """Facts about source; never executes or imports it."""

    async def parse_code(self, code: str, *, name: str = "tool") -> PythonModule:
        """Parse source text; `name` is the module's, also in messages."""

    async def parse_file(self, path: Path) -> PythonModule:
        """Parse a file, decoded by its own coding cookie."""

    async def validate_syntax(self, code: str) -> None:
        """Raise `PythonSyntaxError` where the source is not Python."""

    async def analyze_dependencies(self, code: str) -> tuple[Dependency, ...]:
        """What the source says it needs."""


class PythonSecurity(Protocol):
    """Early, named refusals; the sandbox is what holds."""

    async def validate_code(self, code: str) -> Verdict:
        """All violations in the source."""

    async def check_imports(self, imports: Sequence[Import]) -> Verdict:
        """All violations among imports."""

    async def check_functions(self, functions: Sequence[PythonFunction]) -> Verdict:
        """All violations in the bodies of functions."""

    async def monitor_execution(self, execution_id: str) -> SecurityStatus:
        """What is known of a run while it lasts."""


class PythonEnvironment(Protocol):
    """Virtualenvs, named by their content."""

    async def create_environment(self, config: EnvironmentConfig) -> EnvironmentId:
        """Build, or find, the environment of a configuration."""

    async def activate_environment(self, environment_id: EnvironmentId) -> Environment:
        """The environment, checked to be whole."""

    async def install_dependencies(
        self, environment_id: EnvironmentId, dependencies: Sequence[Dependency]
    ) -> EnvironmentId:
        """The environment that has these as well: another one, since what is in an environment names it."""

    async def cleanup_environment(self, environment_id: EnvironmentId) -> None:
        """Remove an environment that is not in use."""


class PythonExecutor(Protocol):
    """Runs requests here and now, recorded; no broker."""

    async def execute_code(self, request: PythonRequest) -> ExecutionResult:
        """Run code as a script."""

    async def execute_function(self, request: FunctionRequest) -> ExecutionResult:
        """Call one function."""

    async def execute_script(self, request: ScriptRequest) -> ExecutionResult:
        """Run a script file."""

    async def validate_environment(self, config: EnvironmentConfig) -> bool:
        """Whether the environment of this configuration is there and whole."""


class PythonMonitoring(Protocol):
    """Counts what happens; `duration` in seconds."""

    async def record_execution(self, execution_id: str, duration: float, success: bool) -> None:  # noqa: FBT001 - the public contract
        """Count an execution."""

    async def record_environment_creation(self, environment_id: EnvironmentId, duration: float) -> None:
        """Count an environment that was built."""

    async def record_dependency_installation(self, environment_id: EnvironmentId, dependency: Dependency) -> None:
        """Count a package that was installed."""

    async def get_metrics(self, filter: HistoryFilter | None = None) -> PythonMetrics:  # noqa: A002 - the public contract
        """Totals, from the record."""


# --- environments -----------------------------------------------------------------------------------------------------

Progress = Callable[[str], None]
"""Told, in a few words, what takes time."""


def silent(_message: str) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSpec:
    """What an environment must hold: `python` is a version such as `3.12`, a specifier such as `>=3.9`, or none.

    `imports` are modules whose distributions are to be inferred. With a `lock` (lines `name==version --hash=...`) it
    holds exactly that, and nothing is resolved.
    """

    requirements: tuple[str, ...] = ()
    imports: tuple[NeededModule, ...] = ()
    lock: tuple[str, ...] | None = None
    python: str | None = None
    pip: PipConfig = field(default_factory=PipConfig)


class Environments(Protocol):
    """Finds or builds environments."""

    async def ensure(self, spec: EnvironmentSpec, *, progress: Progress = silent, refresh: bool = False) -> Environment:
        """The environment of this content, built if it is not there; `refresh`: resolved anew.

        Raises:
            DependencyError: a requirement is malformed, unknown or impossible.
            PythonEnvironmentError: no such interpreter, or it could not be built.
        """

    def lease(self, environment: Environment) -> AbstractAsyncContextManager[bool]:
        """Use an environment: nobody removes it meanwhile. False if somebody just has."""

    async def get(self, environment_id: EnvironmentId) -> Environment:
        """A finished environment by its id; `PythonEnvironmentError` names the ones there are."""

    async def list(self) -> tuple[Environment, ...]:
        """All finished environments."""

    async def remove(self, environment_id: EnvironmentId) -> None:
        """Remove one that is not in use."""


# --- sandbox ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRun:
    """One run: everything is resolved, nothing in it is trusted but the environment's paths.

    `function` none runs the source as `__main__`. `arguments` are JSON, already checked against `input_schema`, by
    which the guest converts what JSON has no type for; `parameters` say how each is passed.
    """

    execution_id: str
    environment: Environment
    source: str
    module_name: str
    function: str | None = None
    parameters: tuple[Parameter, ...] = ()
    arguments: dict[str, JsonValue] = field(default_factory=dict)
    input_schema: dict[str, JsonValue] = field(default_factory=dict)
    stdin: bytes = b""
    files: dict[str, bytes] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    security: SecuritySettings = field(default_factory=SecuritySettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationReport:
    """What this host can do: the live tier, why not a better one, and what to do about it (one line each)."""

    tier: IsolationTier
    memory: MemoryEnforcement
    launcher: str
    """The bubblewrap that is used, with its version; empty if none."""
    reasons: tuple[str, ...] = ()


class Sandbox(Protocol):
    """Where a stranger's code runs."""

    async def run(self, run: SandboxRun, *, cancel: asyncio.Event | None = None) -> SandboxOutcome:
        """Run to the end, or to a limit, or until `cancel` is set. What the tool does is never an exception.

        Raises:
            IsolationUnavailableError: this host cannot isolate well enough.
            InternalError: the box could not be started.
        """

    def status(self, execution_id: str) -> SecurityStatus:
        """What is known of a run while it lasts."""

    async def isolation(self) -> IsolationReport:
        """What this host can do; probed once."""

    async def close(self) -> None:
        """Kill what still runs."""


# --- store ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a worker got: an `attempt` number to run, or the recorded `result` of an execution that has ended.

    Both none: somebody else is running it now.
    """

    attempt: int | None = None
    result: ExecutionResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """All that is recorded when an attempt ends."""

    request: ExecutionRequest
    result: ExecutionResult
    module: PythonModule | None = None
    environment: Environment | None = None


class Ledger(Protocol):
    """The record as workers and clients write it. Each change of status is guarded; each call is durable on return."""

    async def enqueue(self, request: ExecutionRequest) -> Claim:
        """Record a queued execution before its message is sent; an id that is there already changes nothing.

        Returns:
            The recorded result if the execution has ended; else an empty claim.
        """

    async def claim(self, request: ExecutionRequest) -> Claim:
        """Take an execution to run it: queued to running. Makes its row if no client did."""

    async def finish(self, attempt: Attempt) -> ExecutionResult:
        """Record an attempt and end its execution; returns what is on record: the first end wins."""

    async def request_cancel(self, execution_id: str) -> ExecutionRecord:
        """Cancel: a queued execution ends at once, a running one is marked.

        Raises:
            ExecutionError: no such execution.
        """

    async def cancel_requested(self, execution_id: str) -> bool:
        """Whether a running execution was asked to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What the record has to run an execution again: none of it where it ended before that was known.

    `request` lacks its source, and what is not recorded: the content of `file_names`, the values of `variables`.
    """

    request: ExecutionRequest
    source: str | None = None
    lock: tuple[str, ...] | None = None
    python_version: str | None = None
    file_names: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()


class History(Protocol):
    """The record as it is read."""

    async def get(self, execution_id: str) -> ExecutionRecord | None:
        """One execution, whole."""

    async def result(self, execution_id: str) -> ExecutionResult | None:
        """Its result, once it has ended: less to read than all of it, for who asks again and again."""

    async def page(self, query: HistoryFilter, *, limit: int, cursor: str | None = None) -> Page:
        """A page of executions, newest first.

        Raises:
            ParseError: the cursor is not one that we gave.
        """

    async def source(self, tool_id: str) -> PythonModule | None:
        """The newest recorded source of a tool."""

    async def recipe(self, execution_id: str) -> Recipe | None:
        """What it takes to run an execution again."""

    async def metrics(self, query: HistoryFilter) -> PythonMetrics:
        """Totals."""


# --- messaging --------------------------------------------------------------------------------------------------------


class Dispatcher(Protocol):
    """Sends a request on its way to a worker."""

    async def send(self, request: ExecutionRequest) -> None:
        """Publish `stepflow.execute`; `InternalError` names the broker when it cannot be reached."""

    async def send_chain(self, requests: Sequence[ExecutionRequest]) -> None:
        """Publish a chain: each step runs after the one before it, and may refer to its result."""
