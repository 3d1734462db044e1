"""What is handed to the driver itself gives what SQLAlchemy gives."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Connection, bindparam, delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError

from stepflow_python.store.engines import writing_engine
from stepflow_python.store.prepared import Prepared
from stepflow_python.store.schema import executions, tools
from stepflow_python.store.upsert import upsert_in
from stepflow_python.store.urls import place_of

WHEN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=5)))
TOOL = {"id": "t", "name": "a \0 name", "version": 3, "source_hash": "", "created_at": WHEN}
_tool = select(tools.c.id, tools.c.name, tools.c.version, tools.c.created_at).where(tools.c.id == bindparam("of_id"))


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    """A transaction of a writer."""
    engine = writing_engine(place_of(url))
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def test_values_go_in_and_come_out_as_through_sqlalchemy(connection: Connection) -> None:
    """Times with their zone, texts with any character; by name, and the same on another way."""
    made = Prepared(insert(tools).returning(tools.c.id, tools.c.created_at))(connection, TOOL)
    assert (made.row.id, made.row.created_at, made.value) == ("t", WHEN.astimezone(UTC), "t")
    found = Prepared(_tool)(connection, {"of_id": "t"})
    assert tuple(found.row) == tuple(connection.execute(_tool, {"of_id": "t"}).one())
    assert (found.row.name, found.row.version) == ("a \0 name", 3)


def test_json_is_json(connection: Connection) -> None:
    """As it was written, and none where there is none."""
    row = {"id": "e", "status": "queued", "attempts": 0, "max_attempts": 3, "priority": 0, "queued_at": WHEN}
    request = {"a": [1, 1.0, None, "é"]}
    Prepared(insert(executions))(connection, {**row, "request": request})
    asked = Prepared(select(executions.c.request, executions.c.started_at).where(executions.c.id == bindparam("of_id")))
    assert tuple(asked(connection, {"of_id": "e"}).row) == (request, None)


def test_what_is_not_there_and_what_is_changed(connection: Connection) -> None:
    """No row is none; rows are counted; values that the statement names itself are its own."""
    renamed = Prepared(
        update(tools).where(tools.c.id == bindparam("of_id")).values(name="b", version=tools.c.version + 1)
    )
    assert renamed(connection, {"of_id": "t"}).changed == 0
    Prepared(insert(tools))(connection, TOOL)
    assert renamed(connection, {"of_id": "t"}).changed == 1
    found = Prepared(_tool)
    assert (found(connection, {"of_id": "t"}).row.name, found(connection, {"of_id": "t"}).row.version) == ("b", 4)
    assert found(connection, {"of_id": "u"}).row is None
    assert found(connection, {"of_id": "u"}).value is None
    assert Prepared(delete(tools))(connection, {}).changed == 1


def test_one_statement_for_each_database(connection: Connection) -> None:
    """An insert that leaves alone what is there is spelled by each dialect for itself."""
    keep = Prepared(lambda dialect: upsert_in(dialect, tools, ("id",)).returning(tools.c.id))
    assert keep(connection, TOOL).value == "t"
    assert keep(connection, TOOL).value is None


def test_errors_are_sqlalchemy_s_and_tell_no_values(connection: Connection) -> None:
    """So that one place says what to do about them."""
    Prepared(insert(tools))(connection, TOOL)
    with pytest.raises(IntegrityError) as raised, connection.begin_nested():
        Prepared(insert(tools))(connection, TOOL | {"name": "secret"})
    assert "secret" not in str(raised.value)


def test_a_missing_table_is_an_error_of_the_database(sqlite_url: str) -> None:
    """Not of the driver alone."""
    engine = writing_engine(place_of(sqlite_url))
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE executions"))
        with pytest.raises(OperationalError, match="no such table"):
            Prepared(select(executions.c.id))(connection, {})
    engine.dispose()
