"""The syntax tree as JSON."""

import pytest

from stepflow_python.errors import ParseError
from stepflow_python.parsing.parser import parse_module


def test_the_tree_is_json() -> None:
    """Nodes carry their type, place and fields; what JSON lacks is told apart."""
    module = parse_module("x = [1, b'a', 1j, ..., None]\ny = '\\ud800'", with_ast=True)
    assert module.model_dump_json()
    assert isinstance(module.ast, dict)
    assert module.ast["node"] == "Module"
    body = module.ast["body"]
    assert isinstance(body, list)
    assert body[0] == {
        "node": "Assign",
        "lineno": 1,
        "col_offset": 0,
        "targets": [{"node": "Name", "lineno": 1, "col_offset": 0, "id": "x", "ctx": {"node": "Store"}}],
        "value": {
            "node": "List",
            "lineno": 1,
            "col_offset": 4,
            "elts": [
                {"node": "Constant", "lineno": 1, "col_offset": column, "value": value, "kind": None}
                for column, value in (
                    (5, 1),
                    (8, {"repr": "b'a'"}),
                    (14, {"repr": "1j"}),
                    (18, {"repr": "Ellipsis"}),
                    (23, None),
                )
            ],
            "ctx": {"node": "Load"},
        },
        "type_comment": None,
    }


def test_no_tree_unless_asked_for() -> None:
    """A tree is large: only those who ask pay."""
    assert parse_module("x = 1").ast is None


def test_a_tree_too_deep_for_readers_is_refused() -> None:
    """What no reader of JSON takes is an error that says so, and huge numbers are written in hex."""
    with pytest.raises(ParseError, match="line 2: the tree is over 200 levels deep"):
        parse_module("y = 1\nx = " + "+".join("a" * 300), with_ast=True)
    assert parse_module("x = 0x" + "f" * 10_000, with_ast=True).model_dump_json()
