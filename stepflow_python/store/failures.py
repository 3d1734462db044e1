"""The one door where errors of databases and files become `DatabaseError`: what, where, and what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from stepflow_python.errors import DatabaseError, DatabaseUnavailableError
from stepflow_python.store.urls import Place

UPGRADE = "its tables are missing or old; run `stepflow db upgrade`"
FREE_SPACE = "the disk is full; free some space"
WRITABLE = "it cannot be written; make the file and its folder writable for this user"
BUSY = "other processes kept it locked; try again, or find who holds it"
CREATE = "no such database or user; create it first"
AUTHENTICATE = "the server refused the user; check user, password and pg_hba.conf"
CONNECTIONS = "the server has no free connections; raise max_connections or lower the number of workers"
STARTING = "the server is stopping or starting; try again"
REACHABLE = "the server cannot be reached; check that it runs, and host, port, user and password"

# First match wins. SQLite tells its errors apart by their words only, and so does a server that lets nobody in.
REMEDIES_BY_WORDS = (
    ("no such table", UPGRADE),
    ("no such column", UPGRADE),
    ("has no column named", UPGRADE),
    ("locked", BUSY),
    ("disk is full", FREE_SPACE),
    ("readonly database", WRITABLE),
    ("unable to open", "it cannot be opened; check that its folder exists and is writable for this user"),
    ("not a database", "the file is not an SQLite database; name another one, or move it away"),
    ("malformed", "the file is damaged; restore it from a copy"),
    ("disk i/o error", "the disk is full or failed; free some space, look at the system log"),
    ("too big", "a value is larger than SQLite holds; lower MAX_OUTPUT_BYTES, MAX_RESULT_BYTES or the files"),
    ("does not exist", CREATE),
    ("resolve host", REACHABLE),
    ("starting up", STARTING),
    ("shutting down", STARTING),
    ("authentication failed", AUTHENTICATE),
    ("no pg_hba.conf entry", AUTHENTICATE),
    ("too many clients", CONNECTIONS),
)
# By the classes of SQLSTATE, appendix A of PostgreSQL's manual.
POSTGRESQL_REMEDIES = (
    ("42P01", UPGRADE),
    ("42703", UPGRADE),
    ("53100", FREE_SPACE),
    ("53300", CONNECTIONS),
    ("25006", "the server only allows reading; name its primary"),
    ("42501", "this user may not; grant it the rights on the database"),
    ("28", AUTHENTICATE),
    ("3D000", CREATE),
    ("40", BUSY),
    ("55P03", BUSY),
    ("57", STARTING),
    ("08", REACHABLE),
)
FILE_REMEDIES = {
    errno.ENOSPC: FREE_SPACE,
    errno.EDQUOT: FREE_SPACE,
    errno.EACCES: WRITABLE,
    errno.EPERM: WRITABLE,
    errno.EROFS: WRITABLE,
}
PASSING = frozenset({BUSY, CONNECTIONS, REACHABLE, STARTING})
"""What time may mend, without anybody's help."""
FALLBACK = "try again; if it stays, see the cause"

# Deadlock and serialization failure: PostgreSQL has undone all of it, so doing it again is safe.
TRANSIENT = frozenset({"40P01", "40001"})


@contextmanager
def translated(place: Place) -> Iterator[None]:
    """Turn what databases and files raise inside into `DatabaseError`, the cause kept."""
    try:
        yield
    except (SQLAlchemyError, OSError, UnicodeError) as error:
        raise database_error(error, place) from error


def database_error(error: BaseException, place: Place) -> DatabaseError:
    """The error to raise for a foreign one."""
    remedy = _remedy(error)
    made = DatabaseUnavailableError if remedy in PASSING else DatabaseError
    return made(f"database {place}: {_words(error)}: {remedy}")


def is_transient(error: BaseException) -> bool:
    """Whether the whole transaction was undone and may pass when it is done again at once."""
    return isinstance(error, DBAPIError) and _sqlstate(error) in TRANSIENT


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _words(error: BaseException) -> str:
    """The first line: further ones may repeat values, which may be secrets."""
    origin = getattr(error, "orig", None) or error
    text = origin.strerror if isinstance(origin, OSError) and origin.strerror else str(origin)
    return text.strip().splitlines()[0] if text.strip() else type(origin).__name__


def _remedy(error: BaseException) -> str:
    if isinstance(error, OSError):
        return FILE_REMEDIES.get(error.errno or 0, FALLBACK)
    if not isinstance(error, DBAPIError):
        return FALLBACK
    state = _sqlstate(error)
    for code, remedy in POSTGRESQL_REMEDIES:
        if state.startswith(code):
            return remedy
    words = str(error.orig).lower()
    for part, remedy in REMEDIES_BY_WORDS:
        if part in words:
            return remedy
    unreachable = error.connection_invalidated or "connection" in words
    return REACHABLE if unreachable else FALLBACK
