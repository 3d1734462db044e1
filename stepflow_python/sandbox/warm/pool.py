"""Runs in processes that wait: one zygote for each environment and level, found by demand."""

import asyncio
import dataclasses
import functools
import time
from collections import Counter
from typing import Final

from stepflow_python.errors import InternalError
from stepflow_python.model.result import SandboxOutcome, Status
from stepflow_python.ports import IsolationReport, SandboxRun
from stepflow_python.sandbox.aside import Aside
from stepflow_python.sandbox.box import Running
from stepflow_python.sandbox.conduct import BoxNotStartedError, conduct
from stepflow_python.sandbox.host import Host
from stepflow_python.sandbox.sources import Source, compiling
from stepflow_python.sandbox.warm.options import WarmOptions
from stepflow_python.sandbox.warm.spare import Spare
from stepflow_python.sandbox.warm.stock import Stock

UPKEEP_S: Final = 5.0

Key = tuple[object, ...]


class WarmPool:
    """Takes a run where a process waits for one like it; whoever calls runs it cold where none does.

    `counts` are those of this process: `warm`, of these `waiting` and `forked_on_demand`; `fell_back` to a cold run;
    zygotes that were started, failed and died.
    """

    def __init__(self, host: Host, report: IsolationReport, options: WarmOptions, aside: Aside) -> None:
        self._host, self._report, self._options, self._aside = host, report, options, aside
        self._stocks: dict[Key, Stock] = {}
        self._upkeep: asyncio.Task[None] | None = None
        self.counts: Counter[str] = Counter()

    async def run(
        self,
        run: SandboxRun,
        running: dict[str, Running],
        cancel: asyncio.Event | None,
        *,
        source: Source,
        line: int | None = None,
    ) -> SandboxOutcome | None:
        """Run it where a process waits for it; none: it has to be run cold.

        Args:
            run: the run.
            running: where those that are under way are listed.
            cancel: stops it.
            source: what is known of its source.
            line: the run's way to the modules of the host, if it was lent any.

        Raises:
            InternalError: it had begun when its zygote ended, so nobody knows how far it came.
        """
        if not run.security.enable_file_access or _overrides(run):
            return None
        stock = self._stock(run, make=source.again or self._options.eager)
        if stock is None:
            return None
        if self._options.eager and stock.zygote is None:
            stock.want(run)
            await asyncio.wait({stock.start()})
        elif source.again:
            stock.want(run)
        if not stock.fits(run):
            return None
        stock.limits = run.limits
        with stock.demand:
            spare = await stock.take()
            if spare is None:
                self.counts["fell_back"] += 1
                return None
            if source.wanted:
                source.asked = True
                self._aside.begin(self._compile(source, stock, run))
            this = Running(run, spare.box, code=source.code, warm=True)
            spare.line = line
            return await self._run_in(spare, stock, this, running, cancel)

    async def close(self) -> None:
        """End everything that waits."""
        if self._upkeep is not None:
            self._upkeep.cancel()
        stocks = list(self._stocks.values())
        self._stocks.clear()
        await self._aside.settle()
        await asyncio.gather(*(stock.close() for stock in stocks))
        await self._aside.settle()

    async def _run_in(
        self,
        spare: Spare,
        stock: Stock,
        this: Running,
        running: dict[str, Running],
        cancel: asyncio.Event | None,
    ) -> SandboxOutcome | None:
        execution_id = this.run.execution_id
        if not this.compile_only:
            running[execution_id] = this
        try:
            outcome = await conduct(this, spare.wires, functools.partial(spare.start, this), cancel)
        except (BoxNotStartedError, OSError):
            self.counts["fell_back"] += 1
            return None
        except asyncio.CancelledError:
            await spare.discard()  # the loop may be about to end, and with it what is begun aside
            raise
        finally:
            running.pop(execution_id, None)
            if not spare.discarded:
                self._aside.begin(stock.give_back(spare))
        if outcome.status is Status.FAILED and outcome.return_code is None and spare.forked_from.ended:
            raise InternalError("the process that a warm run was forked from has ended, and the run with it")
        if not this.compile_only:
            self.counts["warm"] += 1
        return outcome

    async def _compile(self, source: Source, stock: Stock, run: SandboxRun) -> None:
        """Have the environment's interpreter compile the source, in a process that runs nothing of it."""
        with stock.demand:
            spare = await stock.take()
            if spare is None:
                source.asked = False
                return
            quiet = compiling(run)
            this = Running(quiet, spare.box, compile_only=True, warm=True)
            source.take(await self._run_in(spare, stock, this, {}, None))

    def _stock(self, run: SandboxRun, *, make: bool) -> Stock | None:
        key: Key = (
            run.environment.id,
            run.environment.path,
            run.security.enable_network_access,
            run.security.enable_system_calls,
            run.limits.work_bytes,
            tuple(run.variables.items()),
        )
        stock = self._stocks.get(key)
        if stock is not None and stock.stale:
            del self._stocks[key]
            self._aside.begin(stock.close())
            stock = None
        if stock is None and make:
            stock = self._stocks[key] = Stock(
                host=self._host,
                report=self._report,
                options=self._options,
                template=dataclasses.replace(run, source="", arguments={}, stdin=b"", files={}, env={}),
                counts=self.counts,
                begin=self._aside.begin,
            )
            if self._upkeep is None:
                self._upkeep = asyncio.get_running_loop().create_task(self._keep())
        return stock

    async def _keep(self) -> None:
        """End what nobody calls, and the longest unused where all together hold too much."""
        while True:
            await asyncio.sleep(UPKEEP_S)
            now = time.monotonic()
            held = 0
            for key, stock in sorted(self._stocks.items(), key=lambda item: -item[1].used):
                held += stock.memory_kb()
                idle = now - stock.used > self._options.idle_s and not stock.busy
                if idle or held > self._options.memory_mib * 1024:
                    del self._stocks[key]
                    self._aside.begin(stock.close())
                else:
                    stock.replenish()


def _overrides(run: SandboxRun) -> bool:
    """Whether the request changes variables that imports may have read, or the interpreter reads at its start."""
    return any(name.startswith("PYTHON") or run.variables.get(name, value) != value for name, value in run.env.items())
