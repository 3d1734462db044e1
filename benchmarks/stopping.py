"""How soon a cancelled run is dead: from the word of the client to the last word of its process tree."""

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figure import Figure

from stepflow_python.client.client import Client, open_client
from stepflow_python.config import Settings
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.security import SecurityLevel

TICKING = """
import os, time

def tick() -> None:
    os.fork(), os.fork()
    while True:
        print(time.monotonic(), flush=True)
        time.sleep(0.005)
"""
RUNS_S = 0.5
"""Long enough for a first word on a machine that does nothing else."""


def figures(*, quick: bool) -> list[Figure]:
    """All figures of this part."""
    with tempfile.TemporaryDirectory(prefix="stopping-") as home:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("STEPFLOW_PYTHON_")}
        environ["STEPFLOW_PYTHON_HOME"] = home
        command = [sys.executable, "-m", "stepflow_python", "worker", "--concurrency", "1"]
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as worker:
            try:
                if worker.stdout:
                    worker.stdout.readline()
                settings = Settings(home=Path(home))
                took = asyncio.run(_measured(settings, rounds=8 if quick else 40))
            finally:
                worker.send_signal(signal.SIGTERM)
    name = "cancel of a running tree of four processes, told to dead"
    return [
        Figure.of(
            id="cancel_p50", name=f"{name}, p50", value=_ms(statistics.median(took)), unit="ms", goal="<= 300 ms"
        ),
        Figure.of(id="cancel_max", name=f"{name}, slowest", value=_ms(max(took)), unit="ms", goal="<= 1000 ms"),
    ]


async def _measured(settings: Settings, *, rounds: int) -> list[float]:
    async with open_client(settings) as client:
        return [await _cancelled(client, f"run-{number}") for number in range(rounds)]


async def _cancelled(client: Client, name: str) -> float:
    """Seconds from the moment before the client is asked, until the tree spoke for the last time."""
    request = ExecutionRequest(
        execution_id=name, code=TICKING, function_name="tick", security_level=SecurityLevel.STANDARD
    )
    await client.submit(request)
    while (await client.show(name)).attempts == 0:  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.01)
    await asyncio.sleep(RUNS_S)
    told = time.monotonic()
    await client.cancel(name)
    result = await client.wait(name)
    words = [float(word) for word in result.stdout.split()[:-1]]  # the last one may be cut
    return max(max(words, default=told) - told, 0.0)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
