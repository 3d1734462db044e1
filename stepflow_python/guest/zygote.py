"""A process that has imported what tools of its environment import, and forks processes that wait for one run each.

`python -I -S -c "...; main()" CONFIG_FD CONTROL_FD`, as process 1 of a box. It never sees a request and never runs a
tool. Each process it forks is cut off from it and from its siblings before the host sends it anything.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` wraps it in enums, which costs a millisecond
import _socket
import gc
import marshal
import posix
import sys

from . import exceptions as _exceptions  # noqa: F401 - what a run may need is imported before the fork
from .anonymous import anonymous_file
from .child import dress
from .config import Config
from .forking import ForkHooks
from .isolate import Isolation
from .messages import receive
from .preload import preload
from .rehearsal import pages_of_a_run
from .spare import become_spare, prepare_random_numbers
from .writer import quote, to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .rehearsal import Pages

SPARE, AT_ONCE = b"S", b"N"
"""Messages that ask for one more process, the second for a run that waits for it already: its request comes at once."""


def main() -> None:
    """Prepare, then fork on demand until the host lets go. Returns only in a process that became a tool."""
    with open(int(sys.argv[1]), "rb") as file:
        config = Config(marshal.loads(file.read()))  # noqa: S302 - only the trusted host can write here
    control = _socket.socket(fileno=int(sys.argv[2]))
    kernel = Isolation()
    kernel.forget()
    dress(prefix=config.prefix, site_packages=config.site_packages, env=config.env)
    with ForkHooks() as hooks:
        unfit = _prepare(config)
    pages = pages_of_a_run(config, kernel, hooks=hooks.needed)
    control.send(to_json({"unfit": unfit}).encode("ascii"))
    serve(config, control, kernel, pages, hooks=hooks.needed)


def _prepare(config: Config) -> Any:
    """Import everything, warm what is slow the first time, and set all objects apart from the collector."""
    output = anonymous_file("output")
    null = posix.open("/dev/null", posix.O_RDWR)
    for stream in (1, 2):
        posix.dup2(output, stream)
    gc.disable()
    unfit = preload(config.imports, output=output)
    prepare_random_numbers()
    compile("f(0)", "warm", "exec")
    quote("\n")
    for stream in (1, 2):
        posix.dup2(null, stream)
    posix.close(null)
    posix.close(output)
    gc.collect()
    gc.freeze()
    gc.enable()
    return unfit


def serve(config: Config, control: Any, kernel: Isolation, pages: Pages, *, hooks: bool) -> None:
    """Fork a process for each message. Returns only in one that became a tool."""
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # the kernel reaps them
    while True:
        message, descriptors = receive(control)
        if message not in {SPARE, AT_ONCE} or not descriptors:
            posix._exit(0)
        if kernel.fork_into_new_pids() == 0:
            control.close()
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            supervisor = _socket.socket(fileno=descriptors[0])
            become_spare(config, kernel, supervisor, pages=pages if message == SPARE else None, hooks=hooks)
            return
        for descriptor in descriptors:
            posix.close(descriptor)
