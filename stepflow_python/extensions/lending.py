"""One run as an extension sees it."""

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Lending:
    """What a factory is told: for whom the module is made, and by which configuration.

    `config` is the extension's own section of the worker's extension file. `folder` is the extension's own on this
    host; it may not be there yet. `deadline` is on the clock `time.monotonic`, in seconds. Without an `execution_id`
    the module is only described, for a list or a stub.
    """

    execution_id: str = ""
    tool: str = ""
    config: Mapping[str, JsonValue] = field(default_factory=dict)
    folder: Path = Path()
    deadline: float = float("inf")
    _ending: AsyncExitStack = field(default_factory=AsyncExitStack, repr=False)

    @property
    def remaining_s(self) -> float:
        """Seconds that are left to the run, at least 0."""
        return max(0.0, self.deadline - time.monotonic())

    def at_end(self, close: Callable[[], Awaitable[None]]) -> None:
        """Have something closed when the run has ended; the last one first."""
        self._ending.push_async_callback(close)

    async def end(self) -> None:
        """Close all that `at_end` was told of."""
        await self._ending.aclose()
