"""Lent modules through the broker and a worker, as a caller meets them."""

from pathlib import Path

import pytest
from support.cli import Stepflow

COUNT = "import kv\n\ndef count() -> int:\n    n = kv.get('n', 0) + 1\n    kv.set('n', n)\n    return n\n"


@pytest.mark.usefixtures("worker")
def test_a_worker_lends(stepflow: Stepflow, tmp_path: Path) -> None:
    """A submitted tool calls the host, what it kept is there in its next run, and its calls are shown."""
    tool = tmp_path / "counting.py"
    tool.write_text(COUNT)
    for number in (1, 2):
        words = ("--function", "count", "--extension", "kv", "--id", f"lent-{number}", "--wait", "--json")
        assert stepflow.here("submit", str(tool), *words).json["result"] == number
    record = stepflow.here("show", "lent-2", "--json").json
    assert [(call["function"], call["outcome"]) for call in record["extension_calls"]] == [("get", "ok"), ("set", "ok")]
    assert "called kv.get: ok" in stepflow.here("show", "lent-2").stdout


@pytest.mark.usefixtures("worker")
def test_a_worker_does_not_lend_what_was_not_asked_for(stepflow: Stepflow, tmp_path: Path) -> None:
    """The same tool without the grant fails at its import."""
    tool = tmp_path / "counting.py"
    tool.write_text(COUNT)
    result = stepflow.here("submit", str(tool), "--function", "count", "--wait", "--json").json
    assert result["status"] == "failed"
    assert result["exceptions"][0]["message"] == "No module named 'kv'"
