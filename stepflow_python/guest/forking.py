"""Forking in a process that has one thread, and nobody's functions to be called around a fork.

What the interpreter does around a fork is about other threads: it makes all locks anew, as do the functions that the
standard library has registered. With packages loaded that takes a millisecond, and copies two hundred pages.
"""

from __future__ import annotations

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Set

    from .kernel import Kernel

ABOUT_THREADS = frozenset({"threading", "logging", "concurrent.futures.thread", "asyncio.events"})
"""Modules whose functions restore locks and loops that nobody holds or runs here."""
RENEWED = frozenset({"random"})
"""Modules for which `renew` does what theirs would."""


class ForkHooks:
    """Notes, while it is entered, whose functions are to be called at a fork. They are registered all the same."""

    __slots__ = ("_owners", "_register")

    def __init__(self) -> None:
        self._owners: Set[str] = set()
        self._register: Any = posix.register_at_fork

    @property
    def needed(self) -> bool:
        """Whether there are some that only the interpreter's own fork calls."""
        return not self._owners <= ABOUT_THREADS | RENEWED

    def __enter__(self) -> ForkHooks:  # noqa: PYI034 - the name that says it came after Python 3.8
        self._replace(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._replace(self._register)

    def _replace(self, function: Any) -> None:
        for name in ("posix", "os"):
            if name in sys.modules:
                sys.modules[name].register_at_fork = function  # type: ignore[attr-defined]

    def _note(self, **functions: Any) -> None:
        self._owners.update(str(getattr(function, "__module__", None)) for function in functions.values())
        self._register(**functions)


def fork(kernel: Kernel, *, hooks: bool) -> int:
    """Fork; the child's number, 0 in the child. With `hooks` as the interpreter does, else as the C library does.

    Raises:
        OSError: no process could be made.
    """
    return posix.fork() if hooks else kernel.call("fork")


def renew() -> None:
    """What is of one process alone: random numbers, and the number by which the kernel knows the thread."""
    random = sys.modules.get("random")
    if random is not None:
        random._inst.seed()
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._main_thread._set_native_id()
