"""What a process tree takes, looked at from outside.

For memory only where no control group can be written, again and again: weaker than a control group, since
a tree that grows by hundreds of MiB between two looks passes its limit for that long.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stepflow_python.process.spawn import children_of

CORES = os.cpu_count() or 1
"""How much faster than the clock a tree can take CPU time."""
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


def tree(root: int) -> Iterator[int]:
    """The process and all its descendants, as they are now."""
    pending = [root]
    while pending:
        pid = pending.pop()
        yield pid
        pending += children_of(pid)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a process tree has taken so far: CPU time in ms, and how many processes and threads it is now."""

    cpu_ms: float = 0.0
    tasks: int = 0


def taken_by(root: int) -> Taken:
    """The CPU time of all that is in the tree, and of all that its members have waited for.

    Too low only by children of whoever has the kernel throw their figures away (it ignores SIGCHLD).
    """
    ticks = tasks = 0
    for pid in tree(root):
        fields = _stat_fields(pid)
        if fields:
            ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime: proc_pid_stat(5)
            tasks += int(fields[17])
    return Taken(ticks * TICK_MS, tasks)


def tasks_of(uid: int) -> int:
    """Processes and threads of a user, in and out of runs."""
    count = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                if entry.stat().st_uid == uid:
                    count += os.stat(f"/proc/{entry.name}/task").st_nlink - 2  # noqa: PTH116 - of hundreds of them
            except OSError:
                continue
    return count


def _stat_fields(pid: int) -> list[str]:
    """The fields from the state on; what is before may hold spaces."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def tree_memory_kb(root: int, *, precise_above_kb: int) -> int:
    """KiB held by the tree.

    The sum of resident sizes counts shared pages once per process; only where that sum is over `precise_above_kb` is
    the proportional size worth its price (it walks every mapping).
    """
    pids = list(tree(root))
    resident = sum(_resident_kb(pid) for pid in pids)
    return resident if resident <= precise_above_kb else sum(_proportional_kb(pid) for pid in pids)


def _resident_kb(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KB
    except (OSError, IndexError):
        return 0


def _proportional_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return _resident_kb(pid)
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
