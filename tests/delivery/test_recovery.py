"""What is lost on its way, what is killed, what is stopped: it runs again, or its end says why it does not."""

import asyncio
import itertools
import json
import signal
import socket
import urllib.request
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.error import HTTPError

import pytest
from sqlalchemy import text
from support.cli import Stepflow
from support.product import (
    PATIENCE_S,
    attempts_of,
    is_at,
    make_due,
    send,
    settings_of,
    sleeper,
    wait_for_end,
    wait_for_processes,
    wait_until,
)

from stepflow_python.client.client import open_client
from stepflow_python.messaging.app import make_app
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import Status
from stepflow_python.store.engines import writing_engine
from stepflow_python.store.urls import place_of

EMBEDDED = pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)
EACH_BROKER = pytest.mark.parametrize("pair", ["embedded+sqlite", "redis+sqlite", "rabbitmq+postgresql"], indirect=True)


def kept_messages(pair: Stepflow) -> int:
    """How many messages the record keeps."""
    engine = writing_engine(place_of(settings_of(pair).database))
    with engine.connect() as connection:
        count: int = connection.execute(text("SELECT count(*) FROM deliveries")).scalar_one()
    engine.dispose()
    return count


def test_what_the_broker_lost_is_sent_again(pair: Stepflow) -> None:
    """Two executions are queued, their messages are gone: a worker finds them, and nothing of them is kept after."""
    for name in ("a", "b"):
        send(pair, ExecutionRequest(execution_id=name, code="print('ran')"))
    make_app(settings_of(pair)).control.purge()
    make_due(pair)
    with pair.worker("--concurrency", "2"):
        ends = [wait_for_end(pair, name) for name in ("a", "b")]
    assert [(end["status"], end["attempts"]) for end in ends] == [("succeeded", 1)] * 2
    assert kept_messages(pair) == 0


def test_a_chain_goes_on_after_a_killed_worker(pair: Stepflow, mark: str) -> None:
    """Killed in its first step: the next worker repeats that step, and then runs the second, each ending once."""
    code = f"import subprocess\n\ntry:\n    subprocess.run(['sleep', '{mark}'], timeout=3)\n"
    first = sleeper("first", mark).model_copy(
        update={"code": f"{code}except subprocess.TimeoutExpired:\n    print('slept')\n"}
    )
    second = ExecutionRequest(execution_id="second", code="def six():\n    return 6\n", function_name="six")

    async def submit() -> None:
        async with open_client(settings_of(pair)) as client:
            await client.submit_chain([first, second])

    asyncio.run(submit())
    with pair.worker("--concurrency", "1") as killed:
        wait_for_processes(mark, there=True)
        killed.send_signal(signal.SIGKILL)
        wait_for_processes(mark, there=False)
    with pair.worker("--concurrency", "1"):
        ends = [wait_for_end(pair, name) for name in ("first", "second")]
    assert [(end["status"], end["attempts"]) for end in ends] == [("succeeded", 2), ("succeeded", 1)]
    assert (ends[0]["result"]["stdout"], ends[1]["result"]["result"]) == ("slept\n", 6)


@EMBEDDED
def test_a_killed_run_does_not_stay_running(pair: Stepflow, mark: str, tmp_path: Path) -> None:
    """Nobody can run it again: the history says that it was lost, and why."""
    path = tmp_path / "tool.py"
    path.write_text(sleeper("unused", mark).code or "")
    process = pair.start("run", str(path), "--level", "standard", "--timeout", "60", "--id", "local")
    wait_for_processes(mark, there=True)
    assert pair.here("show", "local", "--json").json["status"] == "running"
    process.kill()
    process.communicate()
    (line,) = pair.here("history", "--json").json["items"]
    assert (line["status"], line["attempts"]) == ("lost", 1)
    assert "attempt 1 died" in line["why"]


