"""Removing a folder that a stranger has filled.

`shutil.rmtree` calls itself for each level and stops at the interpreter's limit, and at folders that were closed.
"""

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BATCH = 1000


def remove_tree(folder: Path) -> None:
    """Remove a folder, however deep, large or closed it is; no link in it is followed.

    Folders are moved next to each other before they are emptied, so neither a path nor the stack grows. What cannot be
    removed stays.
    """
    pit = Path(tempfile.mkdtemp(prefix=folder.name, dir=folder.parent))
    with _opened(str(pit)) as bottom, suppress(OSError):
        os.rename(folder, "0", dst_dir_fd=bottom)
        numbers, pending = itertools.count(1), ["0"]
        while pending:
            name = pending.pop()
            with suppress(OSError), _opened(name, inside=bottom) as emptied:
                pending += _empty(emptied, bottom, numbers)
            with suppress(OSError):
                os.rmdir(name, dir_fd=bottom)
    with suppress(OSError):
        pit.rmdir()


def _empty(folder: int, bottom: int, numbers: "itertools.count[int]") -> Iterator[str]:
    """Remove the files in an open folder, and move the folders in it to the bottom; their names there."""
    while True:
        with os.scandir(folder) as entries:
            batch = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in itertools.islice(entries, BATCH)]
        gone = 0
        for name, is_folder in batch:
            with suppress(OSError):
                if is_folder:
                    with _opened(name, inside=folder):
                        moved = str(next(numbers))
                    os.rename(name, moved, src_dir_fd=folder, dst_dir_fd=bottom)
                    yield moved
                else:
                    os.unlink(name, dir_fd=folder)
                gone += 1
        if gone == 0:
            return


@contextmanager
def _opened(name: str, *, inside: int | None = None) -> Iterator[int]:
    """A folder, opened for its owner first: without the right to write, it can be neither emptied nor moved."""
    path = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inside)
    try:
        with suppress(OSError):
            os.chmod(f"/proc/self/fd/{path}", 0o700)  # noqa: PTH101 - the open folder, whatever its name is by now
        folder = os.open(f"/proc/self/fd/{path}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(path)
    try:
        yield folder
    finally:
        os.close(folder)
