"""The process that becomes the tool: its limits first, then the interpreter as a normal start leaves it."""

from __future__ import annotations

import _sitebuiltins  # before the fork: an import in the child copies pages
import builtins
import io
import posix
import resource
import sys

from .anonymous import write_all
from .ending import Beginning
from .run import run_tool
from .workspace import left_report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional, Protocol, Set

    from .kernel import Kernel
    from .request import Limits, Request

    class Word(Protocol):
        """See `last_word`."""

        def say(self, status: int) -> None:
            """The end, with its exit code."""


NOT_PREPARED = 70


def become_tool(
    request: Request,
    source: str,
    *,
    report: int,
    stdin: Optional[int],
    kernel: Optional[Kernel] = None,
    word: Optional[Word] = None,
) -> None:
    """Run the tool in this process, write its report and end the process, at the latest by a `SystemExit`.

    How the process came to be does not matter, as long as it has one thread and nothing of another tool in it.

    Args:
        request: the run.
        source: path of the source.
        report: the file for the report; every other descriptor above 2 is closed, but for the request's own line.
        stdin: a file to read standard input from; none leaves it.
        kernel: whom to ask for the confinement of the request; none where it has none and the supervisor is open, and
            in a process that waited for its run.
        word: the last one of a process that waited for its run, and is confined, dressed and settled already.
    """
    sink = Sink(report, request)
    try:
        if kernel is not None:
            kernel.close_to_others(closed=False)
        if stdin is not None:
            posix.dup2(stdin, 0)
            posix.close(stdin)
        if word is None:
            settle({report} if request.line is None else {report, request.line})
        _limit(request.limits)
        if kernel is not None:
            from .confine import confine

            confine(kernel, request.confinement)
        if word is None:
            dress(prefix=request.prefix, site_packages=request.site_packages, env=request.env)
        else:
            _add_variables(request.env)
        _name(source)
        if request.line is not None and request.lent:
            from .lent import lend

            posix.set_inheritable(request.line, False)  # programs that the tool starts do not get it
            lend(request.line, request.lent)
    except (OSError, ValueError) as error:
        from .writer import failure

        sink.write(failure("internal_error", f"the run could not be prepared: {type(error).__name__}: {error}"))
        posix._exit(NOT_PREPARED)
    beginning = Beginning(request.module_name, told=None if word is None else word.say)
    beginning.end(run_tool(request, source, deliver=sink.write))


class Sink:
    """Where the report goes, whatever the tool has done to descriptors.

    A tool may close the file, or open its own under the same number: then the report is left in the work folder.
    """

    __slots__ = ("_descriptor", "_file_bytes", "_identity", "_owner", "_second")

    def __init__(self, descriptor: int, request: Request) -> None:
        self._descriptor = descriptor
        self._identity = identity(descriptor)
        self._owner = posix.getpid()
        self._second = left_report(request.output_folder)
        self._file_bytes = request.limits.file_bytes

    def write(self, report: str) -> None:
        """Replace what the file holds. Does nothing in processes that the tool forked from this one."""
        if posix.getpid() != self._owner:
            return
        data = report.encode("ascii")
        if len(data) > self._file_bytes:
            _raise_file_size()
        try:
            descriptor = self._open()
            posix.ftruncate(descriptor, 0)
            posix.lseek(descriptor, 0, 0)
            write_all(descriptor, data)
        except OSError as error:
            # The host sees that there is no report; this line tells the reader of stderr why.
            posix.write(2, f"the result could not be delivered: {error}\n".encode("utf-8", "replace"))

    def _open(self) -> int:
        if identity(self._descriptor) == self._identity:
            return self._descriptor
        return posix.open(self._second, posix.O_WRONLY | posix.O_CREAT | posix.O_NOFOLLOW | posix.O_CLOEXEC, 0o600)


def identity(descriptor: int) -> Optional[tuple[int, int]]:
    """What tells an open file from another one under the same number; none if nothing is open there."""
    try:
        status = posix.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def settle(kept: Set[int]) -> None:
    """Close every descriptor above 2 but those that are kept, and be the first to go when memory is short."""
    for name in posix.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2 and descriptor not in kept:  # noqa: PLR2004 - the last of the standard three
            try:
                posix.close(descriptor)
            except OSError:  # the one that listed the folder is in the list, and closed by now
                continue
    _offer_to_the_oom_killer()


def _limit(limits: Limits) -> None:
    """Bounds of the kernel, before the first line of the tool."""
    # Room for the report beyond the tool's own bound on files: the child raises its soft limit for it at the end.
    report = limits.result_bytes + (1 << 16)
    bounds = [
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_CPU, limits.cpu_s, limits.cpu_s + 1),
        (resource.RLIMIT_NOFILE, limits.open_files, limits.open_files),
        (resource.RLIMIT_FSIZE, limits.file_bytes, max(limits.file_bytes, report)),
    ]
    if limits.processes is not None:
        bounds.append((resource.RLIMIT_NPROC, limits.processes, limits.processes))
    if limits.data_bytes is not None:
        bounds.append((resource.RLIMIT_DATA, limits.data_bytes, limits.data_bytes))
    for name, soft, hard in bounds:
        ceiling = resource.getrlimit(name)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)  # noqa: PLW2901 - nobody may raise a hard limit
        resource.setrlimit(name, (soft, hard))


def _raise_file_size() -> None:
    """Make room for the report."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def _offer_to_the_oom_killer() -> None:
    """The tool shall go first, not its supervisor."""
    try:
        descriptor = posix.open("/proc/self/oom_score_adj", posix.O_WRONLY)
    except OSError:
        return
    try:
        posix.write(descriptor, b"1000")
    except OSError:
        pass
    finally:
        posix.close(descriptor)


def dress(*, prefix: str, site_packages: str, env: Dict[str, str]) -> None:
    """Make the interpreter look as the environment's own, normally started, does."""
    for known in list(posix.environ):
        posix.unsetenv(known)
    posix.environ.clear()
    if "os" in sys.modules:
        sys.modules["os"].environ._data.clear()
    _add_variables(env)
    sys.prefix = sys.exec_prefix = prefix
    mounted = __file__.rpartition("/")[0].rpartition("/")[0]
    sys.path[:] = [entry for entry in sys.path if entry != mounted]
    _add_site_packages(site_packages)
    _add_site_builtins()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What was printed before a kill shall have left the process.
            stream.reconfigure(line_buffering=True)


def _name(source: str) -> None:
    """What a program knows itself by."""
    sys.argv = [source]
    if hasattr(sys, "orig_argv"):
        sys.orig_argv = [sys.executable, source]
    sys.path.insert(0, posix.getcwd())


def _add_variables(env: Dict[str, str]) -> None:
    """The variables that C sees, and those that `os.environ` is made from when the tool imports `os`."""
    os = sys.modules.get("os")
    for name, text in env.items():
        encoded, value = name.encode("utf-8", "surrogateescape"), text.encode("utf-8", "surrogateescape")
        posix.putenv(encoded, value)
        posix.environ[encoded] = value
        if os is not None:
            os.environ._data[encoded] = value


def _add_site_packages(folder: str) -> None:
    try:
        names = posix.listdir(folder)
    except OSError:
        return
    if any(name.endswith(".pth") and name != "_virtualenv.pth" for name in names):
        import site

        site.addsitedir(folder)
    else:
        sys.path.append(folder)


def _add_site_builtins() -> None:
    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))
    builtins.help = _sitebuiltins._Helper()
