"""Between values and rows: what goes into each column, and back without a loss."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import JsonValue, TypeAdapter
from sqlalchemy import RowMapping

from stepflow_python.model.environment import Environment
from stepflow_python.model.extension import ExtensionCall
from stepflow_python.model.history import EarlierAttempt, ExecutionRecord, ExecutionSummary
from stepflow_python.model.module import PythonModule
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import ErrorInfo, ExceptionInfo, ExecutionResult
from stepflow_python.store.schema import READY

MASK = "***"
UNNAMED = "tool"
HASH_IN_ID = 12
LONGEST_NAME = 128
"""Of a tool in an index, whose entries PostgreSQL bounds; identifiers in Python have no bound."""

Row = dict[str, object]
"""One row to write, by column."""

_exceptions: TypeAdapter[tuple[ExceptionInfo, ...]] = TypeAdapter(tuple[ExceptionInfo, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """Which tool an execution is of; all none where its source is not known yet and it has no id."""

    id: str | None
    name: str | None
    source_hash: str | None


def tool_of(request: ExecutionRequest, module: PythonModule | None = None) -> Tool:
    """The tool of a request: its own id, or one made of the module's name and the source's hash."""
    digest = module.source_hash if module is not None else None
    if digest is None and request.code:
        digest = hashlib.sha256(request.code.encode("utf-8", "surrogatepass")).hexdigest()
    if digest is None:
        return Tool(id=request.tool_id, name=request.tool_id, source_hash=None)
    found = module.name if module is not None else request.module_name or UNNAMED
    made = f"{found[:LONGEST_NAME]}-{digest[:HASH_IN_ID]}"
    name = request.module_name or request.tool_id or found
    return Tool(id=request.tool_id or made, name=name[:LONGEST_NAME], source_hash=digest)


def stored_request(request: ExecutionRequest, source_hash: str | None) -> dict[str, JsonValue]:
    """A request as it is recorded: its source by hash, its files by size, its variables without their values."""
    stored: dict[str, JsonValue] = request.model_dump(mode="json", exclude={"code", "files", "env"})
    stored["source_hash"] = source_hash
    stored["files"] = {name: len(content) for name, content in request.files.items()}
    stored["env"] = dict.fromkeys(request.env, MASK)
    return stored


def request_of(stored: Mapping[str, JsonValue]) -> ExecutionRequest:
    """What is left of a recorded request: all but its source, its files and its variables."""
    kept = {name: value for name, value in stored.items() if name not in {"source_hash", "files", "env"}}
    if kept["script_path"] is None:
        kept["code"] = ""
    return ExecutionRequest.model_validate(kept)


def execution_row(request: ExecutionRequest, tool: Tool, *, queued_at: datetime) -> Row:
    """A new execution, its status apart."""
    return {
        "id": request.execution_id,
        "tool_id": tool.id,
        "tool_name": tool.name,
        "source_hash": tool.source_hash,
        "workflow_id": request.workflow_id,
        "step_id": request.step_id,
        "request": stored_request(request, tool.source_hash),
        "priority": request.priority,
        "attempts": 0,
        "max_attempts": request.max_attempts,
        "cancel_requested": False,
        "queued_at": queued_at,
    }


def module_row(module: PythonModule, tool_id: str, *, version: int, moment: datetime) -> Row:
    """A version of a tool's source, with what parsing found in it."""
    facts = module.model_dump(mode="json", include={"functions", "classes", "imports", "dependencies"})
    return facts | {
        "tool_id": tool_id,
        "version": version,
        "source_hash": module.source_hash,
        "module_name": module.name,
        "docstring": module.docstring,
        "requires_python": module.requires_python,
        "source_code": module.source_code,
        "created_at": moment,
    }


def module_of(row: RowMapping) -> PythonModule:
    """The module of a row of `python_modules`."""
    names = ("docstring", "requires_python", "source_code", "source_hash")
    facts = ("functions", "classes", "imports", "dependencies")
    return PythonModule.model_validate({"name": row["module_name"]} | {name: row[name] for name in (*names, *facts)})


