import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.program import Program

from stepflow_python.model.result import ExecutionResult


@pytest.fixture
def worker(stepflow: Program) -> Iterator[str]:
    """A worker that takes messages; the line that it announced itself with."""
    process = stepflow.start("worker", "--concurrency", "2")
    assert process.stdout is not None
    try:
        yield process.stdout.readline()
    finally:
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told


def test_without_a_worker_it_waits_in_the_queue(stepflow: Program, tool: Path) -> None:
    """The id is printed, the execution is queued, waiting ends with 124, and a cancelled one never runs."""
    done = stepflow.here("submit", tool, "--id", "later")
    assert (done.returncode, done.stdout, done.stderr) == (0, "later\n", "")
    assert stepflow.here.json("submit", tool, "--id", "other") == {"execution_id": "other", "status": "queued"}
    waited = stepflow.here.json("submit", tool, "--id", "later", "--wait-timeout", "0.05", code=124)
    assert (waited["status"], waited["error"]["kind"]) == ("queued", "timeout_exceeded")
    assert stepflow.here("cancel", "later").stdout == "later is cancelled\n"
    assert stepflow.here.json("submit", tool, "--id", "later", "--wait", code=130)["status"] == "cancelled"


def test_through_a_worker_it_is_as_if_run_here(stepflow: Program, tool: Path, worker: str) -> None:
    """The worker says what it works with, and --wait prints what run prints."""
    assert worker.startswith("stepflow worker: broker embedded (")
    assert "concurrency 2 | queue stepflow" in worker
    words = (tool, "--function", "greet", "--arg", "name=you")
    done = stepflow("submit", *words, "--wait")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "greeting"
    assert json.loads(done.stdout.splitlines()[1])["words"] == "hello you"
    failed = stepflow.json("submit", tool, "--function", "fail", "--wait", code=1)
    assert ExecutionResult.model_validate(failed).exceptions[0].type == "ValueError"


def test_a_broker_that_is_not_there(tool: Path, home: Path) -> None:
    """The execution stays queued, the broker is named, and the code is 3."""
    stepflow = Program(home=home, settings={"BROKER_URL": "amqp://me:hush@127.0.0.1:1//"})
    result = stepflow.here.json("submit", tool, "--id", "stuck", code=3)
    assert result["status"] == "queued"
    assert "127.0.0.1:1" in result["error"]["message"]
    assert "hush" not in json.dumps(result)
    assert stepflow.here.json("show", "stuck")["status"] == "queued"


def test_what_is_unusable_is_not_sent(stepflow: Program, tool: Path) -> None:
    """A request that fails the model is refused, and never queued."""
    assert stepflow.here.json("submit", tool, "--id", "a b", code=2)["status"] == "rejected"
    assert stepflow.here.json("history", "--status", "queued") == {"items": [], "next_cursor": None}
