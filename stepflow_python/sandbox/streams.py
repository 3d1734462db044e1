"""The host's end of a run's pipes: read as they fill, kept up to a bound, closed by us alone."""

import asyncio
import contextlib
import functools
import os
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from stepflow_python.sandbox.bell import Bell

CHUNK = 64 * 1024


class Pipe:
    """A pipe whose reading end is ours; `closed` is set at its last writer's end.

    The writing end is handed to the child and closed here by `hand_over`. What comes in before somebody watches is
    nobody's.
    """

    def __init__(self) -> None:
        self._read, self.write = os.pipe()
        os.set_blocking(self._read, False)
        self._on_data: Callable[[bytes], None] = _drop
        self._read_by: asyncio.AbstractEventLoop | None = None
        self.closed = asyncio.Event()

    def listen(self) -> None:
        """Have the running loop read it."""
        if self._read_by is None:
            self._read_by = asyncio.get_running_loop()
            self._read_by.add_reader(self._read, self._readable)

    def watch(self, on_data: Callable[[bytes], None]) -> None:
        """As `listen`; from now on `on_data` sees each piece."""
        self._on_data = on_data
        self.listen()

    def hand_over(self) -> None:
        """Close our copy of the writing end: the child has its own."""
        if self.write >= 0:
            os.close(self.write)
            self.write = -1

    def close(self) -> None:
        """Let go of both ends."""
        self.hand_over()
        if self._read >= 0:
            if self._read_by is not None:
                self._read_by.remove_reader(self._read)
            os.close(self._read)
            self._read = -1

    def drain(self, bound: int) -> None:
        """Take what is in the pipe now, at most `bound` bytes, without waiting for whoever still holds it."""
        taken = 0
        while taken < bound and not self.closed.is_set():
            before = taken
            taken += self._readable()
            if taken == before:
                return

    def _readable(self) -> int:
        try:
            data = os.read(self._read, CHUNK)
        except BlockingIOError:
            return 0
        if data:
            self._on_data(data)
        else:
            asyncio.get_running_loop().remove_reader(self._read)
            self.closed.set()
        return len(data)


class Messages:
    """Our end of a socket of messages, whole each; `closed` is set at the other's end, or after an empty one.

    Descriptors that come along are never taken: a message is read without room for them. `sender`, if given, is
    told the number of the process that sends the first one; the socket passes credentials then.
    """

    def __init__(self, end: socket.socket, *, sender: Callable[[int], None] | None = None) -> None:
        self.end = end
        self._sender = sender
        self._on_message: Callable[[bytes], None] = _drop
        self._read_by: asyncio.AbstractEventLoop | None = None
        self.closed = asyncio.Event()

    def listen(self) -> None:
        """Have the running loop read it."""
        if self._read_by is None:
            self._read_by = asyncio.get_running_loop()
            self._read_by.add_reader(self.end.fileno(), self._readable)

    def watch(self, on_message: Callable[[bytes], None]) -> None:
        """As `listen`; from now on `on_message` sees each one."""
        self._on_message = on_message
        self.listen()

    def take(self) -> None:
        """Take a message that is there already."""
        if self.end.fileno() >= 0 and not self.closed.is_set():
            self._readable()

    def close(self) -> None:
        """Let go of it."""
        if self.end.fileno() >= 0:
            if self._read_by is not None:
                self._read_by.remove_reader(self.end.fileno())
            self.end.close()

    def _first(self, sender: Callable[[int], None]) -> bytes:
        message, pid = with_sender(self.end, CHUNK)
        self._sender = None
        self.end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        if pid:
            sender(pid)
        return message

    def _readable(self) -> None:
        try:
            message = self.end.recv(CHUNK) if self._sender is None else self._first(self._sender)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if message:
            self._on_message(message)
        else:
            asyncio.get_running_loop().remove_reader(self.end.fileno())
            self.closed.set()


CREDENTIALS = struct.Struct("3i")
"""Process, user and group as the kernel, not the sender, says: struct ucred of unix(7)."""


def with_sender(channel: socket.socket, most_bytes: int) -> tuple[bytes, int]:
    """A message, empty at the other's end, and the sender's number; 0 where the socket passes no credentials.

    Raises:
        OSError: there is none, or the socket is broken.
    """
    message, ancillary, _flags, _address = channel.recvmsg(most_bytes, socket.CMSG_SPACE(CREDENTIALS.size))
    pids = [
        CREDENTIALS.unpack(data)[0]
        for level, kind, data in ancillary
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS)
    ]
    return message, pids[0] if pids else 0


class Wires:
    """The pipes of a run; if it waited, also the socket to its tool's process, and the report's file and bell."""

    def __init__(self) -> None:
        self.stdout, self.stderr, self.reply = self.all = (Pipe(), Pipe(), Pipe())
        self.direct: Messages | None = None
        self.report: int | None = None
        self.bell: Bell | None = None

    def __enter__(self) -> Self:
        """They are closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ends(self) -> tuple[int, int, int]:
        """The writing ends: stdout, stderr, reply."""
        return self.stdout.write, self.stderr.write, self.reply.write

    def watch(self, *sinks: Callable[[bytes], None], direct: Callable[[bytes], None], left: Callable[[], bool]) -> None:
        """Read all of them; `left` is asked, each time that the bell rings, whether there is an answer."""
        if self.bell is not None:
            self.bell.answer = functools.partial(self._rung, left)
        for pipe, sink in zip(self.all, sinks, strict=True):
            pipe.watch(sink)
        if self.direct is not None:
            self.direct.watch(direct)

    def _rung(self, left: Callable[[], bool]) -> bool:
        """Take what was said before the bell was rung, too: the loop calls readers in any order."""
        if self.direct is not None:
            self.direct.take()
        return left()

    def listen(self) -> None:
        """Have the running loop read all of them."""
        for pipe in self.all:
            pipe.listen()
        if self.direct is not None:
            self.direct.listen()

    def hand_over(self) -> None:
        """Close our copies of the writing ends."""
        for pipe in self.all:
            pipe.hand_over()

    def drain(self, bound: int) -> None:
        """Take what is in them now, at most `bound` bytes of each, and that a run has begun, if it was said."""
        if self.direct is not None:
            self.direct.take()
        for pipe in self.all:
            pipe.drain(bound)

    def close(self) -> None:
        """Let go of them."""
        for pipe in self.all:
            pipe.close()
        if self.direct is not None:
            self.direct.close()
        if self.bell is not None:
            self.bell.take_down()
        if self.report is not None:
            os.close(self.report)
            self.report = None


def _drop(data: bytes) -> None:
    """Nobody watches."""


class Capture:
    """What a stream printed, up to `bound` bytes; `exceeded` is called once, when there is more."""

    def __init__(self, bound: int, exceeded: Callable[[], None]) -> None:
        self._kept = bytearray()
        self._bound = bound
        self._exceeded = exceeded
        self.truncated = False

    def __call__(self, data: bytes) -> None:
        """Keep what still fits."""
        room = self._bound - len(self._kept)
        self._kept += data[:room]
        if len(data) > room and not self.truncated:
            self.truncated = True
            self._exceeded()

    def since(self, offset: int) -> bytes:
        """What was kept from this byte on."""
        return bytes(self._kept[offset:])

    @property
    def text(self) -> str:
        """What was kept, as text: undecodable bytes become U+FFFD, a character cut in half at the bound is dropped."""
        data = bytes(self._kept)
        if self.truncated:
            with contextlib.suppress(UnicodeDecodeError):
                return data.decode()
            return data.decode("utf-8", "replace").rstrip("\ufffd")
        return data.decode("utf-8", "replace")
