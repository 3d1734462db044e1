"""The process that outlives the tool's: it forks, waits, takes stock and answers the host.

It runs no tool code. The tool's report comes through a file without a name rather than a pipe: a file never blocks
its writer, needs no reader while the tool runs, and nobody who inherited it can keep the supervisor waiting.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` wraps it in enums, which costs a millisecond
import posix

from .anonymous import anonymous_file, write_all
from .child import become_tool
from .workspace import Output
from .writer import to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Optional

    from .request import Request

NOT_STARTED = 70
"""EX_SOFTWARE of sysexits.h: not the tool's fault."""
REPORT_SLACK_BYTES = 64 * 1024
"""What a report may hold beyond the result: tracebacks, error messages."""

# SIGKILL and SIGSTOP cannot be ignored; SIGCHLD and SIGCONT must not be. A fault of our own (SIGSEGV) still kills:
# the kernel ignores only those that others send.
SHIELDED = tuple(number for number in range(1, 32) if number not in {9, 17, 18, 19})
IGNORED_BY_PYTHON = (_signal.SIGPIPE, _signal.SIGXFSZ)


class Reply:
    """The frames that go to the host: one byte of kind, eight of length, body."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, kind: bytes, body: bytes = b"") -> None:
        """Send a frame; a host that has gone away is not our trouble any more."""
        try:
            write_all(self._descriptor, kind + len(body).to_bytes(8, "big") + body)
        except BrokenPipeError:
            posix._exit(1)

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
        stdin = _stdin(request)
        reply.send(b"B")
        child = posix.fork()
    except OSError as error:
        reply.fail(f"the tool's process cannot be started: {error}")
    if child == 0:
        unshield()
        reply.close()
        become_tool(request, source, report=report, stdin=stdin)
        return
    status, usage = _wait(child)
    _answer(request, reply, report=report, ended=_Ended(status, usage))
    posix._exit(0)


def _stdin(request: Request) -> Optional[int]:
    """A file with what the tool shall read, at its beginning; none: what the host gave us is empty enough."""
    if not request.stdin:
        return None
    descriptor = anonymous_file("stdin")
    write_all(descriptor, request.stdin)
    posix.lseek(descriptor, 0, 0)
    request.stdin = b""
    return descriptor


def _wait(child: int) -> Any:
    """The child's wait status and resource usage. Orphans of the tool become ours, so all are reaped meanwhile."""
    while True:
        pid, status, usage = posix.wait4(-1, 0)
        if pid == child:
            return status, usage


class _Ended:
    """How the tool's process ended; `exit` or `signal` is none."""

    __slots__ = ("cpu_ms", "exit", "maxrss_kb", "signal")

    def __init__(self, status: int, usage: Any) -> None:
        self.exit = posix.WEXITSTATUS(status) if posix.WIFEXITED(status) else None
        self.signal = posix.WTERMSIG(status) if posix.WIFSIGNALED(status) else None
        self.cpu_ms = (usage.ru_utime + usage.ru_stime) * 1000.0
        self.maxrss_kb = usage.ru_maxrss


def _answer(request: Request, reply: Reply, *, report: int, ended: _Ended) -> None:
    """Report, files, status: the status comes after the files because it says whether they are all."""
    size = posix.fstat(report).st_size
    flooded = size > request.limits.result_bytes + REPORT_SLACK_BYTES
    if size and not flooded:
        reply.send(b"R", _read(report, size))
    output = Output(request.output_folder, request.limits)
    for name, content in output:
        encoded = name.encode("utf-8")
        reply.send(b"F", len(encoded).to_bytes(4, "big") + encoded + content)
    reply.send(b"S", _status(ended, flooded=flooded, files_error=output.error))
    reply.send(b"E")


def _status(ended: _Ended, *, flooded: bool, files_error: Optional[str]) -> bytes:
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
