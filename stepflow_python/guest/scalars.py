"""Text and numbers to the types of the standard library that JSON lacks; each module is imported on first use."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import date, datetime, time, timedelta
    from decimal import Decimal
    from pathlib import Path
    from typing import Any, Callable, Dict, Union
    from uuid import UUID

CLOCK = re.compile(
    r"(?P<hour>\d\d):?(?P<minute>\d\d)(?::?(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?"
    r"(?P<zone>[Zz]|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?"
)
DAY = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)")
DURATION = re.compile(
    r"(?P<sign>[+-]?)P(?=.)(?:(?P<weeks>\d+(?:[.,]\d+)?)W)?(?:(?P<days>\d+(?:[.,]\d+)?)D)?"
    r"(?:T(?=.)(?:(?P<hours>\d+(?:[.,]\d+)?)H)?(?:(?P<minutes>\d+(?:[.,]\d+)?)M)?(?:(?P<seconds>\d+(?:[.,]\d+)?)S)?)?"
)


def to_datetime(text: str) -> datetime:
    """ISO 8601; forms that `fromisoformat` learnt in Python 3.11 are taken everywhere."""
    import datetime as dt

    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        day, clock = text[:10] if text[4:5] == "-" else text[:8], text[10:] if text[4:5] == "-" else text[8:]
        if not clock or clock[0] not in "Tt ":
            raise
        return dt.datetime.fromisoformat(f"{_day(day)}T{_clock(clock[1:])}")


def to_date(text: str) -> date:
    """ISO 8601."""
    import datetime as dt

    return dt.date.fromisoformat(_day(text))


def to_time(text: str) -> time:
    """ISO 8601."""
    import datetime as dt

    return dt.time.fromisoformat(_clock(text[1:] if text[:1] in {"T", "t"} else text))


def _day(text: str) -> str:
    match = DAY.fullmatch(text)
    if match is None:
        raise ValueError("a date looks like 2024-12-31")
    return "-".join(match.groups())


def _clock(text: str) -> str:
    """The one form that all versions read: colons everywhere, six digits of a fraction, a zone in numbers."""
    match = CLOCK.fullmatch(text)
    if match is None:
        raise ValueError("a time looks like 23:59:59, 23:59:59.5Z or 23:59+02:00")
    zone = match["zone"] or ""
    if zone in {"Z", "z"}:
        zone = "+00:00"
    elif zone:
        digits = zone[1:].replace(":", "").ljust(4, "0")
        zone = zone[0] + ":".join(digits[start : start + 2] for start in range(0, len(digits), 2))
    fraction = (match["fraction"] or "")[:6].ljust(6, "0")
    return f"{match['hour']}:{match['minute']}:{match['second'] or '00'}.{fraction}{zone}"


def to_timedelta(value: Union[float, str]) -> timedelta:
    """Seconds, or an ISO 8601 duration of weeks, days, hours, minutes and seconds."""
    import datetime as dt

    if not isinstance(value, str):
        return dt.timedelta(seconds=value)
    match = DURATION.fullmatch(value)
    if match is None:
        raise ValueError("a duration is seconds, or looks like P1DT2H30M; months and years have no fixed length")
    parts = match.groupdict()
    sign = -1 if parts.pop("sign") == "-" else 1
    return sign * dt.timedelta(**{unit: float(text.replace(",", ".")) for unit, text in parts.items() if text})


def to_decimal(value: Union[float, str]) -> Decimal:
    """A number as it is written."""
    import decimal

    return decimal.Decimal(str(value))


def to_uuid(text: str) -> UUID:
    """Any form that `uuid.UUID` reads."""
    import uuid

    return uuid.UUID(text)


def to_path(text: str) -> Path:
    """A path of the box."""
    import pathlib

    return pathlib.Path(text)


def to_bytes(text: str) -> bytes:
    """Standard base64, nothing else in it."""
    import base64

    return base64.b64decode(text, validate=True)


SCALARS: Dict[str, Callable[[Any], Any]] = {
    "datetime": to_datetime,
    "date": to_date,
    "time": to_time,
    "timedelta": to_timedelta,
    "decimal": to_decimal,
    "uuid": to_uuid,
    "path": to_path,
    "bytes": to_bytes,
}
