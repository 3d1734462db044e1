"""Database URLs: which are known, which driver each gets, where a file lies."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError
from typing_extensions import override

from stepflow_python.errors import DatabaseError

SQLITE = "sqlite"
POSTGRESQL = "postgresql"

DRIVERS = {SQLITE: SQLITE, POSTGRESQL: "postgresql+psycopg"}
FORMS = "sqlite:////folder/stepflow.db or postgresql://user:password@host:5432/database"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A database that was named; its URL names the driver, `file` is an SQLite database's."""

    url: URL
    file: Path | None

    @override
    def __str__(self) -> str:
        return str(self.file or self.url.render_as_string(hide_password=True))


def place_of(url: str) -> Place:
    """The place that a URL names; its driver, if any, is replaced by ours.

    Raises:
        DatabaseError: not a URL, a database that is not supported, or one in memory.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # The text may hold a password, so it is not repeated.
        raise DatabaseError(f"DATABASE_URL is not a URL; use {FORMS}") from error
    backend = "postgresql" if parsed.drivername == "postgres" else parsed.drivername.partition("+")[0]
    if backend not in DRIVERS:
        raise DatabaseError(f"DATABASE_URL names {backend!r}, which is not supported; use {FORMS}")
    if backend == SQLITE and (not parsed.database or ":memory:" in parsed.database or "uri" in parsed.query):
        raise DatabaseError(f"DATABASE_URL must name a file that processes can share; use {FORMS}")
    file = Path(str(parsed.database)).absolute() if backend == SQLITE else None
    return Place(url=parsed.set(drivername=DRIVERS[backend]), file=file)
