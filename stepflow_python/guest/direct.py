"""The answer of a process that waited for its run, by itself: the supervisor is not woken for what it cannot add to.

That is so where the report is short, nothing was written to the output folder and no other process is left. In all
other cases the process ends, and its supervisor answers for it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` wraps it in enums, which costs a millisecond
import posix
import resource

from .child import identity
from .supervisor import Ended, frame, status_of
from .workspace import FOLDER_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .request import Request

MOST_BYTES = 24 * 1024
"""Of a report; what is longer goes by the supervisor, with the rest of the message it still fits."""


class Direct:
    """The tool's end of a socket to the host. Other processes of the tool that inherit it are never heard for it."""

    __slots__ = ("_descriptor", "_folder", "_identity", "_owner", "_report", "_used_ms")

    def __init__(self, descriptor: int, request: Request) -> None:
        self._descriptor = descriptor
        self._identity = identity(descriptor)
        self._folder = request.output_folder
        self._owner = posix.getpid()
        self._report = ""
        self._used_ms = _cpu_ms()

    def delivering(self, deliver: Callable[[str], None]) -> Callable[[str], None]:
        """Note each report on its way to where the supervisor would find it."""

        def noted(report: str) -> None:
            self._report = report
            deliver(report)

        return noted

    def send(self, status: int) -> None:
        """Tell the host that the run is over, and wait to be killed; nothing where the supervisor has to."""
        if posix.getpid() != self._owner or len(self._report) > MOST_BYTES:
            return
        try:
            if identity(self._descriptor) != self._identity or not self._is_all():
                return
            answer = self.answer(status)
            posix.set_blocking(self._descriptor, False)
            posix.write(self._descriptor, answer)
        except (OSError, ValueError):  # whatever a tool has done to it: the supervisor is still there
            return
        while True:
            _signal.pause()

    def answer(self, status: int) -> bytes:
        """The frames that a supervisor would send."""
        largest_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ended = Ended(status & 0xFF, None, cpu_ms=max(_cpu_ms() - self._used_ms, 0.0), maxrss_kb=largest_kb)
        report = frame(b"R", self._report.encode("ascii")) if self._report else b""
        return report + frame(b"S", status_of(ended, flooded=False, files_error=None)) + frame(b"E")

    def rehearse(self, status: int) -> None:
        """Do all of it but to send."""
        self._is_all()
        self.answer(status)

    def _is_all(self) -> bool:
        """Whether there are no files to be taken out, and no other processes whose time has to be counted."""
        folder = posix.open(self._folder, FOLDER_FLAGS)
        try:
            if posix.listdir(folder):
                return False
        finally:
            posix.close(folder)
        try:
            posix.kill(-1, 0)  # to all that may be sent signals, but for process 1 and this one
        except ProcessLookupError:
            return True
        return False


def _cpu_ms() -> float:
    """CPU time of this process and of those that it has waited for."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return (own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime) * 1e3
