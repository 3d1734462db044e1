"""Engines: how each database is spoken to, and why."""

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry

from stepflow_python.errors import DatabaseError
from stepflow_python.store.clock import add_functions
from stepflow_python.store.prepared import run_by_driver
from stepflow_python.store.urls import Place

BUSY_TIMEOUT_S = 30
CONNECT_TIMEOUT_S = 10
# A host that is cut off says nothing: both ends notice within half a minute. What it had locked in the middle of a
# transaction would keep all others waiting; ours take milliseconds.
CLIENT_NOTICES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
SERVER_NOTICES = (
    *("tcp_keepalives_idle = 10", "tcp_keepalives_interval = 5", "tcp_keepalives_count = 3"),
    "idle_in_transaction_session_timeout = '10s'",
)
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
    else:
        event.listen(engine, "connect", _prepare_server)
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
    else:
        event.listen(engine, "connect", _prepare_server)
    return engine


def _connect_args(place: Place) -> dict[str, float | None]:
    if place.file is None:
        return {"connect_timeout": CONNECT_TIMEOUT_S, **CLIENT_NOTICES}
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


def _prepare_server(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("; ".join(f"SET {setting}" for setting in SERVER_NOTICES))
    cursor.close()
    connection.commit()


def _begin_immediate(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once when another has written between, whatever the
    # busy timeout; one that starts as a writer waits its turn.
    run_by_driver(connection, "BEGIN IMMEDIATE")


def _begin(connection: Connection) -> None:
    run_by_driver(connection, "BEGIN")
