import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepflow_python.messaging.envelope import MalformedMessageError, check_task, incoming, outgoing
from stepflow_python.messaging.mailbox import Row

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ANYTHING = st.none() | st.integers() | st.floats() | st.text() | st.binary()


def row(**fields: Any) -> Row:
    """A row as a producer may have written it."""
    usual: dict[str, Any] = {
        "id": 1,
        "queue": "q",
        "priority": 0,
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "headers": "{}",
        "properties": "{}",
        "body": "[]",
        "redelivered": 0,
    }
    return Row(**usual | fields)


@given(headers=st.dictionaries(st.text(max_size=8), JSON, max_size=4), body=st.text() | st.binary())
def test_a_message_comes_back_as_it_went(headers: dict[str, Any], body: str | bytes) -> None:
    """Headers, properties and body survive; the tag is the receiver's."""
    payload = {
        "body": body,
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {name: value for name, value in headers.items() if name != "__type__"},
        "properties": {"correlation_id": "c", "delivery_tag": "old", "delivery_info": {"routing_key": "k"}},
    }
    sent = outgoing(payload, queue="q", priority=3)
    got = incoming(row(headers=sent.headers, properties=sent.properties, body=sent.body), delivery_tag="1.1")
    assert got["headers"] == json.loads(json.dumps(payload["headers"]))
    assert got["body"] == body
    assert got["properties"]["correlation_id"] == "c"
    assert got["properties"]["delivery_tag"] == "1.1"
    assert got["properties"]["delivery_info"] == {
        "exchange": "",
        "routing_key": "k",
        "priority": 0,
        "redelivered": False,
    }


@given(headers=ANYTHING, properties=ANYTHING, body=ANYTHING, content_type=ANYTHING)
def test_any_row_is_a_message_or_malformed(headers: Any, properties: Any, body: Any, content_type: Any) -> None:
    """No row raises anything else, whatever stands in its columns."""
    try:
        got = incoming(
            row(headers=headers, properties=properties, body=body, content_type=content_type), delivery_tag="1.1"
        )
    except MalformedMessageError:
        return
    assert isinstance(got["headers"], dict)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"body": None}, "body is NoneType"),
        ({"body": "\udcff"}, "not UTF-8"),
        ({"headers": "{"}, "headers is not JSON"),
        ({"headers": "[]"}, "headers is not a JSON object"),
        ({"headers": '{"__type__": "datetime", "__value__": 3}'}, "headers is not JSON"),
        ({"headers": "[" * 100_000}, "headers is not JSON"),
        ({"properties": "1"}, "properties is not a JSON object"),
        ({"properties": '{"delivery_info": 1}'}, "delivery_info"),
        ({"content_type": 5}, "content_type"),
    ],
)
def test_what_is_wrong_is_said(fields: dict[str, Any], words: str) -> None:
    """The reason names the column."""
    with pytest.raises(MalformedMessageError, match=words):
        incoming(row(**fields), delivery_tag="1.1")


@pytest.mark.parametrize(("expiration", "seconds"), [("60000", 60), (1500, 1.5)])
def test_expiration_is_in_milliseconds(expiration: object, seconds: float) -> None:
    """AMQP's unit, as text or as a number."""
    payload = {"body": "", "properties": {"expiration": expiration}}
    sent = outgoing(payload, queue="q", priority=0)
    assert sent.expires_at == pytest.approx(time.time() + seconds, abs=5)


@pytest.mark.parametrize("expiration", [None, "soon"])
def test_without_a_usable_expiration_a_message_stays(expiration: object) -> None:
    """A word that is no number is no reason to lose a message."""
    assert outgoing({"body": "", "properties": {"expiration": expiration}}, queue="q", priority=0).expires_at is None


@given(args=st.lists(JSON), kwargs=st.dictionaries(st.text(), JSON), embed=st.none() | st.dictionaries(st.text(), JSON))
def test_a_tasks_body_is_accepted(args: list[Any], kwargs: dict[str, Any], embed: dict[str, Any] | None) -> None:
    """Whatever the arguments are."""
    check_task([args, kwargs, embed])


@pytest.mark.parametrize(
    "body", [None, 5, "abc", [], {}, [1, 2, 3], [[], []], [[], {}, []], [{}, {}, {}], [[], {}, {}, 1]]
)
def test_another_body_is_refused(body: object) -> None:
    """The error says how it has to be."""
    with pytest.raises(MalformedMessageError, match="keyword arguments"):
        check_task(body)
