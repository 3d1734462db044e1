"""What the guest answers: length-capped frames, read as they come and believed only as far as they go.

A guest can forge its own answer; nothing in it is more than data about this one run.
"""

import functools
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn

from pydantic import Field, JsonValue, ValidationError

from stepflow_python.model.limits import Limits
from stepflow_python.model.result import ExceptionInfo
from stepflow_python.model.values import Value

HEADER: Final = 9
LENGTH_BYTES: Final = 8
LAST_WORD: Final = b"\0last word\0"
MAX_DEPTH: Final = 240
MOST: Final = 2**53
"""Above any figure of a run, and still a number to every database."""
SLACK: Final = 256 * 1024
"""What reports may hold beyond the result: tracebacks, status, frame headers."""


class SupervisorStatus(Value):
    """What the supervisor saw of the tool's process."""

    exit: int | None = Field(default=None, ge=0, le=255)
    signal: int | None = Field(default=None, ge=1, le=127)
    cpu_ms: float = Field(default=0.0, ge=0, le=MOST)
    maxrss_kb: int = Field(default=0, ge=0, le=MOST)
    flooded: bool = False
    files_error: str | None = None


class GuestError(Value):
    """Why there is no result, in the guest's words."""

    kind: str
    message: str


class Report(Value):
    """What the tool's own process said at its end."""

    ok: bool
    value: JsonValue = None
    exceptions: tuple[ExceptionInfo, ...] = ()
    error: GuestError | None = None
    too_large: bool = False


Notified = Callable[[], None]


@dataclass(slots=True)
class Answer:
    """What has arrived so far."""

    began: bool = False
    complete: bool = False
    report: Report | None = None
    status: SupervisorStatus | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    fault: str | None = None
    """Why the answer cannot be used, if it cannot."""

    def is_over(self) -> bool:
        """Whether nothing more is taken."""
        return self.complete or self.fault is not None


