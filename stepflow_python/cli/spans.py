"""Times as people write them: a point in time, or how long ago."""

import re
from datetime import datetime, timedelta

DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhdw])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def ago(text: str) -> timedelta:
    """A span such as `2h`, `3d` or `30m`.

    Raises:
        ValueError: it is none, or longer than time is known.
    """
    found = DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no span of time; write it such as 30m, 2h or 3d")
    try:
        return timedelta(seconds=float(found[1]) * SECONDS[found[2]])
    except OverflowError as error:
        raise ValueError(f"{text!r} is too long a span of time") from error


def instant(text: str, present: datetime) -> datetime:
    """A point in time: ISO 8601 (local time where it has no zone), or how long before `present`.

    Raises:
        ValueError: it is neither.
    """
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        pass
    try:
        return present - ago(text)
    except OverflowError as error:
        raise ValueError(f"{text!r} is before all time") from error