@EMBEDDED
def test_a_job_that_kills_its_workers_is_stopped(pair: Stepflow, mark: str) -> None:
    """Each attempt takes a worker along: after the last one nobody starts it again, and the next job runs."""
    send(pair, sleeper("poison", mark, max_attempts=2))
    for attempt in (1, 2):
        with pair.worker("--concurrency", "1") as worker:
            wait_until(pair, "poison", partial(is_at, attempt=attempt))
            wait_for_processes(mark, there=True)
            worker.send_signal(signal.SIGKILL)
            wait_for_processes(mark, there=False)
    with pair.worker("--concurrency", "1"):
        record = wait_for_end(pair, "poison")
        send(pair, ExecutionRequest(execution_id="next", code="print('ran')"))
        assert wait_for_end(pair, "next")["status"] == "succeeded"
    assert (record["status"], record["attempts"]) == ("lost", 2)
    assert [(early["attempt"], early["status"]) for early in record["earlier_attempts"]] == [(1, "lost")]


@EMBEDDED
def test_what_may_pass_is_tried_again_and_each_attempt_is_kept(pair: Stepflow) -> None:
    """No environment can be made: an attempt, a pause, another attempt, then the end."""
    away = Stepflow(home=pair.home, settings={**pair.settings, "VIRTUAL_ENV_PATH": str(pair.home / "not-a-folder")})
    pair.home.mkdir(parents=True, exist_ok=True)
    (pair.home / "not-a-folder").write_text("in the way")
    send(away, ExecutionRequest(execution_id="unlucky", code="print(1)", max_attempts=2))
    with away.worker("--concurrency", "1"):
        record = wait_for_end(away, "unlucky")
    assert (record["status"], record["attempts"]) == ("failed", 2), record
    assert record["result"]["error"]["retryable"]
    (early,) = record["earlier_attempts"]
    assert (early["attempt"], early["status"], early["why"]) == (1, "failed", record["why"])
    assert attempts_of(away) == {"unlucky": 2}


@EACH_BROKER
def test_celery_revokes(pair: Stepflow, mark: str) -> None:
    """One that runs is killed, with what it printed kept; one that waits never starts; both are on record."""
    app = make_app(settings_of(pair))
    with pair.worker("--concurrency", "1"):
        send(pair, sleeper("runs", mark))
        wait_for_processes(mark, there=True)
        payload = {"execution_id": "waits", "code": "print('ran')"}
        app.send_task("stepflow.execute", args=[payload], queue="stepflow", task_id="a-task")
        app.control.revoke("a-task", reply=True, limit=1, timeout=PATIENCE_S)
        app.control.revoke("runs", terminate=True, reply=True, limit=1, timeout=PATIENCE_S)
        wait_for_processes(mark, there=False)
        ends = [wait_for_end(pair, name) for name in ("runs", "waits")]
    assert [(end["status"], end["attempts"]) for end in ends] == [("cancelled", 1), ("cancelled", 0)]
    assert ends[0]["result"]["stdout"] == "before\n"


def test_a_stopped_worker_hands_back(pair: Stepflow, mark: str) -> None:
    """What has not ended in time is ended and queued again, once more at the most; the exit code says all is well."""
    stopping = Stepflow(home=pair.home, settings={**pair.settings, "STOP_TIMEOUT": "0.5"})
    with stopping.worker("--concurrency", "2") as worker:
        send(pair, sleeper("again", mark))
        send(pair, sleeper("once", mark, max_attempts=1))
        for name in ("again", "once"):
            wait_until(pair, name, partial(is_at, attempt=1))
        wait_for_processes(mark, there=True)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE_S) == 0
    wait_for_processes(mark, there=False)
    once = wait_for_end(pair, "once")
    assert (once["status"], once["attempts"]) == ("lost", 1)
    assert "was stopped" in once["why"]
    again = pair.here("show", "again", "--json").json
    assert (again["status"], again["attempts"]) == ("queued", 1)
    with pair.worker("--concurrency", "1"):
        wait_until(pair, "again", partial(is_at, attempt=2))
        wait_for_processes(mark, there=True)
        assert pair.here("cancel", "again").code == 0
        assert wait_for_end(pair, "again")["attempts"] == 2


