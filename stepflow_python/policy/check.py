"""Verdicts on source. Advice and early refusal: the sandbox is what holds, whatever is found or missed here."""

import ast
import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence

from stepflow_python.model.module import Import, PythonFunction
from stepflow_python.model.security import SecuritySettings, SecurityStatus, Verdict, Violation
from stepflow_python.policy.rules import Finding, Rules
from stepflow_python.policy.scopes import Comprehension, Scope, ScopeNode, body_of, head_of
from stepflow_python.syntax import read_tree

_DYNAMIC = frozenset({"builtins.__import__", "importlib.__import__", "importlib.import_module"})
_INLINE_SIZE = 16_384
"""Characters; more is checked in a thread, so that the loop's other work goes on."""


def check_source(code: str, settings: SecuritySettings) -> Verdict:
    """All violations in a source, by place; lines and columns are 1-based.

    Raises:
        PythonSyntaxError: it is not Python.
        ParseError: it cannot be parsed at all.
    """
    return _verdict(_Checker(code, Rules(settings)).violations(read_tree(code, max_code_size=sys.maxsize)))


def check_import_values(imports: Sequence[Import], settings: SecuritySettings) -> Verdict:
    """All violations among imports that were parsed before; their column is not known and given as 1."""
    rules = Rules(settings)
    return _verdict(
        finding.at(imported.lineno, 1)
        for imported in imports
        if not imported.level
        for finding in rules.imported(imported.module, [name.name for name in imported.names])
    )


def check_function(function: PythonFunction, settings: SecuritySettings) -> Verdict:
    """All violations in one function, with lines as in its file.

    Cut out of its file, a function does not know the file's imports: a name bound nowhere in it is taken for the
    module of that name.
    """
    code = function.source_code
    indented = code[:1].isspace()
    tree = read_tree(f"if 1:\n{code}" if indented else code, max_code_size=sys.maxsize)
    top = tree.body[0].body[0] if indented and isinstance(tree.body[0], ast.If) else tree.body[0]
    shift = function.lineno - top.lineno
    checker = _Checker(f"\n{code}" if indented else code, Rules(settings), ambient=True, shift=shift)
    return _verdict(checker.violations(tree))


class PolicySecurity:
    """The policy of one level on one worker (`ports.PythonSecurity`).

    Args:
        settings: of the level.
        status: what is known of a run while it lasts, by its execution id.
    """

    def __init__(self, settings: SecuritySettings, status: Callable[[str], SecurityStatus]) -> None:
        self._settings = settings
        self._status = status

    async def validate_code(self, code: str) -> Verdict:
        """All violations in the source."""
        if len(code) <= _INLINE_SIZE:
            return check_source(code, self._settings)
        return await asyncio.to_thread(check_source, code, self._settings)

    async def check_imports(self, imports: Sequence[Import]) -> Verdict:
        """All violations among imports."""
        return check_import_values(imports, self._settings)

    async def check_functions(self, functions: Sequence[PythonFunction]) -> Verdict:
        """All violations in the bodies of functions."""
        verdicts = [check_function(function, self._settings) for function in functions]
        return _verdict(violation for verdict in verdicts for violation in verdict.violations)

    async def monitor_execution(self, execution_id: str) -> SecurityStatus:
        """What is known of a run while it lasts."""
        return self._status(execution_id)


class _Checker:
    def __init__(self, code: str, rules: Rules, *, ambient: bool = False, shift: int = 0) -> None:
        self._code = code
        self._rules = rules
        self._ambient = ambient
        self._shift = shift

    def violations(self, tree: ast.Module) -> Iterator[Violation]:
        lines: list[str] | None = None
        for node, scope in self._walk(tree):
            for finding in self._findings(node, scope):
                # Split for the first finding: most sources have none.
                lines = lines or self._code.replace("\r\n", "\n").replace("\r", "\n").split("\n")
                before = lines[node.lineno - 1].encode()[: node.col_offset].decode(errors="replace")
                yield finding.at(node.lineno + self._shift, len(before) + 1)

    def _walk(self, tree: ast.Module) -> Iterator[tuple[ast.stmt | ast.expr, Scope]]:
        """Every statement and expression with its scope; not recursive, since sources nest deeper than our stack."""
        stack: list[tuple[ast.AST, Scope]] = [(tree, Scope.of(tree, ambient=self._ambient))]
        while stack:
            node, scope = stack.pop()
            if isinstance(node, ast.stmt | ast.expr):
                yield node, scope
            if isinstance(node, (*ScopeNode, *Comprehension)):
                stack.extend((child, scope) for child in head_of(node))
                inner = Scope.of(node, scope)
                stack.extend((child, inner) for child in body_of(node))
            else:
                stack.extend((child, scope) for child in ast.iter_child_nodes(node))

    def _findings(self, node: ast.stmt | ast.expr, scope: Scope) -> Iterator[Finding]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from self._rules.imported(alias.name)
        elif isinstance(node, ast.ImportFrom):
            if not node.level and node.module:
                yield from self._rules.imported(node.module, [alias.name for alias in node.names])
        elif isinstance(node, ast.Call):
            yield from self._called(node, scope)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            name = scope.resolve(node)
            finding = self._rules.referenced(name) if name else None
            if finding:
                yield finding

    def _called(self, node: ast.Call, scope: Scope) -> Iterator[Finding]:
        name = scope.resolve(node.func)
        if name is None:
            return
        finding = self._rules.called(name) if not name.startswith("builtins.") else None
        if finding:
            yield finding
        if name in _DYNAMIC:
            keywords = [keyword.value for keyword in node.keywords if keyword.arg == "name"]
            module = next(iter([*node.args, *keywords]), None)
            if isinstance(module, ast.Constant) and isinstance(module.value, str) and module.value[:1] != ".":
                yield from self._rules.imported(module.value)


def _verdict(violations: Iterator[Violation]) -> Verdict:
    """Each once, by place."""
    distinct = {(item.line, item.column, item.rule, item.subject): item for item in violations}
    return Verdict(violations=tuple(item for _, item in sorted(distinct.items())))
