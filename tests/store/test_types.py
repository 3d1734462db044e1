"""What goes into a column comes out of it."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Dialect
from sqlalchemy.dialects import postgresql, sqlite

from stepflow_python.store.types import AnyText, Json, Moment

DIALECTS = [sqlite.dialect(), postgresql.dialect()]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("$json"), inner), max_leaves=20
)

both = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)


@both
@given(text=st.text() | st.text(alphabet="\0\x1001"))
def test_any_text(dialect: Dialect, text: str) -> None:
    """Text comes back equal, and no NUL reaches the database."""
    stored = AnyText().process_bind_param(text, dialect)
    assert stored is not None
    assert "\0" not in stored
    assert AnyText().process_result_value(stored, dialect) == text


@both
@given(value=DOCUMENTS)
def test_any_document(dialect: Dialect, value: object) -> None:
    """JSON comes back equal, of the same types and in the same order."""
    kind = Json()
    stored = kind.process_bind_param(value, dialect)
    assert repr(kind.process_result_value(stored, dialect)) == repr(value)


@both
def test_not_a_number(dialect: Dialect) -> None:
    """NaN comes back as NaN, though standard JSON has none."""
    kind = Json()
    value = kind.process_result_value(kind.process_bind_param([float("nan"), 1], dialect), dialect)
    assert repr(value) == "[nan, 1]"


@both
def test_nothing_is_nothing(dialect: Dialect) -> None:
    """A missing value stays missing in every type."""
    for kind in (AnyText(), Json(), Moment()):
        assert kind.process_bind_param(None, dialect) is None
        assert kind.process_result_value(None, dialect) is None


@both
@given(moment=st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)), hours=st.integers(-12, 14))  # noqa: DTZ001 - the zone is added
def test_any_moment(dialect: Dialect, moment: datetime, hours: int) -> None:
    """A time comes back as the same point in time, in UTC, whether the database keeps zones or not."""
    given_moment = moment.replace(tzinfo=timezone(timedelta(hours=hours)))
    stored = Moment().process_bind_param(given_moment, dialect)
    assert stored is not None
    for from_database in (stored, stored.replace(tzinfo=None)):
        found = Moment().process_result_value(from_database, dialect)
        assert found == given_moment
        assert found.tzinfo is UTC
