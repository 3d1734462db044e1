"""What a run could leave behind, counted."""

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Names of what is there: processes of this user, mounts of this process, groups, temporary folders, open files."""

    processes: frozenset[str]
    mounts: int
    groups: frozenset[str]
    folders: frozenset[str]

    @classmethod
    def count(cls, home: Path) -> "Leftovers":
        """What is there now."""
        return cls(
            processes=frozenset(_processes()),
            mounts=len(Path("/proc/self/mountinfo").read_text().splitlines()),
            groups=frozenset(_groups()),
            folders=frozenset(
                str(path) for base in (home, Path(tempfile.gettempdir())) for path in base.glob("stepflow-run-*")
            ),
        )


PATIENCE_S = 10.0


def left_since(before: Leftovers, home: Path) -> frozenset[str]:
    """What is there now, was not before, and stays: what other programs of this host have for a moment does not."""
    deadline = time.monotonic() + PATIENCE_S
    left = _new(before, home)
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left &= _new(before, home)
    return left


def _new(before: Leftovers, home: Path) -> frozenset[str]:
    after = Leftovers.count(home)
    named = frozenset({f"{after.mounts} mounts"}) if after.mounts != before.mounts else frozenset()
    return (
        named | (after.processes - before.processes) | (after.groups - before.groups) | (after.folders - before.folders)
    )


def _processes() -> list[str]:
    """Pid and command of every process of this user, or for root of any, that is a box or something in one."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            owner = entry.stat().st_uid
        except OSError:
            continue
        if os.getuid() in {owner, 0} and ("bwrap" in command or "stepflow_guest" in command):
            found.append(f"{entry.name} {command}")
    return found


def _groups() -> list[str]:
    groups = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            base = Path("/sys/fs/cgroup", controller) / path.lstrip("/")
            if base.is_dir():
                groups += [str(folder) for folder in base.glob("stepflow-*")]
    return groups
