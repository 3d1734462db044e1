"""Who uses an environment now, and when it was last used: a shared lock on a file, among all processes.

The lock is free as soon as its holder is gone, however it went; the file's time says when the last use began or ended.
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from stepflow_python.model.environment import EnvironmentId

_PAUSE_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Leases:
    """One file for each environment, in a folder."""

    folder: Path

    @contextlib.asynccontextmanager
    async def take(self, environment_id: EnvironmentId) -> AsyncIterator[None]:
        """Use an environment; waits while somebody is removing it."""
        with self._opened(environment_id) as descriptor:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(_PAUSE_S)
            os.utime(descriptor)
            try:
                yield
            finally:
                os.utime(descriptor)

    @contextlib.contextmanager
    def unused(self, environment_id: EnvironmentId) -> Iterator[bool]:
        """Whether nobody uses it; if so, nobody starts to before this ends."""
        with self._opened(environment_id) as descriptor:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def last_used(self, environment_id: EnvironmentId) -> float:
        """Seconds since the epoch; 0 if it never was."""
        try:
            return (self.folder / environment_id).stat().st_mtime
        except OSError:
            return 0.0

    @contextlib.contextmanager
    def _opened(self, environment_id: EnvironmentId) -> Iterator[int]:
        path = self.folder / environment_id
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileNotFoundError:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, flags, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
