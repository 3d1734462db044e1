"""One home and one worker for the whole folder: environments are built once."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.cli import Stepflow
from support.leftovers import Leftovers, left_since
from support.product import LEASE, Recorded, beside, marked, wait_for_end
from support.program import Program

if TYPE_CHECKING:
    import subprocess

CEILINGS = {
    "MAX_CODE_SIZE": "60000",
    "MAX_EXECUTION_TIME": "300",
    "MAX_MEMORY_LIMIT": "2048",
    "MAX_SECURITY_LEVEL": "standard",
}


@pytest.fixture(scope="session")
def stepflow(tmp_path_factory: pytest.TempPathFactory) -> Stepflow:
    """The `stepflow` command with the home of this folder's tests."""
    return Stepflow(home=tmp_path_factory.mktemp("home"), settings={**CEILINGS, **LEASE})


@pytest.fixture(scope="session")
def here(stepflow: Stepflow) -> Program:
    """The same command on the same home, in this process: several times as fast."""
    return Program(home=stepflow.home, settings=stepflow.settings).here


@pytest.fixture(scope="session")
def worker(stepflow: Stepflow) -> Iterator["subprocess.Popen[str]"]:
    """A worker on that home. Nothing waits in it: what runs leave is counted beside it."""
    with stepflow.worker("--cold", "--concurrency", "8") as process:
        yield process


@pytest.fixture
def apart(stepflow: Stepflow, tmp_path: Path) -> Stepflow:
    """A home of its own that shares the environments: no worker is on it, and its record is empty."""
    return beside(stepflow, tmp_path / "apart")


@pytest.fixture
def nothing_left(stepflow: Stepflow) -> Iterator[None]:
    """Fail when a test leaves a process, a mount, a control group or a folder behind."""
    before = Leftovers.count(stepflow.home)
    yield
    assert left_since(before, stepflow.home) == frozenset()


@pytest.fixture
def recorded(stepflow: Stepflow) -> Recorded:
    """Waits for the end of an execution on the shared home; its record, as `show --json` prints it."""
    return lambda execution_id: wait_for_end(stepflow, execution_id)


@pytest.fixture
def mark() -> Iterator[str]:
    """An argument that no other process of this host has; what it marks is gone at the end."""
    with marked() as seconds:
        yield seconds
