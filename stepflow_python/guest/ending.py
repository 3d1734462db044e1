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
    from typing import FrozenSet, Set

MOST_OBJECTS = 20_000
"""Looking at more would cost what it saves."""


class Beginning:
    """What there was before the tool, whose own module is called `tool`: objects are set apart, modules noted."""

    __slots__ = ("_modules", "_tool")

    def __init__(self, tool: str) -> None:
        self._tool = tool
        gc.freeze()
        self._modules: Set[str] = set(sys.modules)

    def end(self, status: int) -> None:
        """End the process with this exit code."""
        if self._needs_shutdown() or not _flushed():
            sys.exit(status)
        posix._exit(status)

    def _needs_shutdown(self) -> bool:
        """Whether the tool left threads, exit handlers, open files, finalizers or anything not seen through."""
        standard: FrozenSet[str] = getattr(sys, "stdlib_module_names", frozenset())  # since Python 3.10
        roots = {name.partition(".")[0] for name in sys.modules.keys() - self._modules}
        if not standard or "threading" in sys.modules or "atexit" in sys.modules:
            return True
        if not roots <= standard | {self._tool, __package__}:
            return True
        # Files, suspended generators and coroutines have this attribute too.
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
