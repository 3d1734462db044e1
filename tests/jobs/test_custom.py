"""Parsers and executors of other packages: found by entry points, each in its place."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepflow_python.bootstrap.runtime import open_runtime
from stepflow_python.config import Settings
from stepflow_python.errors import ConfigurationError
from stepflow_python.model.history import ExecutionRecord
from stepflow_python.model.request import ExecutionRequest

SAMPLE = """
import asyncio
from stepflow_python.model.module import PythonFunction, PythonModule
from stepflow_python.model.result import ExecutionResult, Status


class Loud:
    '''Finds functions only, and calls each by its name in capitals.'''

    async def parse_code(self, code):
        if "fail" in code:
            raise LookupError("no such grammar")
        names = [line.split()[1].split("(")[0] for line in code.splitlines() if line.startswith("def ")]
        return PythonModule(name="x", functions=[PythonFunction(name=name.upper()) for name in names])

    def get_supported_features(self):
        return ("functions",)

    def get_parser_name(self):
        return "loud"


class Recipes(Loud):
    '''Reads what is no Python to ours.'''

    async def parse_code(self, code):
        return PythonModule(name="x", functions=[PythonFunction(name="cook")])

    def get_supported_features(self):
        return ("functions", "classes", "imports", "dependencies")


class Echo:
    '''Says what it was asked to run.'''

    async def execute_code(self, request):
        if request.code == "wait":
            await asyncio.sleep(60)
        if request.code == "fail":
            raise LookupError("no such machine")
        if request.code == "nothing":
            return None
        said = [request.function_name, request.parameters]
        made_up = {"execution_id": "made up", "attempt": 9}
        return ExecutionResult(**made_up, status=Status.SUCCEEDED, result=said, stdout=request.code)

    def get_supported_versions(self):
        return ("3.12",)

    def get_executor_name(self):
        return "echo"


class Lacking:
    '''Has nothing that is needed.'''


def broken():
    raise OSError("no licence")
"""
POINTS = """
[stepflow_python.parsers]
loud = sample_plugins:Loud
recipes = sample_plugins:Recipes
[stepflow_python.executors]
echo = sample_plugins:Echo
lacking = sample_plugins:Lacking
broken = sample_plugins:broken
absent = no_such_module:Echo
"""

Run = Callable[..., ExecutionRecord]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a request with settings, where the samples are installed; its record."""
    metadata = tmp_path / "installed" / "samples-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: samples\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(POINTS)
    (metadata.parent / "sample_plugins.py").write_text(SAMPLE)
    monkeypatch.syspath_prepend(metadata.parent)

    def run(settings: dict[str, str], *, cancel_after: float | None = None, **fields: Any) -> ExecutionRecord:
        async def execute() -> ExecutionRecord:
            ours = {f"STEPFLOW_PYTHON_{name}": text for name, text in {"HOME": str(tmp_path), **settings}.items()}
            async with open_runtime(Settings.from_environ(ours), environ=dict(os.environ)) as runtime:
                request, cancel = ExecutionRequest(**fields), asyncio.Event()
                if cancel_after is not None:
                    asyncio.get_running_loop().call_later(cancel_after, cancel.set)
                await runtime.executor.execute(request, cancel=cancel)
                record = await runtime.history.get(request.execution_id)
                assert record is not None
                return record

        return asyncio.run(execute())

    return run


def message(record: ExecutionRecord) -> str:
    """Why it did not succeed."""
    assert record.result is not None
    assert record.result.error is not None
    return record.result.error.message


def test_a_parser_finds_what_it_says_it_finds(run: Run) -> None:
    """Its functions are what may be called; the rest, such as syntax, is still ours to find."""
    chosen = {"CUSTOM_PARSER": "loud"}
    refused = message(run(chosen, code="def quiet():\n    return 1\n", function_name="quiet"))
    assert "has no function quiet" in refused
    assert "QUIET" in refused
    assert run(chosen, code="def quiet(:\n").status == "rejected"
    assert "the parser loud fails: LookupError: no such grammar" in message(run(chosen, code="def fail(): pass"))


def test_a_parser_that_finds_all_is_asked_alone(run: Run) -> None:
    """Functions that only it sees may be called, by an executor that knows them too."""
    settings = {"CUSTOM_PARSER": "recipes", "CUSTOM_EXECUTOR": "echo"}
    record = run(settings, code="stir = 1", function_name="cook")
    assert record.result is not None
    assert record.result.result == ["cook", {}]
    assert record.result.stdout == "stir = 1"


def test_an_executor_takes_the_sandbox_s_place(run: Run) -> None:
    """It gets the checked request; id, attempt and times are ours, and no isolation is on record."""
    record = run({"CUSTOM_EXECUTOR": "echo"}, code="def f(n: int): ...\n", function_name="f", parameters={"n": 5})
    assert record.result is not None
    assert record.status == "succeeded"
    assert record.result.result == ["f", {"n": 5}]
    assert record.result.execution_id == record.execution_id
    assert (record.result.attempt, record.result.isolation) == (1, None)
    assert record.result.started_at is not None


def test_requests_are_checked_before_an_executor_sees_them(run: Run) -> None:
    """Arguments, policy and versions are refused as ever."""
    chosen = {"CUSTOM_EXECUTOR": "echo"}
    assert run(chosen, code="def f(n: int): ...\n", function_name="f", parameters={"n": "x"}).status == "rejected"
    assert run(chosen, code="import ctypes").status == "rejected"
    assert "the executor echo runs 3.12, not 3.9" in message(run(chosen, code="1", python_version="3.9"))


def test_an_executor_that_fails_is_a_fault_of_ours(run: Run) -> None:
    """What it raises, and what is no result, is told by its name."""
    chosen = {"CUSTOM_EXECUTOR": "echo"}
    failed = run(chosen, code="fail", max_attempts=1)
    assert failed.status == "failed"
    assert "the executor echo fails: LookupError: no such machine" in message(failed)
    assert "gives no result of a run that has ended" in message(run(chosen, code="nothing", max_attempts=1))


def test_deadline_and_cancelling_are_ours(run: Run) -> None:
    """An executor that does not come to an end is ended."""
    assert run({"CUSTOM_EXECUTOR": "echo"}, code="wait", timeout=0.3).status == "timed_out"
    assert run({"CUSTOM_EXECUTOR": "echo"}, code="wait", timeout=60, cancel_after=0.3).status == "cancelled"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"CUSTOM_PARSER": "shy"}, "CUSTOM_PARSER=shy: no package here brings .* there are: loud, recipes"),
        ({"CUSTOM_EXECUTOR": "shy"}, "there are: absent, broken, echo, lacking"),
        ({"CUSTOM_EXECUTOR": "lacking"}, "lacks execute_code, get_executor_name, get_supported_versions"),
        ({"CUSTOM_EXECUTOR": "broken"}, "sample_plugins:broken fails: OSError: no licence"),
        ({"CUSTOM_EXECUTOR": "absent"}, "no_such_module:Echo fails: ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_had_is_an_error_at_start(run: Run, settings: dict[str, str], words: str) -> None:
    """The message names the setting, the entry point and what there is."""
    with pytest.raises(ConfigurationError, match=words):
        run(settings, code="1")
