"""Runs that are cancelled, workers that are told to stop: how soon, what is kept, what a supervisor is told."""

import json
import signal
import socket
import time
import urllib.request
from contextlib import closing
from functools import partial
from urllib.error import HTTPError

import pytest
from support.cli import Stepflow
from support.product import (
    PATIENCE_S,
    attempts_of,
    is_at,
    send,
    sleeper,
    wait_for_end,
    wait_for_processes,
    wait_until,
)

from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.security import SecurityLevel

EMBEDDED = pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)
EACH_RECORD = pytest.mark.parametrize("pair", ["embedded+sqlite", "rabbitmq+postgresql"], indirect=True)
SOON_S = 1.0
TRIES = 5
TICKING = """
import os, subprocess, time

def tick() -> None:
    os.fork(), os.fork()
    while True:
        print(time.monotonic(), flush=True)
        time.sleep(0.02)
"""


@EACH_RECORD
def test_a_cancelled_tree_is_dead_within_a_second(pair: Stepflow) -> None:
    """By the clock of its own last words, which are kept; a machine that is busy has more tries."""
    late = []
    with pair.worker("--concurrency", "1"):
        for number in range(TRIES):
            name = f"ticks-{number}"
            send(
                pair,
                ExecutionRequest(
                    execution_id=name, code=TICKING, function_name="tick", security_level=SecurityLevel.STANDARD
                ),
            )
            wait_until(pair, name, partial(is_at, attempt=1))
            time.sleep(0.2)  # some words, so that there is something to keep
            assert pair.here("cancel", name).code == 0
            told = time.monotonic()
            record = wait_for_end(pair, name)
            assert (record["status"], record["attempts"]) == ("cancelled", 1)
            words = [float(word) for word in record["result"]["stdout"].split()]
            took = max(words, default=told) - told
            if words and took < SOON_S:
                return
            late.append(took)
    pytest.fail(f"never dead in time: {late}")


def answer(port: int, path: str) -> tuple[int, dict[str, bool]]:
    """What a supervisor is told."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=20) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        return error.code, json.load(error)


@EMBEDDED
def test_a_stopping_worker_is_alive_but_not_ready(pair: Stepflow, mark: str) -> None:
    """While its last run ends it takes no other one, and says so; then it leaves with 0."""
    patient = Stepflow(home=pair.home, settings={**pair.settings, "STOP_TIMEOUT": str(2 * PATIENCE_S)})
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    with patient.worker("--concurrency", "2", "--health-port", str(port)) as worker:
        send(patient, sleeper("last", mark))
        wait_for_processes(mark, there=True)
        assert answer(port, "ready")[0] == 200
        worker.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE_S
        while (found := answer(port, "ready"))[0] != 503:
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        assert found[1]["taking"] is False
        assert answer(port, "live")[0] == 200
        send(patient, ExecutionRequest(execution_id="late", code="print('ran')"))
        assert patient.here("cancel", "last").code == 0
        assert worker.wait(PATIENCE_S) == 0
    assert wait_for_end(patient, "last")["status"] == "cancelled"
    assert patient.here("show", "late", "--json").json["status"] == "queued"


@EACH_RECORD
def test_a_second_signal(pair: Stepflow, mark: str) -> None:
    """It leaves at once, with 1 and its runs dead; the next worker takes the second attempt."""
    patient = Stepflow(home=pair.home, settings={**pair.settings, "STOP_TIMEOUT": str(2 * PATIENCE_S)})
    with patient.worker("--concurrency", "1") as worker:
        send(patient, sleeper("cut", mark))
        wait_for_processes(mark, there=True)
        while worker.poll() is None:
            worker.send_signal(signal.SIGTERM)
            time.sleep(0.02)
        assert worker.returncode == 1
    wait_for_processes(mark, there=False)
    with patient.worker("--concurrency", "1"):
        wait_until(patient, "cut", partial(is_at, attempt=2))
        wait_for_processes(mark, there=True)
        assert patient.here("cancel", "cut").code == 0
        assert wait_for_end(patient, "cut")["attempts"] == 2
    assert attempts_of(patient) == {"cut": 2}
