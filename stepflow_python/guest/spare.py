"""Two processes that wait for one run: the supervisor of its box, and the one that becomes the tool.

Both are forked from a zygote and made a box of their own before the host knows of them. All they lack is the request,
which the host sends to the tool's process; to the supervisor it sends what bounds the answer.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` wraps it in enums, which costs a millisecond
import _socket
import marshal
import posix
import sys
import time

from .anonymous import anonymous_file
from .calling import call_function
from .child import ENDS, LAST_WORD, LAST_WORD_BYTES, become_tool, settle
from .confine import confine
from .kernel import Kernel
from .messages import receive
from .request import BadRequestError, Fields, Limits, parse_request, read_request
from .supervisor import Ended, Reply, answer, end_the_others, shield, stdin_of
from .workspace import make_folders, stage
from .writer import to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List

    from .config import Config
    from .isolate import Isolation

AWAITED = {_signal.SIGCHLD, ENDS}
READY = b"R"
FAILED = b"X"
REHEARSAL = marshal.dumps(
    {
        "source": "def f(n):\n    return {'n': [n, 1.5, 'x']}\n",
        "module_name": "rehearsal",
        "function": "f",
        "parameters": [["n", "positional_or_keyword"]],
        "arguments": {"n": 1},
        "input_schema": {},
        "stdin": b"",
        "files": {},
        "env": {},
        "site_packages": "",
        "prefix": "",
        "output_folder": "output",
        "limits": {
            "cpu_s": 1,
            "open_files": 1,
            "file_bytes": 1,
            "result_bytes": 1024,
            "output_files": 1,
            "output_files_bytes": 1,
        },
    },
    2,
)
IN_A_FILE = b"F"
"""Instead of a request that is too large for a message."""


class Wires:
    """What the host gave to one run: a socket for each process, the writing ends of the pipes, control groups."""

    __slots__ = ("groups", "reply", "stderr", "stdout", "supervisor", "tool")

    def __init__(self, descriptors: List[int]) -> None:
        supervisor, tool, self.stdout, self.stderr, self.reply, *self.groups = descriptors
        self.supervisor: Any = _socket.socket(fileno=supervisor)
        self.tool: Any = _socket.socket(fileno=tool)


def become_spare(config: Config, kernel: Isolation, descriptors: List[int]) -> None:
    """Make this process the ancestor of a supervisor that waits. Returns only in the tool's process."""
    wires = Wires(descriptors)
    try:
        for group in wires.groups:
            posix.write(group, b"0")
            posix.close(group)
        kernel.become_first_of_new_pids()
        kernel.isolate(config.folders, kept=config.kept, network=config.network)
        posix.chdir(config.folders[0][0])
        make_folders(config.output_folder)
        report = anonymous_file("report")
        child = posix.fork()
        kernel.give_up_rights()
        confine(kernel, config.confinement)
    except OSError as error:
        wires.supervisor.send(FAILED + str(error).encode("utf-8", "replace"))
        posix._exit(1)
    if child == 0:
        wires.supervisor.close()
        _become_tool(wires, report=report)
        return
    kernel.close_to_others(closed=True)
    wires.tool.close()
    for descriptor in (wires.stdout, wires.stderr):
        posix.close(descriptor)
    shield()
    rehearse_answer(config.output_folder, child=child)
    _signal.pthread_sigmask(_signal.SIG_BLOCK, AWAITED)
    wires.supervisor.send(READY)
    _supervise(wires, child=child, report=report)


def _supervise(wires: Wires, *, child: int, report: int) -> None:
    """Wait until there is a run, and answer for it."""
    message, _ = receive(wires.supervisor)
    if not message:
        posix._exit(0)
    before_ms = _cpu_ms(child)
    fields = Fields(marshal.loads(message), "bounds")  # noqa: S302 - only the trusted host can have written it
    limits = Limits(Fields(fields.take("limits", dict), "limits"))
    ended = _end_of(child, report)
    ended.cpu_ms = max(ended.cpu_ms - before_ms, 0.0)
    answer(limits, fields.take("output_folder", str), Reply(wires.reply), report=report, ended=ended)
    while True:
        # The host ends us, and what is left with us, once it has what it waits for: taking processes apart is work for
        # a processor that the host may want.
        _signal.pause()


