"""Source files decoded, and pieces of a source by their place."""

import ast
import io
import tokenize

from stepflow_python.errors import ParseError, PythonSyntaxError
from stepflow_python.syntax import syntax_error


def decode_source(data: bytes, *, name: str = "tool") -> str:
    """Text of a source file, by its byte order mark or coding cookie, else UTF-8; newlines stay as they are.

    Raises:
        ParseError: the encoding is unknown, or the bytes are not in it; says at which line.
    """
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    except SyntaxError as error:
        # Said also of other bytes in the first two lines; those have a place that can be told.
        _decoded(data, "utf-8", name=name)
        raise ParseError(f"{name}: {error.msg}; save the file as UTF-8, or name its encoding", line=1) from error
    return _decoded(data, encoding, name=name)


def _decoded(data: bytes, encoding: str, *, name: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise ParseError(
            f"{name}, line {line}, byte {column}: byte 0x{data[error.start]:02x} is not {encoding}; "
            "save the file as UTF-8, or name its encoding in a `# -*- coding: ... -*-` line",
            line=line,
            column=column,
        ) from error
    except (LookupError, ValueError) as error:
        # `# coding: rot13` names a codec that is known but does not give text.
        raise ParseError(f"{name}: {encoding} is no text encoding; save the file as UTF-8", line=1) from error


def misplaced(message: str, node: ast.stmt, *, name: str, lines: "SourceLines") -> PythonSyntaxError:
    """The error for a statement that is well-formed but stands where Python does not take it."""
    error = SyntaxError(message, (name, node.lineno, node.col_offset + 1, lines.lines[node.lineno - 1]))
    return syntax_error(error, name=name)


class SourceLines:
    """The lines of a source as the parser counts them, and pieces of it by a node's place."""

    __slots__ = ("lines",)

    def __init__(self, code: str) -> None:
        # The parser ends a line at \n, \r\n and \r only; `str.splitlines` also at form feeds and more.
        self.lines = (code.replace("\r\n", "\n").replace("\r", "\n") if "\r" in code else code).split("\n")

    def text(self, node: ast.expr) -> str:
        """The source text of an expression."""
        # `ast.get_source_segment` splits the whole source again for each node.
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        start, end = node.col_offset, node.end_col_offset
        if first == last:
            return _cut(self.lines[first], start, end)
        middle = self.lines[first + 1 : last]
        return "\n".join((_cut(self.lines[first], start, None), *middle, _cut(self.lines[last], 0, end)))

    def block(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
        """The whole lines of a definition with its decorators, indented as in the file."""
        first = node.decorator_list[0].lineno if node.decorator_list else node.lineno
        return "\n".join(self.lines[first - 1 : node.end_lineno])


def _cut(line: str, start: int, end: int | None) -> str:
    """A piece of a line; the parser counts columns in bytes of UTF-8."""
    return line[start:end] if line.isascii() else line.encode()[start:end].decode()
