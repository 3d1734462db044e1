"""The process that outlives the tool's: it forks, waits, takes stock and answers the host.

It runs no tool code. The tool's report comes through a file without a name rather than a pipe: a file never blocks
its writer, needs no reader while the tool runs, and nobody who inherited it can keep the supervisor waiting.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` wraps it in enums, which costs a millisecond
import posix

from .anonymous import anonymous_file, write_all
from .child import become_tool
from .workspace import Output, open_left_report
from .writer import to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, NoReturn, Optional

    from .kernel import Kernel
    from .request import Limits, Request

CHUNK_BYTES = 64 * 1024
NOT_STARTED = 70
"""EX_SOFTWARE of sysexits.h: not the tool's fault."""
REPORT_SLACK_BYTES = 64 * 1024
"""What a report may hold beyond the result: tracebacks, error messages."""

# SIGKILL and SIGSTOP cannot be ignored; SIGCHLD and SIGCONT must not be. A fault of our own (SIGSEGV) still kills:
# the kernel ignores only those that others send.
SHIELDED = tuple(number for number in range(1, 32) if number not in {9, 17, 18, 19})
IGNORED_BY_PYTHON = (_signal.SIGPIPE, _signal.SIGXFSZ)


def frame(kind: bytes, body: bytes = b"") -> bytes:
    """One byte of kind, eight of length, body."""
    return kind + len(body).to_bytes(8, "big") + body


class Reply:
    """The frames that go to the host."""

    __slots__ = ("_descriptor", "_pending")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pending = b""

    def add(self, kind: bytes, body: bytes = b"") -> None:
        """A frame that may wait for the next ones: the host is woken once."""
        self._pending += frame(kind, body)
        if len(self._pending) > CHUNK_BYTES:
            self._flush()

    def send(self, kind: bytes, body: bytes = b"") -> None:
        """Send a frame, after those that wait."""
        self.add(kind, body)
        self._flush()

    def _flush(self) -> None:
        """A host that has gone away is not our trouble any more."""
        try:
            write_all(self._descriptor, self._pending)
        except BrokenPipeError:
            posix._exit(1)
        self._pending = b""

    def fail(self, reason: str) -> NoReturn:
        """Say why there is no run, and end."""
        self.send(b"X", reason.encode("utf-8", "replace"))
        posix._exit(NOT_STARTED)

    def close(self) -> None:
        """Let go of the host's pipe, in the child."""
        posix.close(self._descriptor)


def shield() -> None:
    """Ignore whatever the tool may send us."""
    for number in SHIELDED:
        _signal.signal(number, _signal.SIG_IGN)


def unshield() -> None:
    """Give a child the signals of a fresh interpreter."""
    for number in SHIELDED:
        if number not in IGNORED_BY_PYTHON:
            _signal.signal(number, _signal.SIG_DFL)
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def supervise(request: Request, source: str, *, reply: Reply) -> None:
    """Run the tool in a child and answer the host. Returns only in that child, as a program that ends."""
    try:
        report = anonymous_file("report")
        stdin = stdin_of(request)
        kernel = kernel_for(request)
        if kernel is not None:
            kernel.close_to_others(closed=True)  # not after the fork: the child might be quicker
        reply.send(b"B")
        child = posix.fork()
    except OSError as error:
        reply.fail(f"the tool's process cannot be started: {error}")
    if child == 0:
        unshield()
        reply.close()
        become_tool(request, source, report=report, stdin=stdin, kernel=kernel)
        return
    ended = wait_for(child)
    if request.confinement.alone:
        _end_all()
    answer(request.limits, request.output_folder, reply, report=report, ended=ended)
    posix._exit(0)


def kernel_for(request: Request) -> Optional[Kernel]:
    """What holds the tool's process, and keeps it out of this one; none where it cannot be had, nor must."""
    confinement = request.confinement
    from . import confine  # noqa: F401 - before the fork: an import in the child copies pages
    from .kernel import Kernel

    try:
        kernel = Kernel()
    except ImportError as error:
        if not (confinement.asked or confinement.alone):
            return None
        raise OSError("this interpreter was built without ctypes, which its filters need") from error
    if confinement.alone:
        _signal.signal(_signal.SIGHUP, _abandoned)
        kernel.adopt_orphans(signal=_signal.SIGHUP)
    return kernel


