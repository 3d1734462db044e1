"""A worker in a process of its own: ensures one environment, says what takes time, and dies where it is told to.

Called as `ensure_once.py FOLDER REQUIREMENTS [STEP [MILLISECONDS]]`: killed when the step begins, or that much later.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from stepflow_python.environments.cache import EnvironmentCache
from stepflow_python.ports import EnvironmentSpec, Steps

folder, requirements, *end = sys.argv[1:]


def progress(message: str) -> None:
    """Print a step; end here if this is the one."""
    print(message, flush=True)  # noqa: T201 - the test reads it
    if end and message.startswith(end[0]):
        if len(end) > 1:
            signal.setitimer(signal.ITIMER_REAL, int(end[1]) / 1000)
        else:
            os.kill(os.getpid(), signal.SIGKILL)


cache = EnvironmentCache(Path(folder), environ=os.environ)
spec = EnvironmentSpec(requirements=tuple(requirements.split(",")))


async def main() -> str:
    """Ensure, and wait for the bytecode."""
    environment = await cache.ensure(spec, steps=Steps(progress=progress))
    await cache.settle()
    return environment.id


print(asyncio.run(main()))  # noqa: T201 - the test reads it
