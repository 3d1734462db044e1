"""What producers send is a stranger's data: it becomes a request, or an error that names the field."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepflow_python.errors import ExecutionError, ParseError, PythonError
from stepflow_python.jobs.payload import execution_id_of, request_from_payload

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(JSON, JSON)
def test_any_json_is_a_request_or_a_clear_error(payload: object, previous: object) -> None:
    """Nothing that JSON can hold gets anything but a request or an error of the tree."""
    try:
        request_from_payload(payload, previous)
    except PythonError as error:
        assert error.message


@given(st.text() | st.binary())
def test_any_text_is_json_or_a_clear_error(text: str | bytes) -> None:
    """Payloads that are not JSON are a parse error."""
    try:
        request_from_payload(text)
    except ParseError as error:
        assert error.message


WRONG = {
    "unknown field": ({"code": "x", "timeot": 3}, "timeot"),
    "negative timeout": ({"code": "x", "timeout": -1}, "timeout"),
    "infinite timeout": ({"code": "x", "timeout": float("inf")}, "timeout"),
    "no source": ({}, "no source"),
    "two sources": ({"code": "x", "script_path": "y"}, "give one"),
    "function that is no name": ({"code": "x", "function_name": "f(); import os"}, "function_name"),
    "keyword as a function": ({"code": "x", "function_name": "class"}, "function_name"),
    "file outside": ({"code": "x", "files": {"../../etc/passwd": ""}}, "work folder"),
    "file that is not base64": ({"code": "x", "files": {"a": "%%%"}}, "base64"),
    "variable with an equals sign": ({"code": "x", "env": {"A=B": "1"}}, "env"),
    "id with a slash first": ({"code": "x", "execution_id": "/etc"}, "execution_id"),
    "not an object": ([1, 2], "list"),
}


@pytest.mark.parametrize(("payload", "words"), WRONG.values(), ids=WRONG)
def test_the_field_is_named(payload: object, words: str) -> None:
    """Each unusable payload says which field, and what is wrong with it."""
    with pytest.raises(ParseError, match=words):
        request_from_payload(payload)


def test_values_stay_out_of_messages() -> None:
    """A rejected value may be a secret."""
    with pytest.raises(ParseError) as caught:
        request_from_payload({"code": "x", "env": {"TOKEN": {"hunter2": 1}}})
    assert "hunter2" not in caught.value.message
    assert "TOKEN" in caught.value.message


def test_text_is_decoded() -> None:
    """A payload may be the object, or JSON text of it."""
    assert request_from_payload(json.dumps({"code": "x"})).code == "x"


PREVIOUS = {"status": "succeeded", "execution_id": "a", "result": {"rows": [{"a/b": 7}]}}


def with_parameters(parameters: object) -> dict[str, object]:
    """A payload with these parameters."""
    return {"code": "x", "function_name": "f", "parameters": parameters}


def test_a_step_takes_parts_of_the_result_before_it() -> None:
    """References are replaced wherever they stand; other objects stay."""
    payload = with_parameters(
        {"n": {"$previous": "/rows/0/a~1b"}, "l": [{"$previous": ""}], "o": {"$previous": "", "x": 1}}
    )
    parameters = request_from_payload(payload, PREVIOUS).parameters
    assert parameters == {"n": 7, "l": [PREVIOUS["result"]], "o": {"$previous": "", "x": 1}}


def test_a_chord_takes_all_results() -> None:
    """A list of predecessors is a list of their results."""
    payload = with_parameters({"n": {"$previous": "/1/rows/0/a~1b"}})
    assert request_from_payload(payload, [PREVIOUS, PREVIOUS]).parameters == {"n": 7}


@pytest.mark.parametrize(
    "pointer", ["/rows/1", "/rows/x", "/nothing", "rows", "/rows/-1", "/rows/01", "/rows/0/a~1b/c"]
)
def test_a_reference_to_nothing_is_an_error(pointer: str) -> None:
    """The pointer is named."""
    with pytest.raises(ExecutionError, match="parameters"):
        request_from_payload(with_parameters({"n": {"$previous": pointer}}), PREVIOUS)


def test_a_failed_predecessor_stops_its_successor() -> None:
    """The reason names the execution that failed."""
    with pytest.raises(ExecutionError, match=r"abc.*timed_out"):
        request_from_payload(with_parameters({}), {"status": "timed_out", "execution_id": "abc"})


def test_the_id_survives_an_unusable_payload() -> None:
    """A refusal is recorded under the id that the producer chose, if that is one."""
    assert execution_id_of({"execution_id": "abc", "nonsense": 1}) == "abc"
    assert execution_id_of({"execution_id": "../x"}) is None
    assert execution_id_of("text") is None
