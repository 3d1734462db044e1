"""Which process holds a claim, so that whoever shares its host sees its death at once.

A process is named by the host's boot, its namespace of process numbers, its number, and when it was started: numbers
are used again. Of a process elsewhere nothing is known here; its lease tells.
"""

import os
from pathlib import Path

from stepflow_python.store.clock import boot_id

DEAD = frozenset("ZX")


def this_process() -> str:
    """The name of this process."""
    return f"{_place()}/{os.getpid()}/{_started(os.getpid())}"


def is_dead(claimant: str) -> bool:
    """Whether a process was of this host and is no more; false where that cannot be known."""
    place, _, process = claimant.rpartition("/")[0].rpartition("/")
    if place != _place() or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    # Where processes of others are hidden, one that takes signals is there.
    return _started(int(process)) not in {"", claimant.rpartition("/")[2]}


def _place() -> str:
    return f"{boot_id()}/{Path('/proc/self/ns/pid').readlink()}"


def _started(pid: int) -> str:
    """Ticks since boot; empty where it is not to be seen, and not a number where it has ended but for its name."""
    try:
        fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "ended" if fields[0] in DEAD else fields[19]
