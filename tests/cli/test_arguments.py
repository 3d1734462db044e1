import json

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepflow_python.cli.arguments import arguments_of, json_value
from stepflow_python.model.module import PythonFunction
from stepflow_python.parsing.parser import parse_module

CODE = """
import enum
from decimal import Decimal

class Colour(enum.Enum):
    RED = "red"
    ONE = "1"

def f(text: str, number: int, maybe: str | None, price: Decimal, colour: Colour, many: list[int], free, **more: int):
    pass
"""


@pytest.fixture(scope="module")
def function() -> PythonFunction:
    """A function with parameters of many types."""
    found = parse_module(CODE).function("f")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("text", "5", "5"),
        ("text", '"quoted"', '"quoted"'),
        ("text", "", ""),
        ("number", "5", 5),
        ("number", "five", "five"),
        ("number", "1.5", 1.5),
        ("maybe", "5", "5"),
        ("maybe", "null", None),
        ("maybe", "plain words", "plain words"),
        ("colour", "red", "red"),
        ("colour", "1", "1"),
        ("many", "[1, 2]", [1, 2]),
        ("many", "[1, 2", "[1, 2"),
        ("free", "true", True),
        ("free", "truly", "truly"),
        ("further", "7", 7),
        ("further", "x=y", "x=y"),
    ],
)
def test_a_text_is_read_by_the_parameters_type(function: PythonFunction, name: str, text: str, value: object) -> None:
    """JSON where the type takes it, else text; where neither fits, JSON stays JSON."""
    assert arguments_of([(name, text)], None, function) == {name: value}


def test_without_a_function_json_comes_first() -> None:
    """Of an unknown function nothing is known but what JSON says."""
    pairs = [("a", "5"), ("b", "five"), ("c", '"5"'), ("d", "NaN")]
    assert arguments_of(pairs, '{"e": [1]}', None) == {"e": [1], "a": 5, "b": "five", "c": "5", "d": "NaN"}


@pytest.mark.parametrize("text", ["[1]", "5", "{", "NaN", '{"a": Infinity}', "[" * 100_000])
def test_args_json_must_be_an_object(text: str) -> None:
    """What is no JSON object is a wrong option, by its name."""
    with pytest.raises(click.BadParameter) as caught:
        arguments_of([], text, None)
    assert caught.value.param_hint == "--args-json"


def test_a_name_is_given_once() -> None:
    """The same argument twice would lose one of them silently."""
    with pytest.raises(click.BadParameter, match="'a' is given twice"):
        arguments_of([("a", "1")], '{"a": 2}', None)


@given(st.text())
def test_any_text_reaches_a_text_parameter_unchanged(text: str) -> None:
    """Nothing that is typed for a `str` is interpreted."""
    function = parse_module("def f(text: str): pass").function("f")
    assert arguments_of([("text", text)], None, function) == {"text": text}


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_json_is_read_as_json(value: object) -> None:
    """Without a type, JSON comes through as the value it is."""
    assert arguments_of([("a", json.dumps(value))], None, None) == {"a": value}
    assert json_value(json.dumps(value)) == value
