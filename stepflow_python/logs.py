"""What is logged, for people or for programs: with the execution that it is about, and without secrets."""

import contextlib
import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TextIO

from typing_extensions import override

from stepflow_python.tracing import current_trace

Format = Literal["text", "json"]

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
MASK = "***"
SHORTEST_SECRET = 6
"""Shorter values are found in too many words that are none."""
PASSWORD_IN_URL = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@")
# At DEBUG these log whole messages, with the payloads in them.
TALKATIVE = ("celery.pool", "amqp", "kombu")


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a line is about: `facts` are shown, `secrets` never are."""

    facts: Mapping[str, object] = field(default_factory=dict)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)


_NOTHING = About()
_about: ContextVar[About] = ContextVar("about", default=_NOTHING)


@contextlib.contextmanager
def about(facts: Mapping[str, object], *, secrets: Iterable[str] = ()) -> Iterator[None]:
    """Meanwhile all lines of this task say what they are about, and nothing of its secrets."""
    told = _about.set(About(facts=facts, secrets=frozenset(secrets)))
    try:
        yield
    finally:
        _about.reset(told)


def set_up(level: str, form: Format, *, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Log from this level on to stderr, or another stream; `secrets` are of the process, such as its passwords."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter((JsonLines if form == "json" else Lines)(frozenset(secrets)))
    logging.basicConfig(level=level, handlers=[handler])
    if level == "DEBUG":
        for name in TALKATIVE:
            logging.getLogger(name).setLevel(logging.INFO)


class Lines(logging.Formatter):
    """A line for people, without secrets."""

    def __init__(self, secrets: frozenset[str]) -> None:
        super().__init__(TEXT)
        self._secrets = secrets

    @override
    def format(self, record: logging.LogRecord) -> str:
        return self.redacted(super().format(record))

    def redacted(self, text: str) -> str:
        """The text, with what is secret masked, and the passwords in addresses."""
        # The longest first: one may be a part of another.
        for secret in sorted(self._secrets | _about.get().secrets, key=len, reverse=True):
            if len(secret) >= SHORTEST_SECRET:
                text = text.replace(secret, MASK)
        return PASSWORD_IN_URL.sub(rf"\1:{MASK}@", text)


class JsonLines(Lines):
    """A JSON object a line: when, how bad, who says what, what it is about, and the exception where there is one."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self.redacted(record.getMessage()),
            "trace_id": current_trace(),
            **_task_of(record),
            **_about.get().facts,
        }
        if record.exc_info:
            said["exception"] = self.redacted(self.formatException(record.exc_info))
        return json.dumps({name: value for name, value in said.items() if value is not None}, default=str)


def _task_of(record: logging.LogRecord) -> dict[str, object]:
    """Celery's own lines are about one of its tasks."""
    data = getattr(record, "data", None)
    return {"task_id": data.get("id")} if isinstance(data, dict) else {}
