"""Arguments checked before anything starts."""

import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from stepflow_python.errors import ExecutionError
from stepflow_python.model.module import PythonFunction
from stepflow_python.parsing.arguments import check_arguments, find_function
from stepflow_python.parsing.parser import parse_module

CODE = """
import datetime as dt, decimal, uuid
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, TypeAlias
from pydantic import Field

class Color(Enum):
    RED = "red"

@dataclass
class Item:
    name: str
    price: decimal.Decimal
    parts: "list[Item]" = ()

def order(items: list[Item], count: int = 1, *tags: str, color: Color | None = None,
          size: Annotated[int, Field(ge=1, le=3)] = 2): ...
def kinds(when: dt.datetime = None, day: dt.date = None, at: dt.time = None, span: dt.timedelta = None,
          key: uuid.UUID = None, raw: bytes = None, money: decimal.Decimal = None): ...
def number(x: float): ...
def anything(**more): ...
def twice(x: "Twice"): ...
Twice = tuple["Twice"] | list["Twice"]
Self: TypeAlias = "Self"
def circle(x: Self): ...
def slow(x: Annotated[str, Field(pattern="(a+)+$")]): ...
class Tool: ...
"""
MODULE = parse_module(CODE, name="shop")


def function(name: str) -> PythonFunction:
    """One of the functions above."""
    return find_function(MODULE, name)


def problems(name: str, parameters: dict[str, Any]) -> list[str]:
    """What is said against a call; empty if nothing."""
    try:
        check_arguments(function(name), parameters)
    except ExecutionError as error:
        return error.message.partition("arguments: ")[2].split("; ")
    return []


def test_good_arguments_pass() -> None:
    """What fits is taken."""
    item = {"name": "cup", "price": "1.50", "parts": [{"name": "lid", "price": 2, "parts": []}]}
    assert problems("order", {"items": [item], "count": 2, "tags": ["a"], "color": "red", "size": 3}) == []
    assert problems("order", {"items": [], "color": None}) == []
    assert problems("number", {"x": 1}) == []
    assert problems("anything", {"x": [1], "y": None}) == []


def test_every_problem_is_listed() -> None:
    """One message names all that is wrong, each by its parameter and the place in it."""
    found = problems("order", {"cuont": 1, "count": True, "tags": ["a", 1], "color": "blue", "size": 9})
    assert sorted(found) == sorted(
        [
            "items: missing",
            "cuont: unknown parameter (did you mean count?)",
            "count: expected integer, got true (boolean)",
            'color: expected Color ("red") or null, got "blue" (string)',
            "size: must be at most 3, got 9 (integer)",
            "tags[1]: expected string, got 1 (integer)",
        ]
    )


def test_places_inside_values() -> None:
    """Nested problems carry their path."""
    found = problems("order", {"items": [{"name": 1, "prize": 2, "parts": [{"name": "x", "price": "much"}]}]})
    assert set(found) == {
        "items[0].name: expected string, got 1 (integer)",
        "items[0].price: missing",
        "items[0].prize: unknown field (did you mean price?)",
        'items[0].parts[0].price: expected a decimal number such as 12.50, got "much" (string)',
    }


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (
            "when",
            ["2024-05-31T12:30:00Z", "2024-05-31 12:30", "2024-05-31T12:30:00.123456789+02:00"],
            ["2024-05-31", "2024-02-30T00:00:00Z", "now", "2024-05-31T25:00:00"],
        ),
        ("day", ["2024-02-29"], ["2023-02-29", "20240531", "2024-W22-5", ""]),
        ("at", ["12:30", "12:30:00.5Z"], ["24:00:00", "12", "noon"]),
        ("span", [1, 0.5, "PT1H30M", "P1DT2S", "-P2W", "PT0.5S"], ["P", "PT", "1 hour", True, "P1H"]),
        ("key", ["123e4567-e89b-12d3-a456-426614174000"], ["123e4567", ""]),
        ("raw", ["", "YWJj"], ["YWJ", "a b", "é"]),
        ("money", ["1.50", "1e3", 1, 1.5], ["1,50", "", True]),
    ],
)
def test_formats_are_really_checked(name: str, good: list[JsonValue], bad: list[JsonValue]) -> None:
    """Text that only looks like a date, an id or a number is refused before a process starts."""
    assert [value for value in good if problems("kinds", {name: value})] == []
    assert [value for value in bad if not problems("kinds", {name: value})] == []


