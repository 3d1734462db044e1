import json

import click
import pytest
from click.testing import CliRunner

from stepflow_python.cli import main as program
from stepflow_python.cli.boundary import Boundary
from stepflow_python.cli.main import main
from stepflow_python.errors import DatabaseError, ParseError, PythonError


def raising(error: BaseException) -> None:
    """Raise it where a command would."""
    raise error


@pytest.fixture
def runner() -> CliRunner:
    """Calls the program in this process."""
    return CliRunner()


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ParseError("the cursor is bad"), 2, "stepflow: error: the cursor is bad"),
        (DatabaseError("the record is locked"), 3, "stepflow: error: the record is locked"),
        (PythonError(), 3, "stepflow: error: Something about this request or this worker is wrong."),
        (KeyError("x"), 3, "stepflow: error: a fault of ours: KeyError: 'x'"),
        (KeyboardInterrupt(), 130, "stepflow: stopped on request"),
    ],
)
def test_each_error_is_one_line_and_a_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback of ours reaches a caller, and stdout stays empty."""
    with pytest.raises(SystemExit) as ended, Boundary(["history"]):
        raising(error)
    told = capsys.readouterr()
    assert (ended.value.code, told.out, told.err) == (code, "", line + "\n")


@pytest.mark.parametrize(
    "error", [ParseError("bad"), RuntimeError("bad"), KeyboardInterrupt(), click.UsageError("bad")]
)
@pytest.mark.parametrize("command", ["history", "run", "submit"])
def test_json_holds_one_value_also_of_errors(
    error: BaseException, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where JSON was asked for there is one value: a result for run and submit, else an error object."""
    with pytest.raises(SystemExit), Boundary([command, "--json"]):
        raising(error)
    value = json.loads(capsys.readouterr().out)
    assert ("status" in value) == (command != "history")
    assert value["error"]["message"]


def test_what_follows_two_dashes_is_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` as a file's name is not the option."""
    with pytest.raises(SystemExit), Boundary(["parse", "--", "--json"]):
        raising(ParseError("bad"))
    assert capsys.readouterr().out == ""


def test_clicks_own_endings_pass(capsys: pytest.CaptureFixture[str]) -> None:
    """An exit that a command decided is not touched."""
    with pytest.raises(click.exceptions.Exit), Boundary(["history"]):
        raising(click.exceptions.Exit(1))
    assert capsys.readouterr().err == ""


def test_a_malformed_setting_is_one_line(runner: CliRunner) -> None:
    """A wrong variable is named with the nearest right one, and the code is 2."""
    done = runner.invoke(main, ["parse", "x.py", "--json"], env={"STEPFLOW_PYTHON_CONCURENCY": "3"})
    assert done.exit_code == 2
    assert "did you mean STEPFLOW_PYTHON_CONCURRENCY?" in done.stderr
    assert done.stderr.count("\n") == 1
    assert json.loads(done.stdout)["error"]["kind"] == "environment_error"


def test_debug_shows_where_a_fault_came_from(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --debug the traceback is on stderr, beside the same line and code."""

    @click.command()
    def broken() -> None:
        raise RuntimeError("deep inside")

    entry = program.Entry("broken", "broken", "Break.")
    monkeypatch.setattr(program, "COMMANDS", {"broken": entry})
    monkeypatch.setattr(program.LazyGroup, "get_command", lambda *_: broken)
    plain, debugged = runner.invoke(main, ["broken"]), runner.invoke(main, ["--debug", "broken"])
    assert (plain.exit_code, debugged.exit_code) == (3, 3)
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debugged.stderr
    assert "deep inside" in debugged.stderr
