"""How slow this machine is, beside the one on which the goals in milliseconds and by the second were set."""

import asyncio
import os
import statistics
import subprocess
import sys
import time

from stepflow_python.sandbox.bubblewrap import find_bubblewrap

THERE_MS = 11.0
"""What `bwrap ... python -I -c pass` took there."""
ROUNDS = 60


def processor_time() -> tuple[int, int]:
    """Ticks since boot that the host of this virtual machine gave to others while it wanted them, and those it used.

    From the first line of /proc/stat; see proc(5).
    """
    with open("/proc/stat") as file:  # noqa: PTH123 - one line of many
        user, nice, system, _idle, _wait, irq, soft_irq, stolen, *_ = map(int, file.readline().split()[1:])
    return stolen, user + nice + system + irq + soft_irq


def slowness() -> float:
    """How many times as long this machine takes for that, p50."""
    bubblewrap = asyncio.run(find_bubblewrap(search_path=os.environ.get("PATH")))
    if bubblewrap is None:
        raise SystemExit("no bubblewrap to measure against: install your system's package `bubblewrap`")
    box = [
        str(bubblewrap.path),
        "--unshare-all",
        "--die-with-parent",
        "--ro-bind",
        "/",
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
    ]
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        subprocess.run([*box, "--", sys.executable, "-I", "-c", "pass"], check=True, env={})
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times) / THERE_MS
