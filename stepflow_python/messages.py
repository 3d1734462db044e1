"""Messages on their way to a worker, as the jobs floor sees them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import JsonValue

from stepflow_python.model.request import ExecutionRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message, and the queue that it is for; what is in it is known to who packed it, and is JSON."""

    queue: str
    message: dict[str, JsonValue] = field(repr=False)


Delivered = Callable[[], Delivery]
"""Gives a message that has come, for who keeps it: to take it apart takes longer than to see that it is kept."""


class Dispatcher(Protocol):
    """Sends messages on their way to a worker; `InternalError` names the broker when it cannot be reached."""

    def pack(self, request: ExecutionRequest) -> Delivery:
        """The message `stepflow.execute` with a request."""

    def pack_chain(self, requests: Sequence[ExecutionRequest]) -> Delivery:
        """The message of a chain: each step runs after the one before it, and may refer to its result."""

    async def send(self, delivery: Delivery, *, first: bool = False) -> None:
        """Publish a message; `first`: before all that wait, where the broker knows priorities."""

    async def depth(self, queue: str) -> int:
        """How many messages wait in a queue; 0 of one that is not there."""


class Loose(Protocol):
    """Ends on record that nobody holds: executions whose worker died, and messages that seem to be lost."""

    async def end_abandoned(self) -> int:
        """End executions whose worker died and that may not go on; how many there were."""

    async def waiting(self) -> dict[str, int]:
        """Queues of which a message seems to be lost, each with the number of executions that wait for it."""

    async def take_due(self, queue: str) -> Sequence[Delivery]:
        """Messages of a queue that seem to be lost, to be sent again by the caller and nobody else."""

    async def take_abandoned(self) -> Sequence[Delivery]:
        """Messages of executions whose worker died and that may go on, likewise."""


class Heard(Protocol):
    """Somebody who hears of executions that end."""

    @property
    def deaf(self) -> bool:
        """Whether none can be heard."""

    async def wait(self, *, within_s: float) -> None:
        """Wait for an end since the last wait, at most so long."""


class News(Protocol):
    """That executions end, wherever they run; each can be read from the record by then."""

    def heard(self) -> AbstractContextManager[Heard]:
        """Hear while in it."""


# --- what a run prints, on its way back -------------------------------------------------------------------------------

STREAMS = ("stdout", "stderr")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Bytes that an attempt printed, from byte `start` of a stream on; `number` grows with each piece on record."""

    attempt: int
    stream: str
    start: int
    content: bytes = field(repr=False)
    number: int = 0


class Live(Protocol):
    """What runs print, while they run."""

    async def watch(self, execution_id: str) -> None:
        """Ask whoever runs it to pass on what it prints, for the next five seconds."""

    async def append(self, execution_id: str, pieces: Sequence[Piece]) -> None:
        """Pass on what was printed."""

    async def read(self, execution_id: str, *, after: int) -> Sequence[Piece]:
        """Pieces with a higher number, in their order."""

    async def clear(self, execution_id: str) -> None:
        """It has ended: its record has it all."""
