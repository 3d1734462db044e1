"""Start processes from one long-lived thread.

A thread of its own for three reasons: the parent-death signal that bubblewrap asks for fires when the *thread* that
started it ends (prctl(2), PR_SET_PDEATHSIG), so it must outlive every box; a mount namespace belongs to a thread, so
only this one sees what root shows an unprivileged box; and the event loop never waits for a fork.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Joins the control groups named before `--` (writing 0 to cgroup.procs moves the writer), then becomes the program:
# what it starts is counted from its first instruction.
JOIN = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit 125; shift; done; shift; exec "$@"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What to start: `stdout`, `stderr` and `pass_fds` are open descriptors; `join` are cgroup.procs files."""

    argv: Sequence[str]
    env: Mapping[str, str]
    stdout: int
    stderr: int
    pass_fds: tuple[int, ...] = ()
    join: tuple[str, ...] = ()
    cwd: str = "/"


@dataclass(frozen=True, slots=True)
class Child:
    """A started process; `pidfd` stays valid, and names this process only, until `close`."""

    popen: subprocess.Popen[bytes]
    pidfd: int
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    def watch(self) -> None:
        """Have the running loop notice its end."""
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(self.pidfd)
            self.popen.wait()
            self._ended.set()

        loop.add_reader(self.pidfd, ended)

    async def wait(self) -> int:
        """Its return code; a negative one is the signal that killed it."""
        await self._ended.wait()
        return self.popen.returncode

    @property
    def ended(self) -> bool:
        """Whether it has ended and was reaped."""
        return self._ended.is_set()

    def kill(self) -> None:
        """SIGKILL to it and its process group; nothing if it has ended."""
        if self.ended:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let go of the descriptor; the process must have ended."""
        os.close(self.pidfd)


class Spawner:
    """The thread that starts processes; `prepare` runs in it first, once."""

    def __init__(self, prepare: Callable[[], None] | None = None) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner", initializer=prepare)

    async def spawn(self, launch: Launch) -> Child:
        """Start a process in a session of its own and watch it from the running loop.

        Raises:
            OSError: the program could not be started.
        """
        popen = await self.call(_start, launch)
        child = Child(popen, os.pidfd_open(popen.pid))
        child.watch()
        return child

    async def complaint(self, argv: Sequence[str], *, timeout_s: float) -> str | None:
        """Run a command to its end; what it said if it failed, none if it did not.

        Raises:
            OSError: it could not be started.
        """
        return await self.call(_complaint, argv, timeout_s)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a short function in the thread, with the thread's view of the mounts."""
        future = self._thread.submit(function, *args, **kwargs)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """End the thread; what it started and is still alive is killed by its parent-death signal."""
        self._thread.shutdown(wait=True)


def _start(launch: Launch) -> "subprocess.Popen[bytes]":
    argv = ["/bin/sh", "-c", JOIN, "join", *launch.join, "--", *launch.argv] if launch.join else list(launch.argv)
    return subprocess.Popen(  # noqa: S603 - argv is built by us, without a shell around any of its values
        argv,
        env=launch.env,
        cwd=launch.cwd,
        stdin=subprocess.DEVNULL,
        stdout=launch.stdout,
        stderr=launch.stderr,
        pass_fds=launch.pass_fds,
        start_new_session=True,
    )


def _complaint(argv: Sequence[str], timeout_s: float) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - argv is built by us
            argv, env={}, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {timeout_s:g} s"
    said = done.stderr.decode("utf-8", "replace").strip()
    return None if done.returncode == 0 else said or f"exit code {done.returncode}"
