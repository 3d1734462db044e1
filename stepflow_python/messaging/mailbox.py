"""Messages, queues and bindings in the broker's file: what can be asked of them, in SQL."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass

from stepflow_python.messaging.broker_file import BrokerFile

KEPT_DEAD = 1000
"""Messages put aside that are kept, newest first; they are for people to read."""

_PUT = """
INSERT INTO messages (queue, priority, content_type, content_encoding, headers, properties, body, expires_at)
SELECT :queue, :priority, :content_type, :content_encoding, :headers, :properties, :body,
       CASE WHEN :expires_at IS NULL THEN :now + ttl WHEN ttl IS NULL THEN :expires_at
            ELSE min(:expires_at, :now + ttl) END
FROM (SELECT (SELECT message_ttl FROM queues WHERE name = :queue) AS ttl)
"""
_READY = "owner IS NULL AND queue = :queue AND (expires_at IS NULL OR expires_at > :now)"
_PEEK = f"SELECT id FROM messages WHERE {_READY} ORDER BY priority DESC, id LIMIT 1"  # noqa: S608 - constants only
_COLUMNS = "id, queue, priority, content_type, content_encoding, headers, properties, body, redelivered"
_CLAIM = f"UPDATE messages SET owner = :owner WHERE id = ({_PEEK}) RETURNING {_COLUMNS}"  # noqa: S608 - constants only
_TAKE = f"DELETE FROM messages WHERE id = ({_PEEK}) RETURNING {_COLUMNS}"  # noqa: S608 - constants only
_MOVE = """
INSERT INTO dead
    (queue, priority, content_type, content_encoding, headers, properties, body, created_at, reason)
SELECT queue, priority, content_type, content_encoding, headers, properties, body, created_at, :reason
FROM messages WHERE id = :id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message to be put; `expires_at` in seconds since the epoch."""

    queue: str
    priority: int
    content_type: str
    content_encoding: str
    headers: str
    properties: str
    body: str | bytes
    expires_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A message as it was found: nothing in it is checked, since any program may have written it."""

    id: int
    queue: str
    priority: object
    content_type: object
    content_encoding: object
    headers: object
    properties: object
    body: object
    redelivered: object


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueTerms:
    """How long a queue and its messages last, in seconds; `tied` ends with the process that declared it."""

    tied: bool = False
    message_ttl: float | None = None
    expires: float | None = None


