"""A home of its own for the program under test, and a count of what it leaves behind."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import Stepflow
from support.leftovers import Leftovers, left_since
from support.outside import Outside, outside
from support.ways import WAYS, Way, open_way


@pytest.fixture(scope="session")
def stepflow(tmp_path_factory: pytest.TempPathFactory) -> Stepflow:
    """The `stepflow` command with a home of its own; the tools here need no network."""
    return Stepflow(home=tmp_path_factory.mktemp("home"))


@pytest.fixture
def nothing_left(stepflow: Stepflow) -> Iterator[None]:
    """Fail when a test leaves a process, a mount, a control group or a folder behind."""
    before = Leftovers.count(stepflow.home)
    yield
    assert left_since(before, stepflow.home) == frozenset()


@pytest.fixture(scope="session")
def worker(stepflow: Stepflow) -> Iterator[subprocess.Popen[str]]:
    """A worker on the embedded broker of that home. Nothing waits in it: what runs leave is counted beside it."""
    with stepflow.worker("--cold") as process:
        yield process


@pytest.fixture(scope="session")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the sandboxes that are used without the jobs around them."""
    return tmp_path_factory.mktemp("boxes")


@pytest.fixture(scope="session", params=WAYS)
def way(request: pytest.FixtureRequest, boxes: Path) -> Iterator[Way]:
    """Each way in which a run can be held."""
    with open_way(request.param, boxes) as opened:
        yield opened


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, boxes: Path) -> Iterator[Outside]:
    """What lies outside the boxes."""
    with outside(tmp_path_factory.mktemp("outside"), boxes) as canaries:
        yield canaries


def pytest_configure() -> None:
    """Refuse to run where a broken sandbox could hurt something."""
    if os.getuid() == 0 or b"throwaway.py" not in Path("/proc/1/cmdline").read_bytes():
        sys.exit("these tests run hostile programs: start them through tests/test_boxed.py")
