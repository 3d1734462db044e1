"""What a cold, isolated run costs, beside bare bubblewrap with a bare interpreter."""

import asyncio
import itertools
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from figure import Figure

from stepflow_python.environments.cache import EnvironmentCache
from stepflow_python.model.environment import Environment
from stepflow_python.model.result import MemoryEnforcement, SandboxOutcome
from stepflow_python.model.security import IsolationTier, SecuritySettings
from stepflow_python.parsing.parser import parse_module
from stepflow_python.ports import EnvironmentSpec, SandboxRun
from stepflow_python.process.spawn import Spawner
from stepflow_python.sandbox.box import Box, Process, Running
from stepflow_python.sandbox.bubblewrap import find_bubblewrap
from stepflow_python.sandbox.conduct import conduct
from stepflow_python.sandbox.filters import Filters
from stepflow_python.sandbox.guest_files import compiled_guest
from stepflow_python.sandbox.host import SandboxConfig
from stepflow_python.sandbox.means import Means
from stepflow_python.sandbox.memory_file import memory_file
from stepflow_python.sandbox.payload import request_of
from stepflow_python.sandbox.service import HostSandbox
from stepflow_python.sandbox.streams import Wires

Contender = Callable[[], Awaitable[SandboxOutcome]]
SOURCE = "def double(n: int) -> int:\n    return 2 * n\n"


def figures(*, quick: bool) -> list[Figure]:
    """All figures of this part; contenders take turns, so that the machine's noise meets all alike."""
    return asyncio.run(_measured(rounds=40 if quick else 200))


async def _measured(*, rounds: int) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="sandbox-") as scratch:
        cache = EnvironmentCache(Path(scratch) / "environments", environ=os.environ)
        environment = await cache.ensure(EnvironmentSpec())
        strict = _run(environment)
        standard = replace(strict, security=SecuritySettings(enable_system_calls=True))
        boxes = [_sandbox(Path(scratch), filters=True), _sandbox(Path(scratch), filters=False)]
        filtered, unfiltered = boxes
        bare = await _bare(environment, Path(scratch))
        serial = itertools.count()
        contenders: dict[str, Contender] = {
            "new": lambda: filtered.run(replace(strict, source=f"{SOURCE}# {next(serial)}\n")),
            "isolated": lambda: filtered.run(strict),
            "standard": lambda: filtered.run(standard),
            "unfiltered": lambda: unfiltered.run(standard),
            "bare": lambda: bare(standard),
        }
        anchor = await _anchor(environment)
        times: dict[str, list[float]] = {name: [] for name in (*contenders, "answered", "bubblewrap")}
        try:
            for _ in range(rounds + 3):
                for name, contender in contenders.items():
                    started = time.perf_counter()
                    outcome = await contender()
                    if name == "isolated":
                        times["answered"].append((time.perf_counter() - started) * 1000)
                    # What is cleared away behind a run belongs to what it takes, as it does to the anchor.
                    for box in boxes:
                        await box._aside.settle()  # noqa: SLF001 - what is measured is inside
                    times[name].append((time.perf_counter() - started) * 1000)
                    assert outcome.result == 42, outcome  # noqa: S101 - a figure of a failing run is none
                started = time.perf_counter()
                subprocess.run(anchor, check=True, env={})  # noqa: ASYNC221 - the loop has nothing else to do
                times["bubblewrap"].append((time.perf_counter() - started) * 1000)
        finally:
            for box in boxes:
                await box.close()
            await cache.remove(environment.id)
    return _figures({name: values[3:] for name, values in times.items()})


