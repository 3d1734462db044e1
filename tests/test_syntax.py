"""Source text to a tree: what is refused, and how it is said."""

import ast
import warnings

import pytest

from stepflow_python.errors import ParseError, PythonError, PythonSyntaxError
from stepflow_python.syntax import read_expression, read_tree


def test_a_source_gives_its_tree() -> None:
    """The tree is the parser's own."""
    assert ast.dump(read_tree("x = 1\n")) == ast.dump(ast.parse("x = 1\n"))


def test_syntax_error_says_where_and_shows_the_text() -> None:
    """Line, column and text are in the error."""
    with pytest.raises(PythonSyntaxError, match=r"greet, line 2, column 10: .*return = 1") as caught:
        read_tree("def f():\n  return = 1\n", name="greet")
    assert (caught.value.line, caught.value.column) == (2, 10)


@pytest.mark.parametrize(
    "code",
    [
        "def f(a, a): pass",
        "nonlocal x",
        "def f():\n  x = 1\n  global x",
        "if x:\npass",
        "\tif 1:\n  x",
        "x = 'abc",
        "f(**a, *b",
    ],
)
def test_what_is_not_python_is_a_syntax_error(code: str) -> None:
    """Errors of names and of indentation are syntax errors too."""
    with pytest.raises(PythonSyntaxError):
        read_tree(code)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = 1\ny = '\0'", "line 2, column 6: a NUL byte"),
        ("x = '\ud800'", "line 1, column 6: a lone surrogate"),
        ("x" * 101, "at least 101 bytes, over the limit of 100"),
        ("é" * 51, "at least 102 bytes, over the limit of 100"),
    ],
)
def test_unreadable_text_is_a_parse_error(code: str, said: str) -> None:
    """What no parser should see is refused with its place or its size."""
    with pytest.raises(ParseError, match=said):
        read_tree(code, max_code_size=100)


@pytest.mark.parametrize(
    "code", ["-" * 100_000 + "1", "a" + ".a" * 100_000, "a" + "+a" * 100_000, "a" + "()" * 100_000, "(" * 300]
)
def test_deep_nesting_is_an_error_and_no_crash(code: str) -> None:
    """A source that is nested too deep for the parser is refused, and this process lives."""
    with pytest.raises(PythonError):
        read_tree(code)


def test_byte_order_mark_is_skipped() -> None:
    """Text that kept its byte order mark is read all the same."""
    assert len(read_tree("\ufeffx = 1").body) == 1


def test_warnings_of_the_source_stay_inside() -> None:
    """A doubtful source warns nobody here, even where warnings are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_tree("x = '\\d'\nassert (1, 'x')\nx is 1\n1or 1")


def test_nested_finally_blocks_cost_nothing() -> None:
    """Code that a compiler would double twenty times over is only read."""
    code = "".join(f"{' ' * level}try: pass\n{' ' * level}finally:\n" for level in range(19)) + " " * 19 + "x = 1\n" * 1
    assert read_tree(code)


def test_an_expression_or_nothing() -> None:
    """A string annotation is read where it is an expression."""
    assert isinstance(read_expression(" int "), ast.Name)
    assert read_expression("not an expression at all") is None
    assert read_expression("\0") is None
