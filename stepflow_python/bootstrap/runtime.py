"""Settings to wired objects: the one place that names concrete classes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from stepflow_python.config import Settings
from stepflow_python.jobs.execution import Executions
from stepflow_python.model.result import ExecutionResult
from stepflow_python.ports import (
    Environments,
    History,
    Ledger,
    PythonEnvironment,
    PythonMonitoring,
    PythonParser,
    PythonSecurity,
    Sandbox,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Everything that runs tools in this process, each public interface by its name."""

    settings: Settings
    parser: PythonParser
    security: PythonSecurity
    environment: PythonEnvironment
    executor: Executions
    monitoring: PythonMonitoring
    environments: Environments
    sandbox: Sandbox
    ledger: Ledger
    history: History

    async def execute_payload(self, payload: object, previous: object = None) -> ExecutionResult:
        """Run what a message holds; see `jobs.execution`."""
        return await self.executor.execute_payload(payload, previous)


@asynccontextmanager
async def open_runtime(settings: Settings, *, environ: Mapping[str, str]) -> AsyncIterator[Runtime]:
    """The runtime of this process; `environ` is read for PATH, HOME and the installer's own variables only.

    Raises:
        DatabaseError: the record cannot be opened.
    """
