import json
from pathlib import Path

import pytest

from stepflow_python.cli.results import Manner, keep_files, prepare_output, refusal, summary, tell
from stepflow_python.errors import DatabaseError, ErrorKind, ExecutionError, InternalError, ParseError
from stepflow_python.model.result import ErrorInfo, ExceptionInfo, ExecutionResult, Frame, Status
from stepflow_python.model.security import IsolationTier

DONE = ExecutionResult(
    execution_id="mine",
    status=Status.SUCCEEDED,
    result={"a": 1},
    stdout="printed",
    stderr="warned",
    execution_time_ms=1234.56,
    memory_usage_kb=2048,
    isolation=IsolationTier.NAMESPACES,
    attempt=1,
    files={"sub/x.bin": b"\x00"},
)
FAILED = DONE.model_copy(
    update={
        "status": Status.FAILED,
        "error": ErrorInfo(kind=ErrorKind.EXECUTION_ERROR, message="ValueError: no"),
        "exceptions": (
            ExceptionInfo(type="ValueError", message="no", frames=(Frame(file="a.py", line=7, function="f"),)),
        ),
    }
)


def test_streams_pass_through_and_the_result_follows(capsys: pytest.CaptureFixture[str]) -> None:
    """Stdout and stderr are the tool's own; the result of a function starts on a line of its own."""
    assert tell(DONE, Manner(json=False, called=True)) == 0
    told = capsys.readouterr()
    assert told.out == 'printed\n{"a": 1}\n'
    assert told.err == "warned\n"


def test_a_script_has_no_result_to_print(capsys: pytest.CaptureFixture[str]) -> None:
    """Stdout of a script is what it printed, to the byte."""
    assert tell(DONE, Manner(json=False)) == 0
    assert capsys.readouterr().out == "printed"


def test_verbose_tells_how_it_ended(capsys: pytest.CaptureFixture[str]) -> None:
    """One line of status, time, memory, isolation and id, and word of files that nobody keeps."""
    tell(DONE, Manner(json=False, verbose=True))
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == 'stepflow: it left 1 file(s); --output DIR keeps them: ["sub/x.bin"]'
    assert lines[2] == "stepflow: succeeded in 1,234.6 ms, 2.0 MiB, isolation namespaces, id mine"
    assert summary(refusal(ParseError("bad"), "mine")) == "rejected in 0.0 ms, id mine"


def test_a_failure_names_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What the tool raised is told with the line that raised it, and the exit code is 1."""
    assert tell(FAILED, Manner(json=False, called=True)) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "stepflow: failed: ValueError: no (line 7)"


def test_a_refusal_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """What never ran is told as an error, and the code says whose."""
    assert tell(refusal(ParseError("bad file"), "mine"), Manner(json=False)) == 2
    assert tell(refusal(DatabaseError("locked"), "mine"), Manner(json=False)) == 3
    assert capsys.readouterr().err.splitlines() == ["stepflow: error: bad file", "stepflow: error: locked"]


def test_json_is_the_whole_result(capsys: pytest.CaptureFixture[str]) -> None:
    """Stdout is one value that reads back as the result, and stderr is silent."""
    assert tell(FAILED, Manner(json=True, verbose=True)) == 1
    told = capsys.readouterr()
    assert ExecutionResult.model_validate(json.loads(told.out)) == FAILED
    assert told.err == ""


def test_files_are_kept(tmp_path: Path) -> None:
    """Files land below the folder, in their own folders."""
    prepare_output(tmp_path / "out")
    tell(DONE, Manner(json=True, output=tmp_path / "out"))
    assert (tmp_path / "out" / "sub" / "x.bin").read_bytes() == b"\x00"


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\0b"])
def test_no_file_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    """A name that a tool chose cannot write anywhere else."""
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(InternalError, match="--output"):
        keep_files({name: b"x"}, folder)
    assert list(tmp_path.rglob("*")) == [folder]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """The folder for files is made before the tool runs, or nothing runs."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ExecutionError, match="--output"):
        prepare_output(tmp_path / "file" / "out")
