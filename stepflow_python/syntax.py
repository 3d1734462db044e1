"""From source text to a syntax tree, the same way for whoever reads code; nothing is executed."""

import ast
import symtable
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from stepflow_python.errors import ParseError, PythonSyntaxError

MAX_CODE_SIZE = 1_048_576
"""Bytes of UTF-8."""

BOM = "\ufeff"
_SHOWN = 80
_READ_AS = "{}.{}".format(*sys.version_info)

# Warning filters belong to the whole process, and two threads that save and restore them at once can swap theirs.
_filters = threading.Lock()


@contextmanager
def _unwarned() -> Iterator[None]:
    r"""What the parser warns of (`\d` in a plain string) concerns the tool's author, not this process."""
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def checked_source(code: str, *, name: str, max_code_size: int) -> str:
    """The text without a byte order mark.

    Raises:
        ParseError: larger than `max_code_size` bytes of UTF-8, or with a character that no file can hold.
    """
    code = code.removeprefix(BOM)
    # A character is at least a byte: what is far too large is not encoded first.
    size = len(code)
    if size <= max_code_size:
        try:
            size = len(code) if code.isascii() else len(code.encode())
        except UnicodeEncodeError as error:
            line, column = _place(code, error.start)
            raise ParseError(
                f"{name}, line {line}, column {column}: a lone surrogate is no text; remove it",
                line=line,
                column=column,
            ) from error
    if size > max_code_size:
        raise ParseError(
            f"{name}: the source has at least {size} bytes, over the limit of {max_code_size}; "
            "make it smaller, pass data as files or parameters, or raise MAX_CODE_SIZE"
        )
    nul = code.find("\0")
    if nul >= 0:
        line, column = _place(code, nul)
        raise ParseError(
            f"{name}, line {line}, column {column}: a NUL byte; is this a Python file?", line=line, column=column
        )
    return code


def read_tree(code: str, *, name: str = "tool", max_code_size: int = MAX_CODE_SIZE) -> ast.Module:
    """The syntax tree of a source, its names checked too (`nonlocal` at module level, an argument given twice).

    The symbol table finds these without making code, which nested `finally` blocks could blow up without bound.

    Raises:
        PythonSyntaxError: with line, column and the text there.
        ParseError: too large, NUL bytes, not text, or nested too deep.
    """
    code = checked_source(code, name=name, max_code_size=max_code_size)
    try:
        with _unwarned():
            tree = ast.parse(code)
            symtable.symtable(code, name, "exec")
    except SyntaxError as error:
        raise syntax_error(error, name=name, code=code) from error
    except (RecursionError, MemoryError) as error:
        raise ParseError(f"{name}: nested too deep for the parser; split its longest expression or block") from error
    except (ValueError, OverflowError) as error:
        raise ParseError(f"{name}: cannot be parsed: {error}") from error
    return tree


def read_expression(text: str) -> ast.expr | None:
    """The tree of an annotation written as a string; none where it is no expression."""
    try:
        with _unwarned():
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        return None


def syntax_error(error: SyntaxError, *, name: str, code: str = "") -> PythonSyntaxError:
    """Our error for the parser's, with the line's text; `code` is where that is looked up if the error lacks it."""
    line = max(error.lineno or 1, 1)
    column = max(error.offset or 1, 1)
    lines = code.split("\n")
    text = (error.text or (lines[line - 1] if line <= len(lines) else "")).strip()
    shown = f": {text[:_SHOWN]}{'...' if len(text) > _SHOWN else ''}" if text else ""
    message = error.msg or "invalid syntax"
    return PythonSyntaxError(
        f"{name}, line {line}, column {column}: {message}{shown} - read as Python {_READ_AS}, which this runs on; "
        "correct it and send the tool again",
        line=line,
        column=column,
    )


def _place(code: str, index: int) -> tuple[int, int]:
    return code.count("\n", 0, index) + 1, index - code.rfind("\n", 0, index)
