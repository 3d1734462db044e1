"""The line between a run and the modules of the host that it was lent."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stepflow_python.ports import HostCall, SandboxRun

log = logging.getLogger(__name__)


@asynccontextmanager
async def lent(run: SandboxRun, calls: HostCall) -> AsyncIterator[int]:
    """The run's end of a socket, at whose other end its calls are answered meanwhile."""
    ours, theirs = socket.socketpair()
    serving = asyncio.create_task(calls.serve(ours, run))
    try:
        yield theirs.fileno()
    finally:
        serving.cancel()
        [ended] = await asyncio.gather(serving, return_exceptions=True)
        if isinstance(ended, Exception):
            log.error("execution %s: its extensions failed", run.execution_id, exc_info=ended)
        ours.close()
        theirs.close()
