"""Run a command to its end: bounded in time, its whole process group killed when the time is up."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How a command ended; a negative `returncode` is the signal that killed it."""

    returncode: int
    stdout: bytes
    stderr: bytes


async def run_command(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float,
    input: bytes = b"",  # noqa: A002 - the name that `subprocess.run` gives it
    pass_fds: tuple[int, ...] = (),
) -> Completed:
    """Start a command without a shell and wait for it.

    Args:
        argv: the program and its arguments.
        env: its whole environment; none hands down ours.
        cwd: its working folder; none is ours.
        timeout_s: seconds until its process group is killed.
        input: its standard input.
        pass_fds: descriptors that it keeps open, such as a lock that must outlast us while it lives.

    Raises:
        TimeoutError: the time was up; nothing of the group is left.
        OSError: the program could not be started.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=env,
        cwd=cwd,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        pass_fds=pass_fds,
    )
    try:
        async with asyncio.timeout(timeout_s):
            stdout, stderr = await process.communicate(input)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return Completed(returncode=process.returncode or 0, stdout=stdout, stderr=stderr)
