"""What waits for the runs of one environment at one level: a zygote and the processes forked from it."""

import asyncio
import contextlib
import functools
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from stepflow_python.model.limits import Limits
from stepflow_python.ports import IsolationReport, SandboxRun
from stepflow_python.sandbox.host import Host
from stepflow_python.sandbox.warm.demand import Demand
from stepflow_python.sandbox.warm.options import WarmOptions
from stepflow_python.sandbox.warm.spare import Spare, SpareFailedError
from stepflow_python.sandbox.warm.zygote import Zygote, ZygoteFailedError, start_zygote

GROWTH_KB = 64 * 1024
"""A zygote that has grown by so much since its start is replaced."""
MOST_IMPORTS = 256
GRACE_S = 0.002
"""For whoever ran something: to clear away and fork takes longer than to record the end, on the same processors."""
PATIENCE_S = 60.0
"""Until a zygote that did not start is tried again."""


@dataclass(slots=True, kw_only=True)
class Stock:
    """Waiting processes for runs like `template`."""

    host: Host
    report: IsolationReport
    options: WarmOptions
    template: SandboxRun
    counts: Counter[str]
    begin: Callable[[Coroutine[object, object, None]], None]
    """Starts a coroutine beside everything else."""
    zygote: Zygote | None = None
    demand: Demand = field(default_factory=Demand)
    used: float = field(default_factory=time.monotonic)
    problem: str | None = None
    limits: Limits = field(default_factory=Limits)
    """Of the last run, so probably of the next."""
    _identity: tuple[int, int, int] = (0, 0, 0)
    _imports: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _spares: deque[Spare] = field(default_factory=deque)
    _making: int = 0
    _starting: asyncio.Task[None] | None = None
    _failed: float | None = None
    _closed: bool = False

    @property
    def waiting(self) -> int:
        """Processes that wait now."""
        return len(self._spares)

    @property
    def busy(self) -> bool:
        """Whether it is being started, or used."""
        return self.demand.active > 0 or (self._starting is not None and not self._starting.done())

    @property
    def stale(self) -> bool:
        """Whether its environment is not the one any more that it was started from."""
        return self.zygote is not None and self._identity != identity_of(self.template)

    def memory_kb(self) -> int:
        """KiB that the zygote and those who wait hold."""
        groups = [spare.group for spare in self._spares]
        if self.zygote is not None:
            groups.append(self.zygote.box.group)
        return sum(group.usage().current_kb or 0 for group in groups if group is not None)

    def fits(self, run: SandboxRun) -> bool:
        """Whether nothing that was imported ahead can tell this run from one of its own process."""
        if self.zygote is None:
            return False
        own = {name.partition("/")[0].partition(".")[0] for name in (*run.files, run.module_name, *run.extensions)}
        return not own & self.zygote.roots

    async def take(self) -> Spare | None:
        """A process for one run; none: there is none to be had."""
        self.used = time.monotonic()
        while self._spares:
            spare = self._spares.popleft()
            if not spare.process.ended:
                self.counts["waiting"] += 1
                return spare
            self.begin(spare.discard())
        zygote = self.zygote
        if zygote is None or not zygote.alive:
            return None
        with contextlib.suppress(SpareFailedError):
            spare = await zygote.spare(self.limits, at_once=True)
            self.counts["forked_on_demand"] += 1
            return spare
        return None

    async def give_back(self, spare: Spare) -> None:
        """Clear away a process that was used, and have another one made, a little later: first its run is recorded."""
        try:
            await asyncio.sleep(GRACE_S)
        finally:  # also where its loop ends meanwhile
            await spare.discard()
        self.replenish()

    def want(self, run: SandboxRun) -> None:
        """Have what this tool imports imported ahead; starts or replaces the zygote where that takes one."""
        new = [
            (module, names)
            for module, names in _imports(run)
            if not set(names) <= set(self._imports.get(module, ())) or module not in self._imports
        ]
        started = self.zygote is not None and self.zygote.alive
        if (started and not new) or self._closed or self._waits_after_failure():
            return
        if len(self._imports) + len(new) > MOST_IMPORTS:
            self._imports.clear()
        for module, names in _imports(run):
            self._imports[module] = tuple(dict.fromkeys((*self._imports.get(module, ()), *names)))
        self.start()

    def start(self) -> asyncio.Task[None]:
        """Start a zygote, in place of the one that there may be."""
        if self._starting is None or self._starting.done():
            self._starting = asyncio.get_running_loop().create_task(self._start())
        return self._starting

    def replenish(self) -> None:
        """Have as many waiting as there were callers lately, and not more."""
        zygote = self.zygote
        if zygote is None or self._closed:
            return
        if not zygote.alive:
            self.zygote = None
            self.begin(self._retire(zygote))
            self.start()
            return
        wanted = min(self.options.spares, self.demand.peak + 1)
        for _ in range(wanted - len(self._spares) - self._making):
            self._making += 1
            self.begin(self._make(zygote))
        while len(self._spares) > wanted:
            self.begin(self._spares.pop().discard())
        if zygote.forks >= self.options.forks or (zygote.memory_kb() or 0) > (zygote.started_kb or 0) + GROWTH_KB:
            self.start()

    async def close(self) -> None:
        """End everything that waits; runs under way have ended before."""
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._starting
        while self._spares:
            await self._spares.pop().discard()
        await self._retire(self.zygote)
        self.zygote = None

    async def _start(self) -> None:
        self._identity = identity_of(self.template)
        try:
            zygote = await start_zygote(self.host, self.report, self.template, list(self._imports.items()))
        except ZygoteFailedError as error:
            self.problem, self._failed = str(error), time.monotonic()
            self.counts["zygotes_failed"] += 1
            return
        self.counts["zygotes_started"] += 1
        self._failed = None
        before, self.zygote = self.zygote, zygote
        zygote.child.call_when_ended(functools.partial(self._note_end, zygote))
        old, self._spares = self._spares, deque()
        for spare in old:
            self.begin(spare.discard())
        self.begin(self._retire(before))
        self.replenish()

    def _note_end(self, zygote: Zygote) -> None:
        if zygote is self.zygote and not self._closed:
            self.counts["zygotes_died"] += 1

    async def _retire(self, zygote: Zygote | None) -> None:
        """End a zygote once the last of its runs has ended."""
        if zygote is None:
            return
        while zygote.held and zygote.alive:
            await zygote.free.wait()
        await zygote.close()

    async def _make(self, zygote: Zygote) -> None:
        try:
            spare = await zygote.spare(self.limits)
        except SpareFailedError as error:
            self.problem = str(error)
            return
        finally:
            self._making -= 1
        if zygote is self.zygote and not self._closed:
            self._spares.append(spare)
        else:
            await spare.discard()

    def _waits_after_failure(self) -> bool:
        return self._failed is not None and time.monotonic() - self._failed < PATIENCE_S


def _imports(run: SandboxRun) -> list[tuple[str, tuple[str, ...]]]:
    """What it imports of its environment and the standard library; what the host lends it is its own."""
    return [(module, names) for module, names in run.imports if module.partition(".")[0] not in run.extensions]


def identity_of(run: SandboxRun) -> tuple[int, int, int]:
    """What tells an environment's folder from another one at the same place."""
    try:
        found = os.stat(run.environment.path)  # noqa: PTH116 - in the way of every run
    except OSError:
        return (0, 0, 0)
    return found.st_dev, found.st_ino, found.st_mtime_ns
