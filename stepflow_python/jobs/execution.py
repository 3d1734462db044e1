"""Running requests, each exactly once on the record."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from stepflow_python.errors import PythonEnvironmentError, PythonError
from stepflow_python.jobs.job import Job, JobRunner
from stepflow_python.jobs.payload import execution_id_of, request_from_payload
from stepflow_python.jobs.refusing import refuse
from stepflow_python.jobs.sources import module_name_of
from stepflow_python.model.environment import EnvironmentConfig
from stepflow_python.model.request import (
    ExecutionRequest,
    FunctionRequest,
    PythonRequest,
    ScriptRequest,
)
from stepflow_python.model.result import ExecutionResult
from stepflow_python.model.values import now
from stepflow_python.parsing.parser import read_source
from stepflow_python.ports import Environments, EnvironmentSpec, History, Ledger, Progress, silent

CANCEL_POLL_S = 0.25
OTHER_POLL_S = 0.05
POLLS_PER_CLAIM = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Executions:
    """Implements `ports.PythonExecutor`, for callers in this process and for the worker alike."""

    run_job: JobRunner
    ledger: Ledger
    history: History
    environments: Environments
    max_code_size: int

    async def execute(
        self,
        request: ExecutionRequest,
        *,
        cancel: asyncio.Event | None = None,
        progress: Progress = silent,
    ) -> ExecutionResult:
        """Run a request, or give the result of the one that had its id before."""
        claimed = await self._attempt_or_result(request)
        if isinstance(claimed, ExecutionResult):
            return claimed
        cancel = cancel or asyncio.Event()
        job = Job(request=request, attempt=claimed, started_at=now(), cancel=cancel, progress=progress)
        async with self._watching_cancel(job):
            return await self.run_job(job)

    async def execute_payload(self, payload: object, previous: object = None) -> ExecutionResult:
        """Run what a message holds; an unusable message gets a recorded refusal."""
        try:
            request = request_from_payload(payload, previous)
        except PythonError as error:
            return await self.refuse(execution_id_of(payload), error)
        return await self.execute(request)

    async def refuse(self, execution_id: str | None, error: PythonError) -> ExecutionResult:
        """Record that a request is unusable; see `jobs.refusing`."""
        return await refuse(execution_id, error, ledger=self.ledger)

    async def execute_code(self, request: PythonRequest) -> ExecutionResult:
        """Run code as a script."""
        return await self.execute(request)

    async def execute_function(self, request: FunctionRequest) -> ExecutionResult:
        """Call one function."""
        return await self.execute(request)

    async def execute_script(self, request: ScriptRequest) -> ExecutionResult:
        """Run a script file of the caller's own host."""
        return await self.execute(await with_source(request, max_code_size=self.max_code_size))

    async def validate_environment(self, config: EnvironmentConfig) -> bool:
        """Whether the environment of this configuration can be had."""
        spec = EnvironmentSpec(requirements=config.base_packages, python=config.python_version, pip=config.pip_config)
        try:
            await self.environments.ensure(spec)
        except PythonEnvironmentError:
            return False
        return True

    async def _attempt_or_result(self, request: ExecutionRequest) -> int | ExecutionResult:
        """The number of an attempt that is ours to run, or how the execution ended for somebody else."""
        while True:
            claim = await self.ledger.claim(request)
            if claim.result is not None:
                return claim.result
            if claim.attempt is not None:
                return claim.attempt
            ended = await self._result_of_other(request.execution_id)
            if ended is not None:
                return ended

    async def _result_of_other(self, execution_id: str) -> ExecutionResult | None:
        """Wait for whoever runs it now; after a while none, since a dead worker's execution is there to be claimed."""
        for _ in range(POLLS_PER_CLAIM):
            record = await self.history.get(execution_id)
            if record is not None and record.result is not None and record.status.ended:
                return record.result
            await asyncio.sleep(OTHER_POLL_S)
        return None

    @contextlib.asynccontextmanager
    async def _watching_cancel(self, job: Job) -> AsyncIterator[None]:
        """Notice, while the job runs, that another process wants it to stop."""
        watcher = asyncio.create_task(self._cancel_when_asked(job))
        try:
            yield
        finally:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher

    async def _cancel_when_asked(self, job: Job) -> None:
        while True:
            await asyncio.sleep(CANCEL_POLL_S)
            if await self.ledger.cancel_requested(job.request.execution_id):
                job.cancel.set()
                return


async def with_source(request: ExecutionRequest, *, max_code_size: int) -> ExecutionRequest:
    """The same request with the script's text in it: the path is the caller's, the worker may be anywhere.

    Raises:
        ParseError: the file cannot be read or decoded.
    """
    if request.script_path is None:
        return request
    path = Path(request.script_path)
    name = request.module_name or module_name_of(path)
    code = await asyncio.to_thread(read_source, path, max_code_size=max_code_size)
    return request.model_copy(update={"code": code, "script_path": None, "module_name": name})
