import asyncio
import json
from pathlib import Path

import pytest
from support.brokers import rows

from stepflow_python.config import Settings
from stepflow_python.errors import InternalError
from stepflow_python.messages import Delivery
from stepflow_python.messaging.app import make_app
from stepflow_python.messaging.dispatch import CeleryDispatcher
from stepflow_python.model.request import ExecutionRequest


def send(settings: Settings, request: ExecutionRequest) -> None:
    """Dispatch a request."""
    dispatcher = CeleryDispatcher(make_app(settings), settings)
    asyncio.run(dispatcher.send(dispatcher.pack(request)))


def test_a_request_travels_whole(tmp_path: Path) -> None:
    """The payload in the message is the request; its id and priority are the message's."""
    settings = Settings(home=tmp_path, queue="jobs")
    request = ExecutionRequest(
        execution_id="e-1", code="print(1)", files={"a.bin": b"\xff"}, parameters={"x": [1, None]}, priority=7
    )
    send(settings, request)
    ((queue, priority, headers, body),) = rows(
        settings.broker_path, "SELECT queue, priority, headers, body FROM messages"
    )
    (payload,), _kwargs, _embed = json.loads(body)
    assert ExecutionRequest.model_validate(payload) == request
    assert (queue, priority) == ("jobs", 7)
    assert json.loads(headers) | {"task": "stepflow.execute", "id": "e-1"} == json.loads(headers)


def test_a_chain_goes_to_the_broker_of_its_settings(tmp_path: Path) -> None:
    """One message, the first step's, with the others in it in their order; also after it has been kept as JSON."""
    settings = Settings(home=tmp_path)
    dispatcher = CeleryDispatcher(make_app(settings), settings)
    packed = dispatcher.pack_chain([ExecutionRequest(execution_id=name, code="print(1)") for name in "abc"])
    asyncio.run(dispatcher.send(Delivery(queue=packed.queue, message=json.loads(json.dumps(packed.message)))))
    ((headers, body),) = rows(settings.broker_path, "SELECT headers, body FROM messages")
    (payload,), _kwargs, embed = json.loads(body)
    assert (json.loads(headers)["id"], payload["execution_id"]) == ("a", "a")
    assert [step["options"]["task_id"] for step in embed["chain"]] == ["c", "b"]


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_is_away_is_named(tmp_path: Path, scheme: str) -> None:
    """The error can be retried, and keeps the password to itself."""
    settings = Settings(home=tmp_path, broker_url=f"{scheme}://user:secret@127.0.0.1:1//")
    with pytest.raises(InternalError, match=r"127\.0\.0\.1:1.*STEPFLOW_PYTHON_BROKER_URL") as caught:
        send(settings, ExecutionRequest(code="1"))
    assert caught.value.retryable
    assert "secret" not in caught.value.message


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    """The embedded broker's faults are told like any other's."""
    settings = Settings(home=tmp_path)
    settings.broker_path.write_bytes(b"rubbish" * 1000)
    with pytest.raises(InternalError, match=r"embedded .*broker\.db.*not a SQLite file"):
        send(settings, ExecutionRequest(code="1"))
