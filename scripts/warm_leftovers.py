"""Thousands of mixed warm calls, then a count: no process, descriptor, control group, mount or folder may be left.

Most calls return; the others raise, crash, exit, run out of time or memory, print too much, fork, or leave daemons.
Counted is before the first call, while processes wait (after a tenth of the calls and after all of them: nothing
grows), and when the sandbox has been closed. Prints one JSON object; exit code 1: something was left, or a call ended
otherwise than it must.

    python scripts/warm_leftovers.py --calls 20000
"""

import argparse
import asyncio
import json
import os
import random
import secrets
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from stepflow_python.environments.cache import EnvironmentCache
from stepflow_python.errors import PythonError
from stepflow_python.model.environment import Environment
from stepflow_python.model.limits import Limits
from stepflow_python.model.security import IsolationTier, SecuritySettings
from stepflow_python.ports import EnvironmentSpec, SandboxRun
from stepflow_python.sandbox.host import SandboxConfig
from stepflow_python.sandbox.service import HostSandbox
from stepflow_python.sandbox.warm.options import WarmOptions

MARK = f"70.{secrets.randbelow(10**9):09d}"
"""A number of seconds that only processes of ours sleep."""
SHORT = Limits(timeout_s=0.3, processes=32)
SMALL = Limits(memory_mib=64)
DULL = Limits(output_bytes=1000)
ROOMY = Limits()
MIXTURE: dict[str, tuple[int, str, Limits, str]] = {
    "returns": (60, "return {'a': [1, 2.5, None]}", ROOMY, "succeeded"),
    "writes a file": (6, "open('output/a.txt', 'w').write('x' * 1000)", ROOMY, "succeeded"),
    "starts a process": (4, "return subprocess.run(['true']).returncode", ROOMY, "succeeded"),
    "leaves a daemon": (4, f"subprocess.Popen(['sleep', '{MARK}'], start_new_session=True)", ROOMY, "succeeded"),
    "leaves threads": (
        3,
        f"threading.Thread(target=time.sleep, args=({MARK},), daemon=True).start()",
        ROOMY,
        "succeeded",
    ),
    "raises": (6, "raise ValueError('x')", ROOMY, "failed"),
    "exits": (4, "os._exit(7)", ROOMY, "failed"),
    "crashes": (4, "os.kill(os.getpid(), 11)", ROOMY, "failed"),
    "prints too much": (3, "print('x' * 100_000)", DULL, "output_exceeded"),
    "takes too much memory": (2, "return len(bytearray(200 << 20))", SMALL, "memory_exceeded"),
    "never ends": (2, f"time.sleep({MARK})", SHORT, "timed_out"),
    "forks and never ends": (2, f"os.fork(), os.fork(), time.sleep({MARK})", SHORT, "timed_out"),
}
HEAD = "import os, subprocess, threading, time\n\ndef f():\n    "
SETTLE_S = 30.0


