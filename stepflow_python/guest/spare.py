"""Two processes that wait for one run: the supervisor of its box, and the one that becomes the tool.

Both are forked from a zygote and made a box of their own before the host knows of them. All they lack is the request,
which the host sends to the tool's process. That one answers for itself where it can; else its supervisor does, which
was told what bounds the answer and sleeps until then.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` wraps it in enums, which costs a millisecond
import _socket
import marshal
import posix
import sys

from .anonymous import anonymous_file
from .calling import call_function
from .child import Sink, become_tool, settle
from .confine import confine
from .direct import Direct
from .ending import Beginning
from .kernel import Kernel
from .messages import receive
from .request import BadRequestError, Fields, Limits, parse_request, read_request
from .supervisor import NOT_STARTED, Reply, answer, frame, shield, stdin_of, wait_for
from .workspace import make_folders, stage
from .writer import to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List

    from .config import Config
    from .isolate import Isolation

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
            "file_bytes": 1024,
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


def become_spare(config: Config, kernel: Isolation, descriptors: List[int], *, rehearsed: bool) -> None:
    """Make this process, the first of its pid namespace, a supervisor that waits. Returns only in the tool's process.

    Args:
        config: what all runs have in common.
        kernel: whom to ask for namespaces.
        descriptors: see `Wires`.
        rehearsed: whether the tool's process rehearses: good where there is time until a run comes.
    """
    wires = Wires(descriptors)
    try:
        for group in wires.groups:
            posix.write(group, b"0")
            posix.close(group)
        kernel.isolate(config.folders, kept=config.kept, network=config.network)
        posix.chdir(config.folders[0][0])
        make_folders(config.output_folder)
        report = anonymous_file("report")
        kernel.give_up_rights()
        confine(kernel, config.confinement)
        child = posix.fork()
    except OSError as error:
        wires.supervisor.send(FAILED + str(error).encode("utf-8", "replace"))
        posix._exit(1)
    if child == 0:
        wires.supervisor.close()
        posix.close(wires.reply)
        _become_tool(wires, report=report, rehearsed=rehearsed)
        return
    kernel.close_to_others(closed=True)
    wires.tool.close()
    for descriptor in (wires.stdout, wires.stderr):
        posix.close(descriptor)
    shield()
    wires.supervisor.send(READY)
    _supervise(wires, child=child, report=report)


def _supervise(wires: Wires, *, child: int, report: int) -> None:
    """Sleep until the tool's process has ended without an answer of its own, and answer for it."""
    ended = wait_for(child)
    message, _ = receive(wires.supervisor)
    if not message:
        posix._exit(0)
    fields = Fields(marshal.loads(message), "bounds")  # noqa: S302 - only the trusted host can have written it
    limits = Limits(Fields(fields.take("limits", dict), "limits"))
    ended.cpu_ms = max(ended.cpu_ms - fields.take("waited_ms", float), 0.0)
    answer(limits, fields.take("output_folder", str), Reply(wires.reply), report=report, ended=ended)
    while True:
        # The host ends us, and what is left with us, once it has what it waits for: taking processes apart is work for
        # a processor that the host may want.
        _signal.pause()


def _become_tool(wires: Wires, *, report: int, rehearsed: bool) -> None:
    posix.dup2(wires.stdout, 1)
    posix.dup2(wires.stderr, 2)
    settle({report, wires.tool.fileno()})
    reseed()
    kernel = Kernel()
    if rehearsed:
        rehearse(wires.tool.fileno(), report, kernel)
    wires.tool.send(READY)
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
    if file is not None:
        posix.close(file)
    direct = Direct(wires.tool.detach(), request)
    become_tool(request, source, report=report, stdin=stdin, kernel=kernel, direct=direct)


def rehearse(channel: int, report: int, kernel: Kernel) -> None:
    """Do what is about to be done for a tool, with a few lines of ours.

    The pages that this writes to are this process's own then: copied one by one later, they would cost a run a
    millisecond.
    """
    request = parse_request(REHEARSAL)
    posix.unlink(stage(request))
    kernel.close_to_others(closed=False)
    confine(kernel, request.confinement)
    sink, direct = Sink(report, request), Direct(channel, request)
    beginning = Beginning(request.module_name)
    namespace: Any = {}
    exec(compile(request.source, "rehearsal", "exec", dont_inherit=True), namespace)  # noqa: S102 - ours
    direct.delivering(sink.write)(to_json(call_function(request, namespace)))
    posix.ftruncate(report, 0)
    posix.lseek(report, 0, 0)
    beginning.rehearse()
    direct.rehearse(0)


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