def _figures(times: dict[str, list[float]]) -> list[Figure]:
    anchor = times["bubblewrap"]
    found = [
        Figure.of(
            id=f"cold_{quantile}",
            name=f"cold isolated run of a bare function, {quantile}, beside bwrap + python -I -c pass",
            value=round(_quantile(times["isolated"], quantile), 2),
            unit="ms",
            baseline=round(_quantile(anchor, quantile), 2),
            goal="<= 1.5x",
        )
        for quantile in ("p50", "p95")
    ]
    found.append(
        Figure.of(
            id="cold_answered_p50",
            name="of that run, until its answer, p50, beside the same",
            value=round(_quantile(times["answered"], "p50"), 2),
            unit="ms",
            baseline=round(_quantile(anchor, "p50"), 2),
            goal="<= 1.2x",
        )
    )
    found.append(
        Figure.of(
            id="cold_new_p50",
            name="cold isolated run of a source that was not called before, p50, beside the same",
            value=round(_quantile(times["new"], "p50"), 2),
            unit="ms",
            baseline=round(_quantile(anchor, "p50"), 2),
            goal="<= 1.5x",
        )
    )
    costs = (
        ("isolation_cost", "what isolation adds to a bare cold run, p50", "isolated", "bare", "<= 6 ms"),
        ("filter_cost", "of it, the filter of every run, p50", "standard", "unfiltered", "<= 0.5 ms"),
        ("no_processes_cost", "of it, that `strict` starts no process, p50", "isolated", "standard", "<= 1 ms"),
    )
    for id_, name, with_, without, goal in costs:
        cost = statistics.median(more - less for more, less in zip(times[with_], times[without], strict=True))
        found.append(Figure.of(id=id_, name=name, value=round(cost, 2), unit="ms", goal=goal))
    return found


async def _bare(environment: Environment, scratch: Path) -> Callable[[SandboxRun], Awaitable[SandboxOutcome]]:
    """The same guest, supervised by the same host, without anything around it; only for code of ours."""
    guest = await compiled_guest(environment.interpreter, folder=scratch / "guest")
    spawner = Spawner()

    async def run(wanted: SandboxRun) -> SandboxOutcome:
        with tempfile.TemporaryDirectory(dir=scratch) as work:
            box = Box(
                tier=IsolationTier.PROCESS,
                head=[],
                interpreter=environment.interpreter,
                guest=str(guest),
                group=None,
                enforcement=MemoryEnforcement.WATCHDOG,
                output_folder=f"{work}/output",
                cwd=work,
                prefix=environment.path,
            )
            running, wires = Running(wanted, box), Wires()

            async def start() -> Process:
                stdout, stderr, reply = wires.ends
                with memory_file("request", request_of(running, env={})) as request:
                    return await spawner.spawn(box.launch(stdout=stdout, stderr=stderr, fds=(request, reply)))

            with wires:
                return await conduct(running, wires, start, None)

    return run


def _quantile(values: list[float], name: str) -> float:
    return statistics.median(values) if name == "p50" else statistics.quantiles(values, n=20)[-1]


def _run(environment: Environment) -> SandboxRun:
    module = parse_module(SOURCE)
    function = module.functions[0]
    return SandboxRun(
        execution_id="bench",
        environment=environment,
        source=SOURCE,
        module_name="tool",
        function=function.name,
        parameters=function.parameters,
        arguments={"n": 21},
        input_schema=function.input_schema,
    )


def _sandbox(scratch: Path, *, filters: bool) -> HostSandbox:
    sandbox = HostSandbox(
        SandboxConfig(
            folder=scratch / "sandbox",
            environments=scratch / "environments",
            min_isolation=IsolationTier.NAMESPACES,
            enabled=True,
            uid=65534,
            cgroup="",
            search_path=os.environ.get("PATH"),
        )
    )
    if not filters:
        sandbox._host.means = Means(filters=Filters())  # noqa: SLF001 - no setting takes the filters away
    return sandbox


async def _anchor(environment: Environment) -> list[str]:
    """The least that anybody pays for namespaces and an interpreter of the same environment."""
    bubblewrap = await find_bubblewrap(search_path=os.environ.get("PATH"))
    if bubblewrap is None:
        raise SystemExit("no bubblewrap to measure against")
    shown = [
        part for path in (environment.base_prefix, environment.path) for part in ("--ro-bind", str(path), str(path))
    ]
    links = [part for name in ("bin", "lib", "lib64") for part in ("--symlink", f"usr/{name}", f"/{name}")]
    return [
        *(str(bubblewrap.path), "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr", *links),
        *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", *shown),  # noqa: S108 - inside the box
        *("--", str(environment.interpreter), "-I", "-c", "pass"),
    ]
