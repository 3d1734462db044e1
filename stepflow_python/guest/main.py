"""Where the guest begins: `python -I -S -c "...; main()" REQUEST_FD REPLY_FD`, in the work folder."""

from __future__ import annotations

import posix
import sys

from .request import BadRequestError, read_request
from .supervisor import Reply, shield, supervise
from .workspace import stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Tuple

    from .request import Request


def main() -> None:
    """Supervise one run and exit. Returns only in the child, whose normal end is the interpreter's own."""
    reply = Reply(int(sys.argv[2]))
    try:
        request, source = _prepare(int(sys.argv[1]))
        posix.close(int(sys.argv[1]))
    except BadRequestError as error:
        reply.fail(str(error))
    shield()
    supervise(request, source, reply=reply)


def _prepare(descriptor: int) -> Tuple[Request, str]:
    """Read the request and lay out the work folder; the path of the source in it.

    Raises:
        BadRequestError: the request is unusable.
    """
    request = read_request(descriptor)
    source = stage(request)
    request.files.clear()  # on disk now; kept, they would be copied into the tool's memory
    return request, source
