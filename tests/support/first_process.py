"""Be process 1, as a worker is in a container without an init: run tools that are hard to end, then count zombies.

python first_process.py FOLDER
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stepflow_python.model.limits import Limits
from support.ways import open_way

BOMB = """
import os
def f():
    while True:
        try:
            os.fork()
        except OSError:
            pass
"""


def zombies() -> list[str]:
    """Processes that have ended and that nobody has waited for."""
    states = {path.parent.name: _state(path) for path in Path("/proc").glob("[0-9]*/stat")}
    return [pid for pid, state in states.items() if state == "Z"]


def _state(path: Path) -> str:
    try:
        return path.read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def main(folder: Path) -> None:
    """Print what is left of three runs."""
    with open_way("cold-namespaces", folder) as way:
        run = replace(way.tool(BOMB, "f"), limits=Limits(timeout_s=0.5, processes=64))
        statuses = [way.run(replace(run, execution_id=f"{number}"))[0].status for number in range(3)]
        deadline = time.monotonic() + 5.0
        while zombies() and time.monotonic() < deadline:
            way.run(way.tool("def f():\n    return 1\n", "f"))
    print(*statuses, len(zombies()))  # noqa: T201 - read by the test


if __name__ == "__main__":
    main(Path(sys.argv[1]))
