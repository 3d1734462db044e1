"""Messages of the host, whole each (SOCK_SEQPACKET), with the descriptors that came along."""

from __future__ import annotations

import _socket
import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Tuple

MOST_BYTES = 32 * 1024
"""Of one message; what is larger comes as a file."""
MOST_DESCRIPTORS = 8


def receive(source: Any) -> Tuple[bytes, List[int]]:
    """The next message and the descriptors that came with it; an empty one at the end."""
    space = _socket.CMSG_SPACE(MOST_DESCRIPTORS * array.array("i").itemsize)
    message, ancillary, _flags, _address = source.recvmsg(MOST_BYTES, space, _socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            descriptors.frombytes(data)
    return message, list(descriptors)
