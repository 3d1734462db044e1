"""Faults of what lies below: a clock that jumps, a lock that stays, a disk that is full, messages that are none."""

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import Stepflow
from support.product import (
    attempts_of,
    send,
    settings_of,
    sleeper,
    wait_for_end,
    wait_for_processes,
)
from support.records import request, with_store
from support.services import postgresql_database

from stepflow_python.messaging.app import make_app
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.ports import Claim
from stepflow_python.store.opening import Store

EMBEDDED = pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)
CLAIM = """
import asyncio, sys
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.store.opening import open_store

async def main():
    async with open_store(sys.argv[1]) as store:
        claim = await store.ledger.claim(ExecutionRequest(execution_id="held", code="1"))
        ended = await store.loose.end_abandoned()
        print(claim.attempt, claim.result, ended, len(await store.loose.take_abandoned()))

asyncio.run(main())
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A record of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'record.db'}"
    else:
        with postgresql_database() as made:
            yield made


@pytest.mark.parametrize("jump", ["+3600", "-3600"])
def test_a_clock_that_jumps_ends_no_claim(jump: str, url: str) -> None:
    """Another process whose clock is an hour off finds a held execution held, on either database."""
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("there is no faketime to set a process's clock with")

    async def scenario(store: Store) -> None:
        assert await store.ledger.claim(request("held")) == Claim(attempt=1)
        words = [faketime, "-f", f"{jump}s", sys.executable, "-c", CLAIM, url]
        environ = os.environ | {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
        done = await asyncio.to_thread(
            subprocess.run, words, env=environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stdout == "None None 0 0\n", done.stderr

    with_store(url, scenario)


@EMBEDDED
@pytest.mark.timeout(180)
def test_a_record_that_is_locked_for_twenty_seconds(pair: Stepflow, mark: str) -> None:
    """A job that runs meanwhile goes on, keeps its claim, and is stopped and recorded afterwards: one attempt."""
    long = Stepflow(home=pair.home, settings={**pair.settings, "LEASE": "30"})
    with long.worker("--concurrency", "2"):
        send(long, sleeper("through", mark))
        wait_for_processes(mark, there=True)
        database = sqlite3.connect(long.home / "stepflow.db", isolation_level=None)
        database.execute("BEGIN IMMEDIATE")
        threading.Event().wait(20)  # what is tested is that this long a time does no harm
        database.execute("ROLLBACK")
        database.close()
        wait_for_processes(mark, there=True)
        assert long("cancel", "through").code == 0
        record = wait_for_end(long, "through")
        send(long, ExecutionRequest(execution_id="next", code="print(1)"))
        assert wait_for_end(long, "next")["status"] == "succeeded"
    assert (record["status"], record["attempts"], record["result"]["stdout"]) == ("cancelled", 1, "before\n")
    assert attempts_of(long) == {"through": 1, "next": 1}


@EMBEDDED
def test_rubbish_between_good_messages(pair: Stepflow) -> None:
    """A thousand messages that are no requests, and ten that are: all ten run, and the worker is still the same."""
    app = make_app(settings_of(pair))
    rubbish: list[list[object]] = [
        [],
        [5],
        [None],
        ["{"],
        [{"code": 5}],
        [{"nothing": 1}],
        [1, 2, 3],
        [{}, {"code": []}],
    ]
    with pair.worker("--concurrency", "4") as worker, app.producer_or_acquire() as producer:
        for number in range(1000):
            app.send_task("stepflow.execute", args=rubbish[number % len(rubbish)], queue="stepflow", producer=producer)
            if number % 100 == 0:
                payload = {"execution_id": f"good-{number}", "code": "print('ran')"}
                app.send_task("stepflow.execute", args=[payload], queue="stepflow", producer=producer)
        ends = [wait_for_end(pair, f"good-{number}") for number in range(0, 1000, 100)]
        assert worker.poll() is None
    assert {(end["status"], end["attempts"]) for end in ends} == {("succeeded", 1)}


@EMBEDDED
def test_fifty_megabytes(pair: Stepflow) -> None:
    """A payload of fifty megabytes arrives whole, and its file's length comes back."""
    content = b"\0" * (50 * 1024 * 1024 * 3 // 4)
    code = "import os\n\ndef size():\n    return os.path.getsize('large.bin')\n"
    large = ExecutionRequest(execution_id="large", code=code, function_name="size", files={"large.bin": content})
    with pair.worker("--concurrency", "1"):
        send(pair, large.model_copy(update={"memory_limit": 1024, "timeout": 60}))
        record = wait_for_end(pair, "large")
    assert (record["status"], record["result"]["result"]) == ("succeeded", len(content)), record["why"]


FULL = """
mount -t tmpfs -o size=24m none "$STEPFLOW_PYTHON_HOME" || exit 77
stepflow() { "$PYTHON" -m stepflow_python "$@"; }
stepflow submit "$TOOL" --id before --json; echo "code $?"
cat /dev/zero > "$STEPFLOW_PYTHON_HOME/filler" 2>/dev/null
stepflow submit "$TOOL" --id full --json; echo "code $?"
rm "$STEPFLOW_PYTHON_HOME/filler"
stepflow submit "$TOOL" --id full --json; echo "code $?"
"""


def test_a_full_disk(tmp_path: Path) -> None:
    """Record and broker on a disk without room: the submission is refused with why; with room again it is taken."""
    home, tool = tmp_path / "home", tmp_path / "tool.py"
    home.mkdir()
    tool.write_text(f"# {'x' * 500_000}\nprint('ran')\n")
    variables = {"TOOL": str(tool), "PYTHON": sys.executable}
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", FULL],
        env=Stepflow(home=home).environ | variables,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no namespace to mount a small disk in: {done.stderr}")
    lines = done.stdout.splitlines()
    assert lines[1::2] == ["code 0", "code 3", "code 0"], done.stdout + done.stderr
    replies = [json.loads(line) for line in lines[::2]]
    assert "disk is full" in replies[1]["error"]["message"]
    assert (replies[0]["status"], replies[2]["status"]) == ("queued", "queued")
