"""Which Landlock this kernel has."""

import ctypes
import sys

CREATE_RULESET = 444
"""The same number on every architecture: it is newer than their numberings' last difference."""
VERSION = 1

_libc = ctypes.CDLL(None, use_errno=True)


def landlock_abi() -> int:
    """The version of its interface, 1 from Linux 5.13 on; 0 where it is not built, not switched on, or refused."""
    if sys.platform != "linux":  # the number would mean something else
        return 0
    answer: int = _libc.syscall(CREATE_RULESET, None, 0, VERSION)
    return max(answer, 0)
