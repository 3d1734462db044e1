"""Conversations over a real socket, with a server that answers, fails, delays and breaks off as real ones do."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from llmock.pytest_plugin import LLMock
from llmock.testing import LLMockServer
from support.lending import Lender

from stepflow_python.extensions import ExtensionContext
from stepflow_python.extensions.builtin.llm import module
from stepflow_python.extensions.description import UnusableExtensionError

KEY = "sk-the-key-that-nobody-may-see"
CONFIGURED = """
import json, llm
def f(config=None, messages=[{"role": "user", "content": "hello"}], stream=False):
    if config is not None:
        assert llm.configure(config) is None
    try:
        if stream:
            pieces = []
            for piece in llm.chat_stream(messages):
                pieces.append(piece)
            return pieces
        return json.loads(llm.chat(messages))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
"""


@pytest.fixture(scope="session")
def server() -> Iterator[LLMockServer]:
    """One server for all tests."""
    with LLMockServer() as started:
        yield started


@pytest.fixture
def api(server: LLMockServer) -> LLMock:
    """The server with nothing scripted and nothing asked yet."""
    return LLMock(server).reset()


def worker(**config: Any) -> ExtensionContext:
    """A worker's context, with its section `[llm]`."""
    context = ExtensionContext({"llm": config})
    context.register_extension("llm", module)
    return context


def own(api: LLMock, **changes: Any) -> dict[str, Any]:
    """A configuration that a tool brings along."""
    return {"endpoint": api.base_url(), "api_key": KEY, "model": "gpt-4o"} | changes


def asked(lender: Lender, api: LLMock, **parameters: Any) -> Any:
    """What a tool with its own configuration is answered."""
    return lender.value(CONFIGURED, worker(), parameters={"config": own(api), **parameters}, timeout=60)


def test_a_chat(lender: Lender, api: LLMock) -> None:
    """The answer is JSON text with role, content, finish reason and usage; the key went to the endpoint only."""
    api.reply("good morning")
    answer = asked(lender, api)
    assert (answer["role"], answer["content"], answer["finish_reason"]) == ("assistant", "good morning", "stop")
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
    assert len(api.requests) == 1


def test_several_rounds_carry_the_history(lender: Lender, api: LLMock) -> None:
    """Each round sends everything that was said, in order and with its roles."""
    code = (
        "import json, llm\n"
        "def f(config):\n"
        "    llm.configure(config)\n"
        "    history = [{'role': 'system', 'content': 'be brief'}, {'role': 'user', 'content': 'one'}]\n"
        "    history.append({k: v for k, v in json.loads(llm.chat(history)).items() if k in ('role', 'content')})\n"
        "    history.append({'role': 'user', 'content': 'two'})\n"
        "    return json.loads(llm.chat(history))['content']\n"
    )
    api.reply("first").reply("second")
    assert lender.value(code, worker(), parameters={"config": own(api)}) == "second"
    sent = api.last_request.body["messages"]
    assert [(message["role"], message["content"]) for message in sent] == [
        ("system", "be brief"),
        ("user", "one"),
        ("assistant", "first"),
        ("user", "two"),
    ]


def test_an_answer_may_be_streamed(lender: Lender, api: LLMock) -> None:
    """Pieces come in order and are the whole answer."""
    api.reply("one two three four")
    pieces = asked(lender, api, stream=True)
    assert len(pieces) > 1
    assert "".join(pieces).strip() == "one two three four"


def test_awaited(lender: Lender, api: LLMock) -> None:
    """Three conversations at a time from asyncio."""
    code = (
        "import asyncio, json, llm\n"
        "async def f(config):\n"
        "    llm.configure(config)\n"
        "    said = await asyncio.gather(*(llm.aio.chat([{'role': 'user', 'content': str(n)}]) for n in range(3)))\n"
        "    return [json.loads(one)['role'] for one in said]\n"
    )
    assert lender.value(code, worker(), parameters={"config": own(api)}) == ["assistant"] * 3


