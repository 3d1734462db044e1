"""The fields of dataclasses, named tuples, typed dicts and pydantic models."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from stepflow_python.parsing.class_kinds import ClassKind, LocalClass, class_body, is_dataclass
from stepflow_python.parsing.names import Names
from stepflow_python.syntax import read_expression

_SKIPPED = frozenset({"typing.ClassVar", "dataclasses.KW_ONLY"})
_FIELD_CALLS = frozenset({"dataclasses.field", "pydantic.Field", "pydantic.PrivateAttr"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. `default` is the expression where there is one; `call` the `field(...)` or `Field(...)`."""

    name: str
    annotation: ast.expr
    required: bool
    default: ast.expr | None = None
    call: ast.Call | None = None

    def keyword(self, name: str) -> ast.expr | None:
        """An argument of the call."""
        return keyword(self.call, name)


def fields_of(local: LocalClass, names: Names) -> tuple[Field, ...]:
    """The fields that a caller gives, inherited ones first; a redefined one keeps its place."""
    found: dict[str, Field] = {}
    for node in local.lineage:
        if local.kind is ClassKind.DATACLASS and not is_dataclass(node, names):
            continue
        optional = local.kind is ClassKind.TYPEDDICT and _is_false(_class_keyword(node, "total"))
        for statement in _annotated(node):
            if not isinstance(statement.target, ast.Name):
                continue
            name = statement.target.id
            field = _field(name, statement, names, optional=optional)
            if field is None or (local.kind is ClassKind.PYDANTIC and name.startswith("_")) or name == "model_config":
                found.pop(name, None)
            else:
                found[name] = field
    return tuple(found.values())


def keyword(call: ast.Call | None, name: str) -> ast.expr | None:
    """An argument of a call, by keyword."""
    return next((item.value for item in call.keywords if item.arg == name), None) if call else None


def _annotated(node: ast.ClassDef) -> Iterator[ast.AnnAssign]:
    return (statement for statement in class_body(node) if isinstance(statement, ast.AnnAssign))


def _field(name: str, statement: ast.AnnAssign, names: Names, *, optional: bool) -> Field | None:
    annotation = statement.annotation
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = read_expression(annotation.value) or annotation
    wrapper = names.resolve(annotation.value if isinstance(annotation, ast.Subscript) else annotation)
    if wrapper in _SKIPPED:
        return None
    if wrapper in {"typing.Required", "typing.NotRequired"}:
        return Field(name=name, annotation=annotation, required=wrapper == "typing.Required")
    value = statement.value
    if isinstance(value, ast.Call) and names.resolve(value.func) in _FIELD_CALLS:
        if _is_false(keyword(value, "init")):
            return None
        default = keyword(value, "default") or (value.args[0] if value.args else None)
        if isinstance(default, ast.Constant) and default.value is Ellipsis:
            default = None
        given = default is not None or keyword(value, "default_factory") is not None
        return Field(name=name, annotation=annotation, required=not given, default=default, call=value)
    if isinstance(value, ast.Constant) and value.value is Ellipsis:
        value = None
    return Field(name=name, annotation=annotation, required=value is None and not optional, default=value)


def _class_keyword(node: ast.ClassDef, name: str) -> ast.expr | None:
    return next((item.value for item in node.keywords if item.arg == name), None)


def _is_false(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is False
