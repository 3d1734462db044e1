"""The supervisor answers whatever the tool does to itself."""

import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Guest


def test_a_process_that_leaves_without_a_word(guest: "Guest") -> None:
    """`os._exit` gives its code, and no report."""
    ran = guest.run("import os\nos._exit(3)\n")
    assert (ran.report, ran.status["exit"], ran.status["signal"]) == (None, 3, None)


@pytest.mark.parametrize(
    ("source", "number"),
    [
        ("import ctypes\nctypes.string_at(0)\n", signal.SIGSEGV),
        ("import os\nos.kill(os.getpid(), 9)\n", signal.SIGKILL),
        ("import os\nos.kill(os.getpid(), 15)\n", signal.SIGTERM),
        ("import os\nos.abort()\n", signal.SIGABRT),
    ],
)
def test_a_process_that_is_killed(guest: "Guest", source: str, number: int) -> None:
    """A deadly signal is told apart from an exit code; signals have their usual meaning in the tool."""
    ran = guest.run(source)
    assert (ran.report, ran.status["exit"], ran.status["signal"]) == (None, None, number)


def test_a_run_that_cannot_start_says_why(guest: "Guest") -> None:
    """A file limit of the host's that is too small for the input is no crash of the guest."""
    ran = guest.run("", stdin=b"x" * 5000, within=("prlimit", "--fsize=1024"))
    assert (ran.code, ran.frames[-1][0]) == (70, b"X")
    assert "the tool's process cannot be started" in ran.frames[-1][1].decode()


def test_signals_sent_to_the_supervisor_are_ignored(guest: "Guest") -> None:
    """The tool cannot end its supervisor with the signals that can be ignored."""
    source = (
        "import os\ndef f():\n    for number in (1, 2, 3, 6, 10, 11, 13, 14, 15):\n"
        "        os.kill(os.getppid(), number)\n    return 'alive'\n"
    )
    assert guest.run(source, "f").value == "alive"


@pytest.mark.parametrize(
    "body",
    ["os.closerange(0, 200)", "os.closerange(3, 200)\n    keep = [open(os.devnull, 'w') for _ in range(9)]"],
    ids=["closed", "reused"],
)
def test_closing_every_descriptor_loses_no_result(guest: "Guest", body: str) -> None:
    """The report finds its way even when its descriptor is closed, or is another file by now."""
    ran = guest.run(f"import os\ndef f():\n    global keep\n    {body}\n    return [1]\n", "f")
    assert ran.value == [1]


def test_rubbish_in_every_descriptor_loses_no_result(guest: "Guest") -> None:
    """What the tool writes where the report goes is replaced by the report."""
    source = (
        "import os\ndef f():\n    for fd in range(3, 64):\n        try:\n            os.write(fd, b'rubbish' * 1000)\n"
        "        except OSError:\n            pass\n    return 'whole'\n"
    )
    assert guest.run(source, "f").value == "whole"


def test_a_flooded_report_is_not_read(guest: "Guest") -> None:
    """More in the report than any report can hold is not passed on."""
    source = (
        "import os\nfor fd in range(3, 64):\n    try:\n        os.write(fd, b'x' * 200_000)\n"
        "    except OSError:\n        pass\nos._exit(0)\n"
    )
    ran = guest.run(source, limits={"result_bytes": 1000})
    assert (ran.report, ran.status["flooded"], ran.status["exit"]) == (None, True, 0)


def test_a_surviving_grandchild_is_not_waited_for(guest: "Guest") -> None:
    """A process that outlives the tool keeps nobody waiting, whatever it holds open."""
    source = (
        "import os\ndef f():\n    if os.fork() == 0:\n        os.close(1)\n        os.close(2)\n"
        "        while os.getppid() == parent:\n            os.sched_yield()\n        os._exit(0)\n"
        "    return 'child'\nparent = os.getpid()\n"
    )
    assert guest.run(source, "f").value == "child"


def test_a_forked_process_reports_nothing(guest: "Guest") -> None:
    """A fork that returns from the function, after its parent has reported, does not replace the report."""
    source = (
        "import atexit, os\ndef f():\n    read, write = os.pipe()\n    fork = os.fork()\n"
        "    if fork == 0:\n        os.close(write)\n        os.read(read, 1)\n        return 'fork'\n"
        "    atexit.register(lambda: (os.close(write), os.waitpid(fork, 0)))\n    return 'parent'\n"
    )
    assert guest.run(source, "f").value == "parent"
