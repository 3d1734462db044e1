from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepflow_python.cli.spans import ago, instant

PRESENT = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "span"),
    [("30m", timedelta(minutes=30)), ("2h", timedelta(hours=2)), ("1.5 d", timedelta(hours=36)), ("4w", timedelta(28))],
)
def test_spans(text: str, span: timedelta) -> None:
    """A number and a unit are a span, and a point in time so long ago."""
    assert ago(text) == span
    assert instant(text, PRESENT) == PRESENT - span


@pytest.mark.parametrize("text", ["", "h", "2", "2y", "-2h", "2h30m", "99999999999999w", "1e3d", "٣h"])
def test_what_is_no_span(text: str) -> None:
    """Anything else is refused with the way to write it."""
    with pytest.raises(ValueError, match="span of time"):
        ago(text)


def test_iso_times() -> None:
    """An ISO time is taken with its zone, or as local time without one."""
    assert instant("2026-01-31T13:00:00+02:00", PRESENT) == datetime(2026, 1, 31, 11, tzinfo=UTC)
    assert instant("2026-01-31", PRESENT) == datetime(2026, 1, 31).astimezone()


@given(st.text())
def test_any_text_is_a_time_or_a_clear_error(text: str) -> None:
    """Nothing but ValueError comes of text that is no time."""
    try:
        assert instant(text, PRESENT).tzinfo is not None
    except ValueError as error:
        assert str(error)
