"""Every limit is met: with its status, its name in the result, and nothing of it counted against another run."""

from collections.abc import Iterator

import pytest
from support.sandboxes import Boxes

from stepflow_python.model.limits import Limit
from stepflow_python.model.result import MemoryEnforcement, Status
from stepflow_python.model.security import IsolationTier

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    """A sandbox of the best tier."""
    made = Boxes(tmp_path_factory.mktemp("boxes"))
    yield made
    made.close()


CHILDREN = """
import os, time
def spread(count, work):
    pids = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            try:
                work()
            finally:
                os._exit(0)
        pids.append(pid)
    return [os.waitpid(pid, 0)[1] for pid in pids]
def burn():
    while True:
        pass
"""

SLEEPING = "import time\ndef f():\n    time.sleep(60)\n"
BURNING = "def f():\n    while True:\n        pass\n"
HUGE = "def f():\n    return len(bytearray(400 << 20))\n"
WRITING = """
import os, time
def f():
    for number in range(200):
        with open(f'{os.environ["TMPDIR"]}/{number}', 'wb', 0) as file:
            file.write(bytes(1 << 20))
    time.sleep(9)
"""
GROWING = """
def f():
    with open('x', 'wb', 0) as file:
        while file.write(bytes(1 << 20)):
            pass
"""
MANY_FILES = """
import os
def f():
    for number in range(10**7):
        os.mknod(f'{os.environ["TMPDIR"]}/{number}')
"""
FORKING = CHILDREN + "def f():\n    spread(99, lambda: time.sleep(9))\n"
THREADS = """
import threading, time
def f():
    for _ in range(99):
        threading.Thread(target=time.sleep, args=(0.2,), daemon=True).start()
"""
OPENING = "def f():\n    return len([open('/dev/null') for _ in range(99)])\n"
TALKING = "def f():\n    while True:\n        print('x' * 999)\n"
COMPLAINING = "import os\ndef f():\n    while True:\n        os.write(2, b'x' * 999)\n"
LEAVING = "def f():\n    for n in range(9):\n        open(f'output/{n}', 'w').close()\n"
SPARSE = "def f():\n    with open('output/x', 'wb') as file:\n        file.truncate(64 << 20)\n"
DEEP = "import os\ndef f():\n    os.makedirs('output/' + 'd/' * 30)\n"

CASES = {
    "wall time": (SLEEPING, {"timeout_s": 0.5}, "timed_out", "wall_time"),
    "CPU time": (BURNING, {"cpu_s": 1}, "timed_out", "cpu_time"),
    "CPU time of a tree": (CHILDREN + "def f():\n    spread(2, burn)\n", {"cpu_s": 1}, "timed_out", "cpu_time"),
    "memory": (HUGE, {"memory_mib": 64}, "memory_exceeded", "memory"),
    "memory in files": (WRITING, {"memory_mib": 64, "work_bytes": 128 * MIB}, "memory_exceeded", "memory"),
    "memory of empty files": (MANY_FILES, {"memory_mib": 32, "timeout_s": 60}, "memory_exceeded", "memory"),
    "processes": (FORKING, {"processes": 8}, "failed", "processes"),
    "threads": (THREADS, {"processes": 8}, "failed", "processes"),
    "open files": (OPENING, {"open_files": 32}, "failed", "open_files"),
    "a file's size": (GROWING, {"file_bytes": 4 * MIB}, "failed", "file_size"),
    "work folder": (WRITING, {"work_bytes": 8 * MIB}, "failed", "work_size"),
    "stdout": (TALKING, {"output_bytes": 9999}, "output_exceeded", "output"),
    "stderr": (COMPLAINING, {"output_bytes": 9999}, "output_exceeded", "output"),
    "result": ("def f():\n    return 'x' * 9999\n", {"result_bytes": 999}, "output_exceeded", "result"),
    "count of files": (LEAVING, {"output_files": 4}, "output_exceeded", "files"),
    "a sparse file": (SPARSE, {"output_files_bytes": MIB}, "output_exceeded", "files"),
    "depth of files": (DEEP, {}, "output_exceeded", "files"),
}


@pytest.mark.parametrize(("source", "limits", "status", "limit"), CASES.values(), ids=CASES)
def test_limit(boxes: Boxes, source: str, limits: dict[str, object], status: str, limit: str) -> None:
    """It ends with its status, and the result names it and no other."""
    ends = {(status, (limit,))}
    if boxes.tier is IsolationTier.LANDLOCK and source in {WRITING, MANY_FILES}:
        # Files are on disk there; what the kernel keeps of each in memory may be too much first.
        ends = ends & {("memory_exceeded", ("memory",))} if source is MANY_FILES else set()
        ends |= {("failed", ("work_size",))}
    outcome = boxes(source, **limits)
    assert (outcome.status, outcome.limits_met) in ends, outcome


