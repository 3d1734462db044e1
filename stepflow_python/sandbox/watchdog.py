"""The memory of a process tree where no control group can be written: looked at again and again.

Weaker than a control group: a tree that grows by hundreds of MiB between two looks passes its limit for that long.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from stepflow_python.process.spawn import children_of

PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


def tree(root: int) -> Iterator[int]:
    """The process and all its descendants, as they are now."""
    pending = [root]
    while pending:
        pid = pending.pop()
        yield pid
        pending += children_of(pid)


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
