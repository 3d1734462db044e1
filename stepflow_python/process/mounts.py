"""Mounts that only one thread of this process sees.

Linux keeps the mount namespace per thread (unshare(2)): a thread that leaves the process's own namespace hands its
private view to the children it starts, and to nobody else.
"""

import ctypes
import os
from pathlib import Path

CLONE_NEWNS = 0x0002_0000
MS_BIND = 4096
MS_REC = 16384
MS_SLAVE = 1 << 19

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def leave_mount_namespace() -> None:
    """Give the calling thread a mount namespace of its own; what the host mounts later still appears in it.

    Raises:
        OSError: not root, or a container that withholds CAP_SYS_ADMIN.
    """
    _check(_libc.unshare(CLONE_NEWNS), "unshare(CLONE_NEWNS)")
    _check(_libc.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None), "mount(/, MS_SLAVE)")


def mount_tmpfs(target: Path) -> None:
    """Mount an empty tmpfs of mode 0755 over a folder."""
    _check(_libc.mount(b"tmpfs", os.fsencode(target), b"tmpfs", 0, b"mode=0755,size=1m"), f"mount tmpfs on {target}")


def bind(source: Path, target: Path) -> None:
    """Show `source` at `target` too; both exist and are of one kind, file or folder."""
    flags = MS_BIND | MS_REC
    _check(_libc.mount(os.fsencode(source), os.fsencode(target), None, flags, None), f"bind {source} on {target}")
