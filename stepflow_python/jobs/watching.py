"""Passing on what a run prints, from the worker that runs it to whoever follows it."""

import codecs
from collections import defaultdict
from dataclasses import dataclass, field

from stepflow_python.jobs.job import Job
from stepflow_python.messages import STREAMS, Live, Piece
from stepflow_python.model.history import Printed
from stepflow_python.model.result import ExecutionResult
from stepflow_python.ports import Sandbox


@dataclass(slots=True, kw_only=True)
class Relay:
    """The worker's end, for one job: from its first byte on, as soon as somebody watches."""

    job: Job
    sandbox: Sandbox
    live: Live
    passed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STREAMS, 0))

    @property
    def used(self) -> bool:
        """Whether anything was passed on."""
        return any(self.passed.values())

    async def pass_on(self) -> None:
        """Pass on what was printed since the last time.

        Raises:
            DatabaseError: the record cannot be written; the same is passed on the next time.
        """
        execution_id = self.job.request.execution_id
        printed = self.sandbox.printed(
            execution_id, stdout_from=self.passed["stdout"], stderr_from=self.passed["stderr"]
        )
        pieces = [
            Piece(attempt=self.job.attempt, stream=stream, start=self.passed[stream], content=content)
            for stream, content in zip(STREAMS, printed, strict=True)
            if content
        ]
        if pieces:
            await self.live.append(execution_id, pieces)
            for piece in pieces:
                self.passed[piece.stream] += len(piece.content)


class Transcript:
    """The follower's end: bytes that come in pieces become text, and the record's text adds what is missing."""

    def __init__(self) -> None:
        self.number = 0
        self._decoders: defaultdict[tuple[int, str], codecs.IncrementalDecoder] = defaultdict(
            lambda: codecs.getincrementaldecoder("utf-8")("replace")
        )
        self._shown: defaultdict[tuple[int, str], int] = defaultdict(int)

    def take(self, piece: Piece) -> Printed:
        """The text of a piece."""
        self.number = max(self.number, piece.number)
        key = piece.attempt, piece.stream
        text = self._decoders[key].decode(piece.content)
        self._shown[key] += len(text)
        return Printed(attempt=piece.attempt, stream=piece.stream, text=text)

    def rest(self, result: ExecutionResult) -> list[Printed]:
        """What the record has of the last attempt beyond what came in pieces."""
        texts = {"stdout": result.stdout, "stderr": result.stderr}
        rest = {stream: text[self._shown[result.attempt, stream] :] for stream, text in texts.items()}
        return [Printed(attempt=result.attempt, stream=stream, text=text) for stream, text in rest.items() if text]
