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
    mounts: frozenset[str]
    groups: frozenset[str]
    folders: frozenset[str]

    @classmethod
    def count(cls, home: Path) -> "Leftovers":
        """What is there now."""
        return cls(
            processes=frozenset(_processes()),
            mounts=frozenset(mounts()),
            groups=frozenset(_groups()),
            folders=frozenset(
                str(path) for base in (home, Path(tempfile.gettempdir())) for path in base.glob("stepflow-run-*")
            ),
        )


PATIENCE_S = 30.0
OTHERS = ("/run/netns", "/var/lib/containers", "/run/containers", "/var/tmp")  # noqa: S108 - named, not used


def mounts() -> list[str]:
    """What is mounted where; but for places where only containers and named networks of this host are."""
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [f"{words[0]} {words[4]}" for words in lines if not words[4].startswith(OTHERS)]


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
    return (
        (after.processes - before.processes)
        | (after.mounts - before.mounts)
        | (after.groups - before.groups)
        | (after.folders - before.folders)
    )


def _processes() -> list[str]:
    """Pid and command of every process of this user, or for root of any, that is a box or something in one.

    Not those below a program that this one neither started nor was started by: tests run beside other tests.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        command = _command(int(entry.name))
        try:
            owner = entry.stat().st_uid
        except OSError:
            continue
        if os.getuid() in {owner, 0} and _is_box(command) and not _is_anothers(int(entry.name)):
            found.append(f"{entry.name} {command}")
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def _is_box(command: str) -> bool:
    return "bwrap" in command or "stepflow_guest" in command


def _is_anothers(pid: int) -> bool:
    """Whether what started the box of a process lives, and is no relative of ours; what has lost it may be ours."""
    line = _line(pid)
    starter = next((one for one in line if not _is_box(_command(one))), 0)
    return starter != 0 and os.getpid() not in _line(starter) and starter not in _line(os.getpid())


def _line(pid: int) -> list[int]:
    """A process and its ancestors, up to the first one of all."""
    line = []
    while pid > 0:
        line.append(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
    return line


def _groups() -> list[str]:
    """Control groups of runs, but for those that a living process which is no relative of ours has made."""
    groups = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            base = Path("/sys/fs/cgroup", controller) / path.lstrip("/")
            if base.is_dir():
                groups += [str(folder) for folder in base.glob("stepflow-*") if not _is_group_of_another(folder)]
    return groups


def _is_group_of_another(folder: Path) -> bool:
    maker = folder.name.split("-")[1]
    return maker.isdigit() and Path("/proc", maker).exists() and _is_anothers(int(maker))
