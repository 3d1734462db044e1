"""What comes back: one result for each execution, whatever the tool did."""

from enum import StrEnum

from pydantic import Field, JsonValue

from stepflow_python.errors import ErrorCategory, ErrorKind, PythonError
from stepflow_python.model.limits import Limit
from stepflow_python.model.security import IsolationTier
from stepflow_python.model.values import Base64, Instant, Value


class Status(StrEnum):
    """Where an execution stands."""

    QUEUED = "queued"
    """Recorded, not yet taken by a worker."""
    RUNNING = "running"
    """Claimed by a worker."""
    SUCCEEDED = "succeeded"
    """The function returned, or the script exited 0."""
    FAILED = "failed"
    """The tool raised, exited with another code, was killed by a signal, or returned what JSON cannot hold."""
    TIMED_OUT = "timed_out"
    """Killed at its wall or CPU time limit."""
    MEMORY_EXCEEDED = "memory_exceeded"
    """Killed at its memory limit."""
    OUTPUT_EXCEEDED = "output_exceeded"
    """Killed because it printed or returned too much."""
    REJECTED = "rejected"
    """Refused before anything ran."""
    CANCELLED = "cancelled"
    """Stopped because somebody asked."""
    LOST = "lost"
    """Its workers died and its attempts are used up."""

    @property
    def ended(self) -> bool:
        """Whether this is a last state: nothing leaves it."""
        return self not in {Status.QUEUED, Status.RUNNING}


class Frame(Value):
    """One line of a traceback, the tool's own code only."""

    file: str
    line: int
    function: str
    code: str = ""


class ExceptionInfo(Value):
    """An exception that the tool raised; the first is the one that ended it, then its causes."""

    type: str
    message: str
    frames: tuple[Frame, ...] = ()


class ErrorInfo(Value):
    """Why an execution did not succeed, in one sentence that names place and remedy."""

    kind: ErrorKind
    message: str
    retryable: bool = False
    category: ErrorCategory = ErrorCategory.REQUEST
    line: int | None = None
    column: int | None = None

    @classmethod
    def of(cls, error: PythonError) -> "ErrorInfo":
        """The value of an error that was raised."""
        return cls(
            kind=error.kind,
            message=error.message,
            retryable=error.retryable,
            category=error.category,
            line=error.line,
            column=error.column,
        )


class Truncated(Value):
    """What was cut at its limit."""

    stdout: bool = False
    stderr: bool = False
    result: bool = False


class MemoryEnforcement(StrEnum):
    """What held the run's memory limit."""

    CGROUP_V2 = "cgroup_v2"
    CGROUP_V1 = "cgroup_v1"
    WATCHDOG = "watchdog"
    """No control group could be written: RLIMIT_DATA for each process and a watch over the tree."""


class SandboxOutcome(Value):
    """What one run in the sandbox gave. Times in ms, memory in KiB (peak of the whole tree).

    `execution_time_ms` is the whole of it, `dispatch_time_ms` the part before the tool's first line; `warm` says
    whether its process was waiting already. `return_code` is the process's own; `signal` the number that killed it, if
    one did.
    """

    status: Status
    result: JsonValue = None
    stdout: str = ""
    stderr: str = ""
    execution_time_ms: float = 0.0
    dispatch_time_ms: float | None = None
    cpu_time_ms: float | None = None
    memory_usage_kb: int | None = None
    return_code: int | None = None
    signal: int | None = None
    exceptions: tuple[ExceptionInfo, ...] = ()
    error: ErrorInfo | None = None
    isolation: IsolationTier | None = None
    warm: bool | None = None
    memory_enforcement: MemoryEnforcement | None = None
    truncated: Truncated = Field(default_factory=Truncated)
    limits_met: tuple[Limit, ...] = ()
    """What ended it, or made a call of it fail, as far as that could be told."""
    files: dict[str, Base64] = Field(default_factory=dict, repr=False)


class ExecutionResult(SandboxOutcome):
    """The record of one execution: what its last attempt gave, and when.

    `environment_times`: how long each step on the way to its environment took, in ms; `found` where it was there.
    """

    execution_id: str
    environment_id: str | None = None
    environment_times: dict[str, float] = Field(default_factory=dict)
    attempt: int = 0
    reused_from: str | None = None
    """The execution whose result this is: the tool did not run again."""
    queued_at: Instant | None = None
    started_at: Instant | None = None
    finished_at: Instant | None = None


PythonResponse = ExecutionResult
