"""Extensions as the sandbox sees them: who answers the calls of a run."""

import asyncio
import contextlib
import logging
import socket
import time
from pathlib import Path

from stepflow_python.errors import DatabaseError
from stepflow_python.extensions.context import ExtensionContext
from stepflow_python.extensions.lending import Lending
from stepflow_python.extensions.quota import CallLimits
from stepflow_python.extensions.serving import Line
from stepflow_python.model.extension import ExtensionCall
from stepflow_python.ports import CallLog, SandboxRun

NOTE_EVERY_S = 0.2
"""So long calls are gathered for one write; so much of the record a worker that is killed may lose."""

log = logging.getLogger(__name__)


class LentModules:
    """Implements `ports.HostCall`: `folder` is where extensions keep what outlives a run, each below its own name."""

    def __init__(self, context: ExtensionContext, call_log: CallLog, *, folder: Path, limits: CallLimits) -> None:
        self._context = context
        self._log = call_log
        self._folder = folder
        self._limits = limits

    async def serve(self, line: socket.socket, run: SandboxRun) -> None:
        """Answer the calls of a run; see `ports.HostCall`."""
        deadline = time.monotonic() + run.limits.timeout_s

        def lend(name: str) -> Lending:
            return Lending(
                execution_id=run.execution_id,
                tool=run.tool,
                config=self._context.config(name),
                folder=self._folder / name,
                deadline=deadline,
            )

        notes = Notes(self._log, run.execution_id)
        answering = Line(self._context, frozenset(run.extensions), limits=self._limits, lend=lend, note=notes.add)
        try:
            await answering.serve(line)
        finally:
            await notes.write()


class Notes:
    """Calls on their way to the record: nobody waits for it, and all of it is there when the run has ended."""

    def __init__(self, call_log: CallLog, execution_id: str) -> None:
        self._log = call_log
        self._execution_id = execution_id
        self._calls: list[ExtensionCall] = []
        self._later: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    def add(self, call: ExtensionCall) -> None:
        """Note a call; it is written soon."""
        self._calls.append(call)
        if self._later is None or self._later.done():
            self._later = asyncio.create_task(self._write_later())

    async def write(self) -> None:
        """Write what is there now."""
        if self._later is not None:
            self._later.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._later
        await self._write()

    async def _write_later(self) -> None:
        await asyncio.sleep(NOTE_EVERY_S)
        await asyncio.shield(asyncio.ensure_future(self._write()))

    async def _write(self) -> None:
        async with self._turn:
            calls, self._calls = self._calls, []
            if not calls:
                return
            try:
                await self._log.record_calls(self._execution_id, calls)
            except DatabaseError:
                log.exception("execution %s: %d calls of extensions are not on record", self._execution_id, len(calls))
