"""What `Annotated` and pydantic's `Field` add to a type: bounds, sizes, descriptions."""

import ast
from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from stepflow_python.parsing.docs import short
from stepflow_python.parsing.literals import Literal, json_scalar
from stepflow_python.parsing.names import Names
from stepflow_python.parsing.vocabulary import BOUNDS, LENGTHS, POSITIONAL, SIZED, Schema


def constrained(schema: Schema, metadata: Sequence[ast.expr], names: Names) -> Schema:
    """A schema with what its metadata adds; unknown metadata adds nothing.

    Args:
        schema: of the type alone; not changed.
        metadata: expressions: text, a call of `Field`, a constant of annotated_types.
        names: what the module's names stand for.
    """
    result = dict(schema)
    for item in metadata:
        if isinstance(item, ast.Constant) and isinstance(item.value, str):
            _describe(result, Literal(item.value))
        elif isinstance(item, ast.Call):
            for keyword, value in _keywords(item, names):
                _apply(result, keyword, value)
    return result


def _keywords(call: ast.Call, names: Names) -> Iterator[tuple[str, Literal]]:
    """The constant arguments of a call that is understood, by keyword."""
    positional = POSITIONAL.get(names.resolve(call.func) or "")
    if positional is None:
        return
    given = [
        *zip(positional, call.args, strict=False),
        *((keyword.arg or "", keyword.value) for keyword in call.keywords),
    ]
    for name, node in given:
        value = json_scalar(node)
        if value is not None:
            yield name, value


def _apply(schema: Schema, keyword: str, literal: Literal) -> None:
    value = literal.value
    if keyword in BOUNDS and isinstance(value, int | float) and not isinstance(value, bool):
        if keyword != "multiple_of" or value > 0:
            schema[BOUNDS[keyword]] = value
    elif keyword in LENGTHS and isinstance(value, int) and value >= 0:
        for word in _sized(schema.get("type")):
            schema[LENGTHS[keyword] + word] = value
    elif keyword in {"pattern", "regex"} and isinstance(value, str):
        schema["pattern"] = value
    elif keyword in {"description", "documentation"}:
        _describe(schema, literal)
    elif keyword == "title" and isinstance(value, str):
        schema["title"] = short(value) or ""


def _describe(schema: Schema, literal: Literal) -> None:
    text = short(literal.value) if isinstance(literal.value, str) and json_scalar(ast.Constant(literal.value)) else None
    if text:
        schema["description"] = text


def _sized(kind: JsonValue) -> list[str]:
    """What is measured; a union's branches are each measured their own way."""
    return [SIZED[kind]] if isinstance(kind, str) and kind in SIZED else list(SIZED.values())
