"""How much lies in a work folder on disk, where no file system of its own bounds it.

The folder belongs to a tool that is running: nothing is opened but folders, and no link is followed.
"""

import os
from pathlib import Path

MOST_ENTRIES = 100_000
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
BLOCK = 512
"""What `st_blocks` counts, whatever the file system's own blocks are."""
MOST_DEPTH = 64


def over(folder: Path, most_bytes: int) -> bool:
    """Whether it holds more than so many bytes, or more entries or levels than anybody needs."""
    try:
        return _left(os.open(folder, FOLDER_FLAGS), [most_bytes, MOST_ENTRIES], 0) is None
    except OSError:
        return False


def _left(folder: int, left: list[int], depth: int) -> list[int] | None:
    """What is left of bytes and entries after an open folder, which is closed; none if one is used up."""
    try:
        if depth > MOST_DEPTH:
            return None
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    found = entry.stat(follow_symlinks=False)
                    left = [left[0] - found.st_blocks * BLOCK, left[1] - 1]
                    if min(left) < 0:
                        return None
                    if entry.is_dir(follow_symlinks=False):
                        below = _left(os.open(entry.name, FOLDER_FLAGS, dir_fd=folder), left, depth + 1)
                        if below is None:
                            return None
                        left = below
                except OSError:  # gone since, or made unreadable: its size was counted with the folder's
                    continue
        return left
    finally:
        os.close(folder)
