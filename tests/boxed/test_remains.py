"""Whatever a tool does not to end, its whole tree is gone within half a second of its deadline, and leaves nothing.

`STEPFLOW_TESTS_RUNS=500` counts over so many runs. Half a second is what a machine that does nothing else keeps: one
that is busy has more tries.
"""

import asyncio
import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.leftovers import Leftovers
from support.sandboxes import Boxes

from stepflow_python.model.result import Status

RUNS = int(os.environ.get("STEPFLOW_TESTS_RUNS", "40"))
AT_A_TIME = 4
DEADLINE_S = 0.4
PATIENCE_S = 0.5
SETTLED_S = 20.0
TRIES = 5

HELD = "import os, signal, time\ndef f():\n"
STUBBORN = {
    "sleeps": "    time.sleep(60)\n",
    "spins": "    while True:\n        pass\n",
    "ignores signals": (
        "    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:\n"
        "        signal.signal(number, signal.SIG_IGN)\n"
        "    time.sleep(60)\n"
    ),
    "stops itself": "    os.kill(os.getpid(), signal.SIGSTOP)\n",
    "forks": "    os.fork(), os.fork(), os.fork()\n    time.sleep(60)\n",
    "leaves its session": "    if os.fork() == 0:\n        os.setsid()\n        os.fork()\n    time.sleep(60)\n",
    "forks twice": (
        "    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            time.sleep(60)\n"
        "        os._exit(0)\n    time.sleep(60)\n"
    ),
    "closes its pipes": (
        "    if os.fork() == 0:\n        time.sleep(60)\n    os.closerange(0, 64)\n    time.sleep(60)\n"
    ),
    "forks without end": (
        "    while True:\n        try:\n            os.fork()\n        except OSError:\n            pass\n"
    ),
    "stopped children": (
        "    for _ in range(4):\n        if os.fork() == 0:\n            os.setsid()\n"
        "            os.kill(os.getpid(), signal.SIGSTOP)\n    time.sleep(60)\n"
    ),
    "another program": "    pid = os.posix_spawn('/bin/sleep', ['sleep', '60'], {})\n    os.waitpid(pid, 0)\n",
}
ENDING = {
    "returns": "    return 1\n",
    "raises": "    raise ValueError('x')\n",
    "crashes": "    os.kill(os.getpid(), signal.SIGSEGV)\n",
    "leaves a daemon": "    if os.fork() == 0:\n        os.setsid()\n        time.sleep(60)\n    return 1\n",
    "leaves a holder of its pipes": "    if os.fork() == 0:\n        time.sleep(60)\n    os._exit(3)\n",
    "leaves zombies": "    for _ in range(5):\n        os.fork() or os._exit(0)\n    return 1\n",
    "fills its folders": "    open('/tmp/x', 'wb').write(bytes(1 << 20))\n    os.makedirs('a/b/c')\n    return 1\n",
    "prints": "    print('x' * 100000)\n    return 1\n",
}


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    """A sandbox of the best tier, which has made what it keeps."""
    made = Boxes(tmp_path_factory.mktemp("boxes"))
    made("def f():\n    return 1\n")
    yield made
    made.close()


@pytest.mark.parametrize("body", STUBBORN.values(), ids=STUBBORN)
def test_its_tree_is_gone_soon(boxes: Boxes, body: str) -> None:
    """The run is over half a second after its deadline, which is when nothing of it runs any more."""
    late = []
    while len(late) < TRIES:
        before = everything(boxes)
        outcome = boxes(HELD + body, timeout_s=DEADLINE_S, processes=32)
        assert outcome.status is Status.TIMED_OUT
        assert settled(boxes, before) == before
        if outcome.execution_time_ms <= (DEADLINE_S + PATIENCE_S) * 1000:
            return
        late.append(outcome.execution_time_ms)
    pytest.fail(f"never gone in time: {late} ms")


def test_nothing_is_left(boxes: Boxes) -> None:
    """After many mixed runs there are as many processes, mounts, groups, folders and descriptors as before them."""
    bodies = [*STUBBORN.values(), *ENDING.values()] * (1 + RUNS // (len(STUBBORN) + len(ENDING)))
    random.Random(4).shuffle(bodies)  # noqa: S311 - a fixed mixture
    made = [boxes.made(HELD + body, timeout_s=DEADLINE_S, processes=32) for body in bodies[:RUNS]]
    boxes.all(*made[:AT_A_TIME])
    before = everything(boxes)
    for start in range(0, RUNS, AT_A_TIME):
        boxes.all(*made[start : start + AT_A_TIME])
    assert settled(boxes, before) == before


def settled(boxes: Boxes, before: dict[str, object]) -> dict[str, object]:
    """What there is once it is as it was, or after a while: the kernel lets go of a killed tree when it comes to it."""
    until = time.monotonic() + SETTLED_S
    while (now := everything(boxes)) != before and time.monotonic() < until:
        boxes.runner.run(asyncio.sleep(0.02))
    return now


def everything(boxes: Boxes) -> dict[str, object]:
    """What there is of this host: it is ours alone, being a pid namespace with a test in it."""
    return {
        "processes": sorted(name for name in names("/proc") if name.isdigit()),
        "descriptors": len(names("/proc/self/fd")),
        # The loop's own executor keeps the threads that it once had, up to a number.
        "threads": sorted(one.name for one in threading.enumerate() if not one.name.startswith("asyncio_")),
        "tasks": len(asyncio.all_tasks(boxes.runner.get_loop())),
        "kept": Leftovers.count(boxes.folder),
        "temporary": names(tempfile.gettempdir()),
    }


def names(folder: str) -> list[str]:
    """What a folder lists."""
    return sorted(path.name for path in Path(folder).iterdir())
