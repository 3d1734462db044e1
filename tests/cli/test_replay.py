from pathlib import Path

import pytest
from support.program import Program

CODE = """
import os
import six

def f(n: int) -> list:
    with open("a.txt") as file:
        return [n, six.__version__, os.environ["KEY"], file.read()]
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A tool that declares nothing and reads a file and a variable."""
    path = tmp_path / "reader.py"
    path.write_text(CODE)
    (tmp_path / "a.txt").write_text("apple")
    return path


def test_a_recorded_run_is_replayed_in_the_same_bytes(stepflow: Program, script: Path) -> None:
    """Though its environment is gone and its source has changed: the record has the lock and the source."""
    stepflow = stepflow.here
    given = ("--file", f"a.txt={script.parent / 'a.txt'}", "--env", "KEY=v")
    first = stepflow.json("run", script, "--function", "f", "--arg", "n=3", "--id", "one", *given)
    script.write_text("def f(n): return 'changed'\n")
    stepflow("env", "remove", first["environment_id"])
    error = stepflow.json("replay", "one", code=2)["error"]
    assert "give it again with --file" in error["message"]
    second = stepflow.json("replay", "one", "--id", "two", *given)
    assert second["execution_id"] == "two"
    assert second["result"] == first["result"]
    assert second["environment_id"] == first["environment_id"]
    assert stepflow("replay", "two", *given).stdout.startswith("[3, ")
