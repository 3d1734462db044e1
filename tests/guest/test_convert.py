"""Arguments by the `x-python` keys of a schema."""

import base64
import enum
import json
import uuid
from collections import namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepflow_python.guest.convert import converted_arguments
from stepflow_python.guest.request import ToolError
from stepflow_python.guest.writer import to_json


class Colour(enum.Enum):
    """By value, or by name."""

    RED = "red"
    TWO = 2


@dataclass
class Item:
    """Knows its parts, refuses an empty name."""

    name: str
    when: date | None = None
    parts: tuple["Item", ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a name is needed")


Point = namedtuple("Point", "x y")  # noqa: PYI024 - the untyped kind is what is tested


class Outer:
    """Holds a class."""

    Inner = Colour


NAMESPACE = {"Colour": Colour, "Item": Item, "Point": Point, "Outer": Outer}
DATE = {"type": "string", "format": "date", "x-python": "date"}
DATETIME = {"type": "string", "x-python": "datetime"}
DEFS = {
    "Item": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "when": {"anyOf": [DATE, {"type": "null"}]},
            "parts": {"type": "array", "items": {"$ref": "#/$defs/Item"}, "x-python": "tuple"},
        },
        "required": ["name"],
        "additionalProperties": False,
        "x-python": "dataclass:Item",
    },
    "Point": {
        "type": "object",
        "properties": {"x": DATE, "y": {"type": "integer"}},
        "required": ["x", "y"],
        "x-python": "namedtuple:Point",
    },
    "Colour": {"enum": ["red", 2], "x-python": "enum:Colour"},
    "Names": {"enum": ["RED", "TWO"], "x-python": "enum-name:Outer.Inner"},
}


