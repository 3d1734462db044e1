"""How each database is spoken to."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from stepflow_python.store.engines import reading_engine, writing_engine
from stepflow_python.store.urls import place_of


def test_a_writer_of_sqlite(sqlite_url: str) -> None:
    """Keys are enforced, the log is written ahead, and a transaction holds the lock from its start."""
    engine = writing_engine(place_of(sqlite_url))
    with engine.begin() as connection:
        pragmas = ("foreign_keys", "journal_mode", "synchronous", "busy_timeout")
        found = [connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one() for pragma in pragmas]
        assert found == [1, "wal", 1, 30_000]
        other = writing_engine(place_of(sqlite_url))
        raw = other.raw_connection()
        raw.cursor().execute("PRAGMA busy_timeout = 0")
        with pytest.raises(Exception, match="database is locked"):
            raw.cursor().execute("BEGIN IMMEDIATE")
        raw.close()
        other.dispose()
    engine.dispose()


def test_a_reader_of_sqlite_cannot_write(sqlite_url: str) -> None:
    """A read that would change something is refused by the database."""
    engine = reading_engine(place_of(sqlite_url))
    with pytest.raises(OperationalError, match="readonly"), engine.connect() as connection:
        connection.execute(text("DELETE FROM executions"))
    engine.dispose()


def test_values_stay_out_of_error_messages(url: str) -> None:
    """A statement that fails does not tell its parameters."""
    engine = writing_engine(place_of(url))
    with pytest.raises(Exception, match="no_such_table") as caught, engine.begin() as connection:
        connection.execute(text("INSERT INTO no_such_table VALUES (:secret)"), {"secret": "s3cret"})
    engine.dispose()
    assert "s3cret" not in str(caught.value)
