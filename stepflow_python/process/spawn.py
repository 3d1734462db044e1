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
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

from stepflow_python.process.credentials import as_user

KILL_STEP_S = 0.002

P = ParamSpec("P")
T = TypeVar("T")


# Joins the control groups named before `--`, then becomes the program, which so is counted from its first instruction.
# It writes 0, itself: a process that moves another one waits for every CPU of the host first (18 ms instead of 0.3,
# measured, Linux 6.18, where the kernel spares a single-threaded process that moves itself).
JOIN = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit 125; shift; done; shift; exec "$@"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What to start: `stdout`, `stderr` and `pass_fds` are open descriptors.

    `join` are files of control groups into which a process enters itself. `visit` are pairs of such files for the
    starting thread: it is in the first while it starts, and then back in the second. `uid` is whom the program starts
    as; none is us.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    stdout: int
    stderr: int
    pass_fds: tuple[int, ...] = ()
    join: tuple[str, ...] = ()
    visit: tuple[tuple[str, str], ...] = ()
    cwd: str = "/"
    uid: int | None = None


@dataclass(slots=True)
class Child:
    """A started process; `pidfd` stays valid, and names this process only, until `close`."""

    popen: "subprocess.Popen[bytes]"
    pidfd: int
    cpu_ms: float | None = None
    """CPU time of it and of all that it waited for, once it has ended."""
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _callbacks: list[Callable[[], None]] = field(default_factory=list)
    _orphans: list[int] = field(default_factory=list)
    """Descriptors of its children that were killed before it."""

    def watch(self) -> None:
        """Have the running loop notice its end."""
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(self.pidfd)
            _, status, used = os.wait4(self.popen.pid, 0)
            self.popen.returncode = os.waitstatus_to_exitcode(status)
            self.cpu_ms = (used.ru_utime + used.ru_stime) * 1000
            self._ended.set()
            for callback in self._callbacks:
                callback()

        loop.add_reader(self.pidfd, ended)

    def call_when_ended(self, callback: Callable[[], None]) -> None:
        """Call this at its end, or now if it has ended."""
        self._callbacks.append(callback)
        if self.ended:
            callback()

    async def wait(self) -> int:
        """Its return code; a negative one is the signal that killed it."""
        await self._ended.wait()
        return self.code

    @property
    def pid(self) -> int:
        """Its number."""
        return self.popen.pid

    @property
    def code(self) -> int:
        """Its return code, once it has ended."""
        return self.popen.returncode

    @property
    def ended(self) -> bool:
        """Whether it has ended and was reaped."""
        return self._ended.is_set()

    async def kill(self, *, patience_s: float) -> None:
        """Kill its children, then, unless that ended it, itself with its process group.

        In this order a launcher still reaps what it launched, so that the CPU time of a killed run is known.
        """
        for pid in children_of(self.popen.pid):
            with contextlib.suppress(ProcessLookupError):
                self._orphans.append(os.pidfd_open(pid))
            _kill_child(pid, of=self.popen.pid)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._ended.wait()
        self.kill_now()

    async def kill_below(self, *, patience_s: float) -> None:
        """Kill all of its descendants, again and again until there are none: what is just being forked is next.

        For programs that adopt their orphans, so that every descendant stays below them; they end by themselves then.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while not self.ended and (below := descendants_of(self.popen.pid)):
                    for pid, parent in below:
                        _kill_child(pid, of=parent)
                    await asyncio.sleep(KILL_STEP_S)

    def kill_now(self) -> None:
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
        while self._orphans:
            _reap(self._orphans.pop())


def _reap(pidfd: int) -> None:
    """Wait for a process that has become our child, as orphans do where we are process 1, and close its descriptor."""
    try:
        pending = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG) is None
    except ChildProcessError:  # somebody else's, as it is anywhere but in a container without an init
        pending = False
    if pending:
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(pidfd)
            _reap(pidfd)

        loop.add_reader(pidfd, ended)
    else:
        os.close(pidfd)


def children_of(pid: int) -> list[int]:
    """The children of a process now, of all its threads; none if it has ended."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def descendants_of(pid: int) -> list[tuple[int, int]]:
    """All processes below a process now, each with its parent."""
    found, pending = [], [pid]
    while pending:
        parent = pending.pop()
        children = children_of(parent)
        found += [(child, parent) for child in children]
        pending += children
    return found


def _kill_child(pid: int, *, of: int) -> None:
    """Kill a process that is still a child of this parent: its number may have gone to another one since."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if pid in children_of(of):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)


class Spawner:
    """The thread that starts processes; `prepare` runs in it first, once."""

    def __init__(self, prepare: Callable[[], None] | None = None) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner", initializer=prepare)

    async def spawn(self, launch: Launch) -> Child:
        """Start a process in a session of its own and watch it from the running loop.

        Raises:
            OSError: the program could not be started.
        """
        starting = self._thread.submit(_start, launch)
        try:
            popen = await asyncio.shield(asyncio.wrap_future(starting))
        except asyncio.CancelledError:
            starting.add_done_callback(_unwanted)
            raise
        child = Child(popen, os.pidfd_open(popen.pid))
        child.watch()
        return child

    async def complaint(self, argv: Sequence[str], *, timeout_s: float, pass_fds: tuple[int, ...] = ()) -> str | None:
        """Run a command to its end; what it said if it failed, none if it did not. `pass_fds` stay open in it.

        Raises:
            OSError: it could not be started.
        """
        return await self.call(_complaint, argv, timeout_s, pass_fds)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a short function in the thread, with the thread's view of the mounts."""
        future = self._thread.submit(function, *args, **kwargs)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """End the thread; what it started and is still alive is killed by its parent-death signal."""
        self._thread.shutdown(wait=True)


def _unwanted(started: "Future[subprocess.Popen[bytes]]") -> None:
    """End what nobody waits for any more."""
    if not started.cancelled() and started.exception() is None:
        popen = started.result()
        popen.kill()
        popen.wait()


def _start(launch: Launch) -> "subprocess.Popen[bytes]":
    argv = ["/bin/sh", "-c", JOIN, "join", *launch.join, "--", *launch.argv] if launch.join else list(launch.argv)
    try:
        for group, _ in launch.visit:
            _enter(group)
        with contextlib.nullcontext() if launch.uid is None else as_user(launch.uid):
            return _popen(launch, argv)
    finally:
        for _, home in launch.visit:
            _enter(home)


def _enter(group: str) -> None:
    with open(group, "wb", buffering=0) as file:  # noqa: PTH123 - as quick as it gets, this is in every run's way
        file.write(b"0")


def _popen(launch: Launch, argv: list[str]) -> "subprocess.Popen[bytes]":
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


def _complaint(argv: Sequence[str], timeout_s: float, pass_fds: tuple[int, ...]) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - argv is built by us
            argv,
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            pass_fds=pass_fds,
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {timeout_s:g} s"
    said = done.stderr.decode("utf-8", "replace").strip()
    return None if done.returncode == 0 else said or f"exit code {done.returncode}"
