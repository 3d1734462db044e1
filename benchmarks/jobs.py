"""What a whole job costs: submitted, run in its box, recorded and read back, beside the run alone."""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from delivery import REDIS, no_op_rate, redis_answers, round_trips
from figure import Figure

from stepflow_python.bootstrap.runtime import open_runtime, warm_options
from stepflow_python.client.client import Client, open_client
from stepflow_python.config import PREFIX, Settings
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import ExecutionResult, Status
from stepflow_python.process.background import Background

SOURCE = "def double(n: int) -> int:\n    return 2 * n\n"
WARM_UP = 12
PAUSE_S = 0.01
"""Between jobs: what one leaves to clear away is not in the way of the next."""
PATHS = {
    "embedded": {"cold": ("<= 25 ms", "<= 60 ms"), "warm": ("<= 8 ms", "<= 25 ms")},
    "redis": {"warm": ("<= 6 ms", "<= 25 ms")},
}
"""Goals for p50 and p95, by broker and path."""


def figures(*, quick: bool) -> list[Figure]:
    """All figures of this part: through a real worker, on the embedded broker and where there is one on Redis."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    rounds, jobs = (60, 300) if quick else (300, 2000)
    found = []
    for name, broker in (("embedded", ""), ("redis", REDIS if redis_answers() else None)):
        if broker is None:
            continue
        with tempfile.TemporaryDirectory(prefix="jobs-") as home:
            queue = {f"{PREFIX}BROKER_URL": broker, f"{PREFIX}QUEUE": f"benchmark-{os.getpid()}"} if broker else {}
            environ = {**inherited, f"{PREFIX}HOME": home, **queue}
            try:
                found += asyncio.run(_measured(name, environ, rounds=rounds, jobs=jobs))
            finally:
                for path in Path(home).rglob("*"):  # environments are read-only
                    if path.is_dir() and not path.is_symlink():
                        path.chmod(0o755)
    return found


async def _measured(broker: str, environ: dict[str, str], *, rounds: int, jobs: int) -> list[Figure]:
    settings = Settings.from_environ(environ)
    alone = {}
    for path, warm in (("cold", None), ("warm", warm_options(settings))):
        async with open_runtime(settings, environ=environ, warm=warm) as runtime:
            alone[path] = await _times(runtime.executor.execute, rounds)
    through = {path: await _through_a_worker(settings, environ, rounds, path) for path in PATHS[broker]}
    rate = await _rate(settings, environ, jobs)
    least = await asyncio.to_thread(round_trips, rounds, pause_s=PAUSE_S) if broker == "redis" else []
    no_ops = await asyncio.to_thread(no_op_rate, "embedded" if broker == "embedded" else REDIS, 1000)
    return [
        Figure.of(
            id=f"submit_to_recorded_{broker}_{path}_{name}",
            name=f"submit to recorded result, {broker} broker, {path} path, {name}, beside that run in this process",
            value=round(quantile(through[path]), 2),
            unit="ms",
            baseline=round(quantile(alone[path]), 2),
            goal=goal,
        )
        for path, goals in PATHS[broker].items()
        for name, quantile, goal in (("p50", statistics.median, goals[0]), ("p95", _p95, goals[1]))
    ] + [
        *_beside_celery(through["warm"], least),
        Figure.of(
            id=f"recorded_rate_{broker}",
            name=f"jobs run in a box of their own and recorded, {broker} broker, beside Celery's no-op tasks",
            value=round(rate, 1),
            unit="jobs/s",
            baseline=round(no_ops, 1),
            goal=">= 120 jobs/s",
        ),
    ]


def _beside_celery(ours: list[float], least: list[float]) -> list[Figure]:
    """What a job costs over the way there and back; none where that was not measured."""
    return [
        Figure.of(
            id="submit_to_recorded_redis_over_celery",
            name="that, beside a Celery task that does nothing and whose result is fetched from Redis, p50",
            value=round(statistics.median(ours), 2),
            unit="ms",
            baseline=round(statistics.median(least), 2),
            goal="<= 2x",
        )
        for _ in least[:1]
    ]


async def _rate(settings: Settings, environ: dict[str, str], jobs: int) -> float:
    """Jobs a second that a worker takes from a full queue to their record, its first and last twentieth apart."""
    with _worker(environ) as client_ready:
        await asyncio.to_thread(client_ready)
        async with open_client(settings) as client:
            await _times(lambda request: _submitted(client, request), WARM_UP)
            ids = [await client.submit(_request(number)) for number in range(jobs)]
            results = [await client.wait(id_, timeout_s=300) for id_ in ids]
    if any(result.status is not Status.SUCCEEDED for result in results):
        raise SystemExit("a figure of failing runs is none")
    ends = sorted(result.finished_at.timestamp() for result in results if result.finished_at is not None)
    low, high = jobs // 20, jobs - jobs // 20 - 1
    return (high - low) / (ends[high] - ends[low])


@contextmanager
def _worker(environ: dict[str, str], *options: str) -> Iterator[Callable[[], None]]:
    """A worker; what is given waits until it is ready."""
    with Background([sys.executable, "-m", "stepflow_python", "worker", *options], env=environ) as worker:

        def ready() -> None:
            if worker.first_line(timeout_s=60) is None:
                raise SystemExit(f"the worker did not start: {worker.complaint()}")

        yield ready


async def _submitted(client: Client, request: ExecutionRequest) -> ExecutionResult:
    return await client.wait(await client.submit(request), timeout_s=60)


async def _through_a_worker(settings: Settings, environ: dict[str, str], rounds: int, path: str) -> list[float]:
    with _worker(environ, *(["--cold"] if path == "cold" else [])) as ready:
        await asyncio.to_thread(ready)
        async with open_client(settings) as client:
            return await _times(lambda request: _submitted(client, request), rounds)


def _request(number: int) -> ExecutionRequest:
    return ExecutionRequest(tool_id="double", code=SOURCE, function_name="double", parameters={"n": number})


async def _times(run: Callable[[ExecutionRequest], Awaitable[ExecutionResult]], rounds: int) -> list[float]:
    """Milliseconds of each round, after a warm-up that builds the environment."""
    times = []
    for number in range(rounds + WARM_UP):
        request = _request(number)
        started = time.perf_counter()
        result = await run(request)
        times.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(PAUSE_S)
        if result.status is not Status.SUCCEEDED:
            raise SystemExit(f"a figure of failing runs is none: {result.error}")
    return times[WARM_UP:]


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]
