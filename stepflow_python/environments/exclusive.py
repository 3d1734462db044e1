"""One holder at a time, among tasks, threads and processes."""

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.05


@contextlib.asynccontextmanager
async def exclusive(path: Path, *, timeout_s: float) -> AsyncIterator[int]:
    """Hold the lock of a file; the loop keeps turning while it waits.

    Yields the open descriptor. Handed to a child process it keeps the lock until that child has ended too, so what
    outlives a killed worker is never built upon. For that reason the lock is let go by closing, never by unlocking.

    Raises:
        TimeoutError: somebody else held it for `timeout_s` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        await _take(descriptor, path, timeout_s)
        yield descriptor
    finally:
        os.close(descriptor)


async def _take(descriptor: int, path: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    pause = _FIRST_PAUSE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{path.stem} was held by another process for {timeout_s:g} s") from None  # polled
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)
        else:
            return
