"""What a process gives up for good: privileges to gain, files and connections (Landlock), system calls (filters)."""

from __future__ import annotations

import sys

from .kernel import address_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .kernel import Kernel
    from .request import Confinement

# linux/prctl.h
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
PR_SET_NO_NEW_PRIVS = 38
INSTRUCTION_BYTES = 8


def confine(kernel: Kernel, confinement: Confinement) -> None:
    """Hold this process, and whatever comes of it, for good.

    Raises:
        OSError: the kernel refused; nothing of the tool's may run then.
    """
    kernel.call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if confinement.landlock is not None:
        from .landlock import restrict

        restrict(kernel, confinement.landlock)
    for program in confinement.filters:
        # struct sock_fprog: a count, padding, and the address of the instructions, which `program` keeps alive.
        count = len(program) // INSTRUCTION_BYTES
        described = count.to_bytes(8, sys.byteorder) + address_of(program).to_bytes(8, sys.byteorder)
        kernel.call("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, described)
    kernel.forget()
