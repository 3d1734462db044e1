"""How the process of a tool that waited for its run says that it is over, without being over.

It adds to its report how it ends, and rings for the host, which listens to the report's file. Where there were other
processes, it rings for its supervisor, which adds what it knows of their time. To wait until the kernel has taken a
process apart, to look for files and to copy the report would take a millisecond more. All that is so where nothing was
written to the output folder and no other process is left; else the process ends, and its supervisor answers for it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` wraps it in enums, which costs a millisecond
import posix
import resource

from .child import identity
from .workspace import FOLDER_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Tuple

    from .request import Request

LAST_WORD = b"\0last word\0"
"""What a report ends with that the host may take: before it the status, and its length in eight bytes."""
BELL = _signal.SIGUSR1


class LastWord:
    """The last word of this process; those that the tool forks from it have none."""

    __slots__ = ("_folder", "_heard", "_identity", "_owner", "_report", "_used_ms")

    def __init__(self, report: int, request: Request) -> None:
        self._report = report
        self._identity = identity(report)
        self._folder = request.output_folder
        self._heard = request.heard
        self._owner = posix.getpid()
        self._used_ms = _used()[1]

    def say(self, status: int) -> None:
        """Say that the run is over, and wait to be killed; nothing where the supervisor has to answer."""
        if posix.getpid() != self._owner or identity(self._report) != self._identity:
            return
        try:
            alone = was_always_alone()
            if not self.is_all(alone=alone):
                return
            word = self.of(status)
            posix.lseek(self._report, 0, 2)
            if posix.write(self._report, word) != len(word):
                return
            if alone and self._heard:
                posix.utime(self._report)
            else:
                posix.kill(posix.getppid(), BELL)
        except (OSError, ValueError):  # whatever a tool has done to it: the supervisor is still there
            return
        while True:
            _signal.pause()

    def rehearse(self, status: int) -> None:
        """Look at all that `say` looks at, and make what it would write."""
        was_always_alone()
        self.is_all(alone=True)
        self.of(status)

    def of(self, status: int) -> bytes:
        """The end of a report."""
        own, used_ms = _used()
        # By hand what `supervisor.status_of` makes: that takes a twentieth of a short run.
        text = b'{"exit":%d,"cpu_ms":%r,"maxrss_kb":%d}' % (
            status & 0xFF,
            max(used_ms - self._used_ms, 0.0),
            own.ru_maxrss,
        )
        return text + len(text).to_bytes(8, "big") + LAST_WORD

    def is_all(self, *, alone: bool) -> bool:
        """Whether there are no files to be taken out, and no other processes whose time has to be counted."""
        folder = posix.open(self._folder, FOLDER_FLAGS)
        try:
            if posix.listdir(folder):
                return False
        finally:
            posix.close(folder)
        if alone:
            return True
        try:
            posix.kill(-1, 0)  # to all that may be sent signals, but for process 1 and this one
        except ProcessLookupError:
            return True
        return False


def was_always_alone() -> bool:
    """Whether no process and no thread was ever started beside this one: the last number given out is its own."""
    try:
        descriptor = posix.open("/proc/loadavg", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return False
    try:
        return int(posix.read(descriptor, 128).rpartition(b" ")[2]) == posix.getpid()
    finally:
        posix.close(descriptor)


def was_said(report: int) -> bool:
    """Whether a report ends with a last word."""
    size = posix.fstat(report).st_size
    return posix.pread(report, len(LAST_WORD), max(size - len(LAST_WORD), 0)) == LAST_WORD


def _used() -> Tuple[Any, float]:
    """What this process has used, and the CPU time in ms of it and of those that it has waited for."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own, (own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime) * 1e3
