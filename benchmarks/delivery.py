"""The embedded broker beside Redis, or where none answers, beside kombu's own SQLite transport.

Both carry the same no-op tasks through the same Celery worker (threads, 8 slots, late acknowledgement).
Run as a program it is that worker.
"""

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from celery import Celery
from figure import Figure

from stepflow_python.config import Settings
from stepflow_python.messaging.app import make_app

REDIS = "redis://127.0.0.1:6379/9"
WITH_RESULTS = f"{REDIS}#results"
TASK = "benchmark.start"
SLOTS = 8
PACE_PER_S = 100


def figures(*, quick: bool) -> list[Figure]:
    """Throughput of queued no-op tasks, and time from publishing to the start of an idle worker's task."""
    tasks, paced, rounds = (1_000, 150, 3) if quick else (4_000, 1_000, 3)
    baseline = REDIS if redis_answers() else "sqla+sqlite"
    # By turns, so that a noisy neighbour disturbs both alike.
    pairs = [[_measure(broker, tasks=tasks, paced=paced) for broker in ("embedded", baseline)] for _ in range(rounds)]
    ours, theirs = zip(*pairs, strict=True)
    name = "Redis" if baseline == REDIS else "kombu's SQLAlchemy transport"

    def figure(key: str, title: str, unit: str, goal: str) -> Figure:
        value, base = (round(statistics.median(run[key] for run in runs), 3) for runs in (ours, theirs))
        return Figure.of(
            id=f"delivery.{key}", name=f"{title} ({name})", value=value, unit=unit, goal=goal, baseline=base
        )

    return [
        figure("throughput", "no-op tasks on the embedded broker", "tasks/s", ">= 1.0x"),
        figure("publish", "messages published by one process", "messages/s", ">= 1.0x"),
        figure("latency_p50", "publish to start, median", "ms", "<= 10 ms"),
        figure("latency_p95", "publish to start, 95th percentile", "ms", "<= 25 ms"),
    ]


def _measure(broker: str, *, tasks: int, paced: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as home:
        app = _app(broker, Path(home))
        publish, throughput = _rates(broker, app, home, tasks)
        worker = _worker(broker, home)
        app.send_task(TASK, args=[0.0, paced + 1])  # its start shows that the worker is there
        if worker.stdout:
            worker.stdout.readline()
        due = time.perf_counter()
        for _ in range(paced):
            due += 1 / PACE_PER_S
            time.sleep(max(0.0, due - time.perf_counter()))
            app.send_task(TASK, args=[time.time(), paced + 1])
        delays = sorted(_lines(worker, paced)["delays"])
        _forget_queue(app)
        app.close()
    return {
        "throughput": throughput,
        "publish": publish,
        "latency_p50": delays[len(delays) // 2] * 1000,
        "latency_p95": delays[int(len(delays) * 0.95)] * 1000,
    }


def _rates(broker: str, app: Celery, home: str, tasks: int) -> tuple[float, float]:
    """Tasks published, and tasks started, a second."""
    began = time.perf_counter()
    for _ in range(tasks):
        app.send_task(TASK, args=[0.0, tasks])
    publish = tasks / (time.perf_counter() - began)
    ends = sorted(_lines(_worker(broker, home), tasks)["starts"])
    low, high = tasks // 20, tasks - tasks // 20 - 1
    return publish, (high - low) / (ends[high] - ends[low])


def no_op_rate(broker: str, tasks: int) -> float:
    """No-op tasks a second that a worker starts which has nothing else to do."""
    with tempfile.TemporaryDirectory() as home:
        app = _app(broker, Path(home))
        _, throughput = _rates(broker, app, home, tasks)
        _forget_queue(app)
        app.close()
    return throughput


def round_trips(rounds: int, *, pause_s: float) -> list[float]:
    """Milliseconds from sending a no-op task to its result, which Celery keeps in Redis: the least a job can take."""
    times = []
    with tempfile.TemporaryDirectory() as home:
        app = _app(WITH_RESULTS, Path(home))
        app.send_task(TASK, args=[0.0, rounds + 1], ignore_result=False)
        worker = _worker(WITH_RESULTS, home)
        if worker.stdout:
            worker.stdout.readline()
        for _ in range(rounds):
            time.sleep(pause_s)
            began = time.perf_counter()
            app.send_task(TASK, args=[0.0, rounds + 1], ignore_result=False).get(timeout=30)
            times.append((time.perf_counter() - began) * 1000)
        _lines(worker, rounds)
        _forget_queue(app)
        app.close()
    return times


def _forget_queue(app: Celery) -> None:
    """Leave nothing on a server that others use."""
    with app.connection() as connection:
        queue = app.amqp.queues[app.conf.task_default_queue](connection.default_channel)
        queue.declare()
        queue.delete()


def _app(broker: str, home: Path) -> Celery:
    urls = {"sqla+sqlite": f"sqla+sqlite:///{home}/kombu.db", WITH_RESULTS: REDIS}
    settings = Settings(
        home=home,
        broker_url=urls.get(broker, broker),
        queue=f"benchmark-{home.name}",
        concurrency=SLOTS,
        result_backend=REDIS if broker == WITH_RESULTS else "",
    )
    return make_app(settings)


def _worker(broker: str, home: str) -> "subprocess.Popen[str]":
    environ = os.environ | {"C_FORCE_ROOT": "1"}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", __file__, broker, home], stdout=subprocess.PIPE, text=True, env=environ
    )


def _lines(worker: "subprocess.Popen[str]", count: int) -> dict[str, list[float]]:
    """What the worker says at its end about its last `count` tasks."""
    output, _ = worker.communicate(timeout=300)
    facts: dict[str, list[float]] = json.loads(next(line for line in output.splitlines() if line.startswith("{")))
    return {name: values[-count:] for name, values in facts.items()}


def redis_answers() -> bool:
    """Whether there is a server to compare with."""
    try:
        socket.create_connection(("127.0.0.1", 6379), timeout=0.5).close()
    except OSError:
        return False
    return True


def serve(broker: str, home: str) -> None:
    """Work until the announced number of tasks has started, then print when each did."""
    app = _app(broker, Path(home))
    starts: list[float] = []
    delays: list[float] = []

    def start(sent_at: float, total: int) -> None:
        now = time.time()
        starts.append(now)
        delays.append(now - sent_at)
        if len(starts) == 1:
            print("started", flush=True)
        if len(starts) == total:
            print(json.dumps({"starts": starts, "delays": delays}), flush=True)
            os.kill(os.getpid(), signal.SIGTERM)

    app.task(name=TASK, shared=False)(start)
    if broker == "sqla+sqlite":
        # Its transport takes no polling interval as an option.
        from kombu.transport.sqlalchemy import Transport  # noqa: PLC0415 - only where it is measured

        Transport.polling_interval = 0.005
    app.Worker(quiet=True, loglevel="ERROR", without_mingle=True, without_gossip=True, without_heartbeat=True).start()


if __name__ == "__main__":
    serve(*sys.argv[1:])
