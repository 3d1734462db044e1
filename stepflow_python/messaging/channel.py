"""The channel of the embedded broker: kombu's verbs on the broker's file.

Tables of bindings live in the file, not in the process, so that what one process binds (a mailbox for remote control,
an event monitor) is reached by what another publishes.
"""

import itertools
import logging
from collections.abc import Callable
from queue import Empty
from typing import Any

from kombu.exceptions import DecodeError
from kombu.transport import virtual

from stepflow_python.messaging.broker_file import BrokerFileError
from stepflow_python.messaging.envelope import MalformedMessageError, Payload, check_task, incoming, outgoing
from stepflow_python.messaging.mailbox import Mailbox, QueueTerms

logger = logging.getLogger(__name__)

DATA_ERRORS = (TypeError, ValueError, LookupError, AttributeError)
"""What a consumer raises when a message is not what it thought; anything else is about the consumer's own state."""

_serial = itertools.count(1)


class QoS(virtual.QoS):
    """Messages that were delivered and not yet acknowledged; the file is the truth about them.

    A delivery tag is the row's id and a serial number: a row that is given back and claimed again is another delivery.
    """

    def ack(self, delivery_tag: str) -> None:
        """Remove the message. Called from any thread."""
        self._settle(delivery_tag, self.channel.mailbox.delete)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's signature
        """Give the message back, or put it aside. Called from any thread."""
        if requeue:
            self._settle(delivery_tag, lambda row: self.channel.mailbox.release([row]))
        else:
            self._settle(delivery_tag, lambda row: self.channel.mailbox.bury(row, "rejected by its consumer"))

    def restore_unacked(self) -> list[Any]:
        """Give back what was not acknowledged."""
        self._flush()
        rows = [row_of(tag) for tag in self._delivered]
        self._delivered.clear()
        if rows:
            try:
                self.channel.mailbox.release(rows)
            except BrokerFileError as error:
                logger.warning("%d messages are given back when this process ends: %s", len(rows), error)
        return []

    def _settle(self, delivery_tag: str, change: Callable[[int], None]) -> None:
        change(row_of(delivery_tag))
        self._quick_ack(delivery_tag)
        # Only now does `can_consume` see the free slot; a consumer that woke at the change itself would sleep on.
        self.channel.mailbox.announce()


class Message(virtual.Message):
    """A delivered message; a task's body is checked where it is decoded, so nothing is decoded twice."""

    def _decode(self) -> object:
        try:
            body = super()._decode()
        except DecodeError as error:
            # Celery would acknowledge what it can't decode, and so lose it.
            raise MalformedMessageError(f"body cannot be decoded: {error}") from error
        if "task" in self.headers:
            check_task(body)
        return body