def _end_of(child: int, report: int) -> Ended:
    """How the tool ended: by its last word, or as the kernel says; of what it left behind nothing is alive then.

    After its last word it waits to be killed itself.
    """
    reaped_ms = 0.0
    word = b""
    while not word:
        if _signal.sigwait(AWAITED) == ENDS:
            word = _take_last_word(report)
        pid, status, usage = _reaped()
        while pid:
            reaped_ms += (usage.ru_utime + usage.ru_stime) * 1e3
            if pid == child:
                reaped_ms += end_the_others() * 1e3
                return Ended.by(status, cpu_ms=reaped_ms, maxrss_kb=usage.ru_maxrss)
            pid, status, usage = _reaped()
    cpu_ms = reaped_ms + _cpu_ms(child) + int.from_bytes(word[1:9], "big") / 1e3
    if {name for name in posix.listdir("/proc") if name.isdigit()} != {"1", str(child)}:
        cpu_ms = max(cpu_ms, reaped_ms + end_the_others() * 1e3)
    return Ended(word[0], None, cpu_ms=cpu_ms, maxrss_kb=int.from_bytes(word[9:17], "big"))


def _reaped() -> Any:
    """A process that has ended, as `wait4` gives it; 0 in place of its number if there is none."""
    try:
        return posix.wait4(-1, posix.WNOHANG)
    except ChildProcessError:
        return 0, 0, None


def _take_last_word(report: int) -> bytes:
    """What follows the report: exit code, CPU time of children in microseconds, largest resident set in KiB."""
    size = posix.fstat(report).st_size - LAST_WORD_BYTES
    word = posix.pread(report, LAST_WORD_BYTES, size) if size >= 0 else b""
    if not word.startswith(LAST_WORD):
        return b""
    posix.ftruncate(report, size)
    return word[len(LAST_WORD) :]


def _cpu_ms(pid: int) -> float:
    """CPU time of a process, by its clock, whose number is made from its own (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2) * 1e3


def _become_tool(wires: Wires, *, report: int) -> None:
    posix.dup2(wires.stdout, 1)
    posix.dup2(wires.stderr, 2)
    settle({report, wires.tool.fileno(), wires.reply})
    reseed()
    rehearse_tool()
    kernel = Kernel()
    message, descriptors = receive(wires.tool)
    if not message:
        posix._exit(0)
    reply = Reply(wires.reply)
    file = descriptors.pop(0) if message == IN_A_FILE else None
    try:
        request = parse_request(message) if file is None else read_request(file)
        request.line = descriptors[0] if descriptors else None
        source = stage(request)
        request.files.clear()  # on disk now
        stdin = stdin_of(request)
    except (BadRequestError, OSError) as error:
        reply.fail(str(error))
    reply.send(b"B")
    for descriptor in (wires.reply, file):
        if descriptor is not None:
            posix.close(descriptor)
    wires.tool.close()
    become_tool(request, source, report=report, stdin=stdin, kernel=kernel, waited=True)


def rehearse_tool() -> None:
    """Do what is about to be done for a tool, with a few lines of ours.

    The pages that this writes to are this process's own then: copied one by one later, they would cost a run a
    millisecond.
    """
    request = parse_request(REHEARSAL)
    posix.unlink(stage(request))
    namespace: Any = {}
    exec(compile(request.source, "rehearsal", "exec", dont_inherit=True), namespace)  # noqa: S102 - ours
    to_json(call_function(request, namespace))


def rehearse_answer(output_folder: str, *, child: int) -> None:
    """Answer for a tool that did nothing, to nobody."""
    report, nobody = anonymous_file("rehearsal"), posix.open("/dev/null", posix.O_WRONLY)
    limits = parse_request(REHEARSAL).limits
    _take_last_word(report)
    posix.listdir("/proc")
    ended = Ended(0, None, cpu_ms=_cpu_ms(child), maxrss_kb=0)
    posix.write(report, b'{"ok":true,"value":null}')
    answer(limits, output_folder, Reply(nobody), report=report, ended=ended)
    posix.close(report)
    posix.close(nobody)


def reseed() -> None:
    """Give this process random numbers of its own; `random` does so itself at a fork."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    ssl = sys.modules.get("_ssl")
    if ssl is not None:
        entropy = posix.urandom(32) if hasattr(posix, "urandom") else b""
        ssl.RAND_add(entropy, float(len(entropy)))
    uuid = sys.modules.get("uuid")
    if uuid is not None:
        uuid._last_timestamp = None  # type: ignore[attr-defined]  # else two processes may make one version-1 value
