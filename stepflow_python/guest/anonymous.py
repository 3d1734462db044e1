"""Files without a name, in memory where the C library can make them."""

from __future__ import annotations

import posix


def anonymous_file(purpose: str) -> int:
    """An open, empty file that nobody else can find by name; the descriptor is not inherited by programs."""
    try:
        return posix.memfd_create(purpose)
    except (AttributeError, OSError):
        # Interpreters built against an old C library have no memfd_create.
        import tempfile

        descriptor, path = tempfile.mkstemp(prefix=purpose)
        posix.unlink(path)
        return descriptor


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`; one call may take only a part of it."""
    view = memoryview(data)
    while view:
        view = view[posix.write(descriptor, view) :]
