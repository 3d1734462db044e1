"""What a whole job costs: submitted, run in its box, recorded and read back, beside the run alone."""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from figure import Figure

from stepflow_python.bootstrap.runtime import open_runtime
from stepflow_python.client.client import open_client
from stepflow_python.config import PREFIX, Settings
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import ExecutionResult, Status
from stepflow_python.process.background import Background

SOURCE = "def double(n: int) -> int:\n    return 2 * n\n"
WARM_UP = 12
PAUSE_S = 0.01
"""Between jobs: what one leaves to clear away is not in the way of the next."""


def figures(*, quick: bool) -> list[Figure]:
    """All figures of this part: one job after another, through a real worker on the embedded broker."""
    with tempfile.TemporaryDirectory(prefix="jobs-") as home:
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
        environ = {**inherited, f"{PREFIX}HOME": home}
        try:
            return asyncio.run(_measured(environ, rounds=60 if quick else 300))
        finally:
            for path in Path(home).rglob("*"):  # environments are read-only
                if path.is_dir() and not path.is_symlink():
                    path.chmod(0o755)


async def _measured(environ: dict[str, str], *, rounds: int) -> list[Figure]:
    settings = Settings.from_environ(environ)
    async with open_runtime(settings, environ=environ) as runtime:
        alone = await _times(runtime.executor.execute, rounds)
    cold = await _through_a_worker(settings, environ, rounds, "--cold")
    warm = await _through_a_worker(settings, environ, rounds)
    return [
        Figure.of(
            id=f"{id_}_{name}",
            name=f"submit to recorded result, embedded broker, {path} path, {name}, beside the cold run alone",
            value=round(quantile(times), 2),
            unit="ms",
            baseline=round(quantile(alone), 2),
            goal=goal,
        )
        for id_, path, times, goals in (
            ("submit_to_recorded", "cold", cold, ("<= 25 ms", "<= 60 ms")),
            ("submit_to_recorded_warm", "warm", warm, ("<= 8 ms", "<= 25 ms")),
        )
        for name, quantile, goal in (("p50", statistics.median, goals[0]), ("p95", _p95, goals[1]))
    ]


async def _through_a_worker(settings: Settings, environ: dict[str, str], rounds: int, *options: str) -> list[float]:
    with Background([sys.executable, "-m", "stepflow_python", "worker", *options], env=environ) as worker:
        if await asyncio.to_thread(worker.first_line, timeout_s=60) is None:
            raise SystemExit(f"the worker did not start: {worker.complaint()}")
        async with open_client(settings) as client:

            async def submitted(request: ExecutionRequest) -> ExecutionResult:
                return await client.wait(await client.submit(request), timeout_s=60)

            return await _times(submitted, rounds)


async def _times(run: Callable[[ExecutionRequest], Awaitable[ExecutionResult]], rounds: int) -> list[float]:
    """Milliseconds of each round, after a warm-up that builds the environment."""
    times = []
    for number in range(rounds + WARM_UP):
        request = ExecutionRequest(tool_id="double", code=SOURCE, function_name="double", parameters={"n": number})
        started = time.perf_counter()
        result = await run(request)
        times.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(PAUSE_S)
        if result.status is not Status.SUCCEEDED:
            raise SystemExit(f"a figure of failing runs is none: {result.error}")
    return times[WARM_UP:]


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]