class AnswerReader:
    """Takes bytes, gives an `Answer`; past its bound it takes no more and says so.

    `report` is the file that the guest may leave an answer in; `began` is called when the guest goes on to the tool,
    `over` when nothing more will be taken.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        report: int | None = None,
        began: Notified | None = None,
        over: Notified | None = None,
    ) -> None:
        self.answer = Answer()
        self._report = report
        self._began = began or _nobody
        self._over = over or _nobody
        self._buffer = bytearray()
        self._taken = 0
        self._limits = limits
        self._bound = limits.result_bytes + limits.output_files_bytes + limits.output_files * 1024 + SLACK

    def feed(self, data: bytes) -> None:
        """Take what came in."""
        if self.answer.is_over():
            return
        self._feed(data)
        if self.answer.is_over():
            self._over()

    def take(self, message: bytes) -> None:
        """Take a message of whole frames, from a tool's own process."""
        if self.answer.is_over():
            return
        self._feed(message)
        if self._buffer and not self.answer.is_over():
            self.answer.fault = "a message that ends inside a frame"
        if self.answer.is_over():
            self._over()

    def look(self) -> bool:
        """Take what the tool's process has left, if that is whole; whether nothing more is to come."""
        if self.answer.is_over() or self._report is None:
            return True
        if not _is_whole(self._report):
            return False
        self._taking("the report", functools.partial(self._take_left, self._report, orphans_ms=0))
        self._over()
        return True

    def _feed(self, data: bytes) -> None:
        self._taken += len(data)
        if self._taken > self._bound:
            self.answer.fault = f"the answer is larger than {self._bound} bytes"
            self._buffer.clear()
            return
        self._buffer += data
        while len(self._buffer) >= HEADER:
            length = int.from_bytes(self._buffer[1:HEADER], "big")
            if length > self._bound:
                self.answer.fault = f"a frame claims {length} bytes"
                return
            if len(self._buffer) < HEADER + length:
                return
            kind, body = bytes(self._buffer[:1]), bytes(self._buffer[HEADER : HEADER + length])
            del self._buffer[: HEADER + length]
            if not self._take(kind, body):
                return

    def _take(self, kind: bytes, body: bytes) -> bool:
        """Take one frame; whether more may follow."""
        self._taking(f"frame {kind.decode('ascii', 'replace')}", functools.partial(self._take_frame, kind, body))
        return not self.answer.is_over()

    def _taking(self, what: str, take: Callable[[], None]) -> None:
        """Take it; whatever is wrong with it is a fault of the answer."""
        try:
            take()
        except (ValueError, RecursionError, ValidationError) as error:
            self.answer.fault = f"{what}: {_short(error)}"

    def _take_frame(self, kind: bytes, body: bytes) -> None:
        answer = self.answer
        match kind:
            case b"B":
                answer.began = True
                self._began()
            case b"R":
                answer.report = Report.model_validate(_loads(body))
            case b"S":
                answer.status = SupervisorStatus.model_validate_json(body)
            case b"F":
                self._take_file(body)
            case b"X":
                answer.fault = body.decode("utf-8", "replace")[:1000]
            case b"E":
                answer.complete = True
            case b"D" if self._report is not None:
                self._take_left(self._report, orphans_ms=int(body))
            case _:
                answer.fault = f"a frame of the unknown kind {kind!r}"

    def _take_left(self, file: int, *, orphans_ms: int) -> None:
        """Take the answer that a tool's process has left: report, status, the status's length, the last word.

        Args:
            file: where it is; it may still be written to.
            orphans_ms: CPU time of processes that the tool's did not wait for.
        """
        size = os.fstat(file).st_size
        if size > self._bound:
            raise ValueError(f"a report of {size} bytes")
        data = os.pread(file, size, 0).removesuffix(LAST_WORD)
        end = len(data) - LENGTH_BYTES
        begin = end - int.from_bytes(data[max(end, 0) :], "big")
        if not 0 <= begin <= end:
            raise ValueError("a last word without a status")
        if begin:
            self.answer.report = Report.model_validate(_loads(data[:begin]))
        status = SupervisorStatus.model_validate_json(data[begin:end])
        if orphans_ms:
            status = status.model_copy(update={"cpu_ms": status.cpu_ms + orphans_ms})
        self.answer.status = status
        self.answer.complete = True

    def _take_file(self, body: bytes) -> None:
        length = int.from_bytes(body[:4], "big")
        name, content = body[4 : 4 + length].decode("utf-8"), body[4 + length :]
        parts = name.split("/")
        if name.startswith("/") or "\0" in name or not all(part not in {"", ".", ".."} for part in parts):
            raise ValueError(f"{name!r} is no name for an output file")
        files = self.answer.files
        if len(files) >= self._limits.output_files:
            raise ValueError(f"more than {self._limits.output_files} output files")
        if sum(map(len, files.values())) + len(content) > self._limits.output_files_bytes:
            raise ValueError(f"output files of more than {self._limits.output_files_bytes} bytes")
        files[name] = content


def _is_whole(file: int) -> bool:
    """Whether it ends with a last word."""
    return os.pread(file, len(LAST_WORD), max(os.fstat(file).st_size - len(LAST_WORD), 0)) == LAST_WORD


def _nobody() -> None:
    """Nobody wants to know."""


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON value")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        _refuse(text[:40])
    return number


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def _loads(body: bytes) -> JsonValue:
    value: JsonValue = _DECODER.decode(body.decode("utf-8"))
    _refuse_deep(value)
    return _without_surrogates(value) if b"\\ud" in body.lower() else value


def _refuse_deep(value: JsonValue) -> None:
    """Stay below what JSON libraries and databases of this world can nest (pydantic: 255)."""
    level: list[JsonValue] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            if isinstance(node, (dict, list))
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return
    raise ValueError(f"nested deeper than {MAX_DEPTH} levels")


def _without_surrogates(value: JsonValue) -> JsonValue:
    """Half a surrogate pair is text to Python only: no UTF-8, no database holds it."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_without_surrogates(item) for item in value]
        case dict():
            return {str(_without_surrogates(key)): _without_surrogates(item) for key, item in value.items()}
        case _:
            return value


def _short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    if isinstance(error, RecursionError):
        return "nested too deep"
    return str(error)[:500]
