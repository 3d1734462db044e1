"""The JSON Schema (2020-12) of a function's arguments, made from its annotations, defaults and docstring."""

import ast
from collections.abc import Iterator
from functools import cached_property

from pydantic import JsonValue

from stepflow_python.errors import ParseError
from stepflow_python.parsing.annotations import union
from stepflow_python.parsing.docs import descriptions, summary
from stepflow_python.parsing.literals import json_literal
from stepflow_python.parsing.local_types import LocalTypes
from stepflow_python.parsing.names import Names
from stepflow_python.parsing.vocabulary import Schema

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

MAX_SCHEMA_SIZE = 500_000
"""Nodes of all schemas of one source together.

A definition is repeated for each function that uses it: a source of a megabyte could ask for terabytes.
"""
_REFERENCE = "#/$defs/"


class Schemas:
    """Makes the schemas of one source's functions."""

    def __init__(self, tree: ast.Module, *, name: str) -> None:
        self._tree = tree
        self._name = name
        self._size = 0
        self._sizes: dict[str, int] = {}
        self._uses: dict[str, frozenset[str]] = {}

    @cached_property
    def _types(self) -> LocalTypes:
        """Read when the first annotation is met: most sources that are parsed have none."""
        return LocalTypes(Names.of(self._tree))

    def of_function(self, node: FunctionNode, docstring: str | None, *, skip_first: bool) -> Schema:
        """The schema of the arguments object.

        Args:
            node: the function.
            docstring: its docstring, cleaned.
            skip_first: leave out `self` or `cls`.

        Raises:
            ParseError: all schemas of this source together pass `MAX_SCHEMA_SIZE`.
        """
        described = descriptions(docstring)
        properties: dict[str, JsonValue] = {}
        required: list[JsonValue] = []
        for index, (argument, default) in enumerate(_with_defaults(node.args)):
            if skip_first and index == 0 and (node.args.posonlyargs or node.args.args):
                continue
            properties[argument.arg] = self._property(argument, default, described.get(argument.arg))
            if default is None:
                required.append(argument.arg)
        rest = node.args.vararg
        if rest is not None:
            properties[rest.arg] = _described(self._array(rest), described.get(rest.arg))
        schema: Schema = {"type": "object", "properties": properties, "required": required}
        text = summary(docstring)
        if text:
            schema["description"] = text
        schema["additionalProperties"] = self._additional(node.args.kwarg)
        definitions = self._definitions(schema)
        if definitions:
            schema["$defs"] = definitions
        self._spend(node, schema, definitions)
        return schema

    def _property(self, argument: ast.arg, default: ast.expr | None, description: str | None) -> Schema:
        schema = self._types.annotations.schema(argument.annotation) if argument.annotation else {}
        if isinstance(default, ast.Constant) and default.value is None:
            # `x: int = None` means that none is taken, whatever the annotation says.
            schema = union((schema, {"type": "null"}))
        schema = _described(schema, description)
        literal = json_literal(default)
        return {**schema, "default": literal.value} if literal else schema

    def _array(self, argument: ast.arg) -> Schema:
        items = self._types.annotations.schema(argument.annotation) if argument.annotation else {}
        return {"type": "array", "items": items} if items else {"type": "array"}

    def _additional(self, argument: ast.arg | None) -> JsonValue:
        if argument is None:
            return False
        return (self._types.annotations.schema(argument.annotation) if argument.annotation else {}) or True

    def _definitions(self, schema: Schema) -> dict[str, JsonValue]:
        """All definitions that a schema uses, directly or through others."""
        found: dict[str, JsonValue] = {}
        waiting = list(_references(schema)) if "_types" in vars(self) else []
        while waiting:
            name = waiting.pop()
            # A default such as {"$ref": "#/$defs/X"} looks like a reference and is none.
            definition = None if name in found else self._types.definition(name)
            if definition is not None:
                if name not in self._uses:
                    self._uses[name] = frozenset(_references(definition))
                    self._sizes[name] = _size(definition)
                found[name] = definition
                waiting.extend(self._uses[name])
        return dict(sorted(found.items()))

    def _spend(self, node: FunctionNode, schema: Schema, definitions: dict[str, JsonValue]) -> None:
        """Count a schema; its own part is as long as its source, so only definitions and defaults can be large."""
        self._size += len(definitions) and sum(self._sizes[name] for name in definitions)
        self._size += len(schema)
        if self._size > MAX_SCHEMA_SIZE:
            raise ParseError(
                f"{self._name}, line {node.lineno}: the argument types of this source are too large together "
                f"({MAX_SCHEMA_SIZE} schema nodes at most); split it, or annotate with plainer types",
                line=node.lineno,
            )


def _with_defaults(arguments: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """Named arguments in order, each with its default."""
    positional = arguments.posonlyargs + arguments.args
    without = len(positional) - len(arguments.defaults)
    for index, argument in enumerate(positional):
        yield argument, arguments.defaults[index - without] if index >= without else None
    yield from zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)


def _described(schema: Schema, description: str | None) -> Schema:
    return {"description": description, **schema} if description else schema


def _nodes(schema: JsonValue) -> Iterator[JsonValue]:
    stack = [schema]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, dict):
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


def _references(schema: JsonValue) -> Iterator[str]:
    for node in _nodes(schema):
        reference = node.get("$ref") if isinstance(node, dict) else None
        if isinstance(reference, str):
            yield reference.removeprefix(_REFERENCE)


def _size(schema: JsonValue) -> int:
    """Nodes, long texts counted by their length."""
    return sum(1 + (len(node) // 32 if isinstance(node, str) else 0) for node in _nodes(schema))
