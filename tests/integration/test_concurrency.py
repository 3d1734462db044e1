"""Many at once, one id from many sides, and workers that die: each execution once on record, none in silence."""

import asyncio
import contextlib
import json
import signal
import sqlite3
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from support.cli import Stepflow
from support.product import (
    PATIENCE_S,
    attempts_of,
    beside,
    is_at,
    send,
    settings_of,
    sleeper,
    wait_for_end,
    wait_for_processes,
    wait_until,
)

from stepflow_python.client.client import open_client
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import ExecutionResult, Status

if TYPE_CHECKING:
    import subprocess

DICE = "import random\n\ndef roll(number: int) -> list:\n    return [number, random.random()]\n"
COUNT = 60


async def submit_all(stepflow: Stepflow, requests: list[ExecutionRequest]) -> list[ExecutionResult]:
    """All results of requests that are submitted at once."""
    async with open_client(settings_of(stepflow)) as client:

        async def through(request: ExecutionRequest) -> ExecutionResult:
            return await client.wait(await client.submit(request), timeout_s=PATIENCE_S)

        return list(await asyncio.gather(*map(through, requests)))


def rolls(prefix: str) -> list[ExecutionRequest]:
    """Requests whose results would differ if one ran twice."""
    return [
        ExecutionRequest(
            execution_id=f"{prefix}-{number}", code=DICE, function_name="roll", parameters={"number": number}
        )
        for number in range(COUNT)
    ]


@pytest.mark.usefixtures("worker")
def test_sixty_at_once(stepflow: Stepflow) -> None:
    """Through one worker with eight slots: all succeed, each once."""
    results = asyncio.run(submit_all(stepflow, rolls("many")))
    assert Counter(result.status for result in results) == {Status.SUCCEEDED: COUNT}
    drawn = dict(cast("tuple[int, float]", result.result) for result in results)
    assert list(drawn) == list(range(COUNT))
    assert len(set(drawn.values())) == COUNT
    tried = attempts_of(stepflow)
    assert {tried[f"many-{number}"] for number in range(COUNT)} == {1}


def test_two_workers_on_one_home(apart: Stepflow) -> None:
    """They share the work; nothing runs twice, and both took part."""
    with apart.worker("--concurrency", "2"), apart.worker("--concurrency", "2"):
        results = asyncio.run(submit_all(apart, rolls("shared")))
    assert Counter(result.status for result in results) == {Status.SUCCEEDED: COUNT}
    assert attempts_of(apart) == {f"shared-{number}": 1 for number in range(COUNT)}
    with contextlib.closing(sqlite3.connect(apart.home / "stepflow.db")) as database:
        owners = Counter(row[0] for row in database.execute("SELECT claimed_by FROM executions"))
    assert len(owners) == 2
    assert sum(owners.values()) == COUNT


def test_one_id_from_four_processes(apart: Stepflow, tmp_path: Path) -> None:
    """Four commands at once, two of them through a worker: one run, and all are told the same."""
    path = tmp_path / "dice.py"
    path.write_text(DICE)
    words = (str(path), "--function", "roll", "--arg", "number=4", "--id", "same", "--json")
    with apart.worker():
        started = [apart.start("run", *words), apart.start("submit", *words, "--wait")]
        started += [apart.start("run", *words), apart.start("submit", *words, "--wait")]
        replies = [read(process) for process in started]
    assert replies[0]["status"] == "succeeded"
    assert replies == [replies[0]] * 4
    assert attempts_of(apart) == {"same": 1}


def read(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """The one value that a command prints, when it has ended."""
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, (stdout, stderr)
    value: dict[str, Any] = json.loads(stdout)
    return value


def test_a_killed_workers_job_is_taken_over(apart: Stepflow, mark: str) -> None:
    """Its tree dies with it; the worker that is left runs the job again as the second attempt, and both are kept."""
    with apart.worker() as first:
        send(apart, sleeper("survivor", mark))
        wait_for_processes(mark, there=True)
        with apart.worker() as second:
            first.send_signal(signal.SIGKILL)
            wait_for_processes(mark, there=False)
            record = wait_until(apart, "survivor", partial(is_at, attempt=2))
            assert record["status"] == "running"
            wait_for_processes(mark, there=True)
            assert apart.here("cancel", "survivor").code == 0
            ended = wait_for_end(apart, "survivor")
            assert second.poll() is None
    assert (ended["status"], ended["attempts"], ended["result"]["stdout"]) == ("cancelled", 2, "before\n")
    assert attempts_of(apart) == {"survivor": 2}


def test_an_execution_whose_workers_all_die_is_lost(apart: Stepflow, mark: str) -> None:
    """With its attempts used up it ends as lost, says so, and may be tried again."""
    send(apart, sleeper("unlucky", mark))
    for attempt in (1, 2):
        with apart.worker() as worker:
            wait_until(apart, "unlucky", partial(is_at, attempt=attempt))
            wait_for_processes(mark, there=True)
            worker.send_signal(signal.SIGKILL)
            wait_for_processes(mark, there=False)
    with apart.worker():
        record = wait_for_end(apart, "unlucky")
    assert (record["status"], record["attempts"]) == ("lost", 2)
    assert record["result"]["error"]["retryable"] is True
    assert "attempt 2 died" in record["why"]


def test_a_stopped_worker_ends_its_jobs(stepflow: Stepflow, tmp_path: Path) -> None:
    """SIGTERM lets what runs run to its end, on record, and takes nothing new."""
    home = beside(stepflow, tmp_path / "home")
    code = "import time\nprint('begun', flush=True)\ntime.sleep(1.5)\nprint('done')\n"
    with home.worker("--concurrency", "1") as worker:
        send(home, ExecutionRequest(execution_id="long", code=code))
        wait_until(home, "long", lambda record: record.status is Status.RUNNING)
        worker.send_signal(signal.SIGTERM)
        send(home, ExecutionRequest(execution_id="late", code="print('late')"))
        assert worker.wait(PATIENCE_S) == 0
    assert wait_for_end(home, "long")["result"]["stdout"] == "begun\ndone\n"
    assert home.here("show", "late", "--json").json["status"] == "queued"
    with home.worker():
        assert wait_for_end(home, "late")["result"]["stdout"] == "late\n"
