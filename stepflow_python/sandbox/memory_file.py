"""Bytes handed to a process as a descriptor: memory of ours, so nothing blocks and no file is left."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def memory_file(purpose: str, content: bytes) -> Iterator[int]:
    """A descriptor of a file without a name that holds the content, at its beginning."""
    fd = os.memfd_create(purpose)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)
