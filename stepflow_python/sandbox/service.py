"""The sandbox of this host."""

import asyncio

from stepflow_python.errors import IsolationUnavailableError
from stepflow_python.model.result import SandboxOutcome
from stepflow_python.model.security import SecurityStatus
from stepflow_python.ports import IsolationReport, SandboxRun
from stepflow_python.sandbox.box import Running, run_in
from stepflow_python.sandbox.host import Host, SandboxConfig
from stepflow_python.sandbox.prepare import prepared_box


class HostSandbox:
    """Implements `ports.Sandbox`: the best tier is found once, each run gets a box of its own."""

    def __init__(self, config: SandboxConfig) -> None:
        self._host = Host(config)
        self._probe = asyncio.Lock()
        self._report: IsolationReport | None = None
        self._running: dict[str, Running] = {}

    async def run(self, run: SandboxRun, *, cancel: asyncio.Event | None = None) -> SandboxOutcome:
        """Run to the end, or to a limit, or until `cancel` is set; see `ports.Sandbox`."""
        report = await self.isolation()
        wanted = self._host.config.min_isolation
        if report.tier.rank < wanted.rank:
            raise IsolationUnavailableError(
                f"this host offers the isolation `{report.tier}`, the setting MIN_ISOLATION asks for `{wanted}`: "
                + "; ".join(report.reasons)
            )
        async with prepared_box(self._host, report, run) as box:
            running = self._running[run.execution_id] = Running(run, box)
            try:
                outcome = await run_in(running, self._host.spawner, cancel)
            finally:
                del self._running[run.execution_id]
        if self._host.config.measured:
            return outcome
        return outcome.model_copy(update={"cpu_time_ms": None, "memory_usage_kb": None})

    def status(self, execution_id: str) -> SecurityStatus:
        """What is known of a run while it lasts."""
        running = self._running.get(execution_id)
        return running.status() if running is not None else SecurityStatus(execution_id=execution_id, running=False)

    async def isolation(self) -> IsolationReport:
        """What this host can do; probed once."""
        async with self._probe:
            if self._report is None:
                self._report = await self._host.probe()
            return self._report

    async def close(self) -> None:
        """Kill what still runs."""
        for running in self._running.values():
            if running.child is not None:
                running.child.kill_now()
        self._host.spawner.close()
