"""The installer, for real, on wheels of our own making."""

import pytest

from stepflow_python.environments.installer import _lines, locked_package
from stepflow_python.errors import PythonEnvironmentError

HASH = "--hash=sha256:" + "0" * 64


def test_locks_are_read_line_by_line() -> None:
    """Continued lines are joined; comments and empty lines are none."""
    output = f"# comment\nidna==3.7 \\\n    {HASH} \\\n    {HASH}\n\ntorch==2.1+cpu \\\n    {HASH}\n"
    lines = _lines(output)
    assert lines == (f"idna==3.7 {HASH} {HASH}", f"torch==2.1+cpu {HASH}")
    assert [(one.name, one.version) for one in map(locked_package, lines)] == [("idna", "3.7"), ("torch", "2.1+cpu")]


@pytest.mark.parametrize("line", ["idna==3.7", f"idna>=3 {HASH}", f"idna @ file:///x {HASH}", "-e .", f"--x==1 {HASH}"])
def test_a_line_that_locks_nothing_is_refused(line: str) -> None:
    """No hash, no exact version, an address or an option: nothing of it is installed."""
    with pytest.raises(PythonEnvironmentError, match="locks no distribution"):
        _lines(line + "\n")
