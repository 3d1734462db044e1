"""Which classes of a file JSON objects and values can stand for."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from stepflow_python.parsing.names import LOCAL, Names
from stepflow_python.parsing.statements import FunctionStatement, reachable

_MAX_ANCESTORS = 64
"""Classes of one file above a class; more describe nothing."""

_ENUMS = frozenset(f"enum.{name}" for name in ("Enum", "IntEnum", "StrEnum", "Flag", "IntFlag", "ReprEnum"))
_DATACLASSES = frozenset({"dataclasses.dataclass", "pydantic.dataclasses.dataclass"})
_PLAIN = frozenset(
    {
        "builtins.object",
        "typing.Generic",
        "typing.Protocol",
        "abc.ABC",
        "builtins.str",
        "builtins.int",
        "builtins.float",
    }
)
_BEFORE_VALIDATORS = frozenset(
    f"pydantic.{name}" for name in ("model_validator", "field_validator", "root_validator", "validator")
)


class ClassKind(StrEnum):
    """The classes that are understood; the value is the word in `x-python`."""

    ENUM = "enum"
    DATACLASS = "dataclass"
    NAMEDTUPLE = "namedtuple"
    PYDANTIC = "pydantic"
    TYPEDDICT = "typeddict"
    """Needs no `x-python`: it is a dict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalClass:
    """A class that is understood.

    `lineage` holds the file's own classes it is made of, the remotest ancestor first, itself last. `complete`: every
    other ancestor is known to add no fields.
    """

    name: str
    kind: ClassKind
    lineage: tuple[ast.ClassDef, ...]
    complete: bool

    @property
    def node(self) -> ast.ClassDef:
        """The class itself."""
        return self.lineage[-1]


def classify(name: str, names: Names) -> LocalClass | None:
    """How JSON stands for instances of a class of this file; none if it does not."""
    ancestry = _collect(name, names)
    if ancestry is None:
        return None
    lineage, foreign = ancestry
    kind = _kind(foreign, lineage, names)
    if kind is None or (kind is ClassKind.DATACLASS and not _is_made_from_fields(lineage, names)):
        return None
    complete = all(base is not None and (base in _PLAIN or _kind_of_base(base)) for base in foreign)
    return LocalClass(name=name, kind=kind, lineage=tuple(lineage.values()), complete=complete)


def is_dataclass(node: ast.ClassDef, names: Names) -> bool:
    """Whether a class is decorated as a dataclass."""
    return _dataclass_decorator(node, names) is not None


def class_body(node: ast.ClassDef) -> Iterator[ast.stmt]:
    """The statements that define a class's attributes."""
    return reachable(node.body, typing_too=True)


def has_early_validators(model: LocalClass, names: Names) -> bool:
    """Whether a pydantic model looks at its input before its annotations do, and so may take other shapes."""
    for node in model.lineage:
        for statement in class_body(node):
            if not isinstance(statement, FunctionStatement):
                continue
            if statement.name == "__init__":
                return True
            for decorator in statement.decorator_list:
                call = decorator if isinstance(decorator, ast.Call) else None
                if names.resolve(call.func if call else decorator) in _BEFORE_VALIDATORS and not _is_after(call):
                    return True
    return False


def _is_after(call: ast.Call | None) -> bool:
    """Pydantic 2's field validators run after their annotation unless they say otherwise."""
    mode = next((keyword.value for keyword in call.keywords if keyword.arg in {"mode", "pre"}), None) if call else None
    return mode is None or (isinstance(mode, ast.Constant) and mode.value in {"after", False})


def _collect(name: str, names: Names) -> tuple[dict[str, ast.ClassDef], list[str | None]] | None:
    """The file's own classes above one, remotest first and itself last, and the full names of all other bases.

    None if there are too many. A circle, which Python would refuse, ends where it meets itself.
    """
    lineage: dict[str, ast.ClassDef] = {}
    foreign: list[str | None] = []
    seen: set[str] = set()
    stack = [(name, False)]
    while stack:
        current, done = stack.pop()
        if done:
            lineage[current] = names.classes[current]
            continue
        if current in seen:
            continue
        seen.add(current)
        if len(seen) > _MAX_ANCESTORS:
            return None
        stack.append((current, True))
        for base in names.classes[current].bases[:_MAX_ANCESTORS]:
            resolved = names.resolve(base.value if isinstance(base, ast.Subscript) else base)
            local = resolved.removeprefix(LOCAL) if resolved is not None and resolved.startswith(LOCAL) else None
            if local is not None and local in names.classes:
                stack.append((local, False))
            else:
                foreign.append(resolved)
    return lineage, foreign


def _kind(foreign: list[str | None], lineage: dict[str, ast.ClassDef], names: Names) -> ClassKind | None:
    if any(is_dataclass(node, names) for node in lineage.values()):
        return ClassKind.DATACLASS
    return next((kind for kind in map(_kind_of_base, foreign) if kind is not None), None)


def _kind_of_base(base: str | None) -> ClassKind | None:
    if base in _ENUMS:
        return ClassKind.ENUM
    return {
        "typing.TypedDict": ClassKind.TYPEDDICT,
        "typing.NamedTuple": ClassKind.NAMEDTUPLE,
        "pydantic.BaseModel": ClassKind.PYDANTIC,
    }.get(base or "")


def _dataclass_decorator(node: ast.ClassDef, names: Names) -> ast.expr | None:
    for decorator in node.decorator_list:
        if names.resolve(decorator.func if isinstance(decorator, ast.Call) else decorator) in _DATACLASSES:
            return decorator
    return None


def _is_made_from_fields(lineage: dict[str, ast.ClassDef], names: Names) -> bool:
    """Whether a dataclass is made from its fields, not by an `__init__` that was written by hand."""
    for node in lineage.values():
        decorator = _dataclass_decorator(node, names)
        keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
        without = any(
            keyword.arg == "init" and isinstance(keyword.value, ast.Constant) and not keyword.value.value
            for keyword in keywords
        )
        if without or any(isinstance(item, FunctionStatement) and item.name == "__init__" for item in class_body(node)):
            return False
    return True
