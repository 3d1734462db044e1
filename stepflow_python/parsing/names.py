"""What a name in an annotation stands for, by the file's own imports and definitions."""

import ast
import builtins
import collections.abc
import dataclasses
import datetime as dt
import decimal
import enum
import pathlib
import typing
import uuid
from dataclasses import dataclass, field

from stepflow_python.parsing.statements import FunctionStatement, reachable
from stepflow_python.syntax import read_expression

LOCAL = "<local>."
"""Before the name of what this file defines, where other names are dotted from their package."""

_BUILTIN_TYPES = frozenset(name for name, value in vars(builtins).items() if isinstance(value, type))
_SAME = {
    "typing_extensions.": "typing.",
    "pydantic.main.": "pydantic.",
    "pydantic.fields.": "pydantic.",
    "pydantic.types.": "pydantic.",
    "pydantic.v1.": "pydantic.",
}
_TYPE_ALIAS = getattr(ast, "TypeAlias", None)
"""The node of `type X = ...`, which this interpreter may not have."""
_MAX_DOTS = 10
_STARRED = {
    module.__name__: frozenset(getattr(module, "__all__", None) or vars(module))
    for module in (collections.abc, dataclasses, dt, decimal, enum, pathlib, typing, uuid)
}
"""What `from module import *` binds, for the modules whose types are known here."""


@dataclass(slots=True)
class Names:
    """The names that a module's statements bind, where they matter for annotations.

    An import wins over a definition of the same name: the definition is then the fallback of a `try`, and what is
    imported is not described, which constrains nothing.
    """

    imported: dict[str, str] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    aliases: dict[str, ast.expr] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, tree: ast.Module) -> "Names":
        """The names at a module's top level, those for type checkers too."""
        names = cls()
        for statement in reachable(tree.body, typing_too=True):
            names._add(statement)
        return names

    def _add(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                # `import a.b` binds `a`; `import a.b as c` binds `a.b`.
                bound = alias.asname or alias.name.partition(".")[0]
                self.imported[bound] = alias.name if alias.asname else bound
        elif isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                origin = "." * statement.level + (statement.module or "")
                if alias.name == "*":
                    self.imported.update((name, f"{origin}.{name}") for name in _STARRED.get(origin, ()))
                else:
                    self.imported[alias.asname or alias.name] = f"{origin}.{alias.name}"
        elif isinstance(statement, ast.ClassDef):
            self.classes[statement.name] = statement
        elif isinstance(statement, FunctionStatement):
            self.others.add(statement.name)
        else:
            self._add_alias(statement)

    def _add_alias(self, statement: ast.stmt) -> None:
        target: ast.expr | None = None
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
        elif isinstance(statement, ast.AnnAssign) or (_TYPE_ALIAS is not None and isinstance(statement, _TYPE_ALIAS)):
            target = statement.target if isinstance(statement, ast.AnnAssign) else statement.name
        value = getattr(statement, "value", None)
        if isinstance(statement, ast.AnnAssign) and isinstance(value, ast.Constant) and isinstance(value.value, str):
            # `X: TypeAlias = "..."`; what else is annotated and text is a plain constant.
            declared = self.resolve(statement.annotation) == "typing.TypeAlias"
            value = read_expression(value.value) if declared else None
        if isinstance(target, ast.Name) and isinstance(value, ast.expr):
            self.aliases[target.id] = value

    def resolve(self, node: ast.expr) -> str | None:
        """The full name of a name or attribute, such as `typing.Optional`; none if it cannot be known.

        Names of this file's classes and aliases come with `LOCAL` before them, those of built-in types with
        `builtins.`.
        """
        attributes: list[str] = []
        while isinstance(node, ast.Attribute) and len(attributes) < _MAX_DOTS:
            attributes.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        base = self._base(node.id)
        if base is None or (attributes and base.startswith((LOCAL, "builtins."))):
            return None
        full = ".".join((base, *reversed(attributes)))
        return next(
            (same + full.removeprefix(prefix) for prefix, same in _SAME.items() if full.startswith(prefix)), full
        )

    def _base(self, name: str) -> str | None:
        if name in self.imported:
            return self.imported[name]
        if name in self.classes or name in self.aliases:
            return LOCAL + name
        if name in self.others:
            return None
        return f"builtins.{name}" if name in _BUILTIN_TYPES else None