@pytest.mark.parametrize("missing", ["endpoint", "api_key", "model"])
def test_a_missing_field_is_named(lender: Lender, api: LLMock, missing: str) -> None:
    """Configuring without one is a KeyError of its name."""
    config = {name: value for name, value in own(api).items() if name != missing}
    result = lender.result(CONFIGURED, worker(), parameters={"config": config})
    assert [(raised.type, raised.message) for raised in result.exceptions] == [("KeyError", f"'{missing}'")]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("llm.chat()", "TypeError: chat() missing 1 required positional argument: 'messages'"),
        ("llm.chat('hello')", "TypeError: chat() argument messages: Input should be a valid list, not str"),
        ("llm.chat(['hello'])", "TypeError: chat() argument messages[0]: Input should be a valid dictionary, not str"),
        ("llm.chat([])", "ValueError: chat() takes at least one message"),
        ("llm.chat([{'role': 'cat', 'content': 'x'}])", "ValueError: messages[0] has the role 'cat'"),
        ("llm.chat([{'role': 'user'}])", "ValueError: messages[0] has no text as its content"),
        ("llm.configure({'endpoint': 5})", "ValueError: configure() takes endpoint as a text"),
        ("llm.configure({'endpont': 'x'})", "ValueError: configure() takes endpoint, api_key and model, not endpont"),
        ("llm.configure(5)", "TypeError: configure() argument config: Input should be a valid dictionary, not int"),
    ],
)
def test_wrong_arguments_say_what_is_required(lender: Lender, api: LLMock, call: str, words: str) -> None:
    """What is wrong is refused by name, and nothing is sent."""
    code = (
        f"import llm\ndef f(config):\n    llm.configure(config)\n    try:\n        {call}\n"
        "    except Exception as error:\n        return f'{type(error).__name__}: {error}'\n"
    )
    assert lender.value(code, worker(), parameters={"config": own(api)}).startswith(words)
    assert not api.requests


def test_without_any_configuration(lender: Lender) -> None:
    """Nobody configured it: the error says how."""
    said = lender.value(CONFIGURED, worker())
    assert said.startswith("RuntimeError: llm is not configured, 'endpoint' is missing: call llm.configure")


def test_the_worker_may_configure_it_for_all(lender: Lender, api: LLMock) -> None:
    """Then tools carry no key, may choose another model, and never see the key."""
    configured = worker(endpoint=api.base_url(), api_key=KEY, model="gpt-4o")
    assert lender.value(CONFIGURED, configured)["model"] == "gpt-4o"
    record = lender.record(CONFIGURED, configured, parameters={"config": {"model": "other"}})
    assert record.result is not None
    assert record.result.result["model"] == "other"
    assert KEY not in record.model_dump_json()


def test_the_key_is_in_no_log_and_no_box(lender: Lender, api: LLMock, caplog: pytest.LogCaptureFixture) -> None:
    """Neither what the libraries log at their most talkative nor what a run can read of itself has the key."""
    code = (
        "import llm, gc, os\n"
        "def f(messages):\n"
        "    said = llm.chat(messages)\n"
        "    seen = [said, repr(os.environ), repr(vars(llm))]\n"
        "    seen += [open(f'/proc/self/{name}').read() for name in ('environ', 'cmdline')]\n"
        "    return seen + [repr(one) for one in gc.get_objects() if isinstance(one, (dict, list)) and len(one) < 50]\n"
    )
    api.fail(401, message=f"{KEY} is wrong").reply("hello")
    configured = worker(endpoint=api.base_url(), api_key=KEY, model="gpt-4o")
    messages = [{"role": "user", "content": "hello"}]
    with caplog.at_level("DEBUG"):
        for _ in range(2):
            record = lender.record(code, configured, parameters={"messages": messages}, timeout=60)
            assert KEY not in record.model_dump_json()
    assert record.status == "succeeded"
    assert caplog.records
    assert KEY not in caplog.text


def test_the_worker_s_key_goes_nowhere_else(lender: Lender, api: LLMock) -> None:
    """A tool that names another endpoint needs the operator's leave for it, and a key of its own."""
    elsewhere = {"config": {"endpoint": "http://127.0.0.1:9/v1"}}
    bounded = worker(endpoint=api.base_url(), api_key=KEY, model="gpt-4o")
    refused = lender.result(CONFIGURED, bounded, parameters=elsewhere)
    assert "this worker lends no endpoint at 127.0.0.1" in refused.exceptions[0].message
    listed = worker(endpoint="https://example.org/v1", api_key=KEY, model="gpt-4o", hosts=["127.0.0.1"])
    keyless = lender.result(CONFIGURED, listed, parameters=elsewhere)
    assert (keyless.exceptions[0].type, keyless.exceptions[0].message) == ("KeyError", "'api_key'")


@pytest.mark.parametrize(
    "endpoint", ["ftp://example.org", "no address", "http://", "http://[", "http://169.254.169.254/v1"]
)
def test_endpoints_that_may_not_be_called(lender: Lender, endpoint: str) -> None:
    """No other protocols, and not where clouds keep the machine's keys."""
    config = {"endpoint": endpoint, "api_key": KEY, "model": "m"}
    result = lender.result(CONFIGURED, worker(), parameters={"config": config})
    assert [raised.type for raised in result.exceptions] == ["ValueError"]


