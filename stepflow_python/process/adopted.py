"""A process that somebody else started and whose number reached us over a socket."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Adopted:
    """A process whose end we can see but not reap; `pidfd` names it and no other until `close`."""

    pid: int
    pidfd: int
    cpu_ms: float | None = None
    code: int = 0
    """Only a parent learns this, and the CPU time."""
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _callbacks: list[Callable[[], None]] = field(default_factory=list)

    @classmethod
    def watched(cls, pid: int) -> "Adopted":
        """Have the running loop notice its end.

        Raises:
            OSError: it has ended, and nobody knows of whom the number is now.
        """
        process = cls(pid, os.pidfd_open(pid))
        asyncio.get_running_loop().add_reader(process.pidfd, process._mark_ended)
        return process

    @property
    def ended(self) -> bool:
        """Whether its end was seen."""
        return self._ended.is_set()

    def call_when_ended(self, callback: Callable[[], None]) -> None:
        """Call this at its end, or now if it has ended."""
        self._callbacks.append(callback)
        if self.ended:
            callback()

    async def wait(self) -> int:
        """Wait for its end."""
        await self._ended.wait()
        return self.code

    async def kill(self, *, patience_s: float) -> None:
        """SIGKILL; `patience_s` is for those that need longer."""
        del patience_s
        self.kill_now()

    async def kill_below(self, *, patience_s: float) -> None:
        """As `kill`: whatever is below it is in its pid namespace."""
        await self.kill(patience_s=patience_s)

    def kill_now(self) -> None:
        """SIGKILL; nothing if it has ended."""
        if self.pidfd < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Let go of the descriptor."""
        if self.pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self.pidfd)
            os.close(self.pidfd)
            self.pidfd = -1

    def _mark_ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self.pidfd)
        self._ended.set()
        for callback in self._callbacks:
            callback()
