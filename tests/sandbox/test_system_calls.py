"""What the kernel really refuses to a run, and what it still does for it."""

from typing import TYPE_CHECKING

import pytest
from support.boxes import STANDARD, STRICT, Boxed

if TYPE_CHECKING:
    from stepflow_python.model.security import SecuritySettings

REFUSED = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)

def name(number, *arguments):
    result = libc.syscall(number, *arguments)
    return errno.errorcode[ctypes.get_errno()] if result == -1 else result

def f():
    assert os.uname().machine == "x86_64"
    return {
        "ptrace": name(101, 0, 0, 0, 0), "unshare": name(272, 0x10000000), "mount": name(165, 0, 0, 0, 0, 0),
        "keyctl": name(250, 0, -3, 0), "bpf": name(321, 0, 0, 0), "setns": name(308, 0, 0),
        "perf_event_open": name(298, 0, 0, -1, -1, 0), "userfaultfd": name(323, 0),
        "clone3": name(435, 0, 0), "io_uring_setup": name(425, 1, 0), "newer": name(467, 0), "x32": name(0x40000027),
    }
"""

PROCESSES = """
import os, subprocess, threading

def attempt(start):
    try:
        return start()
    except OSError as error:
        return type(error).__name__

def fork():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return os.waitpid(pid, 0)[1]

def f():
    seen = []
    thread = threading.Thread(target=seen.append, args=("ran",))
    thread.start()
    thread.join()
    return {
        "fork": attempt(fork),
        "run": attempt(lambda: subprocess.run(["/bin/true"]).returncode),
        "spawn": attempt(lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)[1]),
        "system": os.system("exit 0") == 0,
        "thread": seen,
        "filters": "Seccomp:\\t2" in open("/proc/self/status").read(),
    }
"""


@pytest.mark.parametrize("security", [STRICT, STANDARD], ids=["strict", "standard"])
def test_what_no_run_may_ask(boxed: Boxed, security: "SecuritySettings") -> None:
    """Calls of the table fail by their rule, those that are newer or of another numbering are not there."""
    result = boxed(REFUSED, security).result
    assert isinstance(result, dict)
    missing = {"clone3", "io_uring_setup", "newer", "x32"}
    assert result == {call: "ENOSYS" if call in missing else "EPERM" for call in result}


def test_standard_starts_processes(boxed: Boxed) -> None:
    """Forks, programs and threads work where the level allows processes."""
    expected = {"fork": 0, "run": 0, "spawn": 0, "system": True, "thread": ["ran"], "filters": True}
    assert boxed(PROCESSES, STANDARD).result == expected


def test_strict_starts_no_process(boxed: Boxed) -> None:
    """Every way to a process is closed by the kernel, threads are open."""
    result = boxed(PROCESSES, STRICT).result
    assert result == {
        "fork": "PermissionError",
        "run": "PermissionError",
        "spawn": "PermissionError",
        "system": False,
        "thread": ["ran"],
        "filters": True,
    }


def test_a_program_of_another_architecture_is_killed(boxed: Boxed) -> None:
    """The old 32-bit door (int 0x80), where calls have other numbers, ends the process."""
    source = (
        "import ctypes, mmap\n"
        "def f():\n"
        "    code = mmap.mmap(-1, 4096, prot=7)\n"
        "    code.write(bytes.fromhex('b814000000cd80c3'))  # mov eax, 20; int 0x80; ret\n"
        "    address = ctypes.addressof(ctypes.c_char.from_buffer(code))\n"
        "    return ctypes.CFUNCTYPE(ctypes.c_int)(address)()\n"
    )
    outcome = boxed(source, STANDARD)
    assert outcome.status == "failed"
    assert outcome.signal == 31


def test_ctypes_can_be_imported_afterwards(boxed: Boxed) -> None:
    """The guest leaves no half of `ctypes` behind."""
    source = (
        "import sys\nbefore = '_ctypes' in sys.modules\n"
        "def f():\n    import ctypes\n    return [before, ctypes.sizeof(ctypes.c_int)]\n"
    )
    assert boxed(source).result == [False, 4]
