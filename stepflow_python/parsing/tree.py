"""A syntax tree as JSON: `{"node": "Name", "lineno": 1, "id": "x", ...}`."""

import ast

from pydantic import JsonValue

from stepflow_python.errors import ParseError
from stepflow_python.parsing.literals import json_scalar

MAX_DEPTH = 200
"""Levels of JSON; readers of JSON, pydantic's among them, refuse some 250."""


def json_tree(tree: ast.Module, *, name: str = "tool") -> JsonValue:
    """A module's tree. A constant that JSON does not have is given as `{"repr": ...}`.

    Raises:
        ParseError: the tree is deeper than `MAX_DEPTH`.
    """
    return _node(tree, name, 1, 1)


def _node(node: ast.AST, name: str, depth: int, line: int) -> JsonValue:
    line = getattr(node, "lineno", line)
    if depth > MAX_DEPTH:
        message = (
            f"{name}, line {line}: the tree is over {MAX_DEPTH} levels deep; parse without the tree, or split this"
        )
        raise ParseError(message, line=line)
    result: dict[str, JsonValue] = {"node": type(node).__name__}
    for attribute in ("lineno", "col_offset"):
        if hasattr(node, attribute):
            result[attribute] = getattr(node, attribute)
    for field, value in ast.iter_fields(node):
        if isinstance(value, list):
            result[field] = [_value(item, name, depth + 2, line) for item in value]
        else:
            result[field] = _value(value, name, depth + 1, line)
    return result


def _value(value: object, name: str, depth: int, line: int) -> JsonValue:
    if isinstance(value, ast.AST):
        return _node(value, name, depth, line)
    literal = json_scalar(ast.Constant(value))  # type: ignore[arg-type]  # whatever a tree holds beside nodes is a constant
    return literal.value if literal else {"repr": _text(value)}


def _text(value: object) -> str:
    # Python refuses to write integers of more than 4,300 digits in decimal.
    return hex(value) if isinstance(value, int) else ascii(value) if isinstance(value, str) else repr(value)
