"""What Landlock lets a run reach where no namespace hides the rest: rights on paths, by what the kernel knows.

See https://docs.kernel.org/userspace-api/landlock.html; the filter for such runs closes what Landlock leaves open.
"""

from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path

from stepflow_python.sandbox.etc import COPIED

LEAST_ABI = 1
TRUNCATE_ABI, NETWORK_ABI, SCOPE_ABI = 3, 4, 6


class Right(IntFlag):
    """LANDLOCK_ACCESS_FS_*, linux/landlock.h."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


SINCE = {Right.REFER: 2, Right.TRUNCATE: TRUNCATE_ABI, Right.IOCTL_DEV: 5}
"""The version that brought a right; the others were there from the first."""
ON_FILES = Right.EXECUTE | Right.WRITE_FILE | Right.READ_FILE | Right.TRUNCATE | Right.IOCTL_DEV
READ = Right.READ_FILE | Right.READ_DIR
RUN = READ | Right.EXECUTE
DEVICES = Right.MAKE_CHAR | Right.MAKE_BLOCK
BIND_TCP, CONNECT_TCP = 1, 2
ABSTRACT_SOCKETS, SIGNALS = 1, 2

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# Its own folder, and what names no other process: psutil, C libraries and numpy read these.
PROC = ("self", "cpuinfo", "meminfo", "stat", "uptime", "loadavg", "version", "filesystems", "vmstat")
CPUS = "/sys/devices/system/cpu"
READABLE_DEVICES = ("/dev/random", "/dev/urandom")
WRITABLE_DEVICES = ("/dev/null", "/dev/zero", "/dev/full")
ETC_NETWORK = ("resolv.conf", "hosts", "nsswitch.conf", "gai.conf", "host.conf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a run may reach: `readable` folders of ours (interpreter, environment, guest), `work` its own, if any."""

    readable: tuple[Path, ...]
    work: Path | None
    network: bool


def ruleset(reach: Reach, abi: int) -> dict[str, object]:
    """What the guest hands to the kernel: what is governed, and the rights on each path that is there.

    `handled` are the three fields of `struct landlock_ruleset_attr`; `rules` are paths with the rights on them, without
    those that the kernel does not know; `on_files` are the rights that may be given on what is no folder.
    """
    known = Right(sum(right for right in Right if SINCE.get(right, LEAST_ABI) <= abi))
    wanted: list[tuple[str, Right]] = [(path, RUN) for path in (*SYSTEM, *map(str, reach.readable))]
    wanted += [
        (path, READ)
        for path in (*(f"/proc/{name}" for name in PROC), CPUS, *READABLE_DEVICES, *_etc(network=reach.network))
    ]
    wanted += [(path, READ | Right.WRITE_FILE | Right.TRUNCATE) for path in WRITABLE_DEVICES]
    if reach.work is not None:
        wanted.append((str(reach.work), known & ~DEVICES))
    return {
        "handled": [
            int(known),
            BIND_TCP | CONNECT_TCP if abi >= NETWORK_ABI and not reach.network else 0,
            ABSTRACT_SOCKETS | SIGNALS if abi >= SCOPE_ABI else 0,
        ],
        "rules": [(path, int(rights & known)) for path, rights in wanted],
        "on_files": int(ON_FILES),
    }


def abstract_sockets_only() -> dict[str, object]:
    """What keeps a run from the host's abstract sockets, and from nothing else."""
    return {"handled": [0, 0, ABSTRACT_SOCKETS], "rules": [], "on_files": 0}


def _etc(*, network: bool) -> list[str]:
    return [f"/etc/{name}" for name in (*COPIED, *(ETC_NETWORK if network else ()))]
