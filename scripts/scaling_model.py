"""What a job costs each part, in CPU time, and what that makes of one host, ten and a thousand.

CPU time is measured, not how long it took: so the figures are the same on a machine that has other work to do. A worker
with its boxes is put into a control group of its own; servers are asked through /proc. `--write` puts both tables into
docs/scaling.md. Needs root, control groups of version 1 with `cpuacct`, redis-server, and PostgreSQL on 127.0.0.1.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from marked import put
from soak import prepare, redis_server, scratch_database

from stepflow_python.client.client import Client, open_client
from stepflow_python.config import Settings
from stepflow_python.model.request import ExecutionRequest

DOCS = Path(__file__).resolve().parents[1] / "docs" / "scaling.md"
GROUPS = Path("/sys/fs/cgroup/cpuacct")
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
QUICK = "def work(n: int) -> int:\n    return n * n\n"
LONG_S = 15
LONG = f"import time\n\ndef work(n: int) -> int:\n    time.sleep({LONG_S})\n    return n\n"
SLOTS = 8
CONNECTIONS = 5
"""Of a worker to PostgreSQL: one that writes, four that read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """CPU time in ms: of a job in each part, and of a second in which an execution runs, or a worker waits for work."""

    worker_ms: float
    record_ms: float
    broker_ms: float
    running_record_ms: float
    running_worker_ms: float
    idle_record_ms: float
    idle_broker_ms: float


def of_process(pid: int) -> float:
    """CPU time of a process so far, in ms."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_MS
    return 0.0


def of_record(name: str) -> float:
    """The same of all of the server's processes for a database."""
    total = 0.0
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and f" {name} " in (entry / "cmdline").read_text():
                total += of_process(int(entry.name))
    return total


@contextlib.contextmanager
def grouped_worker(environ: dict[str, str], log: Path) -> Iterator[Path]:
    """A worker in a control group of its own."""
    group = GROUPS / f"stepflow-scaling-{os.getpid()}"
    group.mkdir()
    words = [sys.executable, "-m", "stepflow_python", "worker", "--concurrency", str(SLOTS)]
    inside = f'echo $$ > {group}/cgroup.procs; exec "$@"'
    with log.open("wb") as stream:
        worker = subprocess.Popen(["sh", "-c", inside, "sh", *words], env=environ, stdout=stream, stderr=stream)
    try:
        yield group
    finally:
        worker.terminate()
        worker.wait(60)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.1)


async def run_all(client: Client, code: str, names: list[str], *, quiet_s: float = 0.2) -> None:
    """Submit jobs and wait for all of them; seldom asking, since questions cost the record something as well."""
    for start in range(0, len(names), SLOTS):
        requests = [
            ExecutionRequest(
                execution_id=name, tool_id="measured", code=code, function_name="work", parameters={"n": 1}
            )
            for name in names[start : start + SLOTS]
        ]
        await asyncio.gather(*map(client.submit, requests))
    await asyncio.sleep(quiet_s)
    for name in names:
        while await client.result(name) is None:  # noqa: ASYNC110 - the record has no events
            await asyncio.sleep(0.5)


def measured(jobs: int) -> Costs:
    """Run quick jobs, then long ones, then none, and see who spent what."""
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="stepflow-scaling-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        url, redis = stack.enter_context(redis_server(folder))
        record = stack.enter_context(scratch_database())
        own = {"HOME": str(folder / "home"), "BROKER_URL": url, "DATABASE_URL": record, "DEFAULT_TIMEOUT": "60"}
        environ = {name: value for name, value in os.environ.items() if not name.startswith("STEPFLOW_PYTHON_")}
        environ |= {f"STEPFLOW_PYTHON_{name}": value for name, value in own.items()}
        settings = Settings.from_environ(environ)
        asyncio.run(prepare(settings))
        group = stack.enter_context(grouped_worker(environ, folder / "worker.log"))
        database = record.rpartition("/")[2]

        def spent() -> tuple[float, float, float]:
            usage = int((group / "cpuacct.usage").read_text()) / 1e6
            return usage, of_record(database), of_process(redis.process.pid)

        async def scenario() -> tuple[list[float], list[float], list[float], float]:
            async with open_client(settings) as client:
                await run_all(client, QUICK, [f"warm-{n}" for n in range(40)])
                before = spent()
                await run_all(client, QUICK, [f"job-{n}" for n in range(jobs)])
                quick = [b - a for a, b in zip(before, spent(), strict=True)]
                before = spent()
                await asyncio.sleep(LONG_S)
                idle = [b - a for a, b in zip(before, spent(), strict=True)]
                before, began = spent(), time.monotonic()
                await run_all(client, LONG, [f"long-{n}" for n in range(SLOTS)], quiet_s=LONG_S)
                took = time.monotonic() - began
                return quick, idle, [b - a for a, b in zip(before, spent(), strict=True)], took

        quick, idle, long, took = asyncio.run(scenario())
    per_job = [value / jobs for value in quick]
    running = [(total - rest / LONG_S * took) / (SLOTS * LONG_S) for total, rest in zip(long, idle, strict=True)]
    return Costs(
        worker_ms=round(per_job[0], 2),
        record_ms=round(per_job[1], 2),
        broker_ms=round(per_job[2], 2),
        running_worker_ms=round(max(running[0] - per_job[0] / LONG_S, 0), 2),
        running_record_ms=round(max(running[1] - per_job[1] / LONG_S, 0), 2),
        idle_record_ms=round(idle[1] / LONG_S, 2),
        idle_broker_ms=round(idle[2] / LONG_S, 2),
    )


def costs_table(costs: Costs) -> str:
    """The measured figures."""
    rows = (
        ("a job of a tool that only returns, in a waiting process", costs.worker_ms, costs.record_ms, costs.broker_ms),
        ("a second in which one execution runs", costs.running_worker_ms, costs.running_record_ms, ""),
        ("a second in which a worker waits for work", "", costs.idle_record_ms, costs.idle_broker_ms),
    )
    lines = ["| ms of CPU for | worker, with its boxes | PostgreSQL | Redis |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def model_table(costs: Costs, *, cores: int) -> str:
    """Hosts of so many cores, with tools that last so long and use a core for a tenth of that."""
    lines = [
        "| hosts | a tool lasts, s | slots a host | jobs/s | PostgreSQL, cores | Redis, cores | its connections |",
        "|---" * 7 + "|",
    ]
    for hosts in (1, 10, 1000):
        for lasts in (0.005, 0.5, 30.0):
            core_ms = costs.worker_ms + lasts * (100 + costs.running_worker_ms)
            bound_by_cores = cores * 1000 / core_ms
            slots = max(SLOTS, min(256, round(bound_by_cores * lasts)))
            rate = hosts * min(bound_by_cores, slots / max(lasts, 0.005))
            running = rate * lasts
            record = rate * costs.record_ms + running * costs.running_record_ms + hosts * costs.idle_record_ms
            broker = rate * costs.broker_ms + hosts * costs.idle_broker_ms
            cells = (
                hosts,
                lasts,
                slots,
                f"{rate:,.0f}",
                f"{record / 1000:,.2f}",
                f"{broker / 1000:,.2f}",
                hosts * CONNECTIONS,
            )
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> int:
    """Measure, and print what follows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=600)
    parser.add_argument("--cores", type=int, default=8, help="of each host in the model")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scaling.md")
    options = parser.parse_args()
    costs = measured(options.jobs)
    tables = costs_table(costs), model_table(costs, cores=options.cores)
    print("\n\n".join(tables))
    if options.write:
        for name, table in zip(("costs", "model"), tables, strict=True):
            put(DOCS, name, table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
