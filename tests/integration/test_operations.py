"""What operators and their tools see of a worker."""

import socket
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from support.cli import Stepflow
from support.product import PATIENCE_S, send, settings_of, wait_for_end

from stepflow_python.messaging.app import EXECUTE, make_app
from stepflow_python.model.request import ExecutionRequest

CODE = "import os\n\ndef double(n: int) -> str:\n    print(os.environ['TOKEN'])\n    return os.environ['TOKEN']\n"
SECRET = "correct horse"  # noqa: S105 - a made-up one


def free_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port: int = free.getsockname()[1]
        return port


def counted(port: int) -> dict[str, float]:
    """The page of a worker, by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
        page = response.read().decode()
    return {
        f"{sample.name}{sorted(sample.labels.items()) or ''}": sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def until(reached: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def double(execution_id: str) -> ExecutionRequest:
    """A call of a tool, with a secret in its variables."""
    return ExecutionRequest(
        execution_id=execution_id,
        tool_id="doubling",
        code=CODE,
        function_name="double",
        parameters={"n": 2},
        env={"TOKEN": SECRET},
    )


def test_metrics_and_events(apart: Stepflow) -> None:
    """Its page counts what ran; monitors of Celery are sent our tasks by name and id, and nothing of the payload."""
    port, seen = free_port(), list[dict[str, Any]]()
    app = make_app(settings_of(apart))
    with apart.worker("--concurrency", "2", "--health-port", str(port)) as worker, app.connection() as connection:
        name = f"stepflow-{worker.pid}@"
        receiver = app.events.Receiver(connection, handlers={"*": seen.append})
        listener = threading.Thread(target=lambda: list(receiver.itercapture(limit=None, timeout=None)), daemon=True)
        listener.start()
        # Answered by the worker, so that it sends events from now on.
        until(lambda: bool(app.control.enable_events(reply=True, timeout=2, limit=1)))
        for execution_id in ("one", "two"):
            send(apart, double(execution_id))
            assert wait_for_end(apart, execution_id)["status"] == "succeeded"
        until(lambda: sum(event["type"] == "task-succeeded" for event in seen) == 2)
        receiver.should_stop = True
        # A check that took too long on a busy machine holds the next time.
        until(lambda: counted(port).get("stepflow_ready[('check', 'record')]") == 1)
        until(lambda: counted(port)["stepflow_running"] == 0)
        page = counted(port)
    listener.join(PATIENCE_S)
    assert page["stepflow_executions_total[('status', 'succeeded'), ('tool', 'doubling')]"] == 2
    assert page["stepflow_slots"] == 2
    assert page["stepflow_queue_length[('queue', 'stepflow')]"] == 0
    received = [event for event in seen if event["type"] == "task-received"]
    assert [(event["name"], event["uuid"], event["args"]) for event in received] == [
        (EXECUTE, "one", "('one',)"),
        (EXECUTE, "two", "('two',)"),
    ]
    assert all(event["hostname"].startswith(name) for event in received)
    assert SECRET not in repr(seen)
