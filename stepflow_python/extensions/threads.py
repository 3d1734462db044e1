"""Plain functions of extensions, in threads of the run's own.

No shared pool: a function that never returns would keep a place of it, and a pool's threads are waited for when the
worker ends. A thread that has become free takes the run's next call, which spares 0.1 ms.
"""

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any

Work = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class Threads:
    """As many threads as calls are under way at a time; used from one event loop."""

    def __init__(self) -> None:
        self._free: list[SimpleQueue[Work | None]] = []
        self._loop = asyncio.get_running_loop()
        self._ended = False

    async def run(self, function: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever an extension gives
        """What a function gives or raises. Cancelled, nobody waits for it any more, and it goes on by itself."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._free:
            queue = self._free.pop()
        else:
            queue = SimpleQueue()
            Thread(target=self._work, args=(queue,), name="stepflow-extension", daemon=True).start()
        queue.put((function, future))
        return await future

    def end(self) -> None:
        """Let the threads end, each when what it does now is done."""
        self._ended = True
        for queue in self._free:
            queue.put(None)
        self._free.clear()

    def _work(self, queue: "SimpleQueue[Work | None]") -> None:
        while (work := queue.get()) is not None:
            function, future = work
            value, failed = None, None
            try:
                value = function()
            except BaseException as error:  # noqa: BLE001 - goes to whoever awaits
                failed = error
            try:
                self._loop.call_soon_threadsafe(self._settle, queue, future, value, failed)
            except RuntimeError:  # the loop has been closed meanwhile
                return
            # Kept while the thread waits for its next call, they would keep what belongs to this one.
            del function, future, work, value, failed

    def _settle(
        self,
        queue: "SimpleQueue[Work | None]",
        future: "asyncio.Future[Any]",
        value: Any,  # noqa: ANN401 - whatever an extension gives
        error: BaseException | None,
    ) -> None:
        if self._ended:
            queue.put(None)
        else:
            self._free.append(queue)
        if future.done():
            return
        if error is None:
            future.set_result(value)
        elif isinstance(error, StopIteration):  # a future cannot hold one
            future.set_exception(RuntimeError("generator raised StopIteration"))
        else:
            future.set_exception(error)
