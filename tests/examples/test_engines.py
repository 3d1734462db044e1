"""The examples of producers, each as a program that knows the message only; slow ones are in `make engines-test`."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pika
import pytest
from support.cli import Stepflow
from support.product import wait_for_end
from support.services import rabbitmq_host

ENGINES = Path(__file__).resolve().parents[2] / "examples" / "engines"
PATIENCE_S = 60
SQUARE = "def square(n: int) -> int:\n    return n * n\n"
FAIL = "def fail() -> None:\n    raise ValueError('no number is good enough')\n"
SLEEP = "import time\n\ndef sleep() -> None:\n    time.sleep(50)\n"


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """A virtual host of RabbitMQ, with a worker that the tests share."""
    with rabbitmq_host() as url:
        yield url


@pytest.fixture(scope="module")
def site(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stepflow]:
    """A worker that replies by way of the broker."""
    home = tmp_path_factory.mktemp("home")
    made = Stepflow(home=home, settings={"BROKER_URL": broker, "RESULT_BACKEND": "rpc://"})
    with made.worker("--concurrency", "4", "--cold"):
        yield made


@pytest.fixture(scope="module")
def deserted() -> Iterator[str]:
    """A virtual host without workers."""
    with rabbitmq_host() as url:
        yield url


def example(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the examples, found as they find each other."""
    path = ENGINES / name
    monkeypatch.syspath_prepend(str(path.parent))
    monkeypatch.delitem(sys.modules, path.stem, raising=False)
    return importlib.import_module(path.stem)


def request(code: str, function: str, **parameters: object) -> dict[str, Any]:
    """A request under an id of its own."""
    given = {"execution_id": uuid.uuid4().hex, "code": code, "function_name": function, "parameters": parameters}
    return dict(given)


# ---------------------------------------------------------------- Celery


