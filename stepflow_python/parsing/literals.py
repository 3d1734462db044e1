"""Constants in a source that JSON can hold."""

import ast
import math
from dataclasses import dataclass

from pydantic import JsonValue

_MAX_DEPTH = 20
_MAX_ITEMS = 1_000
_MAX_INT = 2**64


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that was found: `Literal(None)` is JSON's null, where no `Literal` at all is no constant."""

    value: JsonValue


def json_literal(node: ast.expr | None) -> Literal | None:
    """The value of a literal: text, numbers, true, false, none, lists, and dicts with text keys.

    None for everything else, and for what is too deep, long or large to be repeated in each schema that uses it.
    """
    return _literal(node, 0)


def json_scalar(node: ast.expr | None) -> Literal | None:
    """As `json_literal`, without lists and dicts."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        inner = node.operand.value if isinstance(node.operand, ast.Constant) else None
        if not isinstance(inner, int | float) or isinstance(inner, bool):
            return None
        return _scalar(-inner if isinstance(node.op, ast.USub) else inner)
    return _scalar(node.value) if isinstance(node, ast.Constant) else None


def is_text(value: str) -> bool:
    """Whether a string can be written as UTF-8: a lone surrogate cannot."""
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def _scalar(value: object) -> Literal | None:
    if value is None or isinstance(value, bool):
        return Literal(value)
    if isinstance(value, str):
        return Literal(value) if is_text(value) else None
    if isinstance(value, int):
        return Literal(value) if abs(value) < _MAX_INT else None
    if isinstance(value, float):
        return Literal(value) if math.isfinite(value) else None
    return None


def _literal(node: ast.expr | None, depth: int) -> Literal | None:
    if isinstance(node, ast.List) and depth < _MAX_DEPTH and len(node.elts) <= _MAX_ITEMS:
        items = [_literal(item, depth + 1) for item in node.elts]
        return Literal([item.value for item in items if item]) if all(items) else None
    if isinstance(node, ast.Dict) and depth < _MAX_DEPTH and len(node.keys) <= _MAX_ITEMS:
        entries: dict[str, JsonValue] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            name, item = json_scalar(key), _literal(value, depth + 1)
            if name is None or item is None or not isinstance(name.value, str):
                return None
            entries[name.value] = item.value
        return Literal(entries)
    return json_scalar(node)
