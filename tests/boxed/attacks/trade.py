"""What the attacks share; it lies beside each of them in its box.

An attack is a function that takes the world, which names what lies outside, and tries what its name says. How it is
known to be held stands in front of it: `refused` by the kernel with one of these errors, `finds_nothing`, `harmless`
where trying succeeds and changes nothing outside, or `ends` the run with one of these statuses. Whatever it says of
itself, the canaries of the world decide as well. The host reads these marks from the source; it imports nothing here.
"""

import ctypes
import errno
import functools
import os
import platform
from collections.abc import Callable
from typing import Any

Attack = Callable[[dict[str, Any]], Any]

libc = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"

# Numbers of x86_64 and of all later architectures; those from 424 on are the same everywhere.
NUMBERS = {
    "add_key": (248, 217),
    "bpf": (321, 280),
    "clone": (56, 220),
    "delete_module": (176, 106),
    "execveat": (322, 281),
    "finit_module": (313, 273),
    "init_module": (175, 105),
    "ioprio_set": (251, 30),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "move_pages": (279, 239),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "perf_event_open": (298, 241),
    "pivot_root": (155, 41),
    "quotactl": (179, 60),
    "request_key": (249, 218),
    "syslog": (103, 116),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "pidfd_open": (434, 434),
    "clone3": (435, 435),
    "pidfd_getfd": (438, 438),
    "mount_setattr": (442, 442),
    "memfd_secret": (447, 447),
}


def refused(*_names: str, **_settings: Any) -> Callable[[Attack], Attack]:
    """Held if the kernel refuses with one of these errors."""

    def mark(attack: Attack) -> Attack:
        @functools.wraps(attack)
        def tried(world: dict[str, Any]) -> dict[str, Any]:
            try:
                got = attack(world)
            except OSError as error:
                return {"refused": errno.errorcode.get(error.errno or 0, str(error)), "said": str(error)}
            return {"got": repr(got)}

        return tried

    return mark


def finds_nothing(**_settings: Any) -> Callable[[Attack], Attack]:
    """Held if what it returns is empty."""

    def mark(attack: Attack) -> Attack:
        @functools.wraps(attack)
        def tried(world: dict[str, Any]) -> dict[str, Any]:
            return {"found": [repr(one) for one in attack(world)]}

        return tried

    return mark


def harmless(**_settings: Any) -> Callable[[Attack], Attack]:
    """Held if the run succeeds all the same, and the canaries live."""
    return lambda attack: attack


def ends(*_statuses: str, **_settings: Any) -> Callable[[Attack], Attack]:
    """Held if the run ends so, and the canaries live."""
    return lambda attack: attack


def checked(result: int, what: str) -> int:
    """The result of a C function, or its error."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, what)
    return result


def system_call(name: str, *arguments: Any) -> int:
    """A system call by its name."""
    number = NUMBERS[name][0 if X86 else 1]
    return checked(libc.syscall(number, *arguments), name)


def call(name: str, *arguments: Any) -> int:
    """A function of the C library by its name."""
    return checked(getattr(libc, name)(*arguments), name)


def readable(path: str, size: int = 1 << 16) -> bytes:
    """The beginning of a file; empty where there is nothing to read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(size) or b""
    except OSError:
        return b""


def processes() -> list[int]:
    """Pids that can be seen."""
    try:
        return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    except PermissionError:
        return [pid for pid in (1, os.getppid(), os.getpid()) if os.path.exists(f"/proc/{pid}")]


def in_background(work: Callable[[], object]) -> None:
    """Do it in a process that is nobody's child, in a session of its own."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            work()
        os._exit(0)
    os.wait()
