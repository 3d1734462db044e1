"""Hostile payloads run in the sandbox under test, and that where a broken sandbox can hurt nothing."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stepflow_python.process.landlock import landlock_abi
from stepflow_python.sandbox.landlock import LEAST_ABI

TESTS = Path(__file__).resolve().parent


SUPPORT = TESTS / "support"
FILES = sorted(path.name for path in (TESTS / "boxed").glob("test_*.py"))
AT_BOTH_TIERS = ("test_attacks.py", "test_lasting.py", "test_limits.py", "test_remains.py")
SESSIONS = [
    *((name, "cold-namespaces") for name in FILES),
    *((name, "warm-namespaces") for name in ("test_attacks.py", "test_lasting.py")),
    *((name, "cold-landlock") for name in AT_BOTH_TIERS),
]
"""Each file; once more in processes that waited, and where namespaces are refused, what is promised there too."""


@pytest.fixture(scope="module")
def sessions(request: pytest.FixtureRequest) -> Iterator[Callable[[str, str], "subprocess.CompletedProcess[str]"]]:
    """What each session gave.

    All that are asked for run two at a time, since most of their time is waiting. Where several processes share the
    tests, each starts its own when it comes to it.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        yield run_session
        return
    asked = {item.callspec.id: item.callspec.params for item in request.session.items if item.path == request.path}
    with ThreadPoolExecutor(max_workers=2) as pool:
        started = {
            (params["name"], params["way"]): pool.submit(run_session, params["name"], params["way"])
            for params in asked.values()
        }
        yield lambda name, way: started[name, way].result()


def run_session(name: str, way: str) -> "subprocess.CompletedProcess[str]":
    """Run a file below `boxed`, as an unprivileged user in namespaces of its own."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-q", f"boxed/{name}"]
    if way.endswith("landlock"):
        command = [sys.executable, str(SUPPORT / "without_namespaces.py"), *command]
    kept = {variable: text for variable, text in os.environ.items() if not variable.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, SUPPORT / "throwaway.py", *command],
        cwd=TESTS,
        env={**kept, "STEPFLOW_TESTS_BOXED": "1", "STEPFLOW_TESTS_WAYS": way},
        capture_output=True,
        text=True,
        timeout=1100,
        check=False,
    )


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("name", "way"), SESSIONS, ids=lambda value: value.removeprefix("test_").removesuffix(".py"))
def test_boxed_suite(name: str, way: str, sessions: Callable[[str, str], "subprocess.CompletedProcess[str]"]) -> None:
    """Every file below `boxed` passes there."""
    if way.endswith("landlock") and landlock_abi() < LEAST_ABI:
        pytest.skip("this kernel has no Landlock")
    done = sessions(name, way)
    print(done.stdout)  # noqa: T201 - shown by pytest when this fails
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
