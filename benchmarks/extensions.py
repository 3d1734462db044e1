"""What a call of a lent module costs a tool, beside a bare round trip over a socket of the same size."""

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable

from figure import Figure

from stepflow_python.bootstrap.runtime import Runtime, open_runtime
from stepflow_python.config import Settings
from stepflow_python.extensions import ExtensionContext, Module
from stepflow_python.model.request import ExecutionRequest

CALLS = 300
TOOL = f"""
import time
import bench

def quick(function):
    times = []
    for _ in range({CALLS}):
        started = time.perf_counter()
        function(1)
        times.append(time.perf_counter() - started)
    return sorted(times)

def f():
    return [quick(bench.plain), quick(bench.awaited)]
"""
QUESTION = b"q" * 80
ANSWER = b"a" * 24
# The same from a process without anything around it, to a thread that does nothing else.
BARE = f"""
import os, sys, time
line, times = int(sys.argv[1]), []
for _ in range({CALLS}):
    started = time.perf_counter()
    os.write(line, b"q" * {len(QUESTION)})
    os.read(line, {len(ANSWER)})
    times.append(time.perf_counter() - started)
print(*times)
"""


def plain(number: int) -> int:
    """Give a number back."""
    return number


async def awaited(number: int) -> int:
    """Give a number back."""
    return number


def figures(*, quick: bool) -> list[Figure]:
    """All figures of this part; both sides take turns, so that the machine's noise meets them alike."""
    return asyncio.run(_measured(rounds=5 if quick else 20))


async def _measured(*, rounds: int) -> list[Figure]:
    context = ExtensionContext()
    context.register_extension("bench", lambda: Module(functions=[plain, awaited]))
    times: dict[str, list[float]] = {"plain": [], "awaited": [], "bare": []}
    with tempfile.TemporaryDirectory(prefix="extensions-") as home:
        settings = Settings.from_environ({"STEPFLOW_PYTHON_HOME": home})
        async with open_runtime(settings, environ=os.environ, context=context) as runtime:
            for _ in range(rounds):
                for name, values in zip(("plain", "awaited"), await _lent(runtime), strict=True):
                    times[name] += values
                times["bare"] += await asyncio.to_thread(_bare)
    return [
        _figure("call_p50", "a tool calls a plain function of the host, p50", times["plain"], times["bare"]),
        _figure(
            "call_async_p50", "a tool calls a coroutine function of the host, p50", times["awaited"], times["bare"]
        ),
    ]


def _figure(id_: str, name: str, values: list[float], bare: list[float]) -> Figure:
    return Figure.of(
        id=f"extension_{id_}",
        name=f"{name}, beside a bare socket round trip",
        value=round(statistics.median(values) * 1000, 3),
        unit="ms",
        baseline=round(statistics.median(bare) * 1000, 3),
        goal="<= 0.5 ms",
    )


async def _lent(runtime: Runtime) -> list[list[float]]:
    request = ExecutionRequest(code=TOOL, function_name="f", extensions=("bench",))
    result = await runtime.executor.execute(request)
    assert isinstance(result.result, list), result.error  # noqa: S101 - a figure of a failing run is none
    return [[float(str(value)) for value in values] for values in result.result if isinstance(values, list)]


def _bare() -> list[float]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        answering = threading.Thread(target=_echo, args=(ours.recv, ours.sendall), daemon=True)
        answering.start()
        argv = [sys.executable, "-I", "-S", "-c", BARE, str(theirs.fileno())]
        done = subprocess.run(argv, pass_fds=[theirs.fileno()], capture_output=True, text=True, check=True)
        answering.join()
    return [float(text) for text in done.stdout.split()]


def _echo(receive: Callable[[int], bytes], send: Callable[[bytes], None]) -> None:
    for _ in range(CALLS):
        receive(len(QUESTION))
        send(ANSWER)
