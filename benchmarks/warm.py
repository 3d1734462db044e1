"""Runs in processes that wait: latency, rate and memory, beside a new process of the same interpreter."""

import asyncio
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from figure import Figure

from stepflow_python.environments.cache import EnvironmentCache
from stepflow_python.jobs.running import CLEAN, THREADS
from stepflow_python.model.environment import Environment
from stepflow_python.model.security import IsolationTier
from stepflow_python.parsing.parser import parse_module
from stepflow_python.ports import EnvironmentSpec, SandboxRun
from stepflow_python.sandbox.host import SandboxConfig
from stepflow_python.sandbox.service import HostSandbox
from stepflow_python.sandbox.warm.options import WarmOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from stepflow_python.sandbox.warm.stock import Stock

PACKAGES = ("numpy", "pydantic", "requests")
LIGHT = "def double(n: int) -> int:\n    return 2 * n\n"
HEAVY = "import numpy\nimport requests\nfrom pydantic import BaseModel\n\n\n" + LIGHT
CALLERS = (1, 4, 16, 32)
TOOLS = (1, 10, 100)
WARM_UP = 12
BARE = Path(__file__).with_name("bare_zygote.py")
SETTLING_CALLS, MANY_CALLS = 300, 1000
PAUSE_S = 0.02
"""Between calls whose latency is measured: the next process is made meanwhile, as it is between calls of a workflow."""


def figures(*, quick: bool) -> list[Figure]:
    """All figures of this part."""
    return asyncio.run(_measured(rounds=60 if quick else 400))


