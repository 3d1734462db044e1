import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.program import Program

from stepflow_python.cli.history import described
from stepflow_python.model.history import ExecutionRecord
from stepflow_python.model.result import ExceptionInfo, ExecutionResult, Frame, Status

HERE = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def recorded(shared: Program, tool: Path) -> Program:
    """A record of one success, one failure and one that waits."""
    stepflow = shared.here
    stepflow("run", tool, "--function", "greet", "--arg", "name=you", "--id", "good")
    stepflow("run", tool, "--function", "fail", "--id", "bad")
    stepflow("submit", tool, "--id", "waiting")
    return stepflow


def test_the_history(recorded: Program) -> None:
    """Newest first, filtered, in pages, as JSON and as a table without control characters."""
    page = recorded.json("history")
    assert [item["execution_id"] for item in page["items"]] == ["waiting", "bad", "good"]
    assert page["items"][1]["why"].startswith("ValueError: it had to")
    first = recorded.json("history", "--limit", "1")
    second = recorded.json("history", "--limit", "2", "--cursor", first["next_cursor"])
    assert [item["execution_id"] for item in second["items"]] == ["bad", "good"]
    assert second["next_cursor"] is None
    assert [item["execution_id"] for item in recorded.json("history", "--status", "failed")["items"]] == ["bad"]
    assert recorded.json("history", "--since", "2030-01-01")["items"] == []
    assert len(recorded.json("history", "--since", "1h", "--tool", "greeter")["items"]) >= 2
    table = recorded("history").stdout
    assert table.splitlines()[0].split() == ["ID", "TOOL", "STATUS", "QUEUED", "MS", "MEMORY", "ATTEMPT", "WHY"]
    assert len(table.splitlines()) == 4
    assert "\x1b" not in table


def test_all_of_an_execution(recorded: Program) -> None:
    """`show` has the request, the result and what was printed."""
    told = recorded("show", "bad").stdout
    assert "status:      failed" in told
    assert "request.function_name: fail" in told
    assert "raised ValueError: it had to" in told
    result = recorded.json("show", "good")["result"]
    assert result["stdout"] == "greeting\n"
    assert result["environment_times"]
    took = ", ".join(f"{step} {ms:,.1f} ms" for step, ms in result["environment_times"].items())
    assert f"environment: {result['environment_id']}: {took}" in recorded("show", "good").stdout


def test_cancelling_says_what_came_of_it(recorded: Program) -> None:
    """A queued one is cancelled, an ended one stays as it is."""
    assert recorded.json("cancel", "waiting")["status"] == "cancelled"
    assert recorded("cancel", "good").stdout == "good has ended already: succeeded\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "nothing"], "no execution 'nothing'"),
        (["cancel", "nothing"], "nothing"),
        (["history", "--cursor", "!"], "cursor"),
        (["history", "--since", "soon"], "--since"),
        (["history", "--limit", "0"], "--limit"),
    ],
)
def test_bad_questions(recorded: Program, words: list[str], message: str) -> None:
    """Each is one clear error, the code is 2, and JSON holds it too."""
    done = recorded(*words, "--json")
    assert done.returncode == 2
    assert message in done.stderr
    assert message in json.loads(done.stdout)["error"]["message"]


def test_a_record_for_people() -> None:
    """Frames and output are shown, empty things are not."""
    raised = ExceptionInfo(type="E", message="m", frames=(Frame(file="a.py", line=1, function="f", code="x"),))
    result = ExecutionResult(execution_id="a", status=Status.FAILED, stdout="one\ntwo\n", exceptions=(raised,))
    record = ExecutionRecord(
        execution_id="a",
        tool_id=None,
        tool=None,
        status=Status.FAILED,
        queued_at=HERE,
        request={"env": {}},
        result=result,
    )
    lines = list(described(record))
    assert lines[-5:] == ["raised E: m", "    a.py:1 in f: x", "stdout:", "    one", "    two"]
    assert not any("env" in line or "stderr" in line for line in lines)
