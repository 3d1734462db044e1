"""Imports: every one in a source, wherever it stands."""

import ast
import sys
from collections.abc import Iterable

from stepflow_python.model.module import Import, ImportedName
from stepflow_python.parsing.source import SourceLines, misplaced
from stepflow_python.parsing.statements import Place, all_statements

_OPTIONAL, _FUNCTION, _ASYNC, _LOOP = (int(bit) for bit in (Place.OPTIONAL, Place.FUNCTION, Place.ASYNC, Place.LOOP))


def read_imports(tree: ast.Module, code: str, *, name: str, lines: SourceLines) -> tuple[Import, ...]:
    """All imports of a module in source order.

    The one walk over all statements also finds those that stand where Python does not take them.

    Raises:
        PythonSyntaxError: `return` outside a function, `break` or `continue` outside a loop, and the like.
    """
    found: list[tuple[int, int, Import]] = []
    for statement, place in all_statements(tree):
        kind = type(statement)
        if kind is ast.Import or kind is ast.ImportFrom:
            found.extend(
                (statement.lineno, statement.col_offset, imported)
                for imported in _imports_of(statement, optional=bool(place & _OPTIONAL))
            )
        elif kind in _NEEDS and not place & _NEEDS[kind][0]:
            raise misplaced(_NEEDS[kind][1], statement, name=name, lines=lines)
        elif kind is ast.Expr and not place & _FUNCTION and type(statement.value) in _FUNCTION_ONLY:  # type: ignore[attr-defined]  # `kind is` does not narrow
            raise misplaced("'await' or 'yield' outside function", statement, name=name, lines=lines)
    if "import_module" in code or "__import__" in code:
        found.extend(_dynamic(tree))
    # Those of one statement keep their order: the sort is stable.
    found.sort(key=lambda entry: entry[:2])
    return tuple(imported for _, _, imported in found)


_FUNCTION_ONLY = (ast.Await, ast.Yield, ast.YieldFrom)
_NEEDS: dict[type[ast.stmt], tuple[int, str]] = {
    ast.Return: (_FUNCTION, "'return' outside function"),
    ast.Break: (_LOOP, "'break' outside loop"),
    ast.Continue: (_LOOP, "'continue' not properly in loop"),
    ast.AsyncFor: (_ASYNC, "'async for' outside async function"),
    ast.AsyncWith: (_ASYNC, "'async with' outside async function"),
}


def is_stdlib(module: str) -> bool:
    """Whether a module comes with Python."""
    return module.partition(".")[0] in sys.stdlib_module_names


def _imports_of(statement: ast.stmt, *, optional: bool) -> Iterable[Import]:
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            yield Import(
                module=alias.name,
                names=(ImportedName(name=alias.name, alias=alias.asname),) if alias.asname else (),
                lineno=statement.lineno,
                optional=optional,
                is_stdlib=is_stdlib(alias.name),
            )
    elif isinstance(statement, ast.ImportFrom):
        module = statement.module or ""
        yield Import(
            module=module,
            names=tuple(ImportedName(name=alias.name, alias=alias.asname) for alias in statement.names),
            level=statement.level,
            lineno=statement.lineno,
            optional=optional,
            is_stdlib=not statement.level and is_stdlib(module),
        )


def _dynamic(tree: ast.Module) -> Iterable[tuple[int, int, Import]]:
    """Calls of `importlib.import_module` and `__import__` with a constant name, under whatever name they go here."""
    functions = {"__import__"}
    modules: set[str] = set()
    calls: list[ast.Call] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            calls.append(node)
        elif isinstance(node, ast.Import):
            modules.update(alias.asname or alias.name for alias in node.names if alias.name == "importlib")
        elif isinstance(node, ast.ImportFrom) and node.module == "importlib" and not node.level:
            functions.update(alias.asname or alias.name for alias in node.names if alias.name == "import_module")
    for call in calls:
        function, argument = call.func, call.args[0] if call.args else None
        named = isinstance(function, ast.Name) and function.id in functions
        reached = (
            isinstance(function, ast.Attribute)
            and function.attr in {"import_module", "__import__"}
            and isinstance(function.value, ast.Name)
            and function.value.id in modules | {"builtins"}
        )
        if (named or reached) and isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            imported = _dynamic_import(argument.value, call.lineno)
            if imported is not None:
                yield call.lineno, call.col_offset, imported


def _dynamic_import(text: str, lineno: int) -> Import | None:
    module = text.lstrip(".")
    if not all(part.isidentifier() for part in module.split(".")):
        return None
    level = len(text) - len(module)
    return Import(module=module, level=level, lineno=lineno, optional=True, is_stdlib=not level and is_stdlib(module))
