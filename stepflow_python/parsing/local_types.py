"""Schemas of the classes and aliases that a file defines, for `$defs`."""

import ast
from collections import deque

from stepflow_python.parsing.annotations import Annotations, union
from stepflow_python.parsing.class_kinds import ClassKind, LocalClass, classify
from stepflow_python.parsing.constraints import constrained
from stepflow_python.parsing.docs import descriptions, docstring_of, summary
from stepflow_python.parsing.enums import enum_schema
from stepflow_python.parsing.fields import Field, fields_of
from stepflow_python.parsing.literals import json_literal, json_scalar
from stepflow_python.parsing.models import extra_properties, is_opaque, takes_names
from stepflow_python.parsing.names import LOCAL, Names
from stepflow_python.parsing.vocabulary import Json, Schema

_INLINE_NODES = 30


class LocalTypes:
    """The file's own types. Each gets one definition, built when an annotation first names it.

    Names are queued, not descended into: a chain of thousands of classes must not overflow our stack.
    """

    def __init__(self, names: Names) -> None:
        self.annotations = Annotations(names, self.reference)
        self._names = names
        self._references: dict[str, Schema] = {}
        self._classes: dict[str, LocalClass] = {}
        self._definitions: dict[str, Schema] = {}
        self._queue: deque[str] = deque()

    def reference(self, name: str) -> Schema:
        """The schema to write where a local name is used: a reference, a small alias's own, or nothing."""
        if name not in self._references:
            self._references[name] = self._new_reference(name)
        return dict(self._references[name])

    def definition(self, name: str) -> Schema | None:
        """What a reference stands for; none for a name that nothing refers to."""
        while self._queue:
            queued = self._queue.popleft()
            self._definitions[queued] = self._define(queued)
        return self._definitions.get(name)

    def _new_reference(self, name: str) -> Schema:
        # An alias that names itself gets a reference; what it stands for is built later.
        reference: Schema = {"$ref": f"#/$defs/{name}"}
        if name in self._names.classes:
            local = classify(name, self._names)
            if local is None:
                return {}
            self._classes[name] = local
        else:
            node = self._alias(name)
            if not isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.BinOp):
                return {}
            if self._is_small(node):
                return self.annotations.schema(node)
        self._queue.append(name)
        return reference

    def _alias(self, name: str) -> ast.expr:
        node = self._names.aliases[name]
        is_new_type = isinstance(node, ast.Call) and self._names.resolve(node.func) == "typing.NewType"
        return node.args[-1] if isinstance(node, ast.Call) and is_new_type and node.args else node

    def _is_small(self, node: ast.expr) -> bool:
        """Whether an alias may be written out wherever it is used: short, and naming no other local type."""
        if isinstance(node, ast.Subscript) and self._names.resolve(node.value) == "typing.Literal":
            return sum(1 for _ in ast.walk(node)) <= _INLINE_NODES
        for count, inner in enumerate(ast.walk(node)):
            text = isinstance(inner, ast.Constant) and isinstance(inner.value, str)
            local = isinstance(inner, ast.Name) and (self._names.resolve(inner) or "").startswith(LOCAL)
            if count > _INLINE_NODES or text or local:
                return False
        return True

    def _define(self, name: str) -> Schema:
        local = self._classes.get(name)
        if local is None:
            return self.annotations.schema(self._alias(name))
        if local.kind is ClassKind.ENUM:
            schema = enum_schema(local, self._names)
        elif local.kind is ClassKind.PYDANTIC and is_opaque(local, self._names):
            schema = {"x-python": f"pydantic:{name}"}
        else:
            schema = self._object(local)
        text = summary(docstring_of(local.node))
        return {"description": text, **schema} if text else schema

    def _object(self, local: LocalClass) -> Schema:
        described = descriptions(docstring_of(local.node))
        properties: dict[str, Json] = {}
        required: list[Json] = []
        both_names = local.kind is ClassKind.PYDANTIC and takes_names(local)
        for field in fields_of(local, self._names):
            schema = self._property(field, described.get(field.name))
            for name in self._property_names(local, field, both=both_names):
                properties[name] = schema
            if field.required and not (both_names and field.call):
                required.append(self._property_names(local, field, both=False)[0])
        result: Schema = {"type": "object", "properties": properties}
        if required:
            result["required"] = required
        additional = extra_properties(local) if local.kind is ClassKind.PYDANTIC else not local.complete
        if not additional:
            result["additionalProperties"] = False
        if local.kind is not ClassKind.TYPEDDICT:
            result["x-python"] = f"{local.kind}:{local.name}"
        return result

    def _property(self, field: Field, description: str | None) -> Schema:
        schema = self.annotations.schema(field.annotation)
        if isinstance(field.default, ast.Constant) and field.default.value is None:
            schema = union((schema, {"type": "null"}))
        if description:
            schema = {"description": description, **schema}
        if field.call:
            schema = constrained(schema, [field.call], self._names)
        default = json_literal(field.default)
        return {**schema, "default": default.value} if default else schema

    @staticmethod
    def _property_names(local: LocalClass, field: Field, *, both: bool) -> list[str]:
        if local.kind is not ClassKind.PYDANTIC:
            return [field.name]
        alias = json_scalar(field.keyword("validation_alias") or field.keyword("alias"))
        name = alias.value if alias and isinstance(alias.value, str) else field.name
        return [name, field.name] if both and name != field.name else [name]
