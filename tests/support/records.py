"""Requests and results to put on record, and a way into an open one."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from stepflow_python.errors import ErrorKind
from stepflow_python.model.environment import Environment, EnvironmentId, InstalledPackage
from stepflow_python.model.module import Import, Parameter, ParameterKind, PythonFunction, PythonModule
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import (
    ErrorInfo,
    ExceptionInfo,
    ExecutionResult,
    Frame,
    MemoryEnforcement,
    Status,
    Truncated,
)
from stepflow_python.model.security import IsolationTier
from stepflow_python.ports import Attempt
from stepflow_python.store.ledger import LEASE_S
from stepflow_python.store.opening import Store, open_store

T = TypeVar("T")

CODE = "def double(number: int) -> int:\n    return number * 2\n"
OVER_AT_ONCE = -1.0
"""A lease, in seconds, of a worker that dies as soon as it has claimed."""


def with_store(url: str, scenario: Callable[[Store], Awaitable[T]], *, lease_s: float = LEASE_S) -> T:
    """Run a scenario on an open record."""

    async def run() -> T:
        async with open_store(url, lease_s=lease_s) as store:
            return await scenario(store)

    return asyncio.run(run())


def request(execution_id: str = "one", **changes: object) -> ExecutionRequest:
    """A small request; `changes` replace or add fields."""
    return ExecutionRequest.model_validate(
        {"execution_id": execution_id, "code": CODE, "module_name": "doubling", "function_name": "double"} | changes
    )


def module(code: str = CODE, name: str = "doubling") -> PythonModule:
    """What parsing would find in the code of `request`."""
    number = Parameter(name="number", kind=ParameterKind.POSITIONAL_OR_KEYWORD, annotation="int")
    function = PythonFunction(name="double", parameters=(number,), input_schema={"type": "object"})
    return PythonModule(
        name=name,
        functions=(function,),
        imports=(Import(module="json", is_stdlib=True),),
        requires_python=">=3.9",
        docstring="Doubling.",
        source_code=code,
        source_hash=hashlib.sha256(code.encode()).hexdigest(),
    )


def environment(key: str = "cp312-0123456789abcdef") -> Environment:
    """An environment with two packages; nothing of it is on disk."""
    path = Path("/environments") / key
    return Environment(
        id=EnvironmentId(key),
        python_version="3.12.1",
        path=path,
        interpreter=path / "bin" / "python",
        base_prefix=Path("/usr"),
        site_packages=path / "lib",
        packages=(InstalledPackage(name="numpy", version="2.1.0"), InstalledPackage(name="six", version="1.17.0")),
        lock="numpy==2.1.0 --hash=sha256:aa\nsix==1.17.0 --hash=sha256:bb\n",
    )


def outcome(of: ExecutionRequest, status: Status = Status.SUCCEEDED, **changes: object) -> ExecutionResult:
    """A result with something in every field; `changes` replace them."""
    values = {
        "execution_id": of.execution_id,
        "status": status,
        "result": {"doubled": 42, "parts": [1.0, None, "ä"]},
        "stdout": "printed\x00\x10 text\n",
        "stderr": "warned\n",
        "execution_time_ms": 12.345678,
        "cpu_time_ms": 11.5,
        "memory_usage_kb": 6_768,
        "return_code": 0,
        "signal": 9,
        "exceptions": (
            ExceptionInfo(type="ValueError", message="no", frames=(Frame(file="doubling.py", line=2, function="f"),)),
        ),
        "error": ErrorInfo(kind=ErrorKind.EXECUTION_ERROR, message="ValueError: no", line=2, column=5),
        "isolation": IsolationTier.NAMESPACES,
        "memory_enforcement": MemoryEnforcement.CGROUP_V2,
        "truncated": Truncated(stdout=True),
        "files": {"out/table.csv": b"a,b\n\x00\xff", "empty": b""},
        "environment_id": "cp312-0123456789abcdef",
        "limits_met": ("memory", "processes"),
        "environment_times": {"resolving": 210.5, "creating": 9.0},
        "attempt": 1,
        "started_at": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        "finished_at": datetime(2026, 1, 2, 3, 4, 6, 1, tzinfo=UTC),
    }
    return ExecutionResult.model_validate(values | changes)


def attempt(of: ExecutionRequest, status: Status = Status.SUCCEEDED, **changes: object) -> Attempt:
    """All there is to record of an attempt."""
    return Attempt(request=of, result=outcome(of, status, **changes), module=module(), environment=environment())
