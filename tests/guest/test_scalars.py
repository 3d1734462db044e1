"""ISO 8601 in its many forms, read alike by every version of Python."""

from datetime import UTC, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepflow_python.guest.scalars import to_datetime, to_time, to_timedelta

if TYPE_CHECKING:
    from conftest import Guest

INDIA = timezone(timedelta(hours=5, minutes=30))
MOMENTS = {
    "2024-02-29T12:30:00Z": datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
    "2024-02-29t12:30:00z": datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
    "2024-02-29 12:30": datetime(2024, 2, 29, 12, 30),  # noqa: DTZ001 - text without a zone
    "2024-02-29T12:30:00.5+05:30": datetime(2024, 2, 29, 12, 30, 0, 500_000, tzinfo=INDIA),
    "2024-02-29T12:30:00.123456789+0530": datetime(2024, 2, 29, 12, 30, 0, 123_456, tzinfo=INDIA),
    "20240229T123000Z": datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
    "2024-02-29": datetime(2024, 2, 29),  # noqa: DTZ001 - text without a zone
}
READ = """
def f(moments):
    return [moment.isoformat() for moment in moments]
"""


@pytest.mark.parametrize(("text", "moment"), MOMENTS.items())
def test_datetimes(text: str, moment: datetime) -> None:
    """Zones, fractions and the basic form are understood."""
    assert to_datetime(text) == moment
    assert to_datetime(text).utcoffset() == moment.utcoffset()


def test_every_version_reads_the_same(each_guest: "Guest") -> None:
    """A tool gets the same moment on every interpreter."""
    schema: dict[str, Any] = {
        "properties": {"moments": {"type": "array", "items": {"type": "string", "x-python": "datetime"}}}
    }
    ran = each_guest.run(READ, "f", arguments={"moments": list(MOMENTS)}, input_schema=schema)
    assert ran.value == [moment.isoformat() for moment in MOMENTS.values()]


@pytest.mark.parametrize("text", ["", "now", "2024-13-01T00:00", "2024-02-29T25:00:00Z", "2024-02-29X12:00:00.5Z!"])
def test_what_is_no_datetime_is_refused(text: str) -> None:
    """Rubbish is a ValueError, whatever its form."""
    with pytest.raises(ValueError, match=r".+"):
        to_datetime(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text ends in anything but a value or a ValueError."""
    for read in (to_datetime, to_time, to_timedelta):
        try:
            read(text)
        except (ValueError, OverflowError):
            continue


def test_times() -> None:
    """A time may have a zone and a fraction of any length."""
    assert to_time("12:30:00.25Z") == time(12, 30, 0, 250_000, tzinfo=UTC)
    assert to_time("T1230") == time(12, 30)


@pytest.mark.parametrize(
    ("value", "span"),
    [
        (1.5, timedelta(seconds=1.5)),
        ("P1DT2H3M4.5S", timedelta(days=1, hours=2, minutes=3, seconds=4.5)),
        ("PT0,5H", timedelta(minutes=30)),
        ("-P2W", timedelta(weeks=-2)),
        ("+PT1S", timedelta(seconds=1)),
    ],
)
def test_durations(value: Any, span: timedelta) -> None:
    """Seconds, or weeks to seconds with a sign and a fraction."""
    assert to_timedelta(value) == span


@pytest.mark.parametrize("text", ["P", "PT", "P1Y", "P1M", "1.5", "P1DT", "PT1S "])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Months and years have no length; an empty duration says nothing."""
    with pytest.raises(ValueError, match="a duration is seconds"):
        to_timedelta(text)
