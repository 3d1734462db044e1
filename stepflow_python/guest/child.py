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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional

    from .request import Limits, Request

NOT_PREPARED = 70


def become_tool(request: Request, source: str, *, report: int, stdin: Optional[int]) -> None:
    """Run the tool in this process, write its report and end the process, at the latest by a `SystemExit`.

    How the process came to be does not matter, as long as it has one thread and nothing of another tool in it.

    Args:
        request: the run.
        source: path of the source.
        report: the file for the report; every other descriptor above 2 is closed.
        stdin: a file to read standard input from; none leaves it.
    """
    sink = Sink(report, request.limits)
    try:
        _take_descriptors(report, stdin)
        _limit(request.limits)
        _offer_to_the_oom_killer()
        _dress(request, source)
    except (OSError, ValueError) as error:
        from .writer import failure

        sink.write(failure("internal_error", f"the run could not be prepared: {type(error).__name__}: {error}"))
        posix._exit(NOT_PREPARED)
    beginning = Beginning(request.module_name)
    beginning.end(run_tool(request, source, deliver=sink.write))


class Sink:
    """Where the report goes, whatever the tool has done to descriptors.

    A tool may close the file, or open its own under the same number: then it is opened once more through the
    supervisor, which still holds it.
    """

    __slots__ = ("_descriptor", "_file_bytes", "_identity", "_owner", "_supervisor")

    def __init__(self, descriptor: int, limits: Limits) -> None:
        self._descriptor = descriptor
        self._identity = _identity(descriptor)
        self._owner = posix.getpid()
        self._supervisor = posix.getppid()
        self._file_bytes = limits.file_bytes

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
        if _identity(self._descriptor) == self._identity:
            return self._descriptor
        return posix.open(f"/proc/{self._supervisor}/fd/{self._descriptor}", posix.O_WRONLY)


def _identity(descriptor: int) -> Optional[tuple[int, int]]:
    try:
        status = posix.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _take_descriptors(report: int, stdin: Optional[int]) -> None:
    """Keep 0, 1, 2 and the report."""
    if stdin is not None:
        posix.dup2(stdin, 0)
    for name in posix.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2 and descriptor != report:  # noqa: PLR2004 - the last of the standard three
            try:
                posix.close(descriptor)
            except OSError:  # the one that listed the folder is in the list, and closed by now
                continue


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


def _dress(request: Request, source: str) -> None:
    """Make the interpreter look as the environment's own, normally started, does."""
    _set_environment(request.env)
    sys.argv = [source]
    if hasattr(sys, "orig_argv"):
        sys.orig_argv = [sys.executable, source]
    sys.prefix = sys.exec_prefix = request.prefix
    mounted = __file__.rpartition("/")[0].rpartition("/")[0]
    sys.path[:] = [posix.getcwd(), *(entry for entry in sys.path if entry != mounted)]
    _add_site_packages(request.site_packages)
    _add_site_builtins()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What was printed before a kill shall have left the process.
            stream.reconfigure(line_buffering=True)


def _set_environment(env: Dict[str, str]) -> None:
    """The variables that C sees, and those that `os.environ` is made from when the tool imports `os`."""
    for known in list(posix.environ):
        posix.unsetenv(known)
    posix.environ.clear()
    for name, text in env.items():
        encoded, value = name.encode("utf-8", "surrogateescape"), text.encode("utf-8", "surrogateescape")
        posix.putenv(encoded, value)
        posix.environ[encoded] = value
    if "os" in sys.modules:
        os = sys.modules["os"]
        os.environ._data.clear()
        os.environ._data.update(posix.environ)


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
