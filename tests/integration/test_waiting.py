"""A worker keeps processes waiting for tools that are called again, unless it is told not to."""

from pathlib import Path

import pytest
from support.cli import Stepflow

CALLS = 12


@pytest.mark.parametrize(("options", "expected"), [((), True), (("--cold",), False)], ids=["default", "cold"])
def test_a_tool_that_is_called_again(apart: Stepflow, tmp_path: Path, options: tuple[str, ...], expected: bool) -> None:  # noqa: FBT001 - a case
    """From the third call or so its process is there already, and the record says so and how long it took."""
    tool = tmp_path / "tool.py"
    tool.write_text("import json\n\ndef f(n: int) -> str:\n    return json.dumps([n])\n")
    found = []
    with apart.worker(*options):
        for number in range(CALLS):
            result = apart("submit", str(tool), "--function", "f", "--arg", f"n={number}", "--wait", "--json").json
            assert result["result"] == f"[{number}]"
            found.append(result["warm"])
            if result["warm"]:
                break
    assert found[0] is False
    assert found[-1] is expected
    shown = apart("show", str(result["execution_id"])).stdout
    assert f"in {'a waiting' if expected else 'a new'} process" in shown
