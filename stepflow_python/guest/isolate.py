"""What makes a forked process a box of its own: system calls that the standard library does not offer.

Called between a fork and the first line of a tool, in a process that bubblewrap gave the right to do so inside its
user namespace and nowhere else (user_namespaces(7)).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` wraps it in enums, which costs a millisecond
import _socket
import fcntl
import posix
import sys

from .confine import confine
from .kernel import Kernel
from .workspace import make_folders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Sequence, Tuple

    from .config import Config

    Folder = Tuple[str, str, int]
    """Path, mode in octal digits, size in bytes: a file system in memory."""

# <linux/sched.h>
NEW_MOUNTS, NEW_CGROUP, NEW_UTS, NEW_IPC = 0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000
NEW_PIDS, NEW_NETWORK = 0x2000_0000, 0x4000_0000
# <asm/unistd.h>, by machine
CLONE = {"x86_64": 56, "aarch64": 220}
# <sys/mount.h>
NO_SUID, NO_DEVICES, NO_EXEC, BIND, RECURSIVE, PRIVATE = 2, 4, 8, 1 << 12, 1 << 14, 1 << 18
# <linux/prctl.h>, <linux/capability.h>, <linux/if.h>, <linux/sockios.h>
SET_AMBIENT, CLEAR_ALL_AMBIENT, CAPABILITY_VERSION_3 = 47, 4, 0x2008_0522
SET_INTERFACE_FLAGS, INTERFACE_UP = 0x8914, 1


class Isolation(Kernel):
    """What makes namespaces and file systems, and gives up the right to."""

    __slots__ = ()

    def fork_into_new_pids(self) -> int:
        """Fork a process that is process 1 of a new pid namespace; its number, 0 in itself.

        By the bare system call: with `unshare` and `fork` a process could do so once, and take that back only where it
        may enter its own namespace, which belongs to a user namespace above. What the interpreter and the C library do
        around a fork is about other threads, of which there are none, and about the process's number, which stays 1.
        """
        return self.call("syscall", CLONE[posix.uname().machine], NEW_PIDS | _signal.SIGCHLD, 0, 0, 0, 0)

    def isolate(self, folders: Sequence[Folder], *, kept: Sequence[str], network: bool) -> None:
        """Leave all namespaces but the user's; fresh file systems at `folders`, `/proc` and `/dev/pts`.

        To be called by process 1 of a pid namespace.

        Args:
            folders: what is made anew.
            kept: folders below these that shall be there as before.
            network: keep the network namespace.
        """
        self.call("unshare", NEW_MOUNTS | NEW_IPC | NEW_UTS | NEW_CGROUP | (0 if network else NEW_NETWORK))
        self._mount("none", "/", None, RECURSIVE | PRIVATE)
        held = [(path, posix.open(path, posix.O_PATH | posix.O_CLOEXEC)) for path in kept]
        for path, mode, size in folders:
            self._mount("tmpfs", path, "tmpfs", NO_SUID | NO_DEVICES, f"mode={mode},size={size}")
        for path, descriptor in held:
            make_folders(path)
            self._mount(f"/proc/self/fd/{descriptor}", path, None, BIND | RECURSIVE)
            posix.close(descriptor)
        self._mount("devpts", "/dev/pts", "devpts", NO_SUID | NO_EXEC, "newinstance,ptmxmode=0666,mode=620")
        self._mount("proc", "/proc", "proc", NO_SUID | NO_DEVICES | NO_EXEC)
        if not network:
            _raise_loopback()

    def give_up_rights(self) -> None:
        """Give up every capability for good."""
        header = CAPABILITY_VERSION_3.to_bytes(4, sys.byteorder) + bytes(4)
        self.call("prctl", SET_AMBIENT, CLEAR_ALL_AMBIENT, 0, 0, 0)
        self.call("capset", header, bytes(24))

    def _mount(self, source: str, target: str, kind: Optional[str], flags: int, data: str = "") -> None:
        kind_text = None if kind is None else kind.encode()
        self.call("mount", source.encode(), target.encode(), kind_text, flags, data.encode() or None)


def make_a_box(config: Config, kernel: Isolation) -> None:
    """Make this process, process 1 of a pid namespace, the first of a box, in its work folder and without rights.

    Raises:
        OSError: the kernel refused something.
    """
    kernel.isolate(config.folders, kept=config.kept, network=config.network)
    posix.chdir(config.folders[0][0])
    make_folders(config.output_folder)
    kernel.give_up_rights()
    confine(kernel, config.confinement)


def _raise_loopback() -> None:
    """Take the loopback interface up: struct ifreq of netdevice(7)."""
    request = b"lo".ljust(16, b"\0") + INTERFACE_UP.to_bytes(2, sys.byteorder) + bytes(22)
    any_socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        fcntl.ioctl(any_socket.fileno(), SET_INTERFACE_FLAGS, request)
    finally:
        any_socket.close()
