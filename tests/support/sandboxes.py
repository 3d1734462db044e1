"""A sandbox of this host, used from tests that are not async and run hostile tools."""

import asyncio
import os
import time
from pathlib import Path

from stepflow_python.environments.cache import EnvironmentCache
from stepflow_python.model.limits import Limits
from stepflow_python.model.result import SandboxOutcome
from stepflow_python.model.security import IsolationTier, SecuritySettings, SecurityStatus
from stepflow_python.ports import EnvironmentSpec, SandboxRun
from stepflow_python.sandbox.host import SandboxConfig
from stepflow_python.sandbox.service import HostSandbox

ROOMY = Limits(timeout_s=30, cpu_s=60, memory_mib=512)


class Boxes:
    """A sandbox, used from tests that are not async."""

    def __init__(self, folder: Path, *, cgroup: str = "") -> None:
        self.folder = folder
        self.runner = asyncio.Runner()
        cache = EnvironmentCache(folder / "environments", environ=os.environ)
        self.environment = self.runner.run(cache.ensure(EnvironmentSpec()))
        self.sandbox = HostSandbox(
            SandboxConfig(
                folder=folder / "sandbox",
                environments=folder / "environments",
                min_isolation=IsolationTier.LANDLOCK,
                enabled=True,
                uid=65534,
                cgroup=cgroup,
                search_path=os.environ.get("PATH"),
            )
        )

    @property
    def tier(self) -> IsolationTier:
        """The best one here."""
        return self.runner.run(self.sandbox.isolation()).tier

    def made(self, source: str, **limits: object) -> SandboxRun:
        """A run of the function `f` of a source, with other limits."""
        return SandboxRun(
            execution_id=f"limits-{time.monotonic_ns()}",
            environment=self.environment,
            source=source,
            module_name="tool",
            function="f",
            limits=ROOMY.model_copy(update=limits),
            security=SecuritySettings(enable_system_calls=True),
        )

    def __call__(self, source: str, **limits: object) -> SandboxOutcome:
        """Run it."""
        return self.all(self.made(source, **limits))[0]

    def all(self, *runs: SandboxRun) -> list[SandboxOutcome]:
        """Run several at a time."""

        async def run() -> list[SandboxOutcome]:
            try:
                return await asyncio.gather(*map(self.sandbox.run, runs))
            finally:
                await self.sandbox._aside.settle()  # the loop stands still between calls: let it clear away

        return self.runner.run(run())

    def watched(self, source: str, until: float, **limits: object) -> tuple[list[SecurityStatus], SandboxOutcome]:
        """Run it, and ask now and then how it stands, for so many seconds."""
        made = self.made(source, **limits)

        async def run() -> tuple[list[SecurityStatus], SandboxOutcome]:
            running = asyncio.ensure_future(self.sandbox.run(made))
            seen = []
            deadline = time.monotonic() + until
            while not running.done() and time.monotonic() < deadline:
                seen.append(self.sandbox.status(made.execution_id))
                await asyncio.sleep(0.02)
            return seen, await running

        return self.runner.run(run())

    def close(self) -> None:
        """End it."""
        self.runner.run(self.sandbox.close())
        self.runner.close()
