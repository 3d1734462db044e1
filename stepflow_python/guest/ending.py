"""How the tool's process ends: by the interpreter's own shutdown, or at once where that could make no difference.

The shutdown visits every object, which in a forked process copies almost every page of memory: three milliseconds,
as much as all the rest of the guest. What it is good for is known, so it can be seen whether there is any of it.
"""

from __future__ import annotations

import gc
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, FrozenSet, Optional

MOST_OBJECTS = 20_000
"""Looking at more would cost what it saves."""


class Beginning:
    """What there was before the tool, whose own module is called `tool`: objects are set apart, modules noted.

    `told`, if given, is called with the exit code when the process has nothing left to do but to end.
    """

    __slots__ = ("_last", "_owner", "_told", "_tool")

    def __init__(self, tool: str, *, told: Optional[Callable[[int], None]] = None) -> None:
        self._tool = tool
        self._told = told
        self._owner = posix.getpid()
        gc.freeze()
        self._last = next(reversed(sys.modules))

    def end(self, status: int) -> None:
        """End the process with this exit code."""
        if not self._only_known_modules() or not _threads_and_handlers_ended() or _objects_left() or not _flushed():
            sys.exit(status)
        if self._told is not None and posix.getpid() == self._owner:
            self._told(status)
        posix._exit(status)

    def _only_known_modules(self) -> bool:
        """Whether the tool loaded nothing since but the standard library: others may wait for the real end."""
        standard: FrozenSet[str] = getattr(sys, "stdlib_module_names", frozenset())  # since Python 3.10
        ours = (self._tool, __package__)
        # Only the new ones, which come last: looking at all names copies the pages that their counts are on.
        for name in reversed(sys.modules):
            if name == self._last:
                return bool(standard)
            top = name.partition(".")[0]
            if top not in ours and top not in standard:
                return False
        return False  # it was taken out


def _threads_and_handlers_ended() -> bool:
    """Do what the shutdown does first, and would not do again: wait for threads, run exit handlers."""
    try:
        threading = sys.modules.get("threading")
        if threading is not None:
            threading._shutdown()
        if "atexit" in sys.modules:
            sys.modules["atexit"]._run_exitfuncs()
    except BaseException:  # noqa: BLE001 - a tool may have put anything there; the shutdown knows what to do with it
        return False
    return True


def _objects_left() -> bool:
    """Whether there are open files, suspended generators or coroutines, finalizers, or too many objects to look at."""
    objects = gc.get_objects()
    return len(objects) > MOST_OBJECTS or any(hasattr(type(one), "__del__") for one in objects)


def _flushed() -> bool:
    """Whether what was printed has left; if not, the interpreter says why and chooses the exit code."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except Exception:  # noqa: BLE001 - a stream may be closed, or an object of the tool
        return False
    return True
