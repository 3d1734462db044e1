"""Every misbehaving tool ends with its right status, its output kept, its record complete, and nothing left behind."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.cases import Case, load_cases
from support.cli import Stepflow, case_words

if TYPE_CHECKING:
    import subprocess

CASES = [case for case in load_cases() if case.misbehaving]
EXIT_CODES = {"succeeded": 0, "rejected": 2, "timed_out": 124, "memory_exceeded": 137}


def check(case: Case, result: dict[str, object], stepflow: Stepflow) -> None:
    """The reply is as expected, and the record says the same."""
    assert case.problems(result) == []
    shown = stepflow.here("show", str(result["execution_id"]), "--json").json
    assert shown["status"] == result["status"]
    assert shown["result"] == result
    assert shown["finished_at"] is not None


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_run(case: Case, stepflow: Stepflow, tmp_path: Path) -> None:
    """Through `stepflow run`."""
    done = stepflow.case("run", case, tmp_path)
    assert done.code == EXIT_CODES.get(done.json["status"], 1)
    check(case, done.json, stepflow)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_submit(case: Case, stepflow: Stepflow, worker: "subprocess.Popen[str]", tmp_path: Path) -> None:
    """Through the broker and a worker."""
    done = stepflow.here("submit", *case_words(case, tmp_path), "--wait")
    assert worker.poll() is None
    check(case, done.json, stepflow)
    assert json.loads(done.stdout)["attempt"] <= 1