def _abandoned(*_: object) -> None:
    """The host is no more: nobody waits for an answer, and nothing of the tool may stay."""
    _end_all()
    posix._exit(1)


def _end_all() -> None:
    """Kill and reap whatever is below us; what loses its parent meanwhile comes to us and is next."""
    while True:
        for pid in _children():
            posix.kill(pid, _signal.SIGKILL)
        try:
            posix.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> List[int]:
    try:
        descriptor = posix.open("/proc/thread-self/children", posix.O_RDONLY)
    except OSError:  # a kernel that does not tell: then the host's own search is all there is
        return []
    try:
        return [int(pid) for pid in posix.read(descriptor, 1 << 16).split()]
    finally:
        posix.close(descriptor)


def stdin_of(request: Request) -> Optional[int]:
    """A file with what the tool shall read, at its beginning; none: what the host gave us is empty enough."""
    if not request.stdin:
        return None
    descriptor = anonymous_file("stdin")
    write_all(descriptor, request.stdin)
    posix.lseek(descriptor, 0, 0)
    request.stdin = b""
    return descriptor


def wait_for(child: int) -> Ended:
    """How the child ended. Orphans of the tool become ours, so all are reaped, and none is alive when this returns."""
    cpu_s = 0.0
    while True:
        pid, status, usage = posix.wait4(-1, 0)
        cpu_s += usage.ru_utime + usage.ru_stime
        if pid == child:
            break
    maxrss_kb = usage.ru_maxrss
    # To process 1, -1 is everybody else in its pid namespace; to any other process it is every process of its user.
    if posix.getpid() == 1:
        cpu_s += end_the_others()
    return Ended.by(status, cpu_ms=cpu_s * 1000.0, maxrss_kb=maxrss_kb)


def end_the_others() -> float:
    """Kill what the tool left behind and wait for it; the CPU time in seconds that it had used."""
    cpu_s = 0.0
    try:
        posix.kill(-1, _signal.SIGKILL)
        while True:
            usage = posix.wait4(-1, 0)[2]
            cpu_s += usage.ru_utime + usage.ru_stime
    except (ProcessLookupError, ChildProcessError):
        return cpu_s


class Ended:
    """How the tool's process ended; `exit` or `signal` is none. CPU time is that of all processes of the run."""

    __slots__ = ("cpu_ms", "exit", "maxrss_kb", "signal")

    def __init__(self, code: Optional[int], signal: Optional[int], *, cpu_ms: float, maxrss_kb: int) -> None:
        self.exit = code
        self.signal = signal
        self.cpu_ms = cpu_ms
        self.maxrss_kb = maxrss_kb

    @classmethod
    def by(cls, status: int, *, cpu_ms: float, maxrss_kb: int) -> Ended:
        """From what `wait` gave."""
        code = posix.WEXITSTATUS(status) if posix.WIFEXITED(status) else None
        signal = posix.WTERMSIG(status) if posix.WIFSIGNALED(status) else None
        return cls(code, signal, cpu_ms=cpu_ms, maxrss_kb=maxrss_kb)


def answer(limits: Limits, output_folder: str, reply: Reply, *, report: int, ended: Ended) -> None:
    """Report, files, status: the status comes after the files because it says whether they are all."""
    left = open_left_report(output_folder)
    report = report if left is None else left
    size = posix.fstat(report).st_size
    flooded = size > limits.result_bytes + REPORT_SLACK_BYTES
    if size and not flooded:
        reply.add(b"R", _read(report, size))
    output = Output(output_folder, limits)
    for name, content in output:
        encoded = name.encode("utf-8")
        reply.add(b"F", len(encoded).to_bytes(4, "big") + encoded + content)
    reply.add(b"S", status_of(ended, flooded=flooded, files_error=output.error))
    reply.send(b"E")


def status_of(ended: Ended, *, flooded: bool, files_error: Optional[str]) -> bytes:
    """The status as JSON."""
    fields = {name: getattr(ended, name) for name in ended.__slots__}
    return to_json({**fields, "flooded": flooded, "files_error": files_error}).encode("ascii")


def _read(descriptor: int, size: int) -> bytes:
    """The beginning of the report, as long as it was a moment ago."""
    data = b""
    while len(data) < size:
        chunk = posix.pread(descriptor, size - len(data), len(data))
        if not chunk:
            break
        data += chunk
    return data
