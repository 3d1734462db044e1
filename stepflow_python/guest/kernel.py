"""Asking the kernel for what the standard library has no function for.

Through the C part of `ctypes`, which alone costs a run half a millisecond; all of `ctypes` would cost six.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# linux/prctl.h
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 1, 4, 36


class Kernel:
    """Calls functions of the C library. Made before a fork, it costs the child a third (2 ms, measured)."""

    __slots__ = ("_ctypes", "_library", "_was_there")

    def __init__(self) -> None:
        self._was_there = "_ctypes" in sys.modules
        import _ctypes

        self._ctypes: Any = _ctypes
        self._library = self._ctypes.dlopen(None, 0)

    def call(self, function: str, *arguments: Any) -> int:
        """The result; numbers are passed as C ints, bytes by their address.

        Raises:
            OSError: it is -1.
        """
        result = self.ask(function, *arguments)
        if result == -1:
            raise OSError(f"{function}({', '.join(map(repr, arguments[:2]))}) was refused by the kernel")
        return result

    def ask(self, function: str, *arguments: Any) -> int:
        """As `call`, where it does not matter whether it is refused."""
        address = self._ctypes.dlsym(self._library, function)
        result: int = self._ctypes.call_function(address, arguments)
        return result

    def adopt_orphans(self, *, signal: int) -> None:
        """Become the parent of whatever loses its own below, and get `signal` when our own parent ends."""
        self.call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.call("prctl", PR_SET_PDEATHSIG, signal, 0, 0, 0)

    def close_to_others(self, *, closed: bool) -> None:
        """Let no process of our user, a tool, read or write our memory and descriptors by `/proc`; a fork hands it on.

        Who could would be without the tool's filters and limits, and write on the host's pipe.
        """
        self.call("prctl", PR_SET_DUMPABLE, int(not closed), 0, 0, 0)

    def forget(self) -> None:
        """Leave `sys.modules` as it was: a tool finds what a normally started interpreter has."""
        if not self._was_there:
            self._was_there = True  # what is imported from now on is another's
            sys.modules.pop("_ctypes", None)


def address_of(data: bytes) -> int:
    """Where the content of a bytes object lies: it is the last member of the object, with one byte for its end."""
    return id(data) + bytes.__basicsize__ - 1