class Mailbox:
    """The questions that a channel asks of the broker's file; each call is one transaction.

    All of them raise `BrokerFileError` when the file cannot be used.
    """

    def __init__(self, broker: BrokerFile) -> None:
        self._broker = broker

    def announce(self) -> None:
        """Tell this process's consumers that there may be something to do."""
        self._broker.announce()

    def put(self, message: Outgoing) -> None:
        """Store a message; it is there for every consumer when this returns."""
        values = {field: getattr(message, field) for field in message.__dataclass_fields__}
        self._broker.run(_PUT, values | {"now": time.time()})
        self._broker.announce()

    def claim(self, queue: str) -> Row | None:
        """Hold the first message of a queue under this process's name until it is deleted or released."""
        return self._first(_CLAIM, queue)

    def take(self, queue: str) -> Row | None:
        """Remove the first message of a queue."""
        return self._first(_TAKE, queue)

    def delete(self, message_id: int) -> None:
        """Remove a message that this process holds, or held and gave back and nobody took yet."""
        self._broker.run(
            "DELETE FROM messages WHERE id = :id AND (owner IS NULL OR owner = :owner)",
            {"id": message_id, "owner": self._broker.owner},
        )
        self._broker.announce()

    def release(self, message_ids: Iterable[int]) -> None:
        """Give messages back to the front of their queues, marked as redelivered."""
        owner = self._broker.owner
        with self._broker.transaction() as connection:
            connection.executemany(
                "UPDATE messages SET owner = NULL, redelivered = 1 WHERE id = ? AND owner = ?",
                [(message_id, owner) for message_id in message_ids],
            )
        self._broker.announce()

    def bury(self, message_id: int, reason: str) -> None:
        """Move a message aside, with the reason."""
        with self._broker.transaction() as connection:
            connection.execute(_MOVE, {"id": message_id, "reason": reason})
            connection.execute("DELETE FROM messages WHERE id = ?", (message_id,))
            connection.execute("DELETE FROM dead WHERE id <= (SELECT max(id) FROM dead) - ?", (KEPT_DEAD,))
        self._broker.announce()

    def size(self, queue: str) -> int:
        """Messages that wait in a queue."""
        return _number(self._broker.run(f"SELECT count(*) FROM messages WHERE {_READY}", _now(queue)))  # noqa: S608 - constants only

    def purge(self, queue: str) -> int:
        """Remove what waits in a queue; returns how many."""
        rows = self._broker.run(
            "DELETE FROM messages WHERE queue = :queue AND owner IS NULL RETURNING id", {"queue": queue}
        )
        return len(rows)

    def declare(self, queue: str, terms: QueueTerms) -> None:
        """Make a queue known, or renew its terms."""
        owner = self._broker.owner if terms.tied else None
        self._broker.run(
            "INSERT INTO queues (name, owner, message_ttl, expires, expires_at)"
            " VALUES (:name, :owner, :ttl, :expires, :now + :expires)"
            " ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, message_ttl = excluded.message_ttl,"
            " expires = excluded.expires, expires_at = excluded.expires_at",
            {
                "name": queue,
                "owner": owner,
                "ttl": terms.message_ttl,
                "expires": None if terms.tied else terms.expires,
                "now": time.time(),
            },
        )

    def knows(self, queue: str) -> bool:
        """Whether a queue was declared."""
        return bool(self._broker.run("SELECT 1 FROM queues WHERE name = :queue", {"queue": queue}))

    def drop(self, queue: str) -> None:
        """Remove a queue with its bindings and all its messages."""
        with self._broker.transaction() as connection:
            for table, column in (("queues", "name"), ("bindings", "queue"), ("messages", "queue")):
                connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (queue,))  # noqa: S608 - constants only

    def bind(self, *, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        """Let what is published to an exchange reach a queue."""
        self._broker.run(
            "INSERT OR IGNORE INTO bindings (exchange, routing_key, pattern, queue)"
            " VALUES (:exchange, :routing_key, :pattern, :queue)",
            {"exchange": exchange, "routing_key": routing_key, "pattern": pattern, "queue": queue},
        )

    def unbind(self, *, exchange: str, routing_key: str, queue: str) -> None:
        """Undo a binding."""
        self._broker.run(
            "DELETE FROM bindings WHERE exchange = :exchange AND routing_key = :routing_key AND queue = :queue",
            {"exchange": exchange, "routing_key": routing_key, "queue": queue},
        )

    def bindings(self, exchange: str) -> list[tuple[str, str, str]]:
        """Routing key, pattern and queue of each binding to an exchange."""
        rows = self._broker.run(
            "SELECT routing_key, pattern, queue FROM bindings WHERE exchange = :exchange", {"exchange": exchange}
        )
        return [(str(key), str(pattern), str(queue)) for key, pattern, queue in rows]

    def tidy(self, consumed: Iterable[str]) -> None:
        """Give back what dead processes held, and remove what has expired; `consumed` queues are in use.

        Looks before it writes: it is called often, and there is seldom anything to do.
        """
        self._broker.check_in_place()
        for owner in self._broker.dead_owners():
            self._inherit(owner)
        now = time.time()
        used = json.dumps(list(consumed))
        touched = "expires IS NOT NULL AND name IN (SELECT value FROM json_each(:used))"
        values = {"now": now, "used": used}
        if self._broker.run(f"SELECT 1 FROM queues WHERE {touched}", values):  # noqa: S608 - constants only
            self._broker.run(f"UPDATE queues SET expires_at = :now + expires WHERE {touched}", values)  # noqa: S608 - constants only
        for (queue,) in self._broker.run("SELECT name FROM queues WHERE expires_at < :now", {"now": now}):
            self.drop(str(queue))
        if self._broker.run("SELECT 1 FROM messages WHERE expires_at < :now AND owner IS NULL LIMIT 1", {"now": now}):
            self._broker.run("DELETE FROM messages WHERE expires_at < :now AND owner IS NULL", {"now": now})

    def _inherit(self, owner: int) -> None:
        with self._broker.transaction() as connection:
            connection.execute("UPDATE messages SET owner = NULL, redelivered = 1 WHERE owner = ?", (owner,))
            tied = "SELECT name FROM queues WHERE owner = ?"
            for table in ("messages", "bindings"):
                connection.execute(f"DELETE FROM {table} WHERE queue IN ({tied})", (owner,))  # noqa: S608 - constants only
            connection.execute("DELETE FROM queues WHERE owner = ?", (owner,))
            connection.execute("DELETE FROM owners WHERE id = ?", (owner,))
        self._broker.announce()

    def _first(self, statement: str, queue: str) -> Row | None:
        values = _now(queue)
        # A read takes no lock: consumers that look in vain must not queue up behind each other's writes.
        if not self._broker.run(_PEEK, values):
            return None
        rows = self._broker.run(statement, values | {"owner": self._broker.owner})
        if not rows:
            return None
        number, name, *rest = rows[0]
        priority, content_type, content_encoding, headers, properties, body, redelivered = rest
        return Row(
            id=int(str(number)),
            queue=str(name),
            priority=priority,
            content_type=content_type,
            content_encoding=content_encoding,
            headers=headers,
            properties=properties,
            body=body,
            redelivered=redelivered,
        )


def _now(queue: str) -> dict[str, object]:
    return {"queue": queue, "now": time.time()}


def _number(rows: list[tuple[object, ...]]) -> int:
    return int(str(rows[0][0]))
