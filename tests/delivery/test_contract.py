"""What every pair of broker and record keeps: an id runs once, everybody is told the same, death repeats nothing."""

import asyncio
import json
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from celery import Celery
from support.cli import Stepflow
from support.product import (
    PATIENCE_S,
    attempts_of,
    is_at,
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
from stepflow_python.model.result import ExecutionResult, Status

DICE = "import random\n\ndef roll(number: int) -> list:\n    return [number, random.random()]\n"


def roll(execution_id: str, number: int = 4) -> ExecutionRequest:
    """A request whose result would differ if it ran twice."""
    return ExecutionRequest(
        execution_id=execution_id, code=DICE, function_name="roll", parameters={"number": number}, timeout=60
    )


def through(pair: Stepflow, *requests: ExecutionRequest) -> list[ExecutionResult]:
    """Results of requests that one client submits at once."""

    async def run() -> list[ExecutionResult]:
        async with open_client(settings_of(pair)) as client:

            async def one(request: ExecutionRequest) -> ExecutionResult:
                return await client.wait(await client.submit(request), timeout_s=PATIENCE_S)

            return list(await asyncio.gather(*map(one, requests)))

    return asyncio.run(run())


def foreign(pair: Stepflow) -> Celery:
    """A producer that knows the broker's address and the names in the documentation."""
    return make_app(settings_of(pair))


def test_submit_and_result(pair: Stepflow) -> None:
    """A run, a failure and a refusal, each with its result on record."""
    fails = ExecutionRequest(execution_id="fails", code="raise ValueError('no')")
    unusable = ExecutionRequest(execution_id="refused", code=DICE, function_name="rol")
    with pair.worker("--concurrency", "4"):
        results = through(pair, roll("one"), fails, unusable)
    assert [result.status for result in results] == [Status.SUCCEEDED, Status.FAILED, Status.REJECTED]
    assert isinstance(results[0].result, list)
    assert results[0].result[0] == 4
    assert attempts_of(pair) == {"one": 1, "fails": 1, "refused": 1}


def test_one_id_at_once_from_two_producers(pair: Stepflow) -> None:
    """Two clients and two programs without us send the same id at the same moment: one run, equal replies."""
    payload = roll("same").model_dump(mode="json", exclude_defaults=True)

    def by_name(app: Celery) -> None:
        app.send_task("stepflow.execute", args=[payload], queue="stepflow")

    with pair.worker("--concurrency", "4"), ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(by_name, foreign(pair)) for _ in range(2)]
        replies = [pool.submit(through, pair, roll("same")) for _ in range(2)]
        results = [reply.result()[0] for reply in replies]
        assert [message.result() for message in sent] == [None, None]
        through(pair, roll("behind"))
    assert results[0].status is Status.SUCCEEDED
    assert results[1] == results[0]
    assert attempts_of(pair) == {"same": 1, "behind": 1}


def test_one_id_later(pair: Stepflow) -> None:
    """Sent again after its end, by a client and by name, nothing runs and the record stays as it was."""
    with pair.worker("--concurrency", "2"):
        (first,) = through(pair, roll("again"))
        assert through(pair, roll("again", number=9)) == [first]
        payload = roll("again").model_dump(mode="json", exclude_defaults=True)
        foreign(pair).send_task("stepflow.execute", args=[payload], queue="stepflow")
        through(pair, roll("behind"))
    assert wait_for_end(pair, "again")["result"] == json.loads(first.model_dump_json())
    assert attempts_of(pair) == {"again": 1, "behind": 1}


def test_a_message_without_a_row(pair: Stepflow) -> None:
    """A producer that does not import us: its execution is on record, with what it asked for."""
    payload: dict[str, Any] = roll("foreign").model_dump(mode="json", exclude_defaults=True)
    with pair.worker("--concurrency", "2"):
        foreign(pair).send_task("stepflow.execute", args=[payload | {"workflow_id": "w"}], queue="stepflow")
        record = wait_for_end(pair, "foreign")
    assert (record["status"], record["workflow_id"], record["attempts"]) == ("succeeded", "w", 1)


def test_a_killed_workers_job_is_taken_over(pair: Stepflow, mark: str) -> None:
    """Killed in the middle of a job, its tree dies with it, and the worker that is left takes the second attempt."""
    with pair.worker("--concurrency", "2") as first:
        send(pair, sleeper("survivor", mark))
        wait_for_processes(mark, there=True)
        with pair.worker("--concurrency", "2"):
            first.send_signal(signal.SIGKILL)
            wait_for_processes(mark, there=False)
            wait_until(pair, "survivor", partial(is_at, attempt=2))
            wait_for_processes(mark, there=True)
            assert pair.here("cancel", "survivor").code == 0
            ended = wait_for_end(pair, "survivor")
    assert (ended["status"], ended["attempts"], ended["result"]["stdout"]) == ("cancelled", 2, "before\n")
    assert attempts_of(pair) == {"survivor": 2}
