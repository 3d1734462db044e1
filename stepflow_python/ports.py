"""The outside worlds as the jobs floor sees them: protocols of a few methods.

The first five are the public interfaces of the product; the others are the seams between its floors.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from stepflow_python.messages import Delivered, Delivery
from stepflow_python.model.environment import Environment, EnvironmentConfig, EnvironmentId, PipConfig
from stepflow_python.model.extension import ExtensionCall
from stepflow_python.model.history import ExecutionRecord, HistoryFilter, Page, PythonMetrics
from stepflow_python.model.limits import Limits
from stepflow_python.model.module import Dependency, Import, NeededModule, Parameter, PythonFunction, PythonModule
from stepflow_python.model.request import ExecutionRequest, FunctionRequest, PythonRequest, ScriptRequest
from stepflow_python.model.result import ExecutionResult, MemoryEnforcement, SandboxOutcome, Status
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
class Steps:
    """What takes time on the way to an environment: told to whoever watches, and timed for the record.

    `times` in ms, by the first word of each step; one that failed is among them.
    """

    progress: Progress = silent
    times: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, message: str) -> Iterator[None]:
        """Tell that a step begins; its time is noted when it ends."""
        self.progress(message)
        started = time.monotonic()
        try:
            yield
        finally:
            self.took(message.partition(" ")[0], started)

    def took(self, step: str, started: float) -> None:
        """Note a step that nobody is told of; `started` on the monotonic clock."""
        took = (time.monotonic() - started) * 1000
        self.times[step] = round(self.times.get(step, 0.0) + took, 2)


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

    async def ensure(self, spec: EnvironmentSpec, *, steps: Steps | None = None, refresh: bool = False) -> Environment:
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
    which the guest converts what JSON has no type for; `parameters` say how each is passed. `tool` names the tool
    through all its runs, and `extensions` the modules of the host that are lent to this one.
    """

    execution_id: str
    environment: Environment
    source: str
    module_name: str
    tool: str = ""
    function: str | None = None
    parameters: tuple[Parameter, ...] = ()
    arguments: dict[str, JsonValue] = field(default_factory=dict)
    input_schema: dict[str, JsonValue] = field(default_factory=dict)
    stdin: bytes = b""
    files: dict[str, bytes] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    """What every run of the environment is given; the request's own `env` goes before it."""
    env: dict[str, str] = field(default_factory=dict)
    imports: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Modules that the source imports, with the names it takes of each: what can be imported ahead of a run."""
    limits: Limits = field(default_factory=Limits)
    security: SecuritySettings = field(default_factory=SecuritySettings)
    extensions: tuple[str, ...] = ()


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
            SecurityViolationError: it brings files, and may have none.
            InternalError: the box could not be started.
        """

    def status(self, execution_id: str) -> SecurityStatus:
        """What is known of a run while it lasts."""

    def printed(self, execution_id: str, *, stdout_from: int = 0, stderr_from: int = 0) -> tuple[bytes, bytes]:
        """What a run has printed so far on stdout and stderr, from these bytes on; nothing of one that is not here."""

    async def isolation(self) -> IsolationReport:
        """What this host can do; probed once."""

    async def close(self) -> None:
        """Kill what still runs."""


# --- extensions -------------------------------------------------------------------------------------------------------


class HostCall(Protocol):
    """Modules of the host, as a run calls them."""

    async def serve(self, line: socket.socket, run: SandboxRun) -> None:
        """Answer the calls that come over a run's own stream socket, until it is closed or this is cancelled.

        Whatever comes in is a stranger's; nothing of it is an exception.
        """


class CallLog(Protocol):
    """The record of calls of extensions."""

    async def record_calls(self, execution_id: str, calls: Sequence[ExtensionCall]) -> None:
        """Add calls of an execution; durable on return."""


# --- store ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a worker got: an `attempt` number to run, or the recorded `result` of an execution that has ended.

    Both none: somebody else is running it now, or, if `crowded`, as many executions of its tool as may. `taken_over`:
    its worker gave no sign of life any more.
    """

    attempt: int | None = None
    result: ExecutionResult | None = None
    crowded: bool = False
    taken_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What others want of a running execution: that it stops, that what it prints can be followed."""

    cancel: bool = False
    watched: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """All that is recorded when an attempt ends."""

    request: ExecutionRequest
    result: ExecutionResult
    module: PythonModule | None = None
    environment: Environment | None = None


class Ledger(Protocol):
    """The record as workers and clients write it. Each change of status is guarded; each call is durable on return."""

    async def enqueue(self, request: ExecutionRequest, delivery: Delivery | None = None) -> Claim:
        """Record a queued execution before its message is sent; an id that is there already changes nothing.

        The message is kept until the execution has ended, and sent again if it seems to be lost.

        Returns:
            The recorded result if the execution has ended; else an empty claim.

        Raises:
            QueueFullError: too many wait already.
        """

    async def claim(self, request: ExecutionRequest, delivery: Delivered | None = None) -> Claim:
        """Take an execution to run it: queued to running. Makes its row, and keeps its message, if no client did."""

    async def finish(self, attempt: Attempt) -> ExecutionResult:
        """Record an attempt and end its execution; returns what is on record: the first end wins."""

    async def give_back(self, attempt: Attempt, *, delay_s: float = 0.0) -> bool:
        """Record an attempt and queue its execution again, for at least `delay_s`; false where it must end here."""

    async def request_cancel(self, execution_id: str, *, running: bool = True) -> ExecutionRecord:
        """Cancel: a queued execution ends at once, a running one is marked, if `running`.

        Raises:
            ExecutionError: no such execution.
        """

    async def wishes(self, execution_id: str) -> Wishes:
        """What others want of a running execution; asking keeps the claim."""


class Reusable(Protocol):
    """Results of pure tools, by a key of all that they depend on."""

    async def find(self, key: str, *, younger_than_s: float) -> ExecutionResult | None:
        """The result of this key, if there is one of this age that succeeded."""

    async def keep(self, key: str, execution_id: str) -> None:
        """From now on this execution's result is the one of this key."""


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

    async def ended(self, execution_id: str) -> tuple[Status | None, ExecutionResult | None]:
        """Its status, none if there is no such execution, and its result once it has ended.

        The least there is to read, for who asks again and again.
        """

    async def result(self, execution_id: str) -> ExecutionResult | None:
        """Its result, once it has ended."""

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