def main() -> int:
    """Make the calls and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="warm-leftovers-") as scratch:
        folder = Path(scratch)
        for place in (folder, folder / "tmp"):
            place.mkdir(exist_ok=True)
            place.chmod(0o755)
        tempfile.tempdir = str(folder / "tmp")
        found = asyncio.run(measured(folder, calls=options.calls, callers=options.callers, seed=options.seed))
    print(json.dumps(found, indent=2))
    return 1 if found["left"] or found["wrong"] else 0


async def measured(folder: Path, *, calls: int, callers: int, seed: int) -> dict[str, object]:
    """What was before, meanwhile and after; `left` is what was not before, `wrong` counts unexpected ends."""
    cache = EnvironmentCache(folder / "environments", environ=os.environ)
    environment = await cache.ensure(EnvironmentSpec())
    await cache.settle()
    sandbox = _sandbox(folder)
    await sandbox.isolation()
    names = list(MIXTURE)
    drawn = random.Random(seed).choices(names, [MIXTURE[name][0] for name in names], k=calls)
    before, started = everything(folder), time.monotonic()
    try:
        ends = await _called(sandbox, environment, drawn[: calls // 10], callers)
        early = await _settled(folder)
        ends += await _called(sandbox, environment, drawn[calls // 10 :], callers)
        late = await _settled(folder)
    finally:
        await sandbox.close()
    after = await _like(before, folder)
    return {
        "calls": calls,
        "seconds": round(time.monotonic() - started, 1),
        "warm": ends.pop("warm"),
        "wrong": {name: count for name, count in ends.items() if not name.endswith(": as it must")},
        "pool": {name: value for name, value in sandbox.counts.items() if value},
        "while it waits, early": _numbers(early),
        "while it waits, late": _numbers(late),
        "before": _numbers(before),
        "after": _numbers(after),
        "left": {what: sorted(after[what] - before[what]) for what in after if after[what] - before[what]},
    }


async def _called(sandbox: HostSandbox, environment: Environment, names: list[str], callers: int) -> Counter[str]:
    """How the calls ended, some at a time; `warm` of them had a process that waited."""
    ends: Counter[str] = Counter(warm=0)
    waiting = iter(names)

    async def call() -> None:
        for name in waiting:
            _weight, body, limits, expected = MIXTURE[name]
            run = SandboxRun(
                execution_id=secrets.token_hex(8),
                environment=environment,
                source=HEAD + body + "\n",
                module_name="tool",
                function="f",
                limits=limits,
                security=SecuritySettings(enable_system_calls=True),
            )
            try:
                outcome = await sandbox.run(run)
            except PythonError as error:
                ends[f"{name}: {error}"] += 1
                continue
            ends[f"{name}: {'as it must' if outcome.status == expected else outcome.status}"] += 1
            ends["warm"] += bool(outcome.warm)

    await asyncio.gather(*(call() for _ in range(callers)))
    return ends


async def _settled(folder: Path) -> dict[str, set[str]]:
    """What there is when nothing changes any more, with processes waiting."""
    until, last = time.monotonic() + SETTLE_S, _numbers(everything(folder))
    while time.monotonic() < until:
        await asyncio.sleep(1.0)
        if (now := _numbers(everything(folder))) == last:
            break
        last = now
    return everything(folder)


async def _like(before: dict[str, set[str]], folder: Path) -> dict[str, set[str]]:
    """What there is once nothing more goes away."""
    until = time.monotonic() + SETTLE_S
    while any((now := everything(folder))[what] - before[what] for what in before) and time.monotonic() < until:  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.1)
    return now


def everything(folder: Path) -> dict[str, set[str]]:
    """What a call could leave behind."""
    return {
        "processes": set(_processes(str(folder))),
        "descriptors": {entry.name for entry in Path("/proc/self/fd").iterdir()},
        "groups": set(_groups()),
        "mounts": {" ".join(line.split()[:5]) for line in Path("/proc/self/mountinfo").read_text().splitlines()},
        "folders": {path.name for path in (folder / "tmp").iterdir()},
        # The loop's own executor keeps the threads that it once had.
        "threads": {one.name for one in threading.enumerate() if not one.name.startswith("asyncio_")},
    }


def _numbers(found: dict[str, set[str]]) -> dict[str, int]:
    return {what: len(names) for what, names in found.items()}


def _processes(folder: str) -> list[str]:
    """Pid and program of what is below this process, or has our folder or mark among its arguments."""
    commands, parents = {}, {}
    for entry in Path("/proc").iterdir():
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            commands[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (ValueError, OSError):
            continue
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    marked = {pid for pid, command in commands.items() if folder in command or MARK in command}
    return [f"{pid} {commands.get(pid, '')[:80]}" for pid in (ours | marked) - {os.getpid()}]


def _groups() -> list[str]:
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            base = Path("/sys/fs/cgroup", controller, path.lstrip("/"))
            found += [str(group) for group in base.glob(f"stepflow-{os.getpid()}-*")]
    return found


def _sandbox(folder: Path) -> HostSandbox:
    return HostSandbox(
        SandboxConfig(
            folder=folder / "sandbox",
            environments=folder / "environments",
            min_isolation=IsolationTier.LANDLOCK,
            enabled=True,
            uid=65534,
            cgroup="",
            search_path=os.environ.get("PATH"),
            warm=WarmOptions(eager=True),
        )
    )


if __name__ == "__main__":
    sys.exit(main())
