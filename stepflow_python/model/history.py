"""What the record answers."""

from pydantic import Field, JsonValue

from stepflow_python.model.extension import ExtensionCall
from stepflow_python.model.result import ExecutionResult, Status
from stepflow_python.model.values import Instant, Value

MAX_PAGE = 1000
MAX_CALLS = 1000


class HistoryFilter(Value):
    """Which executions; none means any. Queued at `since` or later, and before `until`."""

    tool: str | None = None
    status: Status | None = None
    since: Instant | None = None
    until: Instant | None = None
    workflow_id: str | None = None


class ExecutionSummary(Value):
    """One line of the history, cheap to list."""

    execution_id: str
    tool_id: str | None
    tool: str | None
    status: Status
    workflow_id: str | None = None
    step_id: str | None = None
    priority: int = 0
    attempts: int = 0
    max_attempts: int = 1
    queued_at: Instant
    started_at: Instant | None = None
    finished_at: Instant | None = None
    execution_time_ms: float | None = None
    memory_usage_kb: int | None = None
    isolation: str | None = None
    why: str | None = None
    """Why it did not succeed: its error's message."""


class EarlierAttempt(Value):
    """An attempt that did not end its execution, since there was another one after it."""

    attempt: int
    status: Status
    why: str | None = None
    started_at: Instant | None = None
    finished_at: Instant | None = None


class ExecutionRecord(ExecutionSummary):
    """All that is recorded of an execution; values of `request.env` are masked.

    `extension_calls` are the first `MAX_CALLS` of `extension_calls_total`, in the order in which they ended.
    """

    request: dict[str, JsonValue] = Field(default_factory=dict)
    result: ExecutionResult | None = None
    extension_calls: tuple[ExtensionCall, ...] = ()
    extension_calls_total: int = 0
    earlier_attempts: tuple[EarlierAttempt, ...] = ()


class Printed(Value):
    """Text that an attempt printed on `stdout` or `stderr`."""

    attempt: int
    stream: str
    text: str


class Page(Value):
    """A page of history, newest first; `next_cursor` is none on the last."""

    items: tuple[ExecutionSummary, ...] = ()
    next_cursor: str | None = None


class PythonMetrics(Value):
    """Totals; `average_execution_time` in ms, `memory_usage` the largest recorded peak in KiB.

    `executions_by_status` has the statuses that occur. Environments and dependencies are counted whole, whatever the
    executions are filtered by.
    """

    total_executions: int = 0
    successful_executions: int = 0
    failed_executions: int = 0
    executions_by_status: dict[Status, int] = Field(default_factory=dict)
    average_execution_time: float = 0.0
    total_environments: int = 0
    active_environments: int = 0
    total_dependencies: int = 0
    memory_usage: int = 0