TOGETHER = """
import os
def f(count):
    told, tell = os.pipe()
    gate, closed = os.pipe()
    for _ in range(count):
        if os.fork() == 0:
            os.close(closed)
            held = bytearray(b'x') * (40 << 20)
            os.close(tell)
            os.read(gate, 1)
            os._exit(0)
    os.close(tell)
    os.read(told, 1)
    os.close(closed)
    return [os.wait()[1] for _ in range(count)]
"""


def test_two_children_count_together(boxes: Boxes) -> None:
    """Two children of 40 MiB each do not both live under a limit of 64 MiB, and one does; each waits for the other."""
    one, two = (
        boxes.made(TOGETHER.replace("def f(count)", f"def f(count={count})"), memory_mib=64) for count in (1, 2)
    )
    assert boxes.all(one)[0].result == [0]
    assert boxes.all(two)[0].status is Status.MEMORY_EXCEEDED


def test_a_link_is_not_a_file(boxes: Boxes) -> None:
    """What the output folder links to is not taken out, and links count for nothing but entries."""
    source = "import os\ndef f():\n    os.symlink('/etc/passwd', 'output/x')\n    os.symlink('.', 'output/loop')\n"
    outcome = boxes(source)
    assert (outcome.status, outcome.files) == (Status.SUCCEEDED, {})


def test_one_runs_limit_is_not_anothers(boxes: Boxes) -> None:
    """Beside runs that meet their limits of memory, processes and time, a fourth one ends as if it were alone."""
    holding = "import time\ndef f():\n    x = bytearray(b'x') * (48 << 20)\n    time.sleep(0.5)\n    return len(x)\n"
    greedy = boxes.made(HUGE, memory_mib=64)
    forking = boxes.made(FORKING, processes=8)
    slow = boxes.made(SLEEPING, timeout_s=1.0)
    modest = boxes.made(holding, memory_mib=96)
    outcomes = boxes.all(greedy, forking, slow, modest)
    assert [outcome.status for outcome in outcomes] == ["memory_exceeded", "failed", "timed_out", "succeeded"]
    assert outcomes[3].limits_met == ()
    peak = outcomes[3].memory_usage_kb
    assert peak is not None
    assert 48 * 1024 < peak < 96 * 1024


def test_the_tree_is_measured(boxes: Boxes) -> None:
    """Peak memory and CPU time are those of the tool and all its children together."""
    working = """
def work():
    x, end = bytearray(b'x') * (30 << 20), time.process_time() + 0.3
    while time.process_time() < end:
        pass
    time.sleep(0.3)
def f():
    return spread(2, work)
"""
    outcome = boxes(CHILDREN + working)
    assert outcome.cpu_time_ms is not None
    assert outcome.memory_usage_kb is not None
    assert outcome.cpu_time_ms >= 600
    assert outcome.memory_usage_kb > 60 * 1024


def test_a_run_is_seen_while_it_lasts(boxes: Boxes) -> None:
    """Tier, memory, CPU time and processes of a running tool's whole tree are told; afterwards it is not running."""
    source = CHILDREN + "def f():\n    x = bytearray(b'x') * (30 << 20)\n    spread(2, burn)\n"
    seen, outcome = boxes.watched(source, until=30, timeout_s=3.0)
    assert outcome.limits_met == (Limit.WALL_TIME,)
    assert {one.isolation for one in seen if one.running} == {boxes.tier}
    assert max(one.memory_usage_kb or 0 for one in seen) > 30 * 1024
    assert max(one.cpu_time_ms or 0 for one in seen) > 200
    assert max(one.processes or 0 for one in seen) >= 3
    assert not boxes.sandbox.status("unknown").running


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    """The same where no control group can be made."""
    made = Boxes(tmp_path_factory.mktemp("watched"), cgroup="/nowhere")
    yield made
    made.close()


TOUCHING = "def f():\n    held = []\n    while True:\n        held.append(b'x' * (1 << 20))\n"
THREADED = """
import mmap, threading
def f():
    buffers = [mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE) for _ in range(8)]
    threads = [threading.Thread(target=sum, args=(range(99),)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(buffers)
"""


def test_memory_is_watched_where_it_cannot_be_capped(watched: Boxes) -> None:
    """A tool that takes more ends, alone or with its children; one that only reserves more does not."""
    greedy = watched(TOUCHING, memory_mib=128)
    assert (greedy.status, greedy.limits_met) == (Status.MEMORY_EXCEEDED, (Limit.MEMORY,))
    assert greedy.memory_enforcement is MemoryEnforcement.WATCHDOG
    family = CHILDREN + "def f():\n    return spread(2, lambda: (bytearray(b'x') * (80 << 20), time.sleep(5)))\n"
    assert watched(family, memory_mib=128).status is Status.MEMORY_EXCEEDED
    assert watched(THREADED, memory_mib=256).result == 8


def test_processes_are_bounded_without_groups(watched: Boxes) -> None:
    """Forks fail beyond the limit, threads within it work, whatever else the user runs."""
    assert watched(FORKING, processes=8).limits_met == (Limit.PROCESSES,)
    assert watched(THREADED, processes=24).result == 8
