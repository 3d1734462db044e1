"""Hostile payloads run in the sandbox under test, and that where a broken sandbox can hurt nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent


@pytest.mark.timeout(600)
def test_boxed_suite() -> None:
    """Everything below `boxed` passes as an unprivileged user in namespaces of its own."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "boxed"]
    done = subprocess.run(
        [sys.executable, TESTS / "support" / "throwaway.py", *command],
        cwd=TESTS,
        env={**os.environ, "STEPFLOW_TESTS_BOXED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    print(done.stdout)  # noqa: T201 - shown by pytest when this fails
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