@pytest.mark.parametrize(("value", "kind"), [(1.0, "number"), (True, "boolean"), ("1", "string"), (None, "null")])
def test_an_integer_is_an_integer(value: JsonValue, kind: str) -> None:
    """Neither 1.0 nor true nor text is passed for an int."""
    (problem,) = problems("order", {"items": [], "count": value})
    assert problem.startswith("count: expected integer")
    assert kind in problem


def test_values_are_shortened() -> None:
    """A message stays readable whatever was given."""
    found = problems("order", {"items": "x" * 10_000_000, "n" * 10_000: 1, "count": "y" * 500})
    assert all(len(problem) < 300 for problem in found)
    assert problems("number", {"x": [0] * 1000}) == ["x: expected number, got [1000 items] (array)"]


def test_many_problems_are_counted_not_listed() -> None:
    """A million wrong items don't make a message of megabytes."""
    found = problems("order", {"items": [], "tags": [1] * 100_000})
    assert len(found) == 51
    assert found[-1] == "and more"


@pytest.mark.parametrize(
    "value", [10**400, -(10**5000), 1.5, "x" * 100, [[[]]]], ids=["big", "bigger", "float", "text", "lists"]
)
def test_odd_numbers_never_escape(value: JsonValue) -> None:
    """Numbers that no float holds are judged or refused, not crashed on."""
    for name in ("number", "order", "kinds"):
        problems(name, {"x": value, "count": value, "size": value, "span": value, "money": value})


@pytest.mark.parametrize("name", ["twice", "circle"])
def test_types_that_explode_are_refused(name: str) -> None:
    """A check that would take 2**depth steps, or never end, ends with an error."""
    deep: JsonValue = 1
    for _ in range(60):
        deep = [deep]
    with pytest.raises(ExecutionError, match=r"checked|cannot be called"):
        check_arguments(function(name), {"x": deep})


def test_deep_values_are_refused() -> None:
    """A value that is nested deeper than our stack is an error of the request."""
    deep: JsonValue = []
    for _ in range(sys.getrecursionlimit()):
        deep = [deep]
    with pytest.raises(ExecutionError, match="too deep"):
        check_arguments(function("twice"), {"x": deep})


def test_a_tools_pattern_does_not_run_here() -> None:
    """A regular expression of the tool's cannot hold this process."""
    assert problems("slow", {"x": "a" * 40 + "b"}) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ordr", r"shop has no function ordr \(did you mean order\?\)"),
        ("zzz", r"the functions are order, kinds"),
        ("Tool", "it is a class"),
        ("a b", "no Python identifier|not a Python identifier"),
        ("class", "not a Python identifier"),
        ("", "not a Python identifier"),
        ("x" * 10_000, r"xxx\.\.\."),
    ],
)
def test_unknown_functions(name: str, said: str) -> None:
    """A name that cannot be called is refused with the ones that can."""
    with pytest.raises(ExecutionError, match=said):
        find_function(MODULE, name)


def test_the_last_definition_counts() -> None:
    """Of two functions with one name a caller gets the last, as at run time."""
    assert find_function(parse_module("def f(a): ...\ndef f(b): ..."), "f").parameters[0].name == "b"


def test_no_functions_at_all() -> None:
    """A script without functions says so."""
    with pytest.raises(ExecutionError, match="there are no functions"):
        find_function(parse_module("x = 1"), "f")


def test_an_empty_schema_takes_anything() -> None:
    """A function that was not analysed is not checked."""
    check_arguments(PythonFunction(name="f"), {"x": 1})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "price", "parts", "x"]), inner)
    ),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["items", "count", "tags", "color", "size", "x", "when", "key", "raw"]), JSON))
def test_any_arguments_are_taken_or_refused(parameters: dict[str, JsonValue]) -> None:
    """Nothing but `ExecutionError` comes out of a check."""
    for name in ("order", "kinds", "number", "anything", "twice"):
        problems(name, parameters)
