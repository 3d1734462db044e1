"""A process in a box of its own that waits for one run."""

import array
import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from stepflow_python.model.limits import Limits
from stepflow_python.process.adopted import Adopted
from stepflow_python.process.spawn import Child
from stepflow_python.sandbox.box import Box, Process, Running
from stepflow_python.sandbox.cgroup import RunGroup
from stepflow_python.sandbox.memory_file import memory_file
from stepflow_python.sandbox.payload import bounds_of, request_of
from stepflow_python.sandbox.streams import Wires, with_sender

READY = b"R"
IN_A_FILE = b"F"
MESSAGE_BYTES = 32 * 1024
"""The guest receives no longer ones."""


class SpareFailedError(Exception):
    """It could not be made, or ended before it was used; the message is what is known of it."""


@dataclass(slots=True)
class Tool:
    """The process that becomes the tool; `waited_ms` is the CPU time that it had taken before. 0: not known yet."""

    channel: socket.socket
    pid: int = 0
    waited_ms: float = 0.0

    def spoke(self, pid: int) -> None:
        """It has this number, and goes on to the tool."""
        self.pid, self.waited_ms = pid, _clock_ms(pid) or 0.0

    def cpu_ms(self) -> float | None:
        """CPU time since then; none if it is no more, or has not spoken."""
        now_ms = _clock_ms(self.pid) if self.pid else None
        return None if now_ms is None else max(now_ms - self.waited_ms, 0.0)


@dataclass(slots=True, kw_only=True)
class Spare:
    """One waiting process, in its box; `process` is its supervisor."""

    box: Box
    process: Adopted
    wires: Wires
    supervisor: socket.socket
    tool: "Tool"
    forked_from: Child
    let_go: Callable[[], None]
    """Called when nothing of it is left."""
    limits: Limits
    """What its control group is set to."""
    heard: bool
    """Whether its tool's process can ring for the host itself."""
    discarded: bool = False
    line: int | None = None
    """The way to the host's modules that its run gets."""

    @property
    def group(self) -> RunGroup | None:
        """Its control group."""
        return self.box.group

    async def start(self, running: Running) -> Process:
        """Hand it its run.

        Raises:
            OSError: it has ended.
        """
        limits = running.run.limits
        if self.group is not None and limits is not self.limits and limits != self.limits:
            self.group.limit(limits)
        running.cpu_clock = self.tool.cpu_ms
        request = request_of(running, env=running.run.env, heard=self.heard)
        line = [] if self.line is None else [self.line]
        if len(request) <= MESSAGE_BYTES:
            send(self.tool.channel, request, line)
        else:
            with memory_file("request", request) as file:
                send(self.tool.channel, IN_A_FILE, [file, *line])
        # It sleeps, and reads this when it is woken by the tool's end.
        self.supervisor.send(bounds_of(running, waited_ms=self.tool.waited_ms))
        return self.process

    async def discard(self) -> None:
        """End it, used or not, and remove what it had."""
        self.discarded = True
        self.supervisor.close()
        self.wires.close()
        self.process.kill_now()
        await self.process.wait()
        self.process.close()
        if self.group is not None:
            await self.group.remove()
        self.let_go()


def send(channel: socket.socket, message: bytes, descriptors: list[int]) -> None:
    """Send a message with descriptors, which stay open here.

    Raises:
        OSError: nobody receives it.
    """
    if not descriptors:
        channel.send(message)
        return
    channel.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))])


async def adopted(channel: socket.socket) -> Adopted:
    """Wait for the process at the other end to say that it is ready.

    Raises:
        SpareFailedError: it said something else, or ended.
    """
    pid = await _ready(channel)
    try:
        process = Adopted.watched(pid)
    except OSError as error:
        raise SpareFailedError(f"it ended: {error}") from error
    # It was alive when the number was taken, if the socket that it holds is still open.
    if _hung_up(channel):
        process.close()
        raise SpareFailedError("it ended")
    return process


async def prepared(channel: socket.socket) -> Tool:
    """Wait for the tool's process to say that it is ready.

    Raises:
        SpareFailedError: it said something else, or ended.
    """
    pid = await _ready(channel)
    waited_ms = _clock_ms(pid)
    if waited_ms is None:
        raise SpareFailedError("it ended")
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
    return Tool(channel, pid, waited_ms)


def _clock_ms(pid: int) -> float | None:
    """CPU time of a process, by its clock, whose number is made from its own (clock_getcpuclockid(3))."""
    try:
        return time.clock_gettime(~pid << 3 | 2) * 1e3
    except OSError:
        return None


async def _ready(channel: socket.socket) -> int:
    """The number of the process that says so."""
    message, pid = await _message(channel)
    if message != READY or pid <= 0:
        raise SpareFailedError(message[1:].decode("utf-8", "replace") or "it ended")
    return pid


async def _message(channel: socket.socket) -> tuple[bytes, int]:
    """The next message and the sender's number here; an empty one at the end."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    # Its number: a selector makes a text of each object that it does not know yet, sockets ask the kernel for theirs.
    loop.add_reader(channel.fileno(), _fulfil, readable)
    try:
        await readable
    finally:
        loop.remove_reader(channel.fileno())
    return with_sender(channel, MESSAGE_BYTES)


def _fulfil(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)


def _hung_up(channel: socket.socket) -> bool:
    try:
        return channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
