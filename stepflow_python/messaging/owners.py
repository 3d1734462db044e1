"""Who is alive: one locked byte for each process that holds messages.

Process number N locks byte N of the file beside the broker's file. The kernel frees the lock when the process ends, by
whatever signal, so a dead owner is seen by trying its lock: no heartbeat, no visibility timeout.

These are POSIX locks (`lockf`), not `flock`: a `flock` is shared with forked children and would outlive its owner in
them. Their one trap is that closing any descriptor of the file drops all of the process's locks on it; hence one
descriptor for each process, which is closed only when the broker is.
"""

import fcntl
import os
from pathlib import Path


class OwnerLocks:
    """The locks of this process on one broker's owners; not to be used across a fork."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def hold(self, owner: int) -> None:
        """Declare this process alive as `owner` until it ends."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, owner)

    def is_dead(self, owner: int) -> bool:
        """Whether nobody holds `owner`. Must not be asked of one's own: a process never conflicts with itself."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, owner)
        except (BlockingIOError, PermissionError):
            return False
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, owner)
        return True

    def enter_setup(self) -> None:
        """Wait until no other process sets the file up; `flock`, which is independent of the locks above."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def leave_setup(self) -> None:
        """Let the next process set up."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give up everything that is held."""
        os.close(self._descriptor)
