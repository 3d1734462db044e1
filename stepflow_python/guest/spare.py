"""Two processes that wait for one run: the supervisor of its box, and the one that becomes the tool.

Both are forked from a zygote and made a box of their own before the host knows of them. All they lack is the request,
which the host sends to the tool's process; to the supervisor, which sleeps, it sends what bounds the answer.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` wraps it in enums, which costs a millisecond
import _socket
import marshal
import posix
import sys

from .child import become_tool, settle
from .confine import confine
from .forking import fork, renew
from .isolate import make_a_box
from .last_word import BELL, LastWord, was_said
from .messages import receive
from .request import BadRequestError, Fields, Limits, parse_request, read_request
from .supervisor import NOT_STARTED, Ended, Reply, answer, end_the_others, frame, stdin_of
from .workspace import stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, NoReturn, Optional

    from .config import Config
    from .isolate import Isolation
    from .kernel import Kernel
    from .rehearsal import Pages

AWAITED = {_signal.SIGCHLD, BELL}
ALL_SIGNALS = tuple(_signal.valid_signals())  # those of the C library itself would each be warned of
READY = b"R"
FAILED = b"X"
IN_A_FILE = b"F"
"""Instead of a request that is too large for a message."""


class Wires:
    """What the host gave to one run: a socket for each process, pipes to write to, files for the report and to join."""

    __slots__ = ("groups", "reply", "report", "stderr", "stdout", "supervisor", "tool")

    def __init__(self, supervisor: Any, descriptors: List[int]) -> None:
        self.supervisor = supervisor
        tool, self.stdout, self.stderr, self.reply, self.report, *self.groups = descriptors
        self.tool: Any = _socket.socket(fileno=tool)


def become_spare(config: Config, kernel: Isolation, supervisor: Any, *, pages: Optional[Pages], hooks: bool) -> None:
    """Make this process, the first of its pid namespace, a supervisor that waits. Returns only in the tool's process.

    Args:
        config: what all runs have in common.
        kernel: whom to ask for namespaces.
        supervisor: a socket to the host, which sends what `Wires` takes.
        pages: what runs write to; given where there is time until one comes, the tool's process makes them its own, and
            says when it is ready.
        hooks: whether functions of packages are to be called at a fork.
    """
    try:
        message, descriptors = receive(supervisor)
        if not message:
            posix._exit(0)
        wires = Wires(supervisor, descriptors)
        for group in wires.groups:  # before there is a namespace of groups, whose root is the one it is made in
            posix.write(group, b"0")
            posix.close(group)
        make_a_box(config, kernel)
        kernel.close_to_others(closed=True)
        # Nobody in its namespace can do anything to a process 1 that takes no signals.
        _signal.pthread_sigmask(_signal.SIG_BLOCK, ALL_SIGNALS)
        supervisor.send(READY)  # before the fork: the host has something to do as well
        child = fork(kernel, hooks=hooks)
    except OSError as error:
        supervisor.send(FAILED + str(error).encode("utf-8", "replace"))
        posix._exit(1)
    if child == 0:
        supervisor.close()
        posix.close(wires.reply)
        _become_tool(config, wires, kernel, pages=pages)
        return
    # As little as possible from here on: each page of memory that is written to is copied, and holds memory.
    wires.tool.close()
    posix.close(wires.stdout)
    posix.close(wires.stderr)
    _supervise(wires, child=child)


def _supervise(wires: Wires, *, child: int) -> None:
    """Sleep until the tool's process has said its last word, and pass that on; or has ended, and answer for it."""
    ended = _end_of(child, wires)
    message, _ = receive(wires.supervisor)
    if not message:
        posix._exit(0)
    fields = Fields(marshal.loads(message), "bounds")  # noqa: S302 - only the trusted host can have written it
    limits = Limits(Fields(fields.take("limits", dict), "limits"))
    ended.cpu_ms = max(ended.cpu_ms - fields.take("waited_ms", float), 0.0)
    answer(limits, fields.take("output_folder", str), Reply(wires.reply), report=wires.report, ended=ended)
    _wait_for_the_end()


def _end_of(child: int, wires: Wires) -> Ended:
    """How the tool's process ended; does not return where that said its last word instead."""
    cpu_ms = 0.0
    while True:
        if _signal.sigwait(AWAITED) == BELL:
            if was_said(wires.report):
                # With the time of orphans, which it could not know of.
                Reply(wires.reply).send(b"D", b"%d" % cpu_ms)
                _wait_for_the_end()
            continue
        pid, status, usage = _reaped()
        while pid:
            cpu_ms += (usage.ru_utime + usage.ru_stime) * 1e3
            if pid == child:
                cpu_ms += end_the_others() * 1e3
                return Ended.by(status, cpu_ms=cpu_ms, maxrss_kb=usage.ru_maxrss)
            pid, status, usage = _reaped()


def _reaped() -> Any:
    """A process that has ended, as `wait4` gives it; 0 in place of its number if there is none."""
    try:
        return posix.wait4(-1, posix.WNOHANG)
    except ChildProcessError:
        return 0, 0, None


def _wait_for_the_end() -> NoReturn:
    """The host ends us, and what is left with us, once it has what it waits for.

    To take processes apart is work for a processor that the host may want.
    """
    while True:
        _signal.pause()


def _become_tool(config: Config, wires: Wires, kernel: Kernel, *, pages: Optional[Pages]) -> None:
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    kernel.close_to_others(closed=False)
    posix.dup2(wires.stdout, 1)
    posix.dup2(wires.stderr, 2)
    settle({wires.report, wires.tool.fileno()})
    renew()
    reseed()
    try:
        confine(kernel, config.tools)  # the kernel looks at each call that there is: a twentieth of a short run
    except OSError as error:
        posix.write(2, str(error).encode("utf-8", "replace"))
        posix._exit(NOT_STARTED)
    if pages is not None:
        pages.own(kernel)
        wires.tool.send(READY)  # who is waited for is sent its request without
    message, descriptors = receive(wires.tool)
    if not message:
        posix._exit(0)
    file = descriptors.pop(0) if message == IN_A_FILE else None
    try:
        request = parse_request(message) if file is None else read_request(file)
        request.line = descriptors[0] if descriptors else None
        source = stage(request)
        request.files.clear()  # on disk now
        stdin = stdin_of(request)
    except (BadRequestError, OSError) as error:
        wires.tool.send(frame(b"X", str(error).encode("utf-8", "replace")))
        posix._exit(NOT_STARTED)
    wires.tool.send(frame(b"B"))
    wires.tool.close()
    if file is not None:
        posix.close(file)
    word = LastWord(wires.report, request)
    become_tool(request, source, report=wires.report, stdin=stdin, word=word)


def prepare_random_numbers() -> None:
    """Have OpenSSL set up what it draws from: that takes milliseconds, to reseed it a tenth of one."""
    ssl = sys.modules.get("_ssl")
    if ssl is not None:
        ssl.RAND_bytes(1)


def reseed() -> None:
    """Give this process random numbers of its own, where a fork does not do so by itself."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    ssl = sys.modules.get("_ssl")
    if ssl is not None:
        entropy = posix.urandom(32) if hasattr(posix, "urandom") else b""
        ssl.RAND_add(entropy, float(len(entropy)))  # quick after `prepare_random_numbers`
    uuid = sys.modules.get("uuid")
    if uuid is not None:
        uuid._last_timestamp = None  # type: ignore[attr-defined]  # else two processes may make one version-1 value
