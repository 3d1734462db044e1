"""How arguments reach a function."""

from typing import TYPE_CHECKING, Any

import pytest

from stepflow_python.guest.calling import arrange
from stepflow_python.guest.request import ToolError

if TYPE_CHECKING:
    from conftest import Guest

PARAMETERS = [
    ("a", "positional_only"),
    ("b", "positional_only"),
    ("c", "positional_or_keyword"),
    ("rest", "var_positional"),
    ("d", "keyword_only"),
    ("more", "var_keyword"),
]


def called(a: int = 1, b: int = 2, /, c: int = 3, *rest: int, d: int = 4, **more: int) -> list[Any]:
    """Gives back what it was called with."""
    return [a, b, c, rest, d, more]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [1, 2, 3, (), 4, {}]),
        ({"a": 9}, [9, 2, 3, (), 4, {}]),
        ({"b": 9}, [1, 9, 3, (), 4, {}]),
        ({"c": 9, "d": 8}, [1, 2, 9, (), 8, {}]),
        ({"rest": [7, 8]}, [1, 2, 3, (7, 8), 4, {}]),
        ({"rest": [], "c": 5}, [1, 2, 5, (), 4, {}]),
        ({"a": 9, "rest": [7], "x": 6}, [9, 2, 3, (7,), 4, {"x": 6}]),
    ],
)
def test_every_kind_is_passed_its_way(arguments: dict[str, Any], expected: list[Any]) -> None:
    """Positions are filled with defaults only as far as a later position needs it."""
    positional, named = arrange(PARAMETERS, arguments, called)
    assert called(*positional, **named) == expected


def test_a_gap_without_a_default_is_named() -> None:
    """What must come first and is missing is refused by name."""

    def needs(a: int, /, *rest: int) -> None:
        """Has no default."""

    with pytest.raises(ToolError, match="parameter `a` is missing"):
        arrange([("a", "positional_only"), ("rest", "var_positional")], {"rest": [1]}, needs)


def test_unknown_arguments_reach_the_function(guest: "Guest") -> None:
    """Without parameters from the host, arguments go by name and Python itself judges them."""
    assert "unexpected keyword argument" in guest.run("def f(): pass\n", "f", arguments={"x": 1}).message


def test_a_coroutine_may_give_a_generator(guest: "Guest") -> None:
    """What an awaitable gives is settled as well."""
    source = (
        "class Later:\n    def __await__(self):\n        yield from ()\n        return (n for n in 'ab')\n"
        "def f():\n    return Later()\n"
    )
    assert guest.run(source, "f").value == ["a", "b"]


def test_generators_inside_a_value_are_refused(guest: "Guest") -> None:
    """Only the outermost value is collected."""
    assert (
        "result[0]: generator is no JSON value" in guest.run("def f():\n    return [(n for n in 'a')]\n", "f").message
    )
