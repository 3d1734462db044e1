"""The sandbox of this host."""

import asyncio
import contextlib
from collections.abc import Mapping
from contextlib import AsyncExitStack

from stepflow_python.errors import PythonError
from stepflow_python.model.result import SandboxOutcome
from stepflow_python.model.security import IsolationTier, SecurityStatus
from stepflow_python.ports import HostCall, IsolationReport, SandboxRun
from stepflow_python.sandbox.aside import Aside
from stepflow_python.sandbox.box import Process, Running
from stepflow_python.sandbox.conduct import Start, conduct, seen_off
from stepflow_python.sandbox.host import Host, SandboxConfig
from stepflow_python.sandbox.lending import lent
from stepflow_python.sandbox.memory_file import memory_file
from stepflow_python.sandbox.payload import request_of, variables
from stepflow_python.sandbox.prepare import prepared_box
from stepflow_python.sandbox.remedies import require
from stepflow_python.sandbox.sources import Source, Sources, compiling
from stepflow_python.sandbox.streams import Wires
from stepflow_python.sandbox.warm.options import WarmOptions
from stepflow_python.sandbox.warm.pool import WarmPool


class HostSandbox:
    """Implements `ports.Sandbox`: the best tier is found once, each run gets a box of its own.

    `calls` answers what runs call of the modules that they are lent; without it nothing is lent.
    """

    def __init__(self, config: SandboxConfig, calls: HostCall | None = None) -> None:
        self._host = Host(config)
        self._calls = calls
        self._probe = asyncio.Lock()
        self._report: IsolationReport | None = None
        self._running: dict[str, Running] = {}
        self._sources = Sources(within_s=(config.warm or WarmOptions()).window_s)
        self._pool: WarmPool | None = None
        self._aside = Aside()

    async def run(self, run: SandboxRun, *, cancel: asyncio.Event | None = None) -> SandboxOutcome:
        """Run to the end, or to a limit, or until `cancel` is set; see `ports.Sandbox`."""
        report = await self.isolation()
        require(self._host.config.min_isolation, report)
        if self._calls is None or not run.extensions:
            outcome = await self._run(run, report, cancel, line=None)
        else:
            async with lent(run, self._calls) as line:
                outcome = await self._run(run, report, cancel, line=line)
        if self._host.config.measured:
            return outcome
        return outcome.model_copy(update={"cpu_time_ms": None, "memory_usage_kb": None})

    async def _run(
        self, run: SandboxRun, report: IsolationReport, cancel: asyncio.Event | None, *, line: int | None
    ) -> SandboxOutcome:
        source, outcome = self._sources.note(run), None
        if self._pool is not None:
            outcome = await self._pool.run(run, self._running, cancel, source=source, line=line)
        if outcome is not None:
            return outcome
        outcome = await self._run_cold(run, report, cancel, line=line, code=source.code)
        if source.wanted:
            source.asked = True
            self._aside.begin(self._compile(source, run, report))
        return outcome

    async def _compile(self, source: Source, run: SandboxRun, report: IsolationReport) -> None:
        """Have the environment's interpreter compile the source, in a box that runs nothing of it."""
        with contextlib.suppress(PythonError):  # the next run compiles it itself, and says what is wrong
            source.take(await self._run_cold(compiling(run), report, None, compile_only=True))

    async def _run_cold(
        self,
        run: SandboxRun,
        report: IsolationReport,
        cancel: asyncio.Event | None,
        *,
        line: int | None = None,
        code: bytes | None = None,
        compile_only: bool = False,
    ) -> SandboxOutcome:
        stack = AsyncExitStack()
        box = await stack.enter_async_context(prepared_box(self._host, report, run))
        running = self._running[run.execution_id] = Running(run, box, code=code, compile_only=compile_only)
        wires = Wires()
        # Namespaces end what was in them; without them, and with a folder on disk, nothing may be left behind us.
        aside = box.tier is IsolationTier.NAMESPACES
        try:
            return await conduct(running, wires, self._starting(running, wires, line), cancel)
        except asyncio.CancelledError:
            aside = False  # the loop may be about to end, and with it what is begun now
            raise
        finally:
            del self._running[run.execution_id]
            cleared = _cleared(running, wires, stack)
            if aside:
                self._aside.begin(cleared)
            else:
                await cleared

    def _starting(self, running: Running, wires: Wires, line: int | None) -> Start:
        """Start a process of its own for a run."""
        run, box = running.run, running.box

        async def start() -> Process:
            stdout, stderr, reply = wires.ends
            payload = request_of(running, env=variables(run, box) | run.env, line=line)
            with memory_file("request", payload) as request:
                launch = box.launch(stdout=stdout, stderr=stderr, fds=(request, reply), passed=line)
                process = await self._host.spawner.spawn(launch)
            if box.group is not None:
                box.group.toll()  # its files are open then: there is time for that while the box is being made
            return process

        return start

    @property
    def counts(self) -> Mapping[str, int]:
        """What the warm pool did; see `WarmPool`."""
        return {} if self._pool is None else self._pool.counts

    def status(self, execution_id: str) -> SecurityStatus:
        """What is known of a run while it lasts."""
        running = self._running.get(execution_id)
        return running.status() if running is not None else SecurityStatus(execution_id=execution_id, running=False)

    def printed(self, execution_id: str, *, stdout_from: int = 0, stderr_from: int = 0) -> tuple[bytes, bytes]:
        """What a run has printed so far; see `ports.Sandbox`."""
        running = self._running.get(execution_id)
        if running is None or running.streams is None:
            return b"", b""
        stdout, stderr = running.streams
        return stdout.since(stdout_from), stderr.since(stderr_from)

    async def isolation(self) -> IsolationReport:
        """What this host can do; probed once."""
        if self._report is not None:
            return self._report
        async with self._probe:
            if self._report is None:
                self._report = await self._host.probe()
                warm = self._host.config.warm
                if warm is not None and self._report.tier is IsolationTier.NAMESPACES and self._host.counts_processes:
                    self._pool = WarmPool(self._host, self._report, warm, self._aside)
            return self._report

    async def close(self) -> None:
        """Kill what still runs."""
        for running in self._running.values():
            if running.process is not None:
                running.process.kill_now()
        if self._pool is not None:
            await self._pool.close()
        await self._aside.settle()
        self._host.bells.close()
        self._host.spawner.close()


async def _cleared(running: Running, wires: Wires, box: AsyncExitStack) -> None:
    """Let go of a box once nothing runs in it."""
    wires.close()
    try:
        await seen_off(running)
    finally:
        await box.aclose()