@EMBEDDED
def test_health(pair: Stepflow) -> None:
    """Alive and ready while it works; alive but not ready while its record cannot be read; no other paths."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]

    def answer(path: str) -> tuple[int, dict[str, bool]]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=20) as response:
                return response.status, json.load(response)
        except HTTPError as error:
            return error.code, json.load(error)

    with pair.worker("--concurrency", "1", "--health-port", str(port)):
        assert answer("live") == (200, {"loop": True})
        assert answer("ready") == (200, {"loop": True, "record": True, "broker": True, "taking": True})
        assert answer("other")[0] == 404
        record = pair.home / "stepflow.db"
        (pair.home / "stepflow.db-wal").unlink()
        record.rename(record.with_suffix(".away"))
        record.write_text("no database" * 1000)
        assert answer("live") == (200, {"loop": True})


@EMBEDDED
def test_queues_of_their_own(pair: Stepflow) -> None:
    """A request goes where it says, or where its version of Python is served, and to nobody else."""
    py = Stepflow(home=pair.home, settings={**pair.settings, "QUEUE_BY_PYTHON": "3.11=eleven"})
    send(py, ExecutionRequest(execution_id="named", code="print(1)", queue="large"))
    send(py, ExecutionRequest(execution_id="versioned", code="print(1)", python_version="3.11"))
    send(py, ExecutionRequest(execution_id="plain", code="print(1)"))
    with py.worker("--queues", "large"):
        assert wait_for_end(py, "named")["status"] == "succeeded"
    records = [py("show", name, "--json").json["status"] for name in ("versioned", "plain")]
    assert records == ["queued", "queued"]
    with py.worker("--queues", "eleven,stepflow"):
        assert {wait_for_end(py, name)["status"] for name in ("versioned", "plain")} == {"succeeded"}


@EMBEDDED
def test_backpressure(pair: Stepflow, tmp_path: Path) -> None:
    """A full queue refuses with what to do, on record nowhere, and takes again when there is room."""
    full = Stepflow(home=pair.home, settings={**pair.settings, "MAX_QUEUED": "2"})
    tool = tmp_path / "tool.py"
    tool.write_text("print('ran')\n")
    assert [full.here("submit", str(tool), "--id", name).code for name in ("a", "b")] == [0, 0]
    refused = full.here("submit", str(tool), "--id", "c", "--json")
    assert refused.code == 3
    assert "MAX_QUEUED" in refused.json["error"]["message"]
    assert refused.json["error"]["retryable"]
    with full.worker():
        assert {wait_for_end(full, name)["status"] for name in ("a", "b")} == {"succeeded"}
    assert full.here("submit", str(tool), "--id", "c").code == 0


@EMBEDDED
def test_one_of_a_tool_at_a_time(pair: Stepflow) -> None:
    """Five of one tool never overlap; another tool passes them by."""
    limited = Stepflow(home=pair.home, settings={**pair.settings, "MAX_PER_TOOL": "1"})
    code = "import time\n\ndef when():\n    start = time.time()\n    time.sleep(0.2)\n    return [start, time.time()]\n"
    for number in range(5):
        send(
            limited,
            ExecutionRequest(execution_id=f"one-{number}", tool_id="one", code=code, function_name="when"),
        )
    send(limited, ExecutionRequest(execution_id="other", code="print(1)"))
    with limited.worker("--concurrency", "4"):
        assert wait_for_end(limited, "other")["status"] == "succeeded"
        ends = [wait_for_end(limited, f"one-{number}") for number in range(5)]
    spans = sorted(end["result"]["result"] for end in ends)
    assert {end["status"] for end in ends} == {Status.SUCCEEDED}
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


@EMBEDDED
def test_a_rate_of_starts(pair: Stepflow) -> None:
    """Four starts at one a second take more than a second, however late one of them comes to its feet."""
    slow = Stepflow(home=pair.home, settings={**pair.settings, "START_RATE": "1/s"})
    code = "import time\n\ndef when():\n    return time.time()\n"
    for number in range(4):
        send(slow, ExecutionRequest(execution_id=f"job-{number}", code=code, function_name="when"))
    with slow.worker("--concurrency", "4"):
        times = sorted(wait_for_end(slow, f"job-{number}")["result"]["result"] for number in range(4))
    assert times[-1] - times[0] > 1.0
