"""A message's two forms: a row of the broker's file, and the dict that kombu's virtual transports hand around."""

import time
from typing import Any, TypeAlias

from kombu.utils.json import dumps, loads

from stepflow_python.messaging.mailbox import Outgoing, Row

Payload: TypeAlias = dict[str, Any]
"""kombu's raw message: body, content-type, content-encoding, headers, properties."""


class MalformedMessageError(ValueError):
    """A row that is no message, or a message that is no task; says what is wrong with it."""


def outgoing(payload: Payload, *, queue: str, priority: int) -> Outgoing:
    """The row of a message that is published."""
    properties = payload["properties"]
    return Outgoing(
        queue=queue,
        priority=priority,
        content_type=payload.get("content-type") or "application/data",
        content_encoding=payload.get("content-encoding") or "binary",
        headers=dumps(payload.get("headers") or {}),
        properties=dumps({name: value for name, value in properties.items() if name != "delivery_tag"}),
        body=payload["body"],
        expires_at=_expiry(properties.get("expiration")),
    )


def incoming(row: Row, *, delivery_tag: str) -> Payload:
    """The message that a row holds.

    Raises:
        MalformedMessageError: it holds none.
    """
    if not isinstance(row.body, str | bytes):
        raise MalformedMessageError(f"body is {type(row.body).__name__}, not text or bytes")
    if isinstance(row.body, str) and not _encodable(row.body):
        raise MalformedMessageError("body is text that is not UTF-8")
    if not isinstance(row.content_type, str) or not isinstance(row.content_encoding, str):
        raise MalformedMessageError("content_type and content_encoding must be text")
    properties = _object(row.properties, column="properties")
    info = properties.get("delivery_info", {})
    if not isinstance(info, dict):
        raise MalformedMessageError("properties.delivery_info is not a JSON object")
    where: dict[str, Any] = {"exchange": "", "routing_key": row.queue}
    where |= info | {"priority": row.priority, "redelivered": bool(row.redelivered)}
    return {
        "body": row.body,
        "content-type": row.content_type,
        "content-encoding": row.content_encoding,
        "headers": _object(row.headers, column="headers"),
        "properties": properties | {"delivery_tag": delivery_tag, "delivery_info": where},
    }


def check_task(body: object) -> None:
    """Refuse a task's body that does not hold arguments as Celery's protocol 2 has them.

    Celery's thread pool drops what fails before the task starts: the job would hold its slot for ever.

    Raises:
        MalformedMessageError: it is not `[arguments, keyword arguments, options]`.
    """
    match body:
        case [[*_], {}, {} | None]:
            return
    raise MalformedMessageError("body is not [[argument, ...], {keyword arguments}, {options}]")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _object(text: object, *, column: str) -> dict[str, Any]:
    try:
        value = loads(text)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise MalformedMessageError(f"{column} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise MalformedMessageError(f"{column} is not a JSON object")
    return value


def _expiry(expiration: object) -> float | None:
    """AMQP gives `expiration` in milliseconds, as text."""
    try:
        return None if expiration is None else time.time() + float(str(expiration)) / 1000
    except ValueError:
        return None
