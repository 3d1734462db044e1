"""inotify(7): hearing from the kernel what is done to a file. The standard library has no way to it."""

import ctypes
import os
import struct
from pathlib import Path
from typing import Final

# <sys/inotify.h>
IN_MODIFY: Final = 0x2
IN_ATTRIB: Final = 0x4
IN_ONESHOT: Final = 0x8000_0000
EVENT = struct.Struct("iIII")
"""struct inotify_event without the name, which events of a file do not have."""
EVENTS_BYTES = 256 * EVENT.size

_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """One instance; its descriptor is readable while there is something to hear, and not inherited.

    Raises:
        OSError: the kernel gives no more of them (128 a user, by default).
    """

    def __init__(self) -> None:
        self._descriptor = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if self._descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"inotify_init1: {os.strerror(number)}")

    def fileno(self) -> int:
        """Its descriptor."""
        return self._descriptor

    def watch(self, path: str, mask: int) -> int:
        """Hear of a file; its watch's number, negative if it cannot be had. The file is not opened."""
        return int(_libc.inotify_add_watch(self._descriptor, os.fsencode(path), mask))

    def forget(self, watch: int) -> None:
        """Hear of it no more."""
        _libc.inotify_rm_watch(self._descriptor, watch)

    def read(self) -> list[tuple[int, int]]:
        """Watch and mask of what was heard since; nothing if that is nothing."""
        try:
            events = os.read(self._descriptor, EVENTS_BYTES)
        except BlockingIOError:
            return []
        return [(watch, mask) for watch, mask, _cookie, _length in EVENT.iter_unpack(events)]

    def close(self) -> None:
        """Hear nothing more; once."""
        os.close(self._descriptor)


class FileNews:
    """Whether something is done to a file, by any process of this host; the file may come and go.

    Args:
        path: of the file.
        mask: what is heard: that it is written to, if nothing else is said.
    """

    def __init__(self, path: Path, mask: int = IN_MODIFY) -> None:
        self._path, self._mask = str(path), mask
        self._inotify: Inotify | None = None
        self._watch = -1

    def listen(self) -> bool:
        """Whether anything can be heard now. Asked before each wait; the first time, listening begins."""
        if self._watch < 0:
            try:
                self._inotify = self._inotify or Inotify()
            except OSError:
                return False
            self._watch = self._inotify.watch(self._path, self._mask)
        return self._watch >= 0

    def fileno(self) -> int:
        """Readable when it was done after `clear`; negative where nothing can be heard."""
        return -1 if self._inotify is None else self._inotify.fileno()

    def clear(self) -> None:
        """What was done until now is known."""
        for watch, mask in [] if self._inotify is None else self._inotify.read():
            if watch == self._watch and not mask & self._mask:  # the file is gone
                self._watch = -1

    def renew(self) -> None:
        """Listen to the file that is there now; it may be another one."""
        if self._inotify is not None and self._watch >= 0:
            self._inotify.forget(self._watch)
        self._watch = -1

    def close(self) -> None:
        """Hear nothing more."""
        inotify, self._inotify, self._watch = self._inotify, None, -1
        if inotify is not None:
            inotify.close()
