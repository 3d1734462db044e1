"""The members of enumerations."""

import ast

from stepflow_python.parsing.class_kinds import LocalClass, class_body
from stepflow_python.parsing.literals import Literal, json_scalar
from stepflow_python.parsing.names import Names
from stepflow_python.parsing.statements import FunctionStatement
from stepflow_python.parsing.vocabulary import Json, Schema

_VALUE_HOOKS = frozenset({"__new__", "_generate_next_value_"})


def enum_schema(local: LocalClass, names: Names) -> Schema:
    """The members' values where all are JSON constants (`enum:Name`), else their names (`enum-name:Name`)."""
    members: dict[str, Literal | None] = {}
    hooked = False
    for node in local.lineage:
        bases = {names.resolve(base) for base in node.bases}
        for statement in class_body(node):
            if isinstance(statement, FunctionStatement):
                hooked = hooked or statement.name in _VALUE_HOOKS
                continue
            for name, value in _members(statement):
                members[name] = _value(name, value, names, text="enum.StrEnum" in bases)
    if not members:
        return {}
    values = [literal.value for literal in members.values() if literal]
    if hooked or len(values) < len(members):
        by_name: list[Json] = [*members]
        return {"enum": by_name, "x-python": f"enum-name:{local.name}"}
    # Members with an equal value are aliases of the first; 1 and true are told apart by their type.
    distinct = {(type(value), value): value for value in values if not isinstance(value, list | dict)}
    return {"enum": list(distinct.values()), "x-python": f"enum:{local.name}"}


def _members(statement: ast.stmt) -> list[tuple[str, ast.expr]]:
    if isinstance(statement, ast.Assign):
        targets, value = statement.targets, statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets, value = [statement.target], statement.value
    else:
        return []
    if isinstance(value, ast.Lambda):
        return []
    # `_ignore_`, `__slots__` and `__private` names are no members.
    return [(target.id, value) for target in targets if isinstance(target, ast.Name) and not target.id.startswith("_")]


def _value(name: str, node: ast.expr, names: Names, *, text: bool) -> Literal | None:
    if text and isinstance(node, ast.Call) and names.resolve(node.func) == "enum.auto":
        return Literal(name.lower())
    return json_scalar(node)
