"""Control groups: one for each run, of version 2 or 1, so that limits hold for a whole process tree.

A run's folder is named after this process; what a killed worker left behind is removed by the next one.
"""

import asyncio
import contextlib
import errno
import itertools
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stepflow_python.model.limits import Limits
from stepflow_python.model.result import MemoryEnforcement

MIB = 1024 * 1024
PREFIX = "stepflow-"
# No third one: each hierarchy of version 1 that a process enters takes a lock over all threads of the host, and from
# the third on that cost 8 ms a run (measured, Linux 6.18). CPU time comes from the launcher's resource usage instead.
V1_CONTROLLERS = ("memory", "pids")
V2_CONTROLLERS = ("memory", "pids", "cpu")
CONTENT_BYTES = 4096
REMOVAL_TRIES = 1000
REMOVAL_STEP_S = 0.002

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run uses: memory in KiB, CPU time in ms since its start, processes with their threads."""

    current_kb: int | None
    cpu_ms: float | None
    processes: int | None


@dataclass(frozen=True, slots=True)
class Toll:
    """What a run's verdict needs of its group: peak memory in KiB, processes killed for memory, forks refused."""

    memory_kb: int | None = None
    oom_kills: int = 0
    forks_refused: int = 0


@dataclass(frozen=True, slots=True)
class RunGroup:
    """The control group of one run: a folder for each controller (one for all of them in version 2)."""

    folders: Mapping[str, Path]
    version: int
    _readers: dict[str, int] = field(default_factory=dict)
    """Descriptors of files that were read once: opening them is most of what a reading takes."""

    @property
    def join(self) -> tuple[str, ...]:
        """Version 2: the file that a process writes 0 into to enter."""
        return (str(self.folders["memory"] / "cgroup.procs"),) if self.version != 1 else ()

    @property
    def visit(self) -> tuple[tuple[str, str], ...]:
        """Version 1 moves single threads: files that one writes 0 into to enter, and to be back where it was.

        What it starts in between is in the group, and no shell was needed to enter it (0.6 ms a run, measured).
        """
        folders = self.folders.values() if self.version == 1 else ()
        return tuple((str(folder / "tasks"), str(folder.parent / "tasks")) for folder in folders)

    def enter_files(self) -> list[int]:
        """Open the files into which a process writes 0 to enter; to be closed by the caller."""
        name = "tasks" if self.version == 1 else "cgroup.procs"
        return [
            os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CLOEXEC) for folder in dict.fromkeys(self.folders.values())
        ]

    def limit(self, limits: Limits) -> None:
        """Set the memory and process limits; no swap beyond the memory."""
        memory, pids = self.folders["memory"], self.folders.get("pids")
        text = str(limits.memory_mib * MIB)
        if self.version == 1:
            try:
                _write(f"{memory}/memory.limit_in_bytes", text)
                _write_if_there(f"{memory}/memory.memsw.limit_in_bytes", text)
            except OSError:  # over the limit of memory and swap together, which a group had before
                _write_if_there(f"{memory}/memory.memsw.limit_in_bytes", text)
                _write(f"{memory}/memory.limit_in_bytes", text)
        else:
            _write(f"{memory}/memory.max", text)
            _write_if_there(f"{memory}/memory.swap.max", "0")
            _write_if_there(f"{memory}/memory.oom.group", "1")
        if pids is not None:
            _write(f"{pids}/pids.max", str(limits.processes + 2))  # the launcher and the supervisor are ours

    def usage(self) -> Usage:
        """What the run uses now, and used so far."""
        current = self._number("memory", "memory.usage_in_bytes" if self.version == 1 else "memory.current")
        cpu_us = None if self.version == 1 else self._entry("memory", "cpu.stat", "usage_usec")
        return Usage(
            current_kb=None if current is None else current // 1024,
            cpu_ms=None if cpu_us is None else cpu_us / 1e3,
            processes=self._number("pids", "pids.current"),
        )

    def toll(self) -> Toll:
        """What the run's verdict needs."""
        v1 = self.version == 1
        peak = self._number("memory", "memory.max_usage_in_bytes" if v1 else "memory.peak")
        kills = self._entry("memory", "memory.oom_control" if v1 else "memory.events", "oom_kill")
        return Toll(
            memory_kb=None if peak is None else peak // 1024,
            oom_kills=kills or 0,
            forks_refused=self._entry("pids", "pids.events", "max") or 0,
        )

    def _number(self, controller: str, name: str) -> int | None:
        content = self._content(controller, name)
        try:
            return None if content is None else int(content)
        except ValueError:
            return None

    def _entry(self, controller: str, name: str, entry: str) -> int | None:
        content = self._content(controller, name)
        wanted = entry.encode() + b" "
        lines = () if content is None else content.splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith(wanted)), None)

    def _content(self, controller: str, name: str) -> bytes | None:
        """A file of the kernel's; none where there is no such controller, or no such file."""
        try:
            if name not in self._readers:
                self._readers[name] = os.open(f"{self.folders[controller]}/{name}", os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._readers[name], CONTENT_BYTES, 0)
        except (KeyError, OSError):
            return None

    def kill(self) -> None:
        """SIGKILL to every process in it, those that are just being forked included."""
        folder = self.folders["memory"]
        if self.version == 2 and _write_if_there(f"{folder}/cgroup.kill", "1"):  # noqa: PLR2004 - the version
            return
        for _ in range(16):  # a forking tree is caught in a few passes; the pid namespace's end takes the rest
            members = list(_members(folder))
            if not members:
                return
            for pid in members:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)

    async def remove(self) -> None:
        """Remove its folders; waits two seconds for the kernel to let go of the last process: it may be busy."""
        while self._readers:
            os.close(self._readers.popitem()[1])
        pending = list(dict.fromkeys(self.folders.values()))
        for _ in range(REMOVAL_TRIES):
            pending = [folder for folder in pending if not _removed(folder)]
            if not pending:
                return
            await asyncio.sleep(REMOVAL_STEP_S)


