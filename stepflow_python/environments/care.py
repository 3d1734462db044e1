"""What is done for environments beside their use: bytecode completed, files compared, surplus removed.

Nobody waits for it but `settle`, and the end of the loop; what a killed process leaves undone is taken up at the next
use. Each piece of work has a thread and a loop of its own: cancelling all tasks of a loop, as `asyncio.run` does at its
end, while one of them starts a program, waits for ever on Python 3.11.
"""

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field

from stepflow_python.environments import folder
from stepflow_python.environments.bytecode import BytecodeStore
from stepflow_python.environments.exclusive import exclusive
from stepflow_python.environments.inventory import is_compiled
from stepflow_python.environments.places import Places
from stepflow_python.environments.threads import in_thread
from stepflow_python.errors import PythonError
from stepflow_python.model.environment import Environment, EnvironmentId
from stepflow_python.ports import Progress

log = logging.getLogger(__name__)

Work = Callable[[], Coroutine[object, object, None]]

CHECK_AFTER_S = 0.5
"""The run that the environment was found for starts first: comparing thousands of files would slow it down."""
CHECK_EVERY_S = 60.0
"""How often one process compares the files of an environment that it uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Care:
    """Looks after the environments that a process uses.

    `check` compares an environment's files with its inventory and condemns it if they differ; `collect` removes what
    is over the limits.
    """

    bytecode: BytecodeStore
    places: Places
    timeout_s: float
    check: Callable[[Environment], Awaitable[bool]]
    collect: Callable[[], Awaitable[object]]
    _tasks: dict[EnvironmentId | str, asyncio.Future[None]] = field(default_factory=dict)
    _waiting: dict[EnvironmentId, tuple[Environment, asyncio.TimerHandle]] = field(default_factory=dict)
    _checked_at: dict[EnvironmentId, float] = field(default_factory=dict)

    def look_after(self, environment: Environment, progress: Progress) -> None:
        """See to an environment that was just found or built."""
        if not is_compiled(environment.path):
            if self._start(environment.id, functools.partial(self._compile, environment)):
                progress(f"compiling {environment.id}")
        elif time.monotonic() - self._checked_at.get(environment.id, float("-inf")) >= CHECK_EVERY_S:
            self._checked_at[environment.id] = time.monotonic()
            later = asyncio.get_running_loop().call_later(CHECK_AFTER_S, self._check_now, environment)
            self._waiting[environment.id] = (environment, later)

    def tidy(self) -> None:
        """Remove what is over the limits, now that there is one more."""
        self._start("collect", self._collect)

    async def settle(self) -> None:
        """Wait until nothing of this loop is under way."""
        loop = asyncio.get_running_loop()
        for environment, handle in [*self._waiting.values()]:
            handle.cancel()
            self._check_now(environment)
        while tasks := [task for task in self._tasks.values() if task.get_loop() is loop and not task.done()]:
            await asyncio.wait(tasks)

    def _check_now(self, environment: Environment) -> None:
        self._waiting.pop(environment.id, None)
        self._start(environment.id, functools.partial(self._check, environment))

    def _start(self, name: EnvironmentId | str, work: Work) -> bool:
        running = self._tasks.get(name)
        if running is not None and not running.done() and not running.get_loop().is_closed():
            return False
        for done in [name for name, task in self._tasks.items() if task.done()]:
            del self._tasks[done]
        # Not a task: the end of a loop cancels its tasks, but waits for its threads.
        self._tasks[name] = asyncio.get_running_loop().run_in_executor(None, _told, name, work)
        return True

    async def _compile(self, environment: Environment) -> None:
        async with exclusive(self.places.lock_of(environment.id), timeout_s=self.timeout_s) as hold:
            # It may have been removed, or completed by another process, while we waited.
            if folder.read(environment.path) is None or is_compiled(environment.path):
                return
            await self.bytecode.compile(environment, hold=hold)
            await in_thread(folder.seal_compiled, environment)

    async def _check(self, environment: Environment) -> None:
        if not await self.check(environment):
            log.warning("environment %s was changed from outside; it is built anew at its next use", environment.id)

    async def _collect(self) -> None:
        await self.collect()


def _told(name: str, work: Work) -> None:
    try:
        asyncio.run(work())
    except (OSError, TimeoutError, PythonError) as error:
        log.warning("environment %s: %s; tried again at its next use", name, error)