def converted(value: Any, schema: Any) -> Any:
    """One argument, converted."""
    schema = {"properties": {"p": schema}, "additionalProperties": False, "$defs": DEFS}
    return converted_arguments({"p": value}, schema, NAMESPACE)["p"]


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        (5, {"type": "integer"}, 5),
        ("2024-02-29", DATE, date(2024, 2, 29)),
        ("12:30", {"x-python": "time"}, time(12, 30)),
        ("1.10", {"x-python": "decimal"}, Decimal("1.10")),
        (1.1, {"x-python": "decimal"}, Decimal("1.1")),
        (str(uuid.UUID(int=7)), {"x-python": "uuid"}, uuid.UUID(int=7)),
        ("a/b", {"x-python": "path"}, Path("a/b")),
        ("AAE=", {"x-python": "bytes"}, b"\0\1"),
        (90, {"x-python": "timedelta"}, timedelta(seconds=90)),
        (["2024-02-29"], {"type": "array", "items": DATE}, [date(2024, 2, 29)]),
        ({"k": "2024-02-29"}, {"type": "object", "additionalProperties": DATE}, {"k": date(2024, 2, 29)}),
        ([1, 1, 2], {"x-python": "set", "items": {"type": "integer"}}, {1, 2}),
        (["2024-02-29", 1, 2], {"x-python": "tuple", "prefixItems": [DATE], "items": {}}, (date(2024, 2, 29), 1, 2)),
        ("red", {"$ref": "#/$defs/Colour"}, Colour.RED),
        ("TWO", {"$ref": "#/$defs/Names"}, Colour.TWO),
        ({"x": "2024-02-29", "y": 2}, {"$ref": "#/$defs/Point"}, Point(date(2024, 2, 29), 2)),
        (
            {"name": "a", "parts": [{"name": "b", "when": "2024-02-29"}]},
            {"$ref": "#/$defs/Item"},
            Item("a", parts=(Item("b", date(2024, 2, 29)),)),
        ),
        (None, {"type": ["string", "null"], "x-python": "date"}, None),
        (None, {"anyOf": [DATE, {"type": "null"}]}, None),
        ("2024-02-29", {"anyOf": [{"type": "integer"}, DATE]}, date(2024, 2, 29)),
        ("later", {"anyOf": [DATE, {"type": "string"}]}, "later"),
        (True, {"anyOf": [{"type": "integer", "x-python": "timedelta"}, {"type": "boolean"}]}, True),
        (
            {"x": "2024-02-29", "y": 1},
            {"anyOf": [{"$ref": "#/$defs/Item"}, {"$ref": "#/$defs/Point"}]},
            Point(date(2024, 2, 29), 1),
        ),
        (2, {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Colour"}]}, Colour.TWO),
    ],
)
def test_values_become_their_types(value: Any, schema: Any, expected: Any) -> None:
    """Each key of the schema gives its type, also inside others."""
    result = converted(value, schema)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "schema", "message"),
    [
        ("never", DATE, "parameter p: 'never' is no date: ValueError: a date looks like 2024-12-31"),
        (["2024-02-30"], {"items": DATE}, "parameter p[0]: '2024-02-30' is no date: ValueError: day"),
        ({"k": {"l": "x"}}, {"properties": {"k": {"additionalProperties": DATE}}}, "parameter p.k.l: 'x' is no date"),
        ("?", {"x-python": "bytes"}, "parameter p: '?' is no bytes"),
        ("P1Y", {"x-python": "timedelta"}, "parameter p: 'P1Y' is no timedelta: ValueError: a duration is seconds"),
        ([[1]], {"x-python": "set"}, "parameter p: [[1]] is no set: TypeError: unhashable"),
        ("green", {"$ref": "#/$defs/Colour"}, "parameter p: 'green' is no enum:Colour"),
        ({"name": ""}, {"$ref": "#/$defs/Item"}, "parameter p: {'name': ''} is no dataclass:Item: ValueError: a name"),
        ({"name": "a", "parts": [{"name": ""}]}, {"$ref": "#/$defs/Item"}, "parameter p.parts[0]: {'name': ''}"),
        ({}, {"x-python": "dataclass:Gone"}, "parameter p: {} is no dataclass:Gone: KeyError: 'Gone'"),
        (1, {"x-python": "strange"}, "parameter p: x-python 'strange' is unknown"),
        (1, {"anyOf": [{"type": "string"}, DATE]}, "parameter p: fits none of the types"),
        ("x" * 500, DATE, f"parameter p: '{'x' * 79}... is no date"),
    ],
)
def test_a_refusal_names_the_parameter(value: Any, schema: Any, message: str) -> None:
    """The message leads to the value, shortened, and gives the reason."""
    with pytest.raises(ToolError) as caught:
        converted(value, schema)
    assert str(caught.value).startswith(message)


@given(
    st.one_of(
        st.datetimes(timezones=st.none() | st.just(UTC)).map(lambda value: (value, "datetime")),
        st.dates().map(lambda value: (value, "date")),
        st.times().map(lambda value: (value, "time")),
        st.timedeltas(timedelta(days=-1000), timedelta(days=1000)).map(lambda value: (value, "timedelta")),
        st.decimals(allow_nan=False, allow_infinity=False).map(lambda value: (value, "decimal")),
        st.uuids().map(lambda value: (value, "uuid")),
        st.binary().map(lambda value: (value, "bytes")),
        st.frozensets(st.integers()).map(lambda value: (value, "frozenset")),
    )
)
def test_what_goes_out_comes_in_again(pair: tuple[Any, str]) -> None:
    """A result given to the next tool as an argument is the same value."""
    value, kind = pair
    assert converted(json.loads(to_json(value)), {"x-python": kind}) == value


def test_bytes_are_standard_base64() -> None:
    """What the standard library encodes is decoded."""
    data = bytes(range(256))
    assert converted(base64.b64encode(data).decode(), {"x-python": "bytes"}) == data


def test_datetimes_keep_their_zone() -> None:
    """`Z` is UTC."""
    assert converted("2024-02-29T00:00:00Z", DATETIME) == datetime(2024, 2, 29, tzinfo=UTC)
