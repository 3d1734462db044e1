"""Bringing a database's tables to this version: safe when many processes start at once."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import alembic
import alembic.command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, event, text

from stepflow_python.errors import DatabaseError
from stepflow_python.store.engines import writing_engine
from stepflow_python.store.failures import BUSY, translated
from stepflow_python.store.urls import Place, place_of

LOCK_TIMEOUT_S = 120
PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
ADVISORY_LOCK = 7_286_412_940_311
"""The key of our lock in PostgreSQL: any number that nobody else takes."""

# Alembic keeps its configuration in the module: one migration at a time in a process.
_alembic_door = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaState:
    """Which revision a database has, and which one this version wants; none: no tables yet."""

    current: str | None
    head: str

    @property
    def behind(self) -> bool:
        """Whether an upgrade is due."""
        return self.current != self.head


def scripts_folder() -> Path:
    """The folder of migrations: inside the installed package, or at the top of a checkout.

    Raises:
        DatabaseError: neither is there.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "migrations", package.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise DatabaseError(f"the migrations are missing below {package}; install stepflow-python again")


def check(url: str) -> SchemaState:
    """Compare a database with this version; nothing is changed, a missing SQLite file is not made.

    Raises:
        DatabaseError: it cannot be read, or its schema is ahead of this version.
    """
    place = place_of(url)
    if place.file is not None and not place.file.exists():
        return SchemaState(current=None, head=_head())
    with translated(place), _engine(place) as engine, engine.connect() as connection:
        return _state(connection, place)


def upgrade(url: str) -> SchemaState:
    """Make the tables, or bring them to this version; the folder of an SQLite file is made too.

    Raises:
        DatabaseError: it cannot be written, is locked for too long, or its schema is ahead of this version.
    """
    place = place_of(url)
    with translated(place):
        if place.file is not None:
            _make_private(place.file)
        with _engine(place) as engine, _locked(place, engine):
            with engine.connect() as connection:
                state = _state(connection, place)
            if state.behind:
                _migrate(engine, lambda config: alembic.command.upgrade(config, "head"))
            return SchemaState(current=state.head, head=state.head)


def downgrade(url: str, revision: str) -> SchemaState:
    """Take the tables back to an older revision, `base` for none at all.

    Raises:
        DatabaseError: it cannot be written, or there is no such revision.
    """
    place = place_of(url)
    with translated(place), _engine(place) as engine, _locked(place, engine):
        try:
            _migrate(engine, lambda config: alembic.command.downgrade(config, revision))
        except CommandError as error:
            raise DatabaseError(f"database {place}: {error}; name a revision of {scripts_folder()}") from error
        with engine.connect() as connection:
            return _state(connection, place)


@contextmanager
def _engine(place: Place) -> Iterator[Engine]:
    engine = writing_engine(place)
    if place.file is not None:
        # SQLite makes a changed table anew and drops the old one; with the keys on, that deletes the rows that point
        # to it. The pragma has no effect inside a transaction, so it is set when the connection is made.
        event.listen(engine, "connect", lambda connection, _entry: connection.execute("PRAGMA foreign_keys=OFF"))
    try:
        yield engine
    finally:
        engine.dispose()


def _migrate(engine: Engine, step: Callable[[Config], None]) -> None:
    config = Config()
    config.set_main_option("script_location", str(scripts_folder()).replace("%", "%%"))
    with _alembic_door, engine.begin() as connection:
        config.attributes["connection"] = connection
        step(config)
        if connection.dialect.name == "sqlite" and (
            broken := connection.execute(text("PRAGMA foreign_key_check")).all()
        ):
            raise DatabaseError(
                f"the migration would leave {len(broken)} rows of {broken[0][0]} without what they belong to; "
                "nothing was changed"
            )


def _state(connection: Connection, place: Place) -> SchemaState:
    scripts = _scripts()
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise DatabaseError(
            f"database {place}: schema is ahead of this version (revision {current}, the newest known is {_head()}); "
            "install the version of stepflow-python that made it, or name another database"
        )
    return SchemaState(current=current, head=_head())


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(scripts_folder()))


def _head() -> str:
    return str(_scripts().get_current_head())


@contextmanager
def _locked(place: Place, engine: Engine) -> Iterator[None]:
    if place.file is None:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": ADVISORY_LOCK})
        return
    lock = FileLock(f"{place.file}.migrate.lock", timeout=LOCK_TIMEOUT_S, mode=PRIVATE_FILE)
    try:
        lock.acquire()
    except Timeout as error:
        raise DatabaseError(f"database {place}: another process migrates it: {BUSY}") from error
    try:
        yield
    finally:
        lock.release()


def _make_private(file: Path) -> None:
    """The record holds what tools were given and what they printed: only its user may read it."""
    file.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    file.touch(mode=PRIVATE_FILE, exist_ok=True)