def test_a_canvas_gives_results(tmp_path: Path, broker: str) -> None:
    """Group, chord and chain of the example: a chord needs a result backend that keeps replies."""
    replies = f"db+sqlite:///{tmp_path / 'replies.db'}"
    made = Stepflow(
        home=tmp_path / "home", settings={"BROKER_URL": broker, "RESULT_BACKEND": replies, "QUEUE": "stepflow"}
    )
    with made.worker("--concurrency", "4", "--cold"):
        done = subprocess.run(
            [sys.executable, ENGINES / "canvas" / "canvas.py"],
            env=os.environ | {"BROKER_URL": broker, "RESULT_BACKEND": replies},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["group"][0] == {"a": 1, "queue": 1, "of": 1, "jobs": 1}
    assert found["chord"] == [["a", 4], ["queue", 2]]
    assert found["chain"] == "A Queue"


def by_celery(broker: str, program: str) -> dict[str, Any]:
    """What a program prints that has the examples' module and an application.

    A process of its own: Celery's `rpc` backend leaves its sockets to the garbage collector, which warns.
    """
    given = f"import json\nfrom stepflow_celery import *\nFAIL, SLEEP, SQUARE = {(FAIL, SLEEP, SQUARE)!r}\n"
    given += f"app = make_app({broker!r}, 'rpc://')\n"
    done = subprocess.run(
        [sys.executable, "-c", given + program], cwd=ENGINES, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


CALLS = """
steps = {
    "good": tool(app, SQUARE, "square", n=7),
    "failing": tool(app, FAIL, "fail"),
    "unknown": tool(app, SQUARE, "cube", n=7),
    "missing": tool(app, SQUARE, "square"),
}
def said(step):
    try:
        return call(app, step, timeout_s=60)
    except ToolError as error:
        return str(error)
print(json.dumps({name: said(step) for name, step in steps.items()}))
"""


def test_a_call_by_celery(site: Stepflow) -> None:
    """Its result, or an error with the reason: the tool's own, an unknown function, a parameter that is missing."""
    said = by_celery(site.settings["BROKER_URL"], CALLS)
    assert said["good"] == 49
    assert "failed: ValueError: no number is good enough" in said["failing"]
    assert re.search("rejected: .*cube", said["unknown"])
    assert re.search("rejected: .*n: missing", said["missing"])


FAILING_CHAIN = """
from celery import chain
steps = [tool(app, FAIL, "fail"), tool(app, SQUARE, "square", n={"$previous": ""})]
reply = chain(*steps, app=app).apply_async().get(timeout=60)
try:
    result_of(reply)
except ToolError as error:
    print(json.dumps({"said": str(error), "first": steps[0].args[0]["execution_id"]}))
"""


def test_a_failing_tool_in_a_chain(site: Stepflow) -> None:
    """What follows does not run; the last reply says so, and the first one's record has the cause."""
    found = by_celery(site.settings["BROKER_URL"], FAILING_CHAIN)
    assert f"rejected: the preceding execution {found['first']} ended failed" in found["said"]
    assert wait_for_end(site, found["first"])["status"] == "failed"


TOO_LONG = """
step = tool(app, SLEEP, "sleep")
try:
    call(app, step, timeout_s=3)
except NoAnswerError as error:
    print(json.dumps({"said": str(error), "id": step.args[0]["execution_id"]}))
"""


def test_a_call_by_celery_that_takes_too_long(site: Stepflow, deserted: str) -> None:
    """It is told that it waits or runs, and the tool is stopped; or that there is no worker."""
    found = by_celery(site.settings["BROKER_URL"], TOO_LONG)
    assert "no result within 3 s: it waits or runs on one of 1 workers" in found["said"]
    assert wait_for_end(site, found["id"])["status"] == "cancelled"
    assert "no worker takes from the queue 'stepflow'" in by_celery(deserted, TOO_LONG)["said"]


# ---------------------------------------------------------------- plain AMQP


@pytest.fixture
def by_amqp(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example with pika."""
    return example("amqp/produce.py", monkeypatch)


def test_a_call_by_amqp(by_amqp: ModuleType, site: Stepflow) -> None:
    """Its result, which is the one on record, or an error with the reason."""
    url = site.settings["BROKER_URL"]
    good = request(SQUARE, "square", n=9)
    assert by_amqp.call(url, good, timeout_s=PATIENCE_S) == 81
    assert wait_for_end(site, good["execution_id"])["result"]["result"] == 81
    assert by_amqp.call(url, good, timeout_s=PATIENCE_S) == 81, "the recorded result comes back"
    for bad, words in (
        (request(FAIL, "fail"), "failed: ValueError: no number is good enough"),
        (request(SQUARE, "cube", n=9), "rejected: .*cube"),
        (request(SQUARE, "square", n="nine"), "rejected: .*n: "),
        ({**request(SQUARE, "square", n=9), "parameter": {}}, "rejected: .*parameter"),
    ):
        with pytest.raises(by_amqp.ToolError, match=words):
            by_amqp.call(url, bad, timeout_s=PATIENCE_S)


def test_a_call_by_amqp_that_nobody_answers(by_amqp: ModuleType, site: Stepflow, tmp_path: Path) -> None:
    """Told apart: no queue, no worker, a worker that is busy. What nobody took in time is never run."""
    with rabbitmq_host() as url:
        with pytest.raises(by_amqp.NoAnswerError, match="there is no queue 'stepflow'"):
            by_amqp.call(url, request(SQUARE, "square", n=1), timeout_s=1)
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            connection.channel().queue_declare("stepflow", durable=True, arguments={"x-queue-type": "quorum"})
        late = request(SQUARE, "square", n=1)
        with pytest.raises(by_amqp.NoAnswerError, match="no worker takes from the queue 'stepflow'"):
            by_amqp.call(url, late, timeout_s=1)
        time.sleep(1)  # the message has its second
        made = Stepflow(home=tmp_path, settings={"BROKER_URL": url, "RESULT_BACKEND": "rpc://"})
        with made.worker("--cold"):
            assert wait_for_end(made, late["execution_id"])["status"] == "cancelled"
    slow = request(SLEEP, "sleep") | {"timeout": 3}
    with pytest.raises(by_amqp.NoAnswerError, match="it waits or runs on one of 1 workers"):
        by_amqp.call(site.settings["BROKER_URL"], slow, timeout_s=1)


# ---------------------------------------------------------------- Node


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example and what it depends on, by its lock."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no Node here")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "stepflow.mjs", "produce.mjs"):
        shutil.copy(ENGINES / "node" / name, folder)
    done = subprocess.run(
        ["npm", "ci", "--silent", "--ignore-scripts"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"its package cannot be installed: {done.stderr.strip()[-200:]}")
    return folder


def run_node(folder: Path, broker: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Call a function of the example's tool."""
    return subprocess.run(
        ["node", "produce.mjs", *words],
        cwd=folder,
        env=os.environ | {"BROKER_URL": broker},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_call_from_node(node: Path, site: Stepflow, deserted: str) -> None:
    """Its result, or one line that says why there is none."""
    broker = site.settings["BROKER_URL"]
    done = run_node(node, broker)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["mean"] == 2.5
    for words, reason in (
        (("fail",), "failed: ValueError: no number is good enough"),
        (("cube",), "rejected: "),
    ):
        done = run_node(node, broker, *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert reason in done.stderr
        assert done.stderr.count("\n") == 1
    assert ": no worker " in run_node(node, deserted, "describe", "1000").stderr