class Channel(virtual.Channel):
    """A channel on a broker's file."""

    Message = Message
    QoS = QoS
    supports_fanout = True
    body_encoding: str | None = None  # type: ignore[assignment]  # a row holds text and bytes as they are

    def __init__(self, connection: Any, **kwargs: Any) -> None:  # noqa: ANN401 - kombu has no types
        self.mailbox: Mailbox = connection.mailbox
        self._unacknowledged: set[str] = set()
        self._temporary: set[str] = set()
        super().__init__(connection, **kwargs)

    # --- queues and bindings ---

    def _new_queue(self, queue: str, **kwargs: Any) -> None:  # noqa: ANN401 - kombu's signature
        arguments = kwargs.get("arguments") or {}
        temporary = bool(kwargs.get("auto_delete") or kwargs.get("exclusive"))
        if temporary:
            self._temporary.add(queue)
        terms = QueueTerms(
            tied=temporary,
            message_ttl=_seconds(arguments.get("x-message-ttl")),
            expires=_seconds(arguments.get("x-expires")),
        )
        self.mailbox.declare(queue, terms)

    def _has_queue(self, queue: str, **_kwargs: Any) -> bool:  # noqa: ANN401 - kombu's signature
        return self.mailbox.knows(queue)

    def _size(self, queue: str) -> int:
        return self.mailbox.size(queue)

    def _purge(self, queue: str) -> int:
        return self.mailbox.purge(queue)

    def queue_delete(
        self,
        queue: str,
        if_unused: bool = False,  # noqa: FBT001, FBT002 - kombu's signature
        if_empty: bool = False,  # noqa: FBT001, FBT002 - kombu's signature
        **_kwargs: Any,  # noqa: ANN401 - kombu's signature
    ) -> None:
        """Remove a queue with its bindings, whoever made them."""
        if (if_unused and queue in self.connection._callbacks) or (if_empty and self._size(queue)):  # noqa: SLF001 - as kombu's channels do
            return
        self.mailbox.drop(queue)
        self._temporary.discard(queue)
        self.state.queue_bindings_delete(queue)

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str | None, queue: str) -> None:
        self.mailbox.bind(exchange=exchange, routing_key=routing_key or "", pattern=pattern or "", queue=queue)

    def queue_unbind(
        self,
        queue: str,
        exchange: str | None = None,
        routing_key: str = "",
        arguments: dict[str, Any] | None = None,
        **kwargs: Any,  # noqa: ANN401 - kombu's signature
    ) -> None:
        """Undo a binding."""
        super().queue_unbind(queue, exchange, routing_key, arguments, **kwargs)
        self.mailbox.unbind(exchange=exchange or "amq.direct", routing_key=routing_key or "", queue=queue)

    def get_table(self, exchange: str) -> list[tuple[str, str, str]]:
        """Bindings to an exchange, of all processes."""
        return self.mailbox.bindings(exchange)

    # --- publishing ---

    def _put(self, queue: str, message: Payload, **_kwargs: Any) -> None:  # noqa: ANN401 - kombu's signature
        priority = self._get_message_priority(message)
        self.mailbox.put(outgoing(message, queue=queue, priority=priority))

    def _put_fanout(self, exchange: str, message: Payload, _routing_key: str, **kwargs: Any) -> None:  # noqa: ANN401 - kombu's signature
        for queue in {queue for _key, _pattern, queue in self.get_table(exchange)}:
            self._put(queue, message, **kwargs)

    # --- consuming ---

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401, FBT001 - kombu's signature
        """Start to consume."""
        if no_ack:
            self._unacknowledged.add(queue)
        super().basic_consume(queue, no_ack, *args, **kwargs)

    def basic_cancel(self, consumer_tag: str) -> None:
        """Stop to consume; a temporary queue goes with its consumer."""
        queue = self._tag_to_queue.get(consumer_tag)
        super().basic_cancel(consumer_tag)
        if queue is not None and queue not in self._active_queues:
            self._unacknowledged.discard(queue)
            if queue in self._temporary:
                self.queue_delete(queue)

    def basic_get(self, queue: str, no_ack: bool = False, **_kwargs: Any) -> Any:  # noqa: ANN401, FBT001, FBT002 - kombu's signature
        """One message, or none."""
        try:
            payload = self._take(queue) if no_ack else self._claim(queue)
        except Empty:
            return None
        message = self.Message(payload, channel=self)
        if not no_ack:
            self.qos.append(message, message.delivery_tag)
        return message

    def _get(self, queue: str, timeout: float | None = None) -> Payload:  # noqa: ARG002 - kombu's signature
        return self._take(queue) if queue in self._unacknowledged else self._claim(queue)

    def _get_and_deliver(self, queue: str, callback: Callable[[Payload, str], None]) -> None:
        payload = self._get(queue)
        try:
            callback(payload, queue)
        except DATA_ERRORS as error:
            # One bad message from one producer must not end the worker, which would meet it again at every start.
            tag = payload["properties"]["delivery_tag"]
            self.qos._quick_ack(tag)  # noqa: SLF001 - it was put aside, there is nothing left to acknowledge
            self._bury(row_of(tag), queue, f"its consumer failed on it: {type(error).__name__}: {error}")

    def _claim(self, queue: str) -> Payload:
        while row := self.mailbox.claim(queue):
            if self.connection.interrupted:  # during the look: a worker that stops takes no further message
                self.mailbox.release([row.id])
                break
            tag = f"{row.id}.{next(_serial)}"
            try:
                return incoming(row, delivery_tag=tag)
            except MalformedMessageError as error:
                self._bury(row.id, queue, str(error))
        raise Empty

    def _take(self, queue: str) -> Payload:
        while row := self.mailbox.take(queue):
            try:
                return incoming(row, delivery_tag=f"{row.id}.{next(_serial)}")
            except MalformedMessageError as error:
                logger.warning("dropped a message of queue %s: %s", queue, error)
        raise Empty

    def _bury(self, row: int, queue: str, reason: str) -> None:
        logger.warning("message %d of queue %s was moved to the table `dead`: %s", row, queue, reason)
        self.mailbox.bury(row, reason)


def row_of(delivery_tag: str) -> int:
    """The row's id in a delivery tag."""
    return int(delivery_tag.partition(".")[0])


def _seconds(milliseconds: Any) -> float | None:  # noqa: ANN401 - an argument table holds anything
    return None if milliseconds is None else float(milliseconds) / 1000
