"""Stopping an execution that waits, one that runs, and a command at a terminal."""

import signal
from pathlib import Path

import pytest
from support.cli import Stepflow
from support.product import PATIENCE_S, beside, send, sleeper, wait_for_end, wait_for_processes
from support.program import Program

from stepflow_python.model.request import ExecutionRequest


def test_a_queued_execution(apart: Stepflow) -> None:
    """It ends at once and for good: the worker that finds its message later runs nothing."""
    send(apart, ExecutionRequest(execution_id="waiting", code="print('ran')"))
    here = Program(home=apart.home, settings=apart.settings).here
    assert here.json("show", "waiting")["status"] == "queued"
    cancelled = here.json("cancel", "waiting")
    assert (cancelled["status"], cancelled["attempts"], cancelled["result"]["stdout"]) == ("cancelled", 0, "")
    send(apart, ExecutionRequest(execution_id="next", code="print('ran')"))
    with apart.worker("--concurrency", "1"):
        assert wait_for_end(apart, "next")["status"] == "succeeded"
    assert here.json("show", "waiting") == cancelled
    assert here.json("cancel", "waiting") == cancelled


@pytest.mark.usefixtures("worker", "nothing_left")
def test_a_running_execution(stepflow: Stepflow, here: Program, mark: str) -> None:
    """Its whole tree is killed; what it had printed is kept, and the worker goes on."""
    send(stepflow, sleeper("to-stop", mark))
    wait_for_processes(mark, there=True)
    assert here.json("cancel", "to-stop")["status"] == "running"
    record = wait_for_end(stepflow, "to-stop")
    wait_for_processes(mark, there=False)
    assert (record["status"], record["attempts"]) == ("cancelled", 1)
    assert record["result"]["stdout"] == "before\n"
    assert record["result"]["error"]["kind"] == "execution_error"
    send(stepflow, ExecutionRequest(execution_id="after-stop", code="print('next')"))
    assert wait_for_end(stepflow, "after-stop")["result"]["stdout"] == "next\n"


def test_what_waits_for_it_is_told(stepflow: Stepflow, mark: str, tmp_path: Path) -> None:
    """`submit --wait` ends with the cancelled result and the code of an interrupted command."""
    home = beside(stepflow, tmp_path / "home")
    path = tmp_path / "tool.py"
    path.write_text(sleeper("seen", mark).code or "")
    with home.worker("--concurrency", "1"):
        waiting = home.start("submit", str(path), "--level", "standard", "--id", "seen", "--wait", "--json")
        wait_for_processes(mark, there=True)
        assert home.here("cancel", "seen").stdout == "seen is running and was told to stop\n"
        stdout, _ = waiting.communicate(timeout=PATIENCE_S)
    assert waiting.returncode == 130
    assert '"status": "cancelled"' in stdout


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_to_run(number: signal.Signals, stepflow: Stepflow, here: Program, mark: str, tmp_path: Path) -> None:
    """Ctrl-C kills the tree, keeps what was printed, and is on record; stdout is still one JSON value."""
    path = tmp_path / "tool.py"
    path.write_text(sleeper("unused", mark).code or "")
    execution_id = f"signal-{number.name}"
    process = stepflow.start("run", str(path), "--level", "standard", "--timeout", "60", "--id", execution_id, "--json")
    wait_for_processes(mark, there=True)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    wait_for_processes(mark, there=False)
    assert process.returncode == 130, stderr
    assert stdout.count("\n") == 1
    record = here.json("show", execution_id)
    assert (record["status"], record["result"]["stdout"]) == ("cancelled", "before\n")
    assert f'"execution_id": "{execution_id}"' in stdout


def test_a_killed_run_can_be_run_again(apart: Stepflow, mark: str, tmp_path: Path) -> None:
    """The tree dies with the command; the same command again takes over, as the second attempt."""
    path = tmp_path / "tool.py"
    path.write_text(sleeper("unused", mark).code or "")
    words = ("run", str(path), "--level", "standard", "--timeout", "60", "--id", "again", "--json")
    process = apart.start(*words)
    wait_for_processes(mark, there=True)
    process.kill()
    process.communicate()
    wait_for_processes(mark, there=False)
    second = apart.start(*words)
    wait_for_processes(mark, there=True)
    assert apart.here("cancel", "again").code == 0
    second.communicate(timeout=PATIENCE_S)
    record = wait_for_end(apart, "again")
    assert (record["status"], record["attempts"]) == ("cancelled", 2)


def test_nobody_knows_it(here: Program) -> None:
    """An id that is not on record is refused with where to look."""
    error = here.json("cancel", "never-sent", code=2)["error"]
    assert "'never-sent'" in error["message"]
    assert "stepflow history" in error["message"]
