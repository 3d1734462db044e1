"""Every good tool of the fixtures, through `stepflow run` and through a worker, gives what it must."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.cases import Case, load_cases
from support.cli import Done, Stepflow, case_words
from support.leftovers import Leftovers, left_since
from support.program import Program

from stepflow_python.parsing.parser import parse_module

if TYPE_CHECKING:
    import subprocess

CASES = [case for case in load_cases() if not case.misbehaving]
EXIT_CODES = {"succeeded": 0, "failed": 1}
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture(scope="module", autouse=True)
def _nothing_left(stepflow: Stepflow) -> Iterator[None]:
    """All these runs together leave nothing behind."""
    before = Leftovers.count(stepflow.home)
    yield
    assert left_since(before, stepflow.home) == frozenset()


@pytest.fixture(scope="module")
def ran(stepflow: Stepflow, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """Each case through `stepflow run`."""

    def run(case: Case) -> Done:
        words = case_words(case, tmp_path_factory.mktemp("files"))
        return stepflow.here("run", *words, "--id", f"run-{case.name}")

    return {case.name: run(case) for case in CASES}


@pytest.fixture(scope="module")
def submitted(
    here: Program, worker: "subprocess.Popen[str]", tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """Each case sent to the worker, all at once; the words that sent it."""
    sent = {}
    for case in CASES:
        words = ["submit", *case_words(case, tmp_path_factory.mktemp("files")), "--id", f"sent-{case.name}"]
        done = here(*words)
        assert done.returncode == 0, (done.stderr, worker.poll())
        sent[case.name] = words
    return sent


def check(case: Case, reply: dict[str, Any], here: Program) -> None:
    """The reply is as expected, and the record says the same."""
    assert case.problems(reply) == []
    record = here.json("show", reply["execution_id"])
    assert record["result"] == reply
    assert (record["status"], record["attempts"]) == (reply["status"], 1)
    assert reply["queued_at"] <= reply["started_at"] <= reply["finished_at"]
    assert reply["environment_id"]
    assert reply["isolation"] == "namespaces"


@every_case
def test_run(case: Case, ran: dict[str, Done], here: Program) -> None:
    """Here and now: the expected result, its exit code, and the same on record."""
    done = ran[case.name]
    assert done.code == EXIT_CODES[case.expected.statuses[0]], done.stderr
    check(case, done.json, here)


@every_case
def test_submit(case: Case, submitted: dict[str, list[str]], here: Program) -> None:
    """Through the broker and a worker: the expected result, its exit code, and the same on record."""
    reply = here.json(*submitted[case.name], "--wait", code=EXIT_CODES[case.expected.statuses[0]])
    check(case, reply, here)


def test_both_doors_give_the_same(ran: dict[str, Done], submitted: dict[str, list[str]], here: Program) -> None:
    """What depends on the tool alone does not depend on the door."""
    told = ("status", "result", "stdout", "return_code", "environment_id", "files", "isolation")
    for case in CASES:
        sent = here.json(*submitted[case.name], "--wait", code=EXIT_CODES[case.expected.statuses[0]])
        assert {name: sent[name] for name in told} == {name: ran[case.name].json[name] for name in told}


def test_tools_with_the_same_needs_share_an_environment(ran: dict[str, Done], here: Program) -> None:
    """There is one environment for each lock, and every one that a result names is listed."""
    named = {done.json["environment_id"] for done in ran.values()}
    listed = {environment["id"] for environment in here.json("env", "list")}
    assert named <= listed
    used = {case.name: ran[case.name].json["environment_id"] for case in CASES}
    needs = {case.name: needed(case) for case in CASES}
    assert len({(needs[name], used[name]) for name in used}) == len(set(needs.values())) == len(set(used.values()))
    assert len(set(used.values())) < len({case.tool for case in CASES})


def needed(case: Case) -> frozenset[str]:
    """The requirements that a case's source declares; no fixture leaves any to be inferred."""
    dependencies = parse_module(case.source, name=case.name, max_code_size=1 << 20).dependencies
    return frozenset(line for dependency in dependencies for line in dependency.requirements)


def test_files_are_written_where_the_caller_wants(stepflow: Stepflow, tmp_path: Path) -> None:
    """`--output` keeps the very bytes that the result's JSON has."""
    case = next(case for case in CASES if case.expected.files)
    done = stepflow.case("run", case, tmp_path, "--output", str(tmp_path / "kept"))
    assert done.code == 0
    for file in case.expected.files:
        assert list(file.problems((tmp_path / "kept" / file.name).read_bytes())) == []
