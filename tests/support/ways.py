"""The ways in which a run can be held; every attack is tried in each of them."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stepflow_python.environments.cache import EnvironmentCache
from stepflow_python.model.environment import Environment
from stepflow_python.model.limits import Limits
from stepflow_python.model.module import Parameter, ParameterKind
from stepflow_python.model.result import SandboxOutcome
from stepflow_python.model.security import IsolationTier
from stepflow_python.ports import EnvironmentSpec, SandboxRun
from stepflow_python.sandbox.host import SandboxConfig
from stepflow_python.sandbox.service import HostSandbox
from stepflow_python.sandbox.warm.options import WarmOptions
from support.attacks import SECURITY, TRADE, Attack

WAYS = tuple(os.environ.get("STEPFLOW_TESTS_WAYS", "cold-namespaces").split())
"""How a box comes to be, and its tier; `test_boxed.py` tells each session which ones its place allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A sandbox, used from tests that are not async."""

    name: str
    runner: asyncio.Runner
    sandbox: HostSandbox
    environment: Environment

    @property
    def warm(self) -> bool:
        """Whether its runs get processes that waited for them."""
        return self.name.startswith("warm-")

    @property
    def tier(self) -> str:
        """What holds its runs."""
        return self.name.partition("-")[2]

    def run(self, *runs: SandboxRun) -> list[SandboxOutcome]:
        """Run all of them at a time."""

        async def all_of_them() -> list[SandboxOutcome]:
            try:
                return await asyncio.gather(*(self.sandbox.run(run) for run in runs))
            finally:
                await self.sandbox._aside.settle()

        return self.runner.run(all_of_them())

    def waiting(self) -> int:
        """Processes that wait for runs: a launcher and a zygote, and two for each run to come."""
        pool = self.sandbox._pool
        stocks = [] if pool is None else [stock for stock in pool._stocks.values() if stock.zygote is not None]
        return sum(2 + 2 * stock.waiting for stock in stocks)

    def attacked_by(self, attack: Attack, world: Mapping[str, Any]) -> SandboxOutcome:
        """Run an attack."""
        return self.run(self.attacking(attack, world))[0]

    def attacking(self, attack: Attack, world: Mapping[str, Any]) -> SandboxRun:
        """The run of an attack."""
        run = self.tool(attack.source.read_text(), attack.name, world=dict(world))
        return replace(run, files={TRADE.name: TRADE.read_bytes()}, limits=attack.limits, security=attack.security)

    def tool(self, source: str, function: str | None = None, **arguments: Any) -> SandboxRun:
        """The run of a function with named arguments, or of a script; processes are allowed."""
        return SandboxRun(
            execution_id=os.urandom(8).hex(),
            environment=self.environment,
            source=source,
            module_name="tool",
            function=function,
            parameters=tuple(Parameter(name=name, kind=ParameterKind.KEYWORD_ONLY) for name in arguments),
            arguments=arguments,
            limits=Limits(timeout_s=20),
            security=SECURITY["standard"],
        )


@contextmanager
def open_way(name: str, home: Path) -> Iterator[Way]:
    """A sandbox of this way; it is closed in the end."""
    config = SandboxConfig(
        folder=home / "sandbox",
        environments=home / "environments",
        min_isolation=IsolationTier(name.partition("-")[2]),
        enabled=True,
        uid=65534,
        cgroup="",
        search_path=os.environ.get("PATH"),
        warm=WarmOptions(spares=2, eager=True) if name.startswith("warm-") else None,
    )
    cache = EnvironmentCache(home / "environments", environ=os.environ)
    with asyncio.Runner() as runner:
        environment = runner.run(cache.ensure(EnvironmentSpec()))
        runner.run(cache.settle())  # bytecode is made in the background, by processes that a test may count
        sandbox = HostSandbox(config)
        try:
            way = Way(name=name, runner=runner, sandbox=sandbox, environment=environment)
            assert runner.run(sandbox.isolation()).tier == way.tier
            yield way
        finally:
            runner.run(sandbox.close())
