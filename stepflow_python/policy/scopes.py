"""Which names stand for imported things where, as far as that is cheap to see."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

ScopeNode = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
Comprehension = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_MAX_DOTS = 10


@dataclass(slots=True)
class Scope:
    """The names that one module, function, class or comprehension binds.

    A name maps to the full name of what was imported under it, or to none where it is something else. An import wins
    over another binding of the same scope.
    """

    parent: "Scope | None" = None
    is_class: bool = False
    ambient: bool = False
    """Names bound nowhere stand for modules of that name: for code cut out of its file."""
    bound: dict[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, node: ast.AST, parent: "Scope | None" = None, *, ambient: bool = False) -> "Scope":
        """The scope that a node opens."""
        scope = cls(parent=parent, is_class=isinstance(node, ast.ClassDef), ambient=ambient)
        globals_: set[str] = set()
        for argument in _arguments(node):
            scope.bound[argument.arg] = None
        for inner in _own_nodes(node):
            if isinstance(inner, ast.Global | ast.Nonlocal):
                globals_.update(inner.names)
            else:
                scope._bind(inner)
        for name in globals_:
            scope.bound.pop(name, None)
        return scope

    def _bind(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                self.bound[bound] = alias.name if alias.asname else bound
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            self.bound.update((alias.asname or alias.name, f"{origin}.{alias.name}") for alias in node.names)
        else:
            name = _plain_binding(node)
            if name:
                self.bound.setdefault(name, None)

    def resolve(self, node: ast.expr) -> str | None:
        """The full name that a name or attribute stands for, if it comes from an import or is built in."""
        attributes: list[str] = []
        while isinstance(node, ast.Attribute) and len(attributes) < _MAX_DOTS:
            attributes.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        base = self._lookup(node.id)
        return ".".join((base, *reversed(attributes))) if base else None

    def _lookup(self, name: str) -> str | None:
        scope: Scope | None = self
        ambient = False
        while scope is not None:
            # A class's names are not seen from the functions in it.
            if name in scope.bound and (scope is self or not scope.is_class):
                return scope.bound[name]
            ambient = scope.ambient
            scope = scope.parent
        if name == "__import__":
            return "builtins.__import__"
        return name if ambient else None


def _plain_binding(node: ast.AST) -> str | None:
    """The name that a node binds to something that is not imported."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()):
            return name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.ExceptHandler(name=caught) | ast.MatchAs(name=caught) | ast.MatchStar(name=caught):
            return caught
    return None


def _arguments(node: ast.AST) -> Iterator[ast.arg]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        arguments = node.args
        yield from (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        yield from (argument for argument in (arguments.vararg, arguments.kwarg) if argument)


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope's body, nested scopes by their head only."""
    stack = list(body_of(node))
    while stack:
        inner = stack.pop()
        yield inner
        if not isinstance(inner, (*ScopeNode, *Comprehension)):
            stack.extend(ast.iter_child_nodes(inner))


def body_of(node: ast.AST) -> list[ast.AST]:
    """What stands inside the scope that a node opens."""
    if isinstance(node, ast.Lambda):
        return [node.body]
    if isinstance(node, Comprehension):
        return list(ast.iter_child_nodes(node))
    return list(getattr(node, "body", ()))


def head_of(node: ast.AST) -> Iterator[ast.AST]:
    """What belongs to a scope's node but stands outside it: decorators, defaults, annotations, bases."""
    inside = set(map(id, body_of(node)))
    return (child for child in ast.iter_child_nodes(node) if id(child) not in inside)
