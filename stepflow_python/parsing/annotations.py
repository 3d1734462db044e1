"""Annotations as JSON Schema; what is not known constrains nothing."""

import ast
from collections.abc import Callable, Iterable, Sequence

from stepflow_python.parsing.constraints import constrained
from stepflow_python.parsing.literals import json_scalar
from stepflow_python.parsing.names import LOCAL, Names
from stepflow_python.parsing.vocabulary import (
    FROZEN_SETS,
    LEAVES,
    LISTS,
    MAPPINGS,
    SETS,
    TUPLES,
    WRAPPERS,
    Json,
    Schema,
)
from stepflow_python.syntax import read_expression

_MAX_DEPTH = 40
"""Levels of one annotation; below, nothing is constrained."""
_MAX_BRANCHES = 200
"""Members of one union; each is compared with all, and a longer one constrains nothing."""


class Annotations:
    """Schemas of annotations in one module.

    Args:
        names: what the module's names stand for.
        local: the schema for a class or alias of this file, by its name: most often a reference.
    """

    def __init__(self, names: Names, local: Callable[[str], Schema]) -> None:
        self._names = names
        self._local = local

    def schema(self, node: ast.expr | None, depth: int = 0) -> Schema:
        """The schema of an annotation; empty where it says nothing that JSON values can be held to."""
        if depth > _MAX_DEPTH:
            return {}
        match node:
            case ast.Constant(value=None):
                return {"type": "null"}
            case ast.Constant(value=str(text)):
                return self.schema(read_expression(text), depth + 1)
            case ast.BinOp(op=ast.BitOr()):
                return self._union(_members(node), depth)
            case ast.Name() | ast.Attribute():
                return self._named(self._names.resolve(node))
            case ast.Subscript():
                return self._subscript(node, depth)
            case _:
                return {}

    def _named(self, name: str | None) -> Schema:
        """The schema of a type without arguments."""
        if name is None:
            return {}
        if name.startswith(LOCAL):
            return self._local(name.removeprefix(LOCAL))
        if name in LEAVES:
            return dict(LEAVES[name])
        return _container(name, {})

    def _subscript(self, node: ast.Subscript, depth: int) -> Schema:
        name = self._names.resolve(node.value)
        arguments = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name is None or not arguments:
            return _tuple_of(()) if name in TUPLES else {}
        if name == "typing.Union":
            return self._union(arguments, depth)
        if name == "typing.Optional":
            return self._union([arguments[0], ast.Constant(value=None)], depth)
        if name == "typing.Literal":
            return _enumeration(arguments)
        if name == "typing.Annotated":
            return constrained(self.schema(arguments[0], depth + 1), arguments[1:], self._names)
        if name in WRAPPERS:
            return self.schema(arguments[0], depth + 1)
        return self._generic(name, arguments, depth)

    def _generic(self, name: str, arguments: Sequence[ast.expr], depth: int) -> Schema:
        if name in TUPLES and not _is_variadic(arguments):
            return _tuple_of([self.schema(argument, depth + 1) for argument in arguments])
        if name in MAPPINGS:
            return _container(name, self.schema(arguments[-1], depth + 1))
        if name in LISTS | SETS | FROZEN_SETS | TUPLES:
            return _container(name, self.schema(arguments[0], depth + 1))
        # A generic class or alias of this file, its parameters unknown; or a path of text.
        return self._named(name)

    def _union(self, members: Iterable[ast.expr], depth: int) -> Schema:
        return union(self.schema(member, depth + 1) for member in members)


def union(schemas: Iterable[Schema]) -> Schema:
    """What any of several schemas takes, each once, nested unions spread out."""
    branches: list[Json] = []
    for schema in schemas:
        if not schema:
            return {}
        nested = schema["anyOf"] if schema.keys() == {"anyOf"} else [schema]
        if isinstance(nested, list):
            branches.extend(branch for branch in nested if branch not in branches)
        if len(branches) > _MAX_BRANCHES:
            return {}
    if len(branches) == 1 and isinstance(branches[0], dict):
        return branches[0]
    return {"anyOf": branches}


def _members(node: ast.BinOp) -> list[ast.expr]:
    """The members of `A | B | C`, which nests to the left as deep as it is long."""
    members: list[ast.expr] = []
    left: ast.expr = node
    while isinstance(left, ast.BinOp) and isinstance(left.op, ast.BitOr):
        members.append(left.right)
        left = left.left
    members.append(left)
    return members[::-1]


def _enumeration(arguments: Sequence[ast.expr]) -> Schema:
    values = [json_scalar(argument) for argument in arguments]
    return {"enum": [value.value for value in values if value]} if all(values) else {}


def _is_variadic(arguments: Sequence[ast.expr]) -> bool:
    """Whether `tuple[...]` was given as `tuple[T, ...]`."""
    last = arguments[-1]
    return len(arguments) == 2 and isinstance(last, ast.Constant) and last.value is Ellipsis  # noqa: PLR2004 - a type and the dots


def _tuple_of(items: Sequence[Schema]) -> Schema:
    if not items:
        return {"type": "array", "maxItems": 0, "x-python": "tuple"}
    fixed: list[Json] = [dict(item) for item in items]
    return {
        "type": "array",
        "prefixItems": fixed,
        "minItems": len(fixed),
        "maxItems": len(fixed),
        "x-python": "tuple",
    }


def _container(name: str, inner: Schema) -> Schema:
    if name in MAPPINGS:
        return {"type": "object", "additionalProperties": inner} if inner else {"type": "object"}
    python = "set" if name in SETS else "frozenset" if name in FROZEN_SETS else "tuple" if name in TUPLES else None
    if python is None and name not in LISTS:
        return {}
    schema: Schema = {"type": "array"}
    if inner:
        schema["items"] = inner
    if python:
        schema["x-python"] = python
    return schema
