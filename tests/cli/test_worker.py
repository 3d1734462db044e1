"""How a worker starts, where its host offers less than the best isolation."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.program import COMMAND, Program

from stepflow_python.process.landlock import landlock_abi

WITHOUT_NAMESPACES = Path(__file__).resolve().parents[1] / "support" / "without_namespaces.py"
PATIENCE_S = 60


def start(stepflow: Program, **settings: str) -> "subprocess.Popen[str]":
    """A worker where namespaces are refused, as container engines do."""
    given = {f"STEPFLOW_PYTHON_{name}": text for name, text in settings.items()}
    return subprocess.Popen(
        [sys.executable, WITHOUT_NAMESPACES, *COMMAND, "worker"],
        env=stepflow.environ | given,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_worker_that_could_run_nothing_does_not_start(stepflow: Program) -> None:
    """It takes no messages, and says what is missing and what to do about it."""
    with start(stepflow) as process:
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, stdout) == (3, "")
    assert "the setting MIN_ISOLATION asks for `namespaces`" in stderr
    assert "MIN_ISOLATION=landlock accepts the next best" in stderr or landlock_abi() == 0


@pytest.mark.skipif(landlock_abi() == 0, reason="this kernel has no Landlock")
def test_a_worker_says_why_it_has_no_better_tier(stepflow: Program) -> None:
    """Where less is accepted it starts, names the tier, and tells how to get the better one."""
    with start(stepflow, MIN_ISOLATION="landlock") as process:
        assert process.stdout is not None
        assert "| isolation landlock, memory " in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert stderr.startswith("stepflow: isolation: ")


def test_a_worker_that_waits_for_its_record_can_be_stopped(stepflow: Program) -> None:
    """SIGTERM ends it in good order: as the first process of a container it would else not be heard."""
    nowhere = {"STEPFLOW_PYTHON_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    with subprocess.Popen(
        [*COMMAND, "worker"], env=stepflow.environ | nowhere, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "waiting for the record" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
