"""That the record was written to, as the kernel tells it of a file; nobody needs to look again and again."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from stepflow_python.process.inotify import FileNews
from stepflow_python.store.urls import Place


@dataclass(eq=False, slots=True)
class Hearing:
    """Implements `messages.Heard`."""

    deaf: bool = True
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, *, within_s: float) -> None:
        """Wait for a write since the last wait, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.news.wait()
        self.news.clear()


class News:
    """Implements `messages.News`, for one event loop at a time; another hears nothing, nor does anybody of a server."""

    def __init__(self, place: Place) -> None:
        # A commit is written there first, by SQLite in its WAL mode, which the record is always in.
        self._log = None if place.file is None else FileNews(place.file.with_name(place.file.name + "-wal"))
        self._hearing: set[Hearing] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextlib.contextmanager
    def heard(self) -> Iterator[Hearing]:
        """Hear while in it."""
        hearing, loop = Hearing(), asyncio.get_running_loop()
        if self._log is not None and self._loop in {None, loop} and self._log.listen():
            hearing.deaf = False
            self._hearing.add(hearing)
            if self._loop is None:
                loop.add_reader(self._log, self._tell)
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
        if self._log is not None:
            self._log.close()

    def _stop(self) -> None:
        if self._loop is not None and self._log is not None:
            self._loop.remove_reader(self._log)
        self._loop = None

    def _tell(self) -> None:
        if self._log is not None:
            self._log.clear()
        for hearing in self._hearing:
            hearing.news.set()
