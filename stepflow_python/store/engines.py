"""Engines: how each database is spoken to, and why."""

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry

from stepflow_python.errors import DatabaseError
from stepflow_python.store.clock import add_functions
from stepflow_python.store.urls import Place

BUSY_TIMEOUT_S = 30
CONNECT_TIMEOUT_S = 10
READERS = 4


def writing_engine(place: Place) -> Engine:
    """An engine for the recorder and for migrations: each transaction takes the write lock at its start."""
    try:
        engine = create_engine(
            place.url,
            # A statement's values may be secrets: they stay out of error messages.
            hide_parameters=True,
            pool_size=1,
            pool_pre_ping=place.file is None,
            connect_args=_connect_args(place),
        )
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise _no_driver(place) from error
    if place.file is not None:
        event.listen(engine, "connect", _prepare_writer)
        event.listen(engine, "begin", _begin_immediate)
    return engine


def reading_engine(place: Place) -> Engine:
    """An engine for reads, from `READERS` threads at a time."""
    try:
        engine = create_engine(
            place.url,
            hide_parameters=True,
            pool_size=READERS,
            pool_pre_ping=place.file is None,
            connect_args=_connect_args(place),
        )
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise _no_driver(place) from error
    if place.file is not None:
        event.listen(engine, "connect", _prepare_reader)
        event.listen(engine, "begin", _begin)
    return engine


def _connect_args(place: Place) -> dict[str, float | None]:
    if place.file is None:
        return {"connect_timeout": CONNECT_TIMEOUT_S}
    # Without a level the driver starts no transactions of its own behind ours.
    return {"timeout": BUSY_TIMEOUT_S, "isolation_level": None}


def _no_driver(place: Place) -> DatabaseError:
    return DatabaseError(
        f"database {place}: its driver is not installed; run `pip install 'stepflow-python[postgresql]'`"
    )


def _pragmas(connection: DBAPIConnection, *pragmas: str) -> None:
    cursor = connection.cursor()
    for pragma in pragmas:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _prepare_writer(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # NORMAL in WAL survives a killed process; a power cut may cost the last commits, never the file.
    _pragmas(connection, "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON")
    add_functions(connection)


def _prepare_reader(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    _pragmas(connection, "query_only=ON")
    add_functions(connection)


def _begin_immediate(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once when another has written between, whatever the
    # busy timeout; one that starts as a writer waits its turn.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
