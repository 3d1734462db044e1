"""Which pages of memory a run writes to, learned by one that is made up.

A page that is written to for the first time after a fork is copied. Each run writes to a few hundred, mostly the same
ones, and to copy them takes a third of what a short run takes. So a process that waits makes them its own ahead.
"""

from __future__ import annotations

import _ctypes  # the C part alone: see `kernel`
import _signal  # type: ignore[import-not-found]  # `signal` wraps it in enums, which costs a millisecond
import array
import marshal
import posix
import resource

from .anonymous import anonymous_file, write_all
from .child import become_tool, settle
from .confine import confine
from .forking import fork, renew
from .isolate import make_a_box
from .last_word import LastWord
from .messages import MOST_BYTES
from .request import parse_request
from .workspace import stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, List, NoReturn, Tuple

    from .config import Config
    from .isolate import Isolation
    from .kernel import Kernel
    from .request import Request

PATIENCE_S = 2
"""For what packages do at the end of a process."""
# <linux/mman.h>, since Linux 5.14
POPULATE_WRITE = 23
# Documentation/admin-guide/mm/pagemap.rst of Linux: a page that is there, and mapped by no other process
OWN = 1 << 63 | 1 << 56
ENTRY_BYTES = 8
OUTPUT = "output"
PIECE = "def f(n):\n    return {'n': [n, 1.5, 'x']}\n"
REQUEST = marshal.dumps(
    {
        "source": PIECE,
        # Tools that are called again come compiled: the compiler's pages stay shared.
        "code": marshal.dumps(compile(PIECE, "rehearsal", "exec", dont_inherit=True)),
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
        "output_folder": OUTPUT,
        "limits": {
            "cpu_s": PATIENCE_S,
            "open_files": 64,
            "file_bytes": 1 << 20,
            "result_bytes": 1 << 10,
            "output_files": 1,
            "output_files_bytes": 1,
        },
    },
    2,
)


class Address(_ctypes._SimpleCData):  # type: ignore[type-arg]  # what `ctypes` makes `c_void_p` of
    """A place in memory, as the C library takes it."""

    _type_ = "P"


class Pages:
    """Ranges of memory, which are the same in whatever is forked from this process."""

    __slots__ = ("_ranges",)

    def __init__(self, ranges: List[Tuple[int, int]]) -> None:
        self._ranges = [(Address(start), length) for start, length in ranges]

    def own(self, kernel: Kernel) -> None:
        """Have copies of them; what is not there, or with a kernel that is too old, is copied when it is written to."""
        for start, length in self._ranges:
            kernel.ask("madvise", start, length, POPULATE_WRITE)


def pages_of_a_run(config: Config, kernel: Isolation, *, hooks: bool) -> Pages:
    """Have a run that is made up, see what it wrote to, and end it; none where the kernel, or a package, is against it.

    It is a run's in all: its parent is process 1 of a box of its own, without rights, so that nothing is left of what
    packages do at its end. The parent looks; what is written to in this process meanwhile, those two still share.
    """
    bytes(MOST_BYTES)  # room for a message, as it is made before each fork: C libraries tidy up what is free then
    told, tells = posix.pipe()
    parent = kernel.fork_into_new_pids()
    if parent == 0:
        try:
            _watch(config, kernel, hooks=hooks, tells=tells)
        finally:
            posix._exit(0)
    posix.close(tells)
    with open(told, "rb") as pipe:
        said = pipe.read()
    posix.waitpid(parent, 0)
    return Pages(marshal.loads(said) if said else [])  # noqa: S302 - our own process wrote it


def _watch(config: Config, kernel: Isolation, *, hooks: bool, tells: int) -> None:
    _signal.signal(_signal.SIGALRM, _give_up)
    _signal.alarm(PATIENCE_S)
    make_a_box(config, kernel)
    ended, ends = posix.pipe()
    run = fork(kernel, hooks=hooks)
    if run == 0:
        _run(config, kernel, ends=ends)
    posix.close(ends)
    if posix.read(ended, 1):
        write_all(tells, marshal.dumps(list(own_pages(run))))


def _give_up(*_: object) -> NoReturn:
    posix._exit(1)


def _run(config: Config, kernel: Kernel, *, ends: int) -> None:
    """All that a waiting process does for a run, from its fork to its last word."""
    report = anonymous_file("report")
    settle({report, ends})
    renew()
    confine(kernel, config.tools)
    request = parse_request(REQUEST)
    word = _Word(report, request, ends)
    try:
        become_tool(request, stage(request), report=report, stdin=None, word=word)
    except SystemExit:  # the rest would be the interpreter's, by whose own end there is no last word
        word.be_looked_at()


class _Word:
    """Says nothing to anybody but the watcher."""

    def __init__(self, report: int, request: Request, ends: int) -> None:
        self._word = LastWord(report, request)
        self._ends = ends

    def say(self, status: int) -> None:
        """All that a last word takes, and then to be looked at."""
        self._word.rehearse(status)
        self.be_looked_at()

    def be_looked_at(self) -> NoReturn:
        """Wait for the end, which comes with the watcher's."""
        posix.write(self._ends, b".")
        while True:
            _signal.pause()


def own_pages(pid: int) -> Iterator[Tuple[int, int]]:
    """Ranges of memory, as address and length in bytes, that a process has written to."""
    size = resource.getpagesize()
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        for line in maps:
            place, rights = line.split()[:2]
            if rights != "rw-p":
                continue
            start, end = (int(part, 16) for part in place.split("-"))
            entries: Any = array.array("Q")
            entries.frombytes(
                posix.pread(pagemap.fileno(), (end - start) // size * ENTRY_BYTES, start // size * ENTRY_BYTES)
            )
            since = None
            for number, entry in enumerate([*entries, 0]):
                if entry & OWN == OWN:
                    since = number if since is None else since
                elif since is not None:
                    yield start + since * size, (number - since) * size
                    since = None