def environment_row(environment: Environment, *, moment: datetime) -> Row:
    """An environment; `base_packages` are the locked requirements without their hashes."""
    lines = (line.split(" --hash")[0].rstrip("\\ ") for line in environment.lock.splitlines())
    return {
        "id": environment.id,
        "name": f"python{environment.python_version}-{environment.id[:HASH_IN_ID]}",
        "python_version": environment.python_version,
        "virtual_env_path": str(environment.path),
        "base_packages": [line for line in lines if line and not line.lstrip().startswith(("#", "--"))],
        "installed_packages": [package.model_dump(mode="json") for package in environment.packages],
        "lock": environment.lock,
        "created_at": moment,
        "last_used": moment,
        "status": READY,
    }


def attempt_row(request: ExecutionRequest, result: ExecutionResult, *, moment: datetime) -> Row:
    """One attempt, its foreign keys apart."""
    return {
        "execution_id": result.execution_id,
        "attempt": result.attempt,
        "status": result.status,
        "environment_key": result.environment_id,
        "environment_times": result.environment_times,
        "reused_from": result.reused_from,
        "limits_met": list(result.limits_met),
        "module_name": request.module_name,
        "function_name": request.function_name,
        "execution_time_ms": result.execution_time_ms,
        "dispatch_time_ms": result.dispatch_time_ms,
        "warm": result.warm,
        "cpu_time_ms": result.cpu_time_ms,
        "memory_usage_kb": result.memory_usage_kb,
        "return_code": result.return_code,
        "signal": result.signal,
        "isolation": result.isolation,
        "memory_enforcement": result.memory_enforcement,
        "started_at": result.started_at,
        "finished_at": result.finished_at,
        "created_at": moment,
        "truncated": result.truncated.model_dump(),
        "error": result.error.model_dump(mode="json") if result.error is not None else None,
        "exceptions": _exceptions.dump_python(result.exceptions, mode="json"),
        "parameters": request.parameters,
        "result": result.result,
        "stdout": result.stdout,
        "stderr": result.stderr,
    }


_SAME = (
    "execution_id",
    "attempt",
    "status",
    "execution_time_ms",
    "dispatch_time_ms",
    "warm",
    "cpu_time_ms",
    "memory_usage_kb",
    "return_code",
    "signal",
    "isolation",
    "memory_enforcement",
    "started_at",
    "finished_at",
    "reused_from",
    "truncated",
    "exceptions",
    "result",
    "stdout",
    "stderr",
)


def result_of(attempt: Mapping[str, Any], *, queued_at: datetime, files: Mapping[str, bytes]) -> ExecutionResult:
    """The result of a row of `python_executions`."""
    values = {name: attempt[name] for name in _SAME}
    error = attempt["error"]
    return ExecutionResult.model_validate(
        values
        | {
            "environment_id": attempt["environment_key"],
            "environment_times": attempt["environment_times"] or {},
            "limits_met": attempt["limits_met"] or (),
            "error": ErrorInfo.model_validate(error) if error is not None else None,
            "files": files,
            "queued_at": queued_at,
        }
    )


def summary_of(row: RowMapping) -> ExecutionSummary:
    """One line of history; the row has the columns of `reads.summaries`."""
    return ExecutionSummary.model_validate(_summary(row))


def record_of(
    row: RowMapping, result: ExecutionResult | None, calls: tuple[Sequence[ExtensionCall], int] = ((), 0)
) -> ExecutionRecord:
    """One execution, whole; of its calls of extensions those that are shown, and their number."""
    shown, total = calls
    values = {"result": result, "extension_calls": shown, "extension_calls_total": total}
    return ExecutionRecord.model_validate(_summary(row) | values)


def earlier_attempt_of(row: RowMapping) -> EarlierAttempt:
    """An attempt that another one came after."""
    return EarlierAttempt.model_validate(_summary(row))


def _summary(row: RowMapping) -> Row:
    values = dict(row)
    error = values.pop("error")
    return values | {"why": error["message"] if error is not None else None}
