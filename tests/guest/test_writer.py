"""JSON text as the standard library would write and read it."""

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepflow_python.guest import writer
from stepflow_python.guest.plain import NotJSONError
from stepflow_python.guest.writer import MAX_DEPTH, TooLargeError, to_json

# Surrogates too: Python's text may hold them.
TEXT = st.text(st.characters(codec=None))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=40,
)


@given(JSON)
def test_any_json_value_reads_back(value: Any) -> None:
    """`json.loads` gives the value again, and the text is the one that `json.dumps` writes."""
    text = to_json(value)
    assert json.loads(text) == value
    assert text == json.dumps(value, separators=(",", ":"))
    assert text.isascii()


@given(TEXT)
def test_text_is_written_without_the_standard_library_as_with_it(text: str) -> None:
    """A tool that spoils imports still gets its result through."""
    assert writer._escaped(text) == json.dumps(text)


def test_spoilt_imports_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a tool has put in their place."""
    monkeypatch.setattr(writer, "_escape", None)
    monkeypatch.setitem(sys.modules, "_json", None)
    assert to_json("a\nb \u00fc") == '"a\\nb \\u00fc"'


@given(JSON, st.integers(0, 200))
def test_a_limit_is_exact(value: Any, limit: int) -> None:
    """Text of the limit's length passes, one character more does not."""
    length = len(to_json(value))
    if length <= limit:
        assert len(to_json(value, limit=limit)) == length
    else:
        with pytest.raises(TooLargeError):
            to_json(value, limit=limit)


def test_endless_items_stop_at_the_limit() -> None:
    """A mapping that never ends is given up early."""

    class Endless(dict[str, int]):
        def items(self) -> Any:
            return iter(lambda: ("k", 1), None)

    with pytest.raises(TooLargeError):
        to_json(Endless(), limit=10_000)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "result: nan is no JSON value"),
        ({"a": [0, float("inf")]}, "result.a[1]: inf is no JSON value"),
        ([{"two words": {3: 1j}}], "result[0]['two words']['3']: complex is no JSON value; return str"),
        ({"a": {(1, 2): 3}}, "result.a: the key '(1, 2)' is of type tuple; use text for keys"),
        ({"n": 10**5000}, "result.n: an integer of more than 4300 digits"),
        ([-(10**4300)], "result[0]: an integer of more than 4300 digits"),
        ([iter(())], "result[0]: tuple_iterator is no JSON value"),
    ],
)
def test_a_refusal_names_its_place(value: Any, message: str) -> None:
    """The path leads to the value, the reason says what it is."""
    with pytest.raises(NotJSONError) as caught:
        to_json(value)
    assert caught.value.describe("result").startswith(message)


def test_the_largest_integers_pass() -> None:
    """4300 digits are what readers take, with a sign or without."""
    for value in (10**4299, -(10**4299)):
        assert json.loads(to_json(value)) == value


def test_cycles_and_depth_are_refused() -> None:
    """A container inside itself, and one nested too deep, end in an error; the same value twice does not."""
    cycle: dict[str, Any] = {"a": []}
    cycle["a"].append(cycle)
    with pytest.raises(NotJSONError) as caught:
        to_json(cycle)
    assert caught.value.describe("result") == "result.a[0]: contains itself; return a value without cycles"

    shared = [1]
    assert to_json([shared, shared]) == "[[1],[1]]"

    def nested(depth: int) -> Any:
        value: Any = 1
        for _ in range(depth):
            value = [value]
        return value

    assert json.loads(to_json(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    with pytest.raises(NotJSONError) as caught:
        to_json(nested(MAX_DEPTH + 1))
    assert "nested deeper than 200 levels" in caught.value.describe("result")
    assert len(caught.value.describe("result")) < 200
