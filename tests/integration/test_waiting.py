"""A worker keeps processes waiting for tools that are called again, unless it is told not to."""

import time
from pathlib import Path

import pytest
from support.cli import Stepflow
from support.product import PATIENCE_S

FEW = 5


@pytest.mark.parametrize("options", [(), ("--cold",)], ids=["default", "cold"])
def test_a_tool_that_is_called_again(apart: Stepflow, tmp_path: Path, options: tuple[str, ...]) -> None:
    """From the third call or so its process is there already, and the record says so and how long it took."""
    tool = tmp_path / "tool.py"
    tool.write_text("import json\n\ndef f(n: int) -> str:\n    return json.dumps([n])\n")
    found: list[bool] = []
    expected, deadline = not options, time.monotonic() + PATIENCE_S
    with apart.worker(*options):
        while len(found) < FEW or (expected and time.monotonic() < deadline):
            number = len(found)
            result = apart.here("submit", str(tool), "--function", "f", "--arg", f"n={number}", "--wait", "--json").json
            assert result["result"] == f"[{number}]"
            found.append(result["warm"])
            if result["warm"]:
                break
    assert found[0] is False
    assert found[-1] is expected
    shown = apart.here("show", str(result["execution_id"])).stdout
    assert f"in {'a waiting' if expected else 'a new'} process" in shown