def test_configuration_belongs_to_the_run(lender: Lender, api: LLMock) -> None:
    """What one run configured the next does not have."""
    context = worker()
    lender.value(CONFIGURED, context, parameters={"config": own(api)})
    assert "llm is not configured" in lender.value(CONFIGURED, context)


def test_nobody_listens(lender: Lender) -> None:
    """An endpoint that cannot be reached is an OSError that says so."""
    config = {"endpoint": "http://127.0.0.1:9/v1", "api_key": KEY, "model": "m"}
    said = lender.value(CONFIGURED, worker(retries=0), parameters={"config": config})
    assert said.startswith("OSError: http://127.0.0.1:9/v1 cannot be reached: Connection error")
    assert KEY not in said


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_cannot_pass_is_not_tried_again(lender: Lender, api: LLMock, status: int) -> None:
    """The API's own error has its status and message, without the key; it was asked once."""
    api.fail(status, message=f"no, {KEY} is wrong", times=None)
    said = asked(lender, api)
    assert said == f"RuntimeError: {api.base_url()} answered {status}: no, *** is wrong"
    assert len(api.requests) == 1
    api.assert_resilient()


def test_what_may_pass_is_tried_again_when_the_server_said(lender: Lender, api: LLMock) -> None:
    """A limit with Retry-After is waited for, an outage is tried again."""
    api.rate_limit(retry_after=1.0).fail(503)
    assert asked(lender, api)["role"] == "assistant"
    assert len(api.requests) == 3
    api.assert_resilient()


def test_an_outage_ends_as_an_error(lender: Lender, api: LLMock) -> None:
    """After its tries the API's error is the tool's."""
    api.outage()
    said = lender.value(CONFIGURED, worker(retries=1), parameters={"config": own(api)})
    assert said.startswith(f"RuntimeError: {api.base_url()} answered 503: ")
    assert len(api.requests) == 2


def test_a_slow_answer_ends_with_the_run(lender: Lender, api: LLMock) -> None:
    """The deadline of the run is the deadline of its calls."""
    api.delay(30)
    started = time.monotonic()
    result = lender.result(CONFIGURED, worker(), parameters={"config": own(api)}, timeout=3)
    assert result.status == "timed_out"
    assert time.monotonic() - started < 25


@pytest.mark.parametrize("fault", ["disconnect", "truncate", "corrupt"])
def test_a_stream_without_an_end_is_an_error(lender: Lender, api: LLMock, fault: str) -> None:
    """Cut, ended early or garbled: never a success."""
    getattr(api, fault)(after_chunks=2)
    said = asked(lender, api, stream=True)
    assert isinstance(said, str), said
    assert said.split(":")[0] in {"OSError", "RuntimeError"}


def serving(answer: bytes) -> "tuple[threading.Thread, int]":
    """A server that gives one answer to each of three callers and hangs up."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listening:
            for _ in range(3):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread, listening.getsockname()[1]


def completion(**choice: Any) -> bytes:
    """A completion over HTTP."""
    message = {"role": "assistant", "content": "half"}
    body = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, **choice}],
    }
    text = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text)


@pytest.mark.parametrize(
    "answer",
    [
        completion(finish_reason="stop")[:-20],
        completion(finish_reason=None),
        completion(),
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\nnot JSON!",
        b"",
    ],
    ids=["cut", "no reason", "reason missing", "no JSON", "nothing"],
)
def test_an_answer_without_an_end_is_an_error(lender: Lender, answer: bytes) -> None:
    """A connection that is cut, and an answer that does not say why it ended, are no successes."""
    _, port = serving(answer)
    config = {"endpoint": f"http://127.0.0.1:{port}/v1", "api_key": KEY, "model": "m"}
    said = lender.value(CONFIGURED, worker(retries=0), parameters={"config": config}, timeout=20)
    assert isinstance(said, str), said
    assert said.split(":")[0] in {"OSError", "RuntimeError"}


@pytest.mark.parametrize(
    "section", [{"endpont": "x"}, {"endpoint": 5}, {"hosts": "a"}, {"retries": -1}, {"retries": True}]
)
def test_an_unusable_section_disables_it(section: dict[str, Any]) -> None:
    """The operator's mistakes show when it is registered, not in a tool."""
    with pytest.raises(UnusableExtensionError, match=r"\[llm\]"):
        worker(**section)