class ControlGroups:
    """The place below which runs get their groups."""

    def __init__(self, bases: Mapping[str, Path], version: int) -> None:
        self._bases = dict(bases)
        self.version = version

    @property
    def enforcement(self) -> MemoryEnforcement:
        """How memory is held here."""
        return MemoryEnforcement.CGROUP_V1 if self.version == 1 else MemoryEnforcement.CGROUP_V2

    @property
    def counts_processes(self) -> bool:
        """Whether groups bound the number of their processes."""
        return "pids" in self._bases

    def create(self) -> RunGroup:
        """A new, empty group.

        Raises:
            OSError: it cannot be made (any more).
        """
        while True:
            name = f"{PREFIX}{os.getpid()}-{next(_numbers)}"
            folders = {controller: base / name for controller, base in self._bases.items()}
            try:
                # Workers in pid namespaces of their own may have the same number, and the same place for their groups:
                # whoever makes the first folder has the name.
                for folder in dict.fromkeys(folders.values()):
                    folder.mkdir()
            except FileExistsError:
                continue
            return RunGroup(folders, self.version)

    def remove_leftovers(self) -> None:
        """Remove the empty groups of processes that are no more."""
        for base in dict.fromkeys(self._bases.values()):
            for folder in base.glob(f"{PREFIX}*-*"):
                owner = folder.name.removeprefix(PREFIX).partition("-")[0]
                if owner.isdigit() and not Path("/proc", owner).exists():
                    _removed(folder)


def find_control_groups(*, below: str = "", proc: Path = Path("/proc/self")) -> ControlGroups | None:
    """Where this process may make groups with a memory limit, version 2 first; none if nowhere.

    Args:
        below: the group to use in place of the process's own, as a path inside each hierarchy.
        proc: where `cgroup` and `mountinfo` are read; see cgroups(7) and proc(5).
    """
    own = _own_groups((proc / "cgroup").read_text())
    mounts = list(_mounts((proc / "mountinfo").read_text()))
    for version, controllers in ((2, V2_CONTROLLERS), (1, V1_CONTROLLERS)):
        bases = {
            name: folder
            for name in controllers
            if (folder := _folder(mounts, own, name=name, version=version, below=below)) is not None
        }
        if version == 2:  # noqa: PLR2004 - the version
            bases = bases if _delegated(bases) else {}
        usable = {name: folder for name, folder in bases.items() if _can_make_groups(folder)}
        if "memory" in usable:
            groups = ControlGroups(usable, version)
            groups.remove_leftovers()
            return groups
    return None


def _own_groups(text: str) -> dict[str, str]:
    """Controller (empty for version 2) to path, from /proc/self/cgroup."""
    own: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), path)
    return own


def _mounts(text: str) -> Iterator[tuple[str, str, Path, set[str]]]:
    """File system type, root in it, mount point and options of each cgroup mount, from mountinfo."""
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, (kind, _, options) = left.split(), right.split(" ", 2)
        if kind in {"cgroup", "cgroup2"}:
            yield kind, fields[3], Path(fields[4].replace("\\040", " ")), set(options.split(","))


def _folder(
    mounts: list[tuple[str, str, Path, set[str]]], own: Mapping[str, str], *, name: str, version: int, below: str
) -> Path | None:
    for kind, root, mountpoint, options in mounts:
        right_one = kind == "cgroup2" if version == 2 else kind == "cgroup" and name in options  # noqa: PLR2004
        path = below or own.get("" if version == 2 else name)  # noqa: PLR2004 - the version
        if right_one and path is not None:
            inside = path.removeprefix(root) if root != "/" else path
            return mountpoint / inside.lstrip("/")
    return None


def _delegated(bases: Mapping[str, Path]) -> bool:
    """Make the controllers of version 2 available below our group, moving ourselves to a leaf if that is all it needs.

    A group that holds processes cannot hand controllers down (cgroup-v2, "No Internal Process Constraint").
    """
    folder = next(iter(bases.values()), None)
    if folder is None or not os.access(folder / "cgroup.subtree_control", os.W_OK):
        return False
    try:
        available = set((folder / "cgroup.controllers").read_text().split())
        if "memory" not in available:
            return False
        wanted = " ".join(f"+{name}" for name in V2_CONTROLLERS if name in available)
        if set(_members(folder)) == {os.getpid()}:
            leaf = folder / f"{PREFIX}host"
            leaf.mkdir(exist_ok=True)
            _write(f"{leaf}/cgroup.procs", str(os.getpid()))
        _write(f"{folder}/cgroup.subtree_control", wanted)
    except OSError:
        return False
    return True


def _can_make_groups(folder: Path) -> bool:
    probe = folder / f"{PREFIX}{os.getpid()}-probe"
    back = folder / ("tasks" if (folder / "tasks").exists() else "cgroup.procs")
    if not os.access(back, os.W_OK):
        return False
    try:
        probe.mkdir()
    except OSError:
        return False
    return _removed(probe)


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in {errno.EBUSY, errno.ENOTEMPTY}:
            raise
        return False
    return True


def _members(folder: Path) -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield from map(int, (folder / "cgroup.procs").read_text().split())


def _write(file: str, text: str) -> None:
    """A file of the kernel: some are in every run's way, and objects of files and paths take three times as long."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC | os.O_CREAT | os.O_TRUNC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _write_if_there(file: str, text: str) -> bool:
    try:
        _write(file, text)
    except OSError:  # swap accounting, oom.group and cgroup.kill came to kernels one by one
        return False
    return True
