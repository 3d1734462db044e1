"""What every value shares: frozen, closed to unknown fields, bytes as base64 in JSON."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, StringConstraints


class Value(BaseModel):
    """A frozen value; an unknown field is an error that names it."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


def _decode_base64(value: Any) -> Any:  # noqa: ANN401 - a validator receives whatever the payload holds
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error


def _encode_base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


Base64 = Annotated[
    bytes,
    BeforeValidator(_decode_base64, json_schema_input_type=str),
    PlainSerializer(_encode_base64, return_type=str, when_used="json"),
]
"""Bytes in Python, standard base64 text in JSON."""


def _aware(value: datetime) -> datetime:
    """SQLite hands back naive times; every time of ours is UTC."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Instant = Annotated[datetime, AfterValidator(_aware)]
"""A point in time, always with a zone, always UTC."""

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,127}$")]
"""A client-chosen id: 1 to 128 characters that are safe in a path, a log line and a URL."""


def now() -> datetime:
    """The current time in UTC."""
    return datetime.now(UTC)
