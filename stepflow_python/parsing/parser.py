"""From source to `PythonModule`. Start reading here: `parse_module` is the whole way."""

import asyncio
import hashlib
from pathlib import Path

from stepflow_python.errors import ParseError
from stepflow_python.model.module import Dependency, PythonModule
from stepflow_python.parsing.definitions import Definitions
from stepflow_python.parsing.docs import docstring_of
from stepflow_python.parsing.imports import read_imports
from stepflow_python.parsing.schema import Schemas
from stepflow_python.parsing.script_block import read_script_block
from stepflow_python.parsing.source import SourceLines, decode_source
from stepflow_python.parsing.tree import json_tree
from stepflow_python.syntax import BOM, MAX_CODE_SIZE, read_tree

__all__ = ["AstParser", "check_syntax", "declared_dependencies", "decode_source", "parse_module", "read_source"]

_INLINE_SIZE = 16_384
"""Characters: some 10 ms of parsing. More of it goes to a thread, so that the loop's other work goes on."""


def parse_module(
    code: str, *, name: str = "tool", max_code_size: int = MAX_CODE_SIZE, with_ast: bool = False
) -> PythonModule:
    """All facts about a source; it is neither executed nor imported.

    Args:
        code: the source text.
        name: of the module, also in messages.
        max_code_size: bytes of UTF-8.
        with_ast: also the syntax tree, as JSON.

    Raises:
        PythonSyntaxError: it is not Python; with line and column.
        ParseError: too large, NUL bytes, nested too deep, or a malformed script block.
        DependencyError: a declared requirement is malformed.
    """
    code = code.removeprefix(BOM)
    tree = read_tree(code, name=name, max_code_size=max_code_size)
    lines = SourceLines(code)
    imports = read_imports(tree, code, name=name, lines=lines)
    functions, classes = Definitions(lines, Schemas(tree, name=name)).read(tree)
    block = read_script_block(lines.lines, name=name)
    return PythonModule(
        name=name,
        functions=functions,
        classes=classes,
        imports=imports,
        dependencies=block.dependencies,
        declared=block.present,
        requires_python=block.requires_python,
        docstring=docstring_of(tree),
        source_code=code,
        source_hash=hashlib.sha256(code.encode()).hexdigest(),
        ast=json_tree(tree, name=name) if with_ast else None,
    )


def check_syntax(code: str, *, name: str = "tool", max_code_size: int = MAX_CODE_SIZE) -> None:
    """Whether a source is Python.

    Raises:
        PythonSyntaxError: it is not; with line and column.
        ParseError: it cannot be read at all.
    """
    tree = read_tree(code, name=name, max_code_size=max_code_size)
    read_imports(tree, code, name=name, lines=SourceLines(code.removeprefix(BOM)))


def declared_dependencies(
    code: str, *, name: str = "tool", max_code_size: int = MAX_CODE_SIZE
) -> tuple[Dependency, ...]:
    """What a source declares in its script block (PEP 723).

    Raises:
        PythonError: as `parse_module`.
    """
    read_tree(code, name=name, max_code_size=max_code_size)
    return read_script_block(SourceLines(code.removeprefix(BOM)).lines, name=name).dependencies


def read_source(path: Path, *, max_code_size: int = MAX_CODE_SIZE) -> str:
    """The text of a source file, by its coding cookie.

    Raises:
        ParseError: it cannot be read, is too large, or is not in its encoding.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_code_size + 1)
    except OSError as error:
        raise ParseError(f"{path}: cannot be read: {error.strerror or error}; check the path") from error
    if len(data) > max_code_size:
        raise ParseError(
            f"{path}: the source has over {max_code_size} bytes, the limit; "
            "make it smaller, pass data as files or parameters, or raise MAX_CODE_SIZE"
        )
    return decode_source(data, name=path.stem)


class AstParser:
    """The parser of tools (`ports.PythonParser`).

    Args:
        max_code_size: bytes of UTF-8 that a source may have.
        with_ast: also give each module's syntax tree, as JSON.
    """

    def __init__(self, max_code_size: int = MAX_CODE_SIZE, with_ast: bool = False) -> None:  # noqa: FBT001, FBT002 - a setting, named wherever it is given
        self._max_code_size = max_code_size
        self._with_ast = with_ast

    async def parse_code(self, code: str, *, name: str = "tool") -> PythonModule:
        """Parse source text; raises as `parse_module`."""
        if len(code) <= _INLINE_SIZE:
            return self._parse(code, name)
        return await asyncio.to_thread(self._parse, code, name)

    async def parse_file(self, path: Path) -> PythonModule:
        """Parse a file, decoded by its own coding cookie; its stem is the module's name."""
        code = await asyncio.to_thread(read_source, path, max_code_size=self._max_code_size)
        return await self.parse_code(code, name=path.stem)

    async def validate_syntax(self, code: str) -> None:
        """Raise `PythonSyntaxError` where the source is not Python."""
        if len(code) <= _INLINE_SIZE:
            check_syntax(code, max_code_size=self._max_code_size)
        else:
            await asyncio.to_thread(check_syntax, code, max_code_size=self._max_code_size)

    async def analyze_dependencies(self, code: str) -> tuple[Dependency, ...]:
        """What the source declares that it needs."""
        if len(code) <= _INLINE_SIZE:
            return declared_dependencies(code, max_code_size=self._max_code_size)
        return await asyncio.to_thread(declared_dependencies, code, max_code_size=self._max_code_size)

    def _parse(self, code: str, name: str) -> PythonModule:
        return parse_module(code, name=name, max_code_size=self._max_code_size, with_ast=self._with_ast)
