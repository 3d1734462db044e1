"""Work beside the runs that nobody waits for until the end."""

import asyncio
import logging
from collections.abc import Coroutine

logger = logging.getLogger(__name__)


class Aside:
    """Tasks that are under way."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, work: Coroutine[object, object, None]) -> None:
        """Start one; what it raises is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def settle(self) -> None:
        """Wait for all, those included that they begin; of a loop that has ended nothing comes any more."""
        while self._tasks:
            self._tasks = {task for task in self._tasks if not task.get_loop().is_closed()}
            if self._tasks:
                await asyncio.wait(self._tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("clearing away after a run failed", exc_info=task.exception())
