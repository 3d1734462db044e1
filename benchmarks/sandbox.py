"""What a cold, isolated run costs, beside bare bubblewrap with a bare interpreter."""

import asyncio
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from figure import Figure

from stepflow_python.environments.cache import EnvironmentCache
from stepflow_python.model.environment import Environment
from stepflow_python.model.security import IsolationTier
from stepflow_python.parsing.parser import parse_module
from stepflow_python.ports import EnvironmentSpec, SandboxRun
from stepflow_python.sandbox.bubblewrap import find_bubblewrap
from stepflow_python.sandbox.host import SandboxConfig
from stepflow_python.sandbox.service import HostSandbox

SOURCE = "def double(n: int) -> int:\n    return 2 * n\n"


def figures(*, quick: bool) -> list[Figure]:
    """All figures of this part; contenders take turns, so that the machine's noise meets all alike."""
    return asyncio.run(_measured(rounds=40 if quick else 200))


async def _measured(*, rounds: int) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="sandbox-") as scratch:
        cache = EnvironmentCache(Path(scratch) / "environments", environ=os.environ)
        environment = await cache.ensure(EnvironmentSpec())
        isolated, bare = _sandbox(Path(scratch), enabled=True), _sandbox(Path(scratch), enabled=False)
        bubblewrap = await find_bubblewrap(search_path=os.environ.get("PATH"))
        if bubblewrap is None:
            raise SystemExit("no bubblewrap to measure against")
        anchor = _anchor(str(bubblewrap.path), environment)
        times: dict[str, list[float]] = {"isolated": [], "process": [], "bubblewrap": []}
        run = _run(environment)
        contenders = {"isolated": isolated, "process": bare}
        try:
            for _ in range(rounds + 3):
                for name, sandbox in contenders.items():
                    if name == "process" and os.geteuid() == 0:
                        continue  # root's files are out of reach for an unprivileged process without namespaces
                    started = time.perf_counter()
                    outcome = await sandbox.run(run)
                    times[name].append((time.perf_counter() - started) * 1000)
                    assert outcome.result == 42, outcome  # noqa: S101 - a figure of a failing run is none
                started = time.perf_counter()
                subprocess.run(anchor, check=True, env={})  # noqa: ASYNC221 - the loop has nothing else to do
                times["bubblewrap"].append((time.perf_counter() - started) * 1000)
        finally:
            await isolated.close()
            await bare.close()
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
    if times["process"]:
        cost = _quantile(times["isolated"], "p50") - _quantile(times["process"], "p50")
        found.append(
            Figure.of(
                id="isolation_cost",
                name="what isolation adds to a bare cold run, p50",
                value=round(cost, 2),
                unit="ms",
                goal="<= 6 ms",
            )
        )
    return found


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


def _sandbox(scratch: Path, *, enabled: bool) -> HostSandbox:
    return HostSandbox(
        SandboxConfig(
            folder=scratch / "sandbox",
            environments=scratch / "environments",
            min_isolation=IsolationTier.NAMESPACES if enabled else IsolationTier.PROCESS,
            enabled=enabled,
            uid=65534,
            cgroup="",
            search_path=os.environ.get("PATH"),
        )
    )


def _anchor(program: str, environment: Environment) -> list[str]:
    """The least that anybody pays for namespaces and an interpreter of the same environment."""
    shown = [
        part for path in (environment.base_prefix, environment.path) for part in ("--ro-bind", str(path), str(path))
    ]
    links = [part for name in ("bin", "lib", "lib64") for part in ("--symlink", f"usr/{name}", f"/{name}")]
    return [
        *(program, "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr", *links),
        *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", *shown),  # noqa: S108 - inside the box
        *("--", str(environment.interpreter), "-I", "-c", "pass"),
    ]
