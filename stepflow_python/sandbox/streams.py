"""The host's end of a run's pipes: read as they fill, kept up to a bound, closed by us alone."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Self

CHUNK = 64 * 1024


class Pipe:
    """A pipe whose reading end the running loop watches; `on_data` sees each piece.

    The writing end is handed to the child and closed here by `hand_over`; `closed` is set at its last writer's end.
    """

    def __init__(self, on_data: Callable[[bytes], None]) -> None:
        self._read, self.write = os.pipe()
        os.set_blocking(self._read, False)
        self._on_data = on_data
        self._loop = asyncio.get_running_loop()
        self.closed = asyncio.Event()

    def __enter__(self) -> Self:
        """Watch the reading end."""
        self._loop.add_reader(self._read, self._readable)
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of both ends."""
        self.hand_over()
        self._loop.remove_reader(self._read)
        os.close(self._read)

    def hand_over(self) -> None:
        """Close our copy of the writing end: the child has its own."""
        if self.write >= 0:
            os.close(self.write)
            self.write = -1

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
            self._loop.remove_reader(self._read)
            self.closed.set()
        return len(data)


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

    @property
    def text(self) -> str:
        """What was kept, as text: undecodable bytes become U+FFFD, a character cut in half at the bound is dropped."""
        data = bytes(self._kept)
        if self.truncated:
            with contextlib.suppress(UnicodeDecodeError):
                return data.decode()
            return data.decode("utf-8", "replace").rstrip("\ufffd")
        return data.decode("utf-8", "replace")
