"""The steps of a build: told to whoever watches, timed for the record."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from stepflow_python.ports import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """`times` in ms, by the first word of each step."""

    progress: Progress
    times: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def step(self, message: str) -> Iterator[None]:
        """Tell that a step begins; its time is noted when it ends."""
        self.progress(message)
        started = time.monotonic()
        yield
        self.times[message.partition(" ")[0]] = round((time.monotonic() - started) * 1000, 1)
