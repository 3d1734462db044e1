"""Functions and classes as values."""

import ast
from collections.abc import Iterator

from stepflow_python.model.module import Parameter, ParameterKind, PythonClass, PythonFunction
from stepflow_python.parsing.docs import docstring_of
from stepflow_python.parsing.schema import FunctionNode, Schemas
from stepflow_python.parsing.source import SourceLines
from stepflow_python.parsing.statements import FunctionStatement, reachable


class Definitions:
    """Reads the definitions of one source.

    Args:
        lines: of the source.
        schemas: makes each function's `input_schema`.
    """

    def __init__(self, lines: SourceLines, schemas: Schemas) -> None:
        self._lines = lines
        self._schemas = schemas

    def read(self, tree: ast.Module) -> tuple[tuple[PythonFunction, ...], tuple[PythonClass, ...]]:
        """The functions and classes that a caller reaches at module level, each in source order."""
        functions: list[PythonFunction] = []
        classes: list[PythonClass] = []
        for statement in reachable(tree.body):
            if isinstance(statement, FunctionStatement):
                functions.append(self._function(statement))
            elif isinstance(statement, ast.ClassDef):
                classes.append(self._class(statement))
        return tuple(functions), tuple(classes)

    def _class(self, node: ast.ClassDef) -> PythonClass:
        return PythonClass(
            name=node.name,
            bases=tuple(map(self._lines.text, node.bases)),
            methods=tuple(
                self._function(statement, method=True)
                for statement in reachable(node.body)
                if isinstance(statement, FunctionStatement)
            ),
            docstring=docstring_of(node),
            decorators=tuple(map(self._lines.text, node.decorator_list)),
            source_code=self._lines.block(node),
            lineno=node.lineno,
        )

    def _function(self, node: FunctionNode, *, method: bool = False) -> PythonFunction:
        text = self._lines.text
        docstring = docstring_of(node)
        decorators = tuple(map(text, node.decorator_list))
        return PythonFunction(
            name=node.name,
            parameters=tuple(self._parameters(node.args)),
            return_type=text(node.returns) if node.returns else None,
            docstring=docstring,
            decorators=decorators,
            is_async=isinstance(node, ast.AsyncFunctionDef),
            source_code=self._lines.block(node),
            lineno=node.lineno,
            input_schema=self._schemas.of_function(
                node, docstring, skip_first=method and "staticmethod" not in decorators
            ),
        )

    def _parameters(self, arguments: ast.arguments) -> Iterator[Parameter]:
        positional = arguments.posonlyargs + arguments.args
        without = len(positional) - len(arguments.defaults)
        for index, argument in enumerate(positional):
            default = arguments.defaults[index - without] if index >= without else None
            only = index < len(arguments.posonlyargs)
            kind = ParameterKind.POSITIONAL_ONLY if only else ParameterKind.POSITIONAL_OR_KEYWORD
            yield self._parameter(argument, kind, default)
        if arguments.vararg:
            yield self._parameter(arguments.vararg, ParameterKind.VAR_POSITIONAL, None)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            yield self._parameter(argument, ParameterKind.KEYWORD_ONLY, default)
        if arguments.kwarg:
            yield self._parameter(arguments.kwarg, ParameterKind.VAR_KEYWORD, None)

    def _parameter(self, argument: ast.arg, kind: ParameterKind, default: ast.expr | None) -> Parameter:
        variadic = kind in {ParameterKind.VAR_POSITIONAL, ParameterKind.VAR_KEYWORD}
        return Parameter(
            name=argument.arg,
            kind=kind,
            annotation=self._lines.text(argument.annotation) if argument.annotation else None,
            default=self._lines.text(default) if default else None,
            required=default is None and not variadic,
        )
