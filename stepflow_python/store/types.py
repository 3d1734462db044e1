"""Column types that give back exactly what was put in, on SQLite and PostgreSQL alike."""

import json
import re
from datetime import UTC, datetime
from typing import Any

from pydantic import JsonValue
from sqlalchemy import JSON, DateTime, Dialect, Text
from sqlalchemy.types import TypeDecorator, TypeEngine
from typing_extensions import override

from stepflow_python.store.urls import SQLITE

ESCAPE = "\x10"
ESCAPED = {"\0": f"{ESCAPE}0", ESCAPE: f"{ESCAPE}1"}
PLAIN = {code: letter for letter, code in ESCAPED.items()}
_to_escape = re.compile("[\0\x10]")
_to_restore = re.compile("\x10[01]")

TEXT_FORM = "$json"


class AnyText(TypeDecorator[str]):
    """Text with any character in it: tools print NUL bytes, which PostgreSQL refuses and SQLite's functions stop at."""

    impl = Text
    cache_ok = True

    @override
    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return value if value is None else _to_escape.sub(lambda found: ESCAPED[found[0]], value)

    @override
    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return value if value is None else _to_restore.sub(lambda found: PLAIN[found[0]], value)


class Json(TypeDecorator[JsonValue]):
    """JSON as it was written: key order, int or float, and NaN, which standard JSON lacks but Python's tools return.

    Text on SQLite: a column of the type JSON has numeric affinity there, which turns `1.0` into `1` and rounds large
    numbers. JSON on PostgreSQL, not JSONB, which refuses NUL characters and rewrites numbers and the order of keys.
    """

    impl = JSON(none_as_null=True)
    cache_ok = True

    @override
    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == SQLITE else JSON(none_as_null=True))

    @override
    def process_bind_param(self, value: JsonValue, dialect: Dialect) -> JsonValue:
        if dialect.name == SQLITE:
            return None if value is None else json.dumps(value)
        if isinstance(value, dict) and value.keys() == {TEXT_FORM}:
            return {TEXT_FORM: json.dumps(value)}
        try:
            json.dumps(value, allow_nan=False)
        except ValueError:
            return {TEXT_FORM: json.dumps(value)}
        return value

    @override
    def process_result_value(self, value: JsonValue, dialect: Dialect) -> JsonValue:
        if dialect.name == SQLITE:
            return None if value is None else _loads(value)
        if isinstance(value, dict) and value.keys() == {TEXT_FORM}:
            return _loads(value[TEXT_FORM])
        return value


def _loads(text: JsonValue) -> JsonValue:
    value: JsonValue = json.loads(str(text))
    return value


class Moment(TypeDecorator[datetime]):
    """A point in time with its zone, to the microsecond; SQLite has no zones, so it is always UTC there."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value if value is None else value.astimezone(UTC)

    @override
    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
