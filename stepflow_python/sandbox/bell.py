"""Being told by the kernel that somebody has set a file's times: a way to ring that gives the ringer nothing to hold.

A tool's process that waited for its run has the file of its report and nothing else of ours. inotify(7) tells of
files without a name, too.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from stepflow_python.process.inotify import IN_ATTRIB, IN_ONESHOT, Inotify

AGAIN_S = 0.02
"""Who rings for nothing is listened to again after this time: it shall not keep us busy."""


@dataclass(slots=True)
class Bell:
    """One file that is listened to until it is rung; `answer` says whether that was for something."""

    bells: "Bells"
    file: int
    answer: Callable[[], bool] | None = None
    _watch: int = -1

    @property
    def hung(self) -> bool:
        """Whether it is listened to."""
        return self._watch >= 0

    def hang(self) -> bool:
        """Listen, or listen again; whether that could be had."""
        self._watch = self.bells.listen(self.file, self._rung)
        return self.hung

    def take_down(self) -> None:
        """Listen no more."""
        self.answer = None
        self.bells.forget(self._watch)
        self._watch = -1

    def _rung(self) -> None:
        self._watch = -1
        if self.answer is not None and not self.answer():
            asyncio.get_running_loop().call_later(AGAIN_S, self._once_more)

    def _once_more(self) -> None:
        """Also what was rung for in between."""
        if self.answer is not None and self.hang() and self.answer():
            self.take_down()


class Bells:
    """All that are listened to by the loop that hung the first; none where the kernel gives no room for it."""

    def __init__(self) -> None:
        self._inotify: Inotify | None = None
        self._rung: dict[int, Callable[[], None]] = {}

    def listen(self, file: int, rung: Callable[[], None]) -> int:
        """Have `rung` called once, when somebody sets the file's times; the number to `forget`, negative if refused."""
        if self._inotify is None:
            try:
                self._inotify = Inotify()
            except OSError:
                return -1
            asyncio.get_running_loop().add_reader(self._inotify, self._readable)
        watch = self._inotify.watch(f"/proc/self/fd/{file}", IN_ATTRIB | IN_ONESHOT)
        if watch >= 0:
            self._rung[watch] = rung
        return watch

    def forget(self, watch: int) -> None:
        """Call it no more."""
        if self._inotify is not None and self._rung.pop(watch, None) is not None:
            self._inotify.forget(watch)

    def close(self) -> None:
        """Let go of all."""
        self._rung.clear()
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify)
            self._inotify.close()
            self._inotify = None

    def _readable(self) -> None:
        for watch, mask in [] if self._inotify is None else self._inotify.read():
            rung = self._rung.pop(watch, None) if mask & IN_ATTRIB else None
            if rung is not None:
                rung()
