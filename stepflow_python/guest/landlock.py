"""Landlock: the tool's process gives up all files and connections but those that the host names.

The host chose the rights by the kernel's version; see linux/landlock.h for what is handed over here.
"""

from __future__ import annotations

import _stat
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict

    from .kernel import Kernel

# The same on every architecture.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
PATH_BENEATH = 1


def restrict(kernel: Kernel, wanted: Dict[str, Any]) -> None:
    """Hold this process, and whatever comes of it, to the rules; privileges must have been given up before.

    Raises:
        OSError: the kernel refused; nothing of the tool's may run then.
    """
    # Fields that an older kernel does not have are zero, which it accepts.
    handled = b"".join(field.to_bytes(8, sys.byteorder) for field in wanted["handled"])
    ruleset = kernel.call("syscall", CREATE_RULESET, handled, len(handled), 0)
    try:
        for path, rights in wanted["rules"]:
            _allow(kernel, ruleset, path, rights, on_files=wanted["on_files"])
        kernel.call("syscall", RESTRICT_SELF, ruleset, 0)
    finally:
        posix.close(ruleset)


def _allow(kernel: Kernel, ruleset: int, path: str, rights: int, *, on_files: int) -> None:
    """Add a rule, if there is such a path."""
    try:
        place = posix.open(path, posix.O_PATH | posix.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not _stat.S_ISDIR(posix.fstat(place).st_mode):
            rights &= on_files  # the kernel refuses rights that make no sense
        rule = rights.to_bytes(8, sys.byteorder) + place.to_bytes(4, sys.byteorder)
        kernel.call("syscall", ADD_RULE, ruleset, PATH_BENEATH, rule, 0)
    finally:
        posix.close(place)
