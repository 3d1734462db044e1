import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepflow_python.cli.columns import Column
from stepflow_python.cli.render import complain, emit_json, mebibytes, plain, plain_table, single_line
from stepflow_python.errors import ErrorKind
from stepflow_python.model.result import ErrorInfo


@given(st.text())
def test_plain_text_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    """Whatever a stranger wrote, each character that is left can be printed."""
    assert all(letter.isprintable() or letter == "\n" for letter in plain(text))
    assert "\n" not in single_line(text)


def test_plain_keeps_letters_of_any_language() -> None:
    """Only control characters are escaped."""
    assert plain("Grüße \x1b[31m 日本") == "Grüße \\x1b[31m 日本"


def test_a_table_in_a_pipe_is_aligned_text() -> None:
    """Columns line up, numbers to the right, and no line ends with blanks."""
    columns = (Column(title="id"), Column(title="ms", justify="right"), Column(title="why"))
    text = plain_table(columns, [("a", "1.0", ""), ("long", "100.0", "because")])
    assert text.splitlines() == ["ID       MS  WHY", "a       1.0", "long  100.0  because"]


@pytest.mark.parametrize("value", [{"a": "é"}, "\ud800", [None, 1.5], "\x1b", {}])
def test_json_is_one_value_on_one_line(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe one line is one value, whatever is in it."""
    emit_json(value)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert json.loads(printed) == value


def test_an_error_is_one_line_that_names_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    """The line in the tool is told once."""
    complain(ErrorInfo(kind=ErrorKind.SYNTAX_ERROR, message="bad\n thing", line=3), place="a.py")
    complain(ErrorInfo(kind=ErrorKind.SYNTAX_ERROR, message="line 3: bad", line=3))
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == ["stepflow: error: a.py: bad thing (line 3)", "stepflow: error: line 3: bad"]


def test_memory_for_people() -> None:
    """KiB are told as MiB, and nothing is told of what is not known."""
    assert mebibytes(2_621_440) == "2,560.0 MiB"
    assert mebibytes(None) == ""
