"""`.get()`, chain, group and chord from a producer that imports nothing of ours."""

import base64
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, Signature, chain, chord, group
from support.cases import load_workflow
from support.cli import Stepflow
from support.product import beside, producer, wait_for_end

from stepflow_python.model.result import ExecutionResult

PATIENCE_S = 60
ADD = "def add(a: int, b: int) -> int:\n    return a + b\n"
TOTAL = "def total(numbers: list[int]) -> int:\n    return sum(numbers)\n"


@pytest.fixture(scope="module")
def home(stepflow: Stepflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stepflow]:
    """A home whose worker keeps replies in a result backend."""
    folder = tmp_path_factory.mktemp("canvas")
    made = beside(stepflow, folder, RESULT_BACKEND=f"db+sqlite:///{folder / 'replies.db'}")
    with made.worker("--concurrency", "4"):
        yield made


@pytest.fixture(scope="module")
def app(home: Stepflow) -> Celery:
    """A producer with the same broker and result backend."""
    return producer(home, backend=home.settings["RESULT_BACKEND"])


def step(app: Celery, code: str, function: str, parameters: dict[str, Any]) -> Signature:
    """One execution as a part of a canvas, under an id of its own."""
    payload = {"execution_id": uuid.uuid4().hex, "code": code, "function_name": function, "parameters": parameters}
    return app.signature("stepflow.execute", args=[payload], queue="stepflow")


def id_of(signature: Signature) -> str:
    """The execution's id that a part of a canvas carries."""
    execution_id: str = signature.args[0]["execution_id"]
    return execution_id


def test_get_gives_the_result(app: Celery, home: Stepflow) -> None:
    """The reply is an `ExecutionResult`, the same as on record."""
    single = step(app, ADD, "add", {"a": 1, "b": 2})
    reply = single.apply_async().get(timeout=PATIENCE_S)
    assert ExecutionResult.model_validate(reply).result == 3
    assert wait_for_end(home, id_of(single))["result"] == reply


def test_a_refusal_is_a_reply_too(app: Celery) -> None:
    """A request that cannot be used fails no task: its producer reads why."""
    reply = step(app, ADD, "ad", {}).apply_async().get(timeout=PATIENCE_S)
    assert (reply["status"], reply["error"]["kind"]) == ("rejected", "execution_error")
    assert "add" in reply["error"]["message"]


def test_chain(app: Celery) -> None:
    """Each step takes the result of the one before."""
    steps = [
        step(app, ADD, "add", {"a": 1, "b": 2}),
        step(app, ADD, "add", {"a": {"$previous": ""}, "b": 10}),
        step(app, ADD, "add", {"a": {"$previous": ""}, "b": 100}),
    ]
    assert chain(*steps, app=app).apply_async().get(timeout=PATIENCE_S)["result"] == 113


def test_group(app: Celery) -> None:
    """All side by side, replies in their order."""
    steps = [step(app, ADD, "add", {"a": number, "b": 1}) for number in range(5)]
    replies = group(steps, app=app).apply_async().get(timeout=PATIENCE_S)
    assert [reply["result"] for reply in replies] == [1, 2, 3, 4, 5]


def test_chord(app: Celery) -> None:
    """The body gets the list of results, in order, and can point into it."""
    header = [step(app, ADD, "add", {"a": number, "b": 1}) for number in range(4)]
    body = step(app, TOTAL, "total", {"numbers": {"$previous": ""}})
    assert chord(header, body, app=app).apply_async().get(timeout=PATIENCE_S)["result"] == 10
    again = [step(app, ADD, "add", {"a": number, "b": 1}) for number in range(4)]
    body = step(app, TOTAL, "total", {"numbers": [{"$previous": "/3"}, {"$previous": "/0"}]})
    assert chord(again, body, app=app).apply_async().get(timeout=PATIENCE_S)["result"] == 5


def test_a_failed_step_stops_its_successors(app: Celery, home: Stepflow) -> None:
    """Those after it are refused, each naming the one that it waited for; nothing of them runs."""
    steps = [
        step(app, "def fail():\n    raise ValueError('no')\n", "fail", {}),
        step(app, ADD, "add", {"a": {"$previous": ""}, "b": 1}),
        step(app, ADD, "add", {"a": 1, "b": 1}),
    ]
    reply = chain(*steps, app=app).apply_async().get(timeout=PATIENCE_S)
    ends = [wait_for_end(home, id_of(one)) for one in steps]
    assert [end["status"] for end in ends] == ["failed", "rejected", "rejected"]
    assert ends[1]["why"] == f"the preceding execution {id_of(steps[0])} ended failed: this one did not run"
    assert ends[2]["why"] == f"the preceding execution {id_of(steps[1])} ended rejected: this one did not run"
    assert reply == ends[2]["result"]
    assert [end["result"]["isolation"] for end in ends[1:]] == [None, None]


def test_a_reference_to_nothing(app: Celery) -> None:
    """A pointer that leads nowhere is refused with the place where it ended."""
    steps = [step(app, ADD, "add", {"a": 1, "b": 2}), step(app, ADD, "add", {"a": {"$previous": "/rows/0"}, "b": 1})]
    reply = chain(*steps, app=app).apply_async().get(timeout=PATIENCE_S)
    assert reply["status"] == "rejected"
    assert "'/rows/0'" in reply["error"]["message"]
    assert "nothing at 'rows'" in reply["error"]["message"]


def test_the_fixtures_chain(app: Celery) -> None:
    """A feed becomes a digest becomes a page: real tools, each with an environment of its own."""
    steps = []
    for case, parameters in load_workflow().chain:
        payload = case.payload(execution_id=uuid.uuid4().hex, parameters=dict(parameters))
        steps.append(app.signature("stepflow.execute", args=[payload], queue="stepflow"))
    reply = chain(*steps, app=app).apply_async().get(timeout=PATIENCE_S)
    assert reply["status"] == "succeeded", reply["error"]
    assert "<h1>" in str(reply["result"])


def test_provision_and_cleanup(app: Celery, home: Stepflow) -> None:
    """The other two tasks: an environment ahead of its first use, which the next call takes, and what is old goes."""
    made = app.send_task("stepflow.provision", args=[{"dependencies": ["segno>=1.6,<2"]}], queue="stepflow")
    environment = made.get(timeout=PATIENCE_S)["environment_id"]
    single = step(app, "import segno\n\ndef kind():\n    return segno.make('a').designator\n", "kind", {})
    single.args[0]["dependencies"] = ["segno>=1.6,<2"]
    reply = single.apply_async().get(timeout=PATIENCE_S)
    assert (reply["status"], reply["environment_id"]) == ("succeeded", environment)
    removed = app.send_task("stepflow.cleanup", args=[{"older_than_days": 1}], queue="stepflow").get(timeout=PATIENCE_S)
    assert set(removed.values()) == {0}
    assert wait_for_end(home, id_of(single))["status"] == "succeeded"


def test_bytes_travel_as_base64(app: Celery) -> None:
    """Files go in and come out as base64 text, byte for byte."""
    code = (
        "import os, pathlib\n\ndef copy():\n"
        "    data = pathlib.Path('in.bin').read_bytes()\n"
        "    pathlib.Path(os.environ['STEPFLOW_OUTPUT_DIR'], 'out.bin').write_bytes(data[::-1])\n"
    )
    single = step(app, code, "copy", {})
    single.args[0]["files"] = {"in.bin": base64.b64encode(bytes(range(256))).decode()}
    reply = single.apply_async().get(timeout=PATIENCE_S)
    assert base64.b64decode(reply["files"]["out.bin"]) == bytes(range(256))[::-1]
