"""A thread that starts a program as somebody else."""

import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stepflow_python.process.credentials import as_user

NOBODY = 65534
STATUS = ["/bin/cat", "/proc/self/status"]

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can be others")


def credentials(text: str) -> dict[str, list[str]]:
    """Users, groups and capabilities of a process, by the names of the kernel."""
    wanted = {"Uid", "Gid", "Groups", "CapPrm", "CapEff", "CapAmb"}
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value.split() for name, _, value in lines if name in wanted}


def test_what_it_starts_is_that_user_for_good() -> None:
    """No identifier of root's, no group and no capability is left in the program."""
    with as_user(NOBODY):
        done = subprocess.run(STATUS, capture_output=True, text=True, check=True)
    none = ["0" * 16]
    nobody = [str(NOBODY)] * 4
    assert credentials(done.stdout) == {
        "Uid": nobody,
        "Gid": nobody,
        "Groups": [],
        "CapPrm": none,
        "CapEff": none,
        "CapAmb": none,
    }


def test_other_threads_stay_who_they_are() -> None:
    """Only the calling thread changes, and is afterwards what it was, also when the start fails."""
    status = Path("/proc/thread-self/status")
    before, first = credentials(status.read_text()), threading.get_native_id()
    with ThreadPoolExecutor(1) as other:
        own = other.submit(threading.get_native_id).result()
        with pytest.raises(FileNotFoundError):
            other.submit(_fail_as_nobody, [first, own]).result()
        assert other.submit(lambda: credentials(status.read_text())).result() == before
    assert credentials(status.read_text()) == before


def _fail_as_nobody(threads: list[int]) -> None:
    """Look at both threads from the one that is somebody else, then fail."""
    with as_user(NOBODY):
        users = [credentials(Path(f"/proc/self/task/{one}/status").read_text())["Uid"][1] for one in threads]
        assert users == ["0", str(NOBODY)]
        subprocess.run(["/nonexistent"], check=True)
