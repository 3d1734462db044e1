"""The work folder: what the tool finds there, and what is taken out of it at the end.

After the run its content is a stranger's: nothing is opened through a link, nothing but regular files is read, and
sizes are believed before contents are touched.
"""

from __future__ import annotations

import _stat  # `stat`, `os` and `os.path` in their C parts: the rest costs a run a millisecond
import posix

from .anonymous import write_all
from .request import BadRequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, Optional, Tuple

    from .request import Limits, Request

MAX_DEPTH = 8
MAX_ENTRIES = 10_000
FOLDER_FLAGS = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
FILE_FLAGS = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC


def stage(request: Request) -> str:
    """Write the request's files, the source and the output folder into the work folder.

    Returns:
        The absolute path of the source.

    Raises:
        BadRequestError: a name leads out of the folder, or a file cannot be written.
    """
    folder = posix.getcwd()
    source = f"{request.module_name}.py"
    if not request.confinement.files:
        return f"{folder}/{source}"
    files: Dict[str, bytes] = dict(request.files)
    files[source] = request.source.encode("utf-8", "surrogatepass")
    try:
        for name, content in files.items():
            _write(name, content)
        make_folders(request.output_folder)
    except OSError as error:
        raise BadRequestError(f"the work folder cannot be filled: {error}") from error
    return f"{folder}/{source}"


def _write(name: str, content: bytes) -> None:
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise BadRequestError(f"{name!r} is no name inside the work folder")
    if len(parts) > 1:
        make_folders(name.rpartition("/")[0])
    descriptor = posix.open(name, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC, 0o666)
    try:
        write_all(descriptor, content)
    finally:
        posix.close(descriptor)


def make_folders(path: str) -> None:
    """The folder with those above it, as far as they are not there."""
    try:
        posix.mkdir(path)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_folders(path.rpartition("/")[0])
        posix.mkdir(path)


def left_report(output_folder: str) -> str:
    """Where a tool that has lost its report's descriptor leaves the report: beside its output folder."""
    return output_folder.rpartition("/")[0] + "/.report"


def open_left_report(output_folder: str) -> Optional[int]:
    """The report that was left in the work folder; none if there is no such file, or something else in its place."""
    try:
        descriptor = posix.open(left_report(output_folder), FILE_FLAGS)
    except OSError:
        return None
    if _stat.S_ISREG(posix.fstat(descriptor).st_mode):
        return descriptor
    posix.close(descriptor)
    return None


class Output:
    """The files of the output folder, one at a time; `error` says in the end why there are not more."""

    def __init__(self, folder: str, limits: Limits) -> None:
        self.error: Optional[str] = None
        self._folder = folder
        self._files = limits.output_files
        self._bytes = limits.output_files_bytes
        self._files_left = limits.output_files
        self._bytes_left = limits.output_files_bytes
        self._entries_left = MAX_ENTRIES

    def __iter__(self) -> Iterator[Tuple[str, bytes]]:
        """Names relative to the folder, with their contents."""
        try:
            folder = posix.open(self._folder, FOLDER_FLAGS)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self.error = f"the output folder cannot be read: {error.strerror}"
            return
        yield from self._walk(folder, "", 1)

    def _walk(self, folder: int, prefix: str, depth: int) -> Iterator[Tuple[str, bytes]]:
        """Files below an open folder, which is closed at the end."""
        try:
            for name in self._names(folder, prefix):
                if self.error is not None:
                    return
                path = prefix + name
                try:
                    mode = posix.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
                    if _stat.S_ISREG(mode):
                        content = self._read(folder, name, path)
                        if content is not None:
                            yield path, content
                    elif _stat.S_ISDIR(mode):
                        if depth >= MAX_DEPTH:
                            self.error = f"{path}: output folders may be nested {MAX_DEPTH} deep"
                            return
                        yield from self._walk(posix.open(name, FOLDER_FLAGS, dir_fd=folder), path + "/", depth + 1)
                except OSError as error:
                    self.error = f"{path}: cannot be read: {error.strerror}"
        finally:
            posix.close(folder)

    def _names(self, folder: int, prefix: str) -> list[str]:
        """The names in a folder in order, as far as they may be looked at."""
        names = []
        with posix.scandir(folder) as entries:
            for entry in entries:
                self._entries_left -= 1
                if self._entries_left < 0:
                    self.error = f"the output folder holds more than {MAX_ENTRIES} entries"
                    return []
                try:
                    entry.name.encode("utf-8")
                except UnicodeEncodeError:
                    self.error = f"{prefix + ascii(entry.name)}: names of output files must be UTF-8"
                    return []
                names.append(entry.name)
        names.sort()
        return names

    def _read(self, folder: int, name: str, path: str) -> Optional[bytes]:
        """The content of a regular file within what is left of the caps; none sets `error`, or is no file any more."""
        descriptor = posix.open(name, FILE_FLAGS, dir_fd=folder)
        try:
            status = posix.fstat(descriptor)
            if not _stat.S_ISREG(status.st_mode):
                return None
            if self._files_left == 0:
                self.error = f"{path}: the output folder holds more than {self._files} files"
                return None
            if status.st_size > self._bytes_left:
                self.error = f"{path}: the output files together are larger than {self._bytes} bytes"
                return None
            content = _read_bounded(descriptor, status.st_size)
        finally:
            posix.close(descriptor)
        self._files_left -= 1
        self._bytes_left -= len(content)
        return content


def _read_bounded(descriptor: int, size: int) -> bytes:
    """At most `size` bytes: a process that is still alive may be writing."""
    chunks = []
    while size > 0:
        chunk = posix.read(descriptor, min(size, 1 << 20))
        if not chunk:
            break
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)