async def _measured(*, rounds: int) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="warm-") as scratch:
        cache = EnvironmentCache(Path(scratch) / "environments", environ=os.environ)
        environment = await cache.ensure(EnvironmentSpec(requirements=PACKAGES))
        await cache.settle()  # bytecode is compiled beside the first runs, which take longer then
        try:
            return [
                *await _latency(Path(scratch), environment, rounds),
                *await _on_demand(Path(scratch), environment, rounds),
                *await _rates(Path(scratch), environment, seconds=rounds / 60),
                *await _tools(Path(scratch), environment, rounds=max(rounds // 20, 3)),
                *await _memory(Path(scratch), environment),
            ]
        finally:
            await cache.remove(environment.id)


async def _latency(scratch: Path, environment: Environment, rounds: int) -> list[Figure]:
    """One call after another of a tool with heavy imports, beside a subprocess that makes them."""
    script = scratch / "tool.py"
    script.write_text(HEAVY + "\nprint(double(21))\n")
    times: list[float] = []
    baseline: list[float] = []
    async with _sandbox(scratch) as sandbox:
        for number in range(rounds + WARM_UP):
            times.append(await _timed(sandbox, _run(environment, HEAVY)))
            await asyncio.sleep(PAUSE_S)
            if number % 10 == 0:
                started = time.perf_counter()
                subprocess.run([environment.interpreter, script], check=True, capture_output=True)  # noqa: ASYNC221 - the loop has nothing else to do
                baseline.append((time.perf_counter() - started) * 1000)
    times = times[WARM_UP:]
    p50, cold = statistics.median(times), statistics.median(baseline)
    least = await _bare_p50(environment, "waiting", rounds)
    name = "warm run of a tool that imports numpy, pydantic and requests"
    return [
        Figure.of(id="warm_p50", name=f"{name}, p50", value=round(p50, 2), unit="ms", goal="<= 1.5 ms"),
        Figure.of(
            id="warm_beside_bare",
            name="that, beside a process forked ahead by a zygote that isolates nothing",
            value=round(p50, 2),
            unit="ms",
            baseline=round(least, 2),
            goal="<= 3x",
        ),
        Figure.of(id="warm_p95", name=f"{name}, p95", value=round(_p95(times), 2), unit="ms", goal="<= 6 ms"),
        Figure.of(
            id="warm_beside_subprocess",
            name="how many times faster that is than `python tool.py` of the same environment",
            value=round(cold / p50, 1),
            unit="times",
            goal=">= 100 times",
        ),
        Figure.of(
            id="warm_noise",
            name="noise of this machine: slowest tenth of `python tool.py`, beside its median",
            value=round(_p95(baseline), 1),
            unit="ms",
            baseline=round(cold, 1),
            goal="<= 2x",
        ),
    ]


async def _on_demand(scratch: Path, environment: Environment, rounds: int) -> list[Figure]:
    """The same where no process waits: it is forked for the call."""
    times = []
    async with _sandbox(scratch, spares=0) as sandbox:
        for _ in range(rounds // 2 + WARM_UP):
            times.append(await _timed(sandbox, _run(environment, HEAVY)))
            await asyncio.sleep(PAUSE_S)
        assert sandbox.counts["waiting"] == 0  # noqa: S101 - else it would be another figure
    p50, least = statistics.median(times[WARM_UP:]), await _bare_p50(environment, "demand", rounds // 2)
    return [
        Figure.of(id="fork_on_demand", name="forked on demand, p50", value=round(p50, 2), unit="ms", goal="<= 8 ms"),
        Figure.of(
            id="on_demand_beside_bare",
            name="that, beside a zygote that isolates nothing",
            value=round(p50, 2),
            unit="ms",
            baseline=round(least, 2),
            goal="<= 3.8x",
        ),
    ]


async def _rates(scratch: Path, environment: Environment, *, seconds: float) -> list[Figure]:
    """Runs a second, by callers."""
    found: list[Figure] = []
    async with _sandbox(scratch, spares=8) as sandbox:
        run = _run(environment, LIGHT)
        for callers in CALLERS:
            await asyncio.gather(*(_timed(sandbox, run) for _ in range(callers)))
            ended = time.perf_counter() + max(seconds, 1)
            counts = await asyncio.gather(*(_calls_until(ended, sandbox, run) for _ in range(callers)))
            rate = round(sum(counts) / max(seconds, 1), 1)
            found.append(
                Figure.of(
                    id=f"warm_rate_{callers}",
                    name=f"isolated warm runs a second, {callers} callers, beside one",
                    value=rate,
                    unit="runs/s",
                    baseline=found[0].value if found else rate,
                    goal=">= 200 runs/s" if callers == CALLERS[1] else ">= 0.9x",
                )
            )
    return found


async def _tools(scratch: Path, environment: Environment, *, rounds: int) -> list[Figure]:
    """How latency grows with the number of tools that take turns in one environment."""
    found: list[Figure] = []
    for count in TOOLS:
        sources = [f"NUMBER = {number}\n{LIGHT}" for number in range(count)]
        async with _sandbox(scratch) as sandbox:
            times = []
            for number in range(rounds + 2):
                for source in sources:
                    times.append(await _timed(sandbox, _run(environment, source)))
                    await asyncio.sleep(0 if number < 2 else PAUSE_S)
        p50 = round(statistics.median(times[2 * count :]), 2)
        found.append(
            Figure.of(
                id=f"warm_tools_{count}",
                name=f"{count} tools in turn, p50, beside one tool",
                value=p50,
                unit="ms",
                baseline=found[0].value if found else p50,
                goal="<= 1.5x",
            )
        )
    return found


async def _memory(scratch: Path, environment: Environment) -> list[Figure]:
    """What waits holds, and what many calls leave."""
    async with _sandbox(scratch) as sandbox:
        await _timed(sandbox, _run(environment, LIGHT))
        await asyncio.sleep(1)
        [stock] = _stocks(sandbox)
        bare, spares, tools = _held(stock)
        held = []
        for calls in (SETTLING_CALLS, MANY_CALLS):
            for _ in range(calls):
                await _timed(sandbox, _run(environment, LIGHT))
            await asyncio.sleep(1)
            held.append((None if stock.zygote is None else stock.zygote.memory_kb()) or 0)
        grown = held[1] - held[0]
    return [
        Figure.of(
            id="zygote_memory", name="proportional memory of a bare zygote", value=bare, unit="MiB", goal="<= 25 MiB"
        ),
        Figure.of(
            id="spare_memory",
            name="of a process that waits, its supervisor included",
            value=spares,
            unit="MiB",
            goal="<= 3 MiB",
        ),
        Figure.of(
            id="spare_memory_alone",
            name="of that, the process that becomes the tool",
            value=tools,
            unit="MiB",
            goal="<= 3 MiB",
        ),
        Figure.of(
            id="zygote_growth",
            name=f"growth of a zygote in {MANY_CALLS} calls, after the first {SETTLING_CALLS}",
            value=round(grown / 1024, 2),
            unit="MiB",
            goal="<= 0.2 MiB",
        ),
    ]


def _held(stock: "Stock") -> tuple[float, float, float]:
    """MiB, as the kernel shares them out: the zygote, one that waits, and without its supervisor."""
    zygote = stock.zygote
    if zygote is None:
        raise SystemExit(f"no zygote to measure: {stock.problem}")
    pids = [pid for pid in _below(zygote.child.pid) if pid != zygote.child.pid]
    first, *waiting = pids
    tools = [pid for pid in waiting if not list(_below(pid))[1:]]
    waiting_mib, tools_mib = (sum(map(_pss_kb, some)) / 1024 / max(stock.waiting, 1) for some in (waiting, tools))
    return round(_pss_kb(first) / 1024, 1), round(waiting_mib, 2), round(tools_mib, 2)


def _below(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _below(int(child))


def _pss_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _stocks(sandbox: HostSandbox) -> "list[Stock]":
    pool = sandbox._pool  # noqa: SLF001 - what is measured is inside
    return [] if pool is None else list(pool._stocks.values())  # noqa: SLF001 - same


async def _calls_until(ended: float, sandbox: HostSandbox, run: SandboxRun) -> int:
    calls = 0
    while time.perf_counter() < ended:
        await _timed(sandbox, run)
        calls += 1
    return calls


async def _timed(sandbox: HostSandbox, run: SandboxRun) -> float:
    started = time.perf_counter()
    outcome = await sandbox.run(replace(run, execution_id=os.urandom(8).hex()))
    took = (time.perf_counter() - started) * 1000
    if outcome.result != 42:
        raise SystemExit(f"a figure of failing runs is none: {outcome.error}")
    return took


async def _bare_p50(environment: Environment, mode: str, rounds: int) -> float:
    """Milliseconds of a call at the least that the machine can do: see `bare_zygote`."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    program = [environment.interpreter, BARE, mode, str(its.fileno()), HEAVY, "double"]
    loop, times = asyncio.get_running_loop(), []
    with ours, its:
        zygote = await asyncio.create_subprocess_exec(*program, pass_fds=[its.fileno()])
        its.close()
        for _ in range(rounds + WARM_UP):
            started = time.perf_counter()
            await loop.sock_sendall(ours, b"21")
            if await loop.sock_recv(ours, 64) != b"42":
                raise SystemExit("the baseline did not answer")
            times.append((time.perf_counter() - started) * 1000)
            await asyncio.sleep(PAUSE_S)
    await zygote.wait()
    return statistics.median(times[WARM_UP:])


def _run(environment: Environment, source: str) -> SandboxRun:
    module = parse_module(source)
    function = module.functions[0]
    return SandboxRun(
        execution_id="bench",
        environment=environment,
        source=source,
        module_name="tool",
        function=function.name,
        parameters=function.parameters,
        arguments={"n": 21},
        input_schema=function.input_schema,
        variables=CLEAN | THREADS,
        imports=tuple((one.module, tuple(name.name for name in one.names)) for one in module.imports),
    )


@asynccontextmanager
async def _sandbox(scratch: Path, *, spares: int = 4) -> "AsyncIterator[HostSandbox]":
    sandbox = HostSandbox(
        SandboxConfig(
            folder=scratch / "sandbox",
            environments=scratch / "environments",
            min_isolation=IsolationTier.NAMESPACES,
            enabled=True,
            uid=65534,
            cgroup="",
            search_path=os.environ.get("PATH"),
            warm=WarmOptions(spares=spares, eager=True),
        )
    )
    try:
        yield sandbox
    finally:
        await sandbox.close()


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]
