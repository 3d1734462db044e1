"""Running requests, each exactly once on the record."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from stepflow_python.errors import (
    DatabaseError,
    DependencyError,
    EnvironmentUnavailableError,
    PythonEnvironmentError,
    PythonError,
)
from stepflow_python.jobs.job import Job, JobRunner, TryLaterError
from stepflow_python.jobs.payload import execution_id_of, request_from_payload
from stepflow_python.jobs.refusing import refuse
from stepflow_python.jobs.results import stopped_of
from stepflow_python.jobs.sources import module_name_of
from stepflow_python.jobs.watching import Relay
from stepflow_python.messages import Delivered, Live
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
from stepflow_python.ports import History, Ledger, Progress, PythonEnvironment, Sandbox, silent

POLL_S = 0.25
OTHER_POLL_S = 0.05
POLLS_PER_CLAIM = 20
CLAIMS_PER_MESSAGE = 2
"""How often a worker asks for an execution that somebody else runs, a second apart, before it does something else."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Executions:
    """Implements `ports.PythonExecutor`, for callers in this process and for the worker alike."""

    run_job: JobRunner
    ledger: Ledger
    history: History
    environment: PythonEnvironment
    sandbox: Sandbox
    live: Live
    max_code_size: int
    running: dict["asyncio.Task[object]", Job] = field(default_factory=dict)

    async def execute(
        self,
        request: ExecutionRequest,
        *,
        cancel: asyncio.Event | None = None,
        progress: Progress = silent,
        refresh: bool = False,
    ) -> ExecutionResult:
        """Run a request, or give the result of the one that had its id before; `refresh`: resolved anew.

        What may pass later is tried again here, while attempts remain.
        """
        while True:
            claimed = await self._attempt_or_result(request, None)
            if isinstance(claimed, ExecutionResult):
                return claimed
            job = Job(
                request=request,
                attempt=claimed,
                started_at=now(),
                cancel=cancel or asyncio.Event(),
                progress=progress,
                refresh=refresh,
            )
            try:
                return await self._run(job)
            except TryLaterError as later:
                progress(f"attempt {claimed} failed and may pass later: {later}")
                await asyncio.sleep(later.delay_s or 0.0)

    async def execute_delivery(
        self, payload: object, previous: object = None, delivery: Delivered | None = None
    ) -> ExecutionResult:
        """Run what a message holds; an unusable message gets a recorded refusal.

        Raises:
            TryLaterError: the message is to come again.
        """
        try:
            request = request_from_payload(payload, previous)
        except PythonError as error:
            return await self.refuse(execution_id_of(payload), error)
        claimed = await self._attempt_or_result(request, delivery)
        if isinstance(claimed, ExecutionResult):
            return claimed
        return await self._run(Job(request=request, attempt=claimed, started_at=now()))

    async def drop(self, payload: object) -> None:
        """Record that a message will not be run, since it was revoked or has expired: its execution is cancelled."""
        try:
            request = request_from_payload(payload)
        except PythonError as error:
            await self.refuse(execution_id_of(payload), error)
            return
        await self.ledger.enqueue(request)
        await self.ledger.request_cancel(request.execution_id, running=False)

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
        """Whether the environment of this configuration can be had, and is whole: its files are compared, it is mended.

        Raises:
            EnvironmentUnavailableError: that cannot be said now: a registry or the disk is away.
        """
        try:
            await self.environment.activate_environment(await self.environment.create_environment(config))
        except EnvironmentUnavailableError:
            raise
        except (DependencyError, PythonEnvironmentError):
            return False
        return True

    async def hand_back(self) -> None:
        """End what runs here and queue it again, since this worker stops; what may not run again is lost."""
        for task, job in list(self.running.items()):
            job.found.handed_back = True
            task.cancel()

    async def _run(self, job: Job) -> ExecutionResult:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self.running[task] = job
        try:
            async with self._held(job):
                return await self.run_job(job)
        except asyncio.CancelledError:
            if not job.found.handed_back:
                raise
            task.uncancel()
            return await self._hand_back(job)
        finally:
            del self.running[task]

    async def _hand_back(self, job: Job) -> ExecutionResult:
        """The attempt is on record; the first end wins, so that a run which had just ended stays as it ended."""
        stopped = job.ended_with(stopped_of(job))
        if await self.ledger.give_back(stopped):
            raise TryLaterError("its worker stops", delay_s=0.0)
        return await self.ledger.finish(stopped)

    async def _attempt_or_result(self, request: ExecutionRequest, delivery: Delivered | None) -> int | ExecutionResult:
        """The number of an attempt that is ours to run, or how the execution ended for somebody else.

        Who has a message does not wait for long: the slot is for others meanwhile.
        """
        waited = 0
        while True:
            claim = await self.ledger.claim(request, delivery)
            if claim.result is not None:
                return claim.result
            if claim.attempt is not None:
                return claim.attempt
            if delivery is not None and (claim.crowded or waited == CLAIMS_PER_MESSAGE):
                raise TryLaterError("as many of its tool run as may" if claim.crowded else "another worker runs it")
            waited += 1
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
    async def _held(self, job: Job) -> AsyncIterator[None]:
        """Keep the claim while the job runs, and notice that another process wants it to stop."""
        relay = Relay(job=job, sandbox=self.sandbox, live=self.live)
        holder = asyncio.create_task(self._hold(job, relay))
        try:
            yield
        finally:
            holder.cancel()
            await asyncio.gather(holder, return_exceptions=True)
            if relay.used:
                with contextlib.suppress(DatabaseError):  # it goes when its execution is pruned
                    await self.live.clear(job.request.execution_id)

    async def _hold(self, job: Job, relay: Relay) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            try:
                wishes = await self.ledger.wishes(job.request.execution_id)
                if wishes.watched:
                    await relay.pass_on()
            except DatabaseError as error:
                # A run does not end because nobody can be asked. Should its lease pass, its end still counts.
                log.warning("execution %s runs on while its record is away: %s", job.request.execution_id, error)
                continue
            if wishes.cancel:
                job.cancel.set()


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
