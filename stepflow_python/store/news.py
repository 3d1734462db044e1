"""That executions have ended, as the kernel tells it of the record's file; nobody needs to look again and again.

Whoever has written that one ended sets the times of the file: nothing is opened, since to close a SQLite file drops the
locks that the process has on it. Writing the file does not do that (inotify(7), IN_ATTRIB).
"""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from stepflow_python.process.inotify import IN_ATTRIB, FileNews
from stepflow_python.store.urls import Place


def tell(place: Place) -> None:
    """An end is on record, there to be read."""
    if place.file is not None:
        with contextlib.suppress(OSError):  # who is not told looks a little later
            os.utime(place.file)


@dataclass(eq=False, slots=True)
class Hearing:
    """Implements `messages.Heard`."""

    deaf: bool = True
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, *, within_s: float) -> None:
        """Wait for an end since the last wait, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.news.wait()
        self.news.clear()


class News:
    """Implements `messages.News`, for one event loop at a time; another hears nothing, nor does anybody of a server."""

    def __init__(self, place: Place) -> None:
        self._file = None if place.file is None else FileNews(place.file, IN_ATTRIB)
        self._hearing: set[Hearing] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextlib.contextmanager
    def heard(self) -> Iterator[Hearing]:
        """Hear while in it."""
        hearing, loop = Hearing(), asyncio.get_running_loop()
        if self._file is not None and self._loop in {None, loop} and self._file.listen():
            hearing.deaf = False
            self._hearing.add(hearing)
            if self._loop is None:
                loop.add_reader(self._file, self._tell)
                self._loop = loop
        try:
            yield hearing
        finally:
            self._hearing.discard(hearing)
            if not self._hearing and self._loop is loop:
                self._stop()

    def close(self) -> None:
        """Nobody hears any more; called in the loop of who still did."""
        self._stop()
        if self._file is not None:
            self._file.close()

    def _stop(self) -> None:
        if self._loop is not None and self._file is not None:
            self._loop.remove_reader(self._file)
        self._loop = None

    def _tell(self) -> None:
        if self._file is not None:
            self._file.clear()
        for hearing in self._hearing:
            hearing.news.set()
