"""Ways through a tree's statements, none of them recursive: a hostile source can nest deeper than our stack."""

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntFlag

TryStatement = (ast.Try, ast.TryStar)
FunctionStatement = (ast.FunctionDef, ast.AsyncFunctionDef)
_IMPORT_ERRORS = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


class Place(IntFlag):
    """Where a statement stands."""

    TOP = 0
    OPTIONAL = 1
    """What is imported here may be missing: in a function, `try/except ImportError`, or `if TYPE_CHECKING`."""
    FUNCTION = 2
    """In a function's own body: it may return."""
    ASYNC = 4
    """In the body of an `async def`: it may await."""
    LOOP = 8
    """In a loop's body: it may break and continue."""


# Plain integers in the walk below: operations on enum members cost twenty times as much, for each statement.
_OPTIONAL, _FUNCTION, _ASYNC, _LOOP = 1, 2, 4, 8


def all_statements(tree: ast.Module) -> Iterator[tuple[ast.stmt, int]]:
    """Every statement of a module, nested ones too, with the bits of its `Place`; in no particular order."""
    stack: list[tuple[Sequence[ast.stmt], int]] = [(tree.body, 0)]
    while stack:
        body, place = stack.pop()
        for statement in body:
            yield statement, place
            if type(statement) in _INNER:
                stack.extend(_INNER[type(statement)](statement, place))


Blocks = Iterable[tuple[Sequence[ast.stmt], int]]


def _in_function(node: ast.FunctionDef, place: int) -> Blocks:  # noqa: ARG001 - one signature for all in the table
    return ((node.body, _OPTIONAL | _FUNCTION),)


def _in_async_function(node: ast.AsyncFunctionDef, place: int) -> Blocks:  # noqa: ARG001 - as above
    return ((node.body, _OPTIONAL | _FUNCTION | _ASYNC),)


def _in_class(node: ast.ClassDef, place: int) -> Blocks:
    return ((node.body, place & _OPTIONAL),)


def _in_if(node: ast.If, place: int) -> Blocks:
    typing_only = type_checking(node.test)
    yield node.body, place | _OPTIONAL if typing_only is True else place
    yield node.orelse, place | _OPTIONAL if typing_only is False else place


def _in_loop(node: ast.For | ast.AsyncFor | ast.While, place: int) -> Blocks:
    return ((node.body, place | _LOOP), (node.orelse, place))


def _in_with(node: ast.With | ast.AsyncWith, place: int) -> Blocks:
    return ((node.body, place | _OPTIONAL if any(map(_suppresses_import_error, node.items)) else place),)


def _in_try(node: ast.Try | ast.TryStar, place: int) -> Blocks:
    inside = place | _OPTIONAL if any(_catches_import_error(handler.type) for handler in node.handlers) else place
    yield node.body, inside
    for handler in node.handlers:
        yield handler.body, inside
    yield node.orelse, inside
    yield node.finalbody, place


def _in_match(node: ast.Match, place: int) -> Blocks:
    return ((case.body, place) for case in node.cases)


_INNER: dict[type[ast.stmt], Callable[..., Blocks]] = {
    ast.FunctionDef: _in_function,
    ast.AsyncFunctionDef: _in_async_function,
    ast.ClassDef: _in_class,
    ast.If: _in_if,
    ast.For: _in_loop,
    ast.AsyncFor: _in_loop,
    ast.While: _in_loop,
    ast.With: _in_with,
    ast.AsyncWith: _in_with,
    ast.Try: _in_try,
    ast.TryStar: _in_try,
    ast.Match: _in_match,
}


def reachable(body: Sequence[ast.stmt], *, typing_too: bool = False) -> Iterator[ast.stmt]:
    """The statements of a body that define names for it: through `if`, `try`, `with` and `match`, in source order.

    Args:
        body: of a module or a class.
        typing_too: also what stands under `if TYPE_CHECKING`, whose names annotations may use.
    """
    stack = list(reversed(body))
    while stack:
        statement = stack.pop()
        yield statement
        if isinstance(statement, ast.If):
            typing_only = type_checking(statement.test)
            if typing_only is not False or typing_too:
                stack.extend(reversed(statement.orelse))
            if typing_only is not True or typing_too:
                stack.extend(reversed(statement.body))
        elif isinstance(statement, (ast.With, *TryStatement, ast.Match)):
            for block, _ in reversed(list(_INNER[type(statement)](statement, 0))):
                stack.extend(reversed(block))


def type_checking(test: ast.expr) -> bool | None:
    """Whether a condition is `TYPE_CHECKING` (true), `not TYPE_CHECKING` (false), or neither (none)."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = type_checking(test.operand) if not isinstance(test.operand, ast.UnaryOp) else None
        return None if inner is None else not inner
    name = test.id if isinstance(test, ast.Name) else test.attr if isinstance(test, ast.Attribute) else None
    return True if name == "TYPE_CHECKING" else None


def _catches_import_error(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    return any(
        _last_name(kind) in _IMPORT_ERRORS for kind in (caught.elts if isinstance(caught, ast.Tuple) else [caught])
    )


def _suppresses_import_error(item: ast.withitem) -> bool:
    call = item.context_expr
    return (
        isinstance(call, ast.Call)
        and _last_name(call.func) == "suppress"
        and any(_last_name(kind) in _IMPORT_ERRORS for kind in call.args)
    )


def _last_name(node: ast.expr) -> str | None:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
