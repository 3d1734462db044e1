"""One process's door to the broker's file: a connection, its lock, and news of changes.

One connection for each process and file, under a lock: SQLite has one writer at a time anyway, and threads that wait
for a lock are served in turn, while connections that wait in SQLite's busy handler are not. Nothing of it is used
across a fork: a child opens its own.
"""

import contextlib
import os
import select
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from kombu.exceptions import OperationalError

from stepflow_python.messaging import schema
from stepflow_python.messaging.owners import OwnerLocks
from stepflow_python.process.inotify import FileNews

BUSY_TIMEOUT_S = 30.0
Row: TypeAlias = tuple[object, ...]
Values: TypeAlias = Mapping[str, object]
_NOTHING: Values = {}


class BrokerFileError(OperationalError):
    """The broker's file cannot be used now: locked, full, not there, or not a broker's file."""


class BrokerFile:
    """An open broker file; safe for threads, and reopened by itself after a fork or a close."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._owners_path = path.with_name(path.name + "-owners")
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._generation = 0
        self._announcing = threading.Lock()
        self._told = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        # Of other processes; the log is there as long as anybody has the file open.
        self._news = FileNews(self.path.with_name(self.path.name + "-wal"))
        self._connection: sqlite3.Connection | None = None
        self._locks: OwnerLocks | None = None
        self._owner: int | None = None
        self._inodes: tuple[int, ...] = ()
        self._users = 0

    def run(self, sql: str, values: Values = _NOTHING) -> list[Row]:
        """Run one statement, which is its own transaction, and fetch its rows.

        Raises:
            BrokerFileError: it could not be run.
        """
        with self._session() as connection:
            return connection.execute(sql, values).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Several statements as one; IMMEDIATE, since a reader that turns writer fails at once when it is late."""
        with self._session() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    @property
    def owner(self) -> int:
        """This process's number, under which it holds messages; asked for first, it is registered."""
        with self._session() as connection:
            if self._owner is None:
                self._owner = self._register(connection)
            return self._owner

    def dead_owners(self) -> list[int]:
        """Numbers of processes that ended without giving back what they held."""
        with self._session() as connection:
            locks = self._locks
            numbers = [int(row[0]) for row in connection.execute("SELECT id FROM owners")]
            return [number for number in numbers if number != self._owner and locks and locks.is_dead(number)]

    def state(self) -> tuple[int, int]:
        """Something that differs after any change by this process that was announced, or by any other."""
        with self._session() as connection:
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            return self._generation, int(version)

    def announce(self) -> None:
        """Tell the consumers of this process of a change by this process, which `data_version` does not show."""
        with self._announcing:
            self._generation += 1
        os.eventfd_write(self._told, 1)

    @property
    def hears(self) -> bool:
        """Whether `wait` hears of other processes."""
        return self._news.listen()

    def wait(self, seconds: float) -> bool:
        """Wait until `state` is worth a look, at most so long; whether there is a reason for one.

        A commit is heard just before it is seen: what was heard may show with the look after the next.
        """
        waiting = select.poll()
        for source in (self._told, self._news.fileno()):
            if source >= 0:
                waiting.register(source, select.POLLIN)
        heard = bool(waiting.poll(seconds * 1000))
        if heard:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._told)
            self._news.clear()
        return heard

    def check_in_place(self) -> None:
        """Notice that the file was removed or replaced, which leaves an open connection on a file without a name.

        Raises:
            BrokerFileError: it was; the next use opens what is there now.
        """
        with self._session():
            if self._inodes == self._present():
                return
            self._disconnect()
            if self._locks is not None:
                self._locks.close()
            self._locks = self._owner = None
        raise BrokerFileError(f"broker {self.path}: the file was removed or replaced; connect again")

    def retain(self) -> None:
        """Count a user; see `release`."""
        with self._session():
            self._users += 1

    def release(self) -> None:
        """Close the connection when the last user left; the process keeps its number until it ends."""
        if self._pid == os.getpid():
            with self._lock:
                self._users -= 1
                if self._users <= 0:
                    self._disconnect()
                    self._news.close()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _present(self) -> tuple[int, ...]:
        with contextlib.suppress(FileNotFoundError):
            return self.path.stat().st_ino, self._owners_path.stat().st_ino
        return ()

    @contextlib.contextmanager
    def _session(self) -> Iterator[sqlite3.Connection]:
        if self._pid != os.getpid():
            # Closing what was inherited would act on the parent's file; it is left to the child's end.
            _inherited.append((self._connection, self._locks))
            self._forget()
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._open()
                yield self._connection
            except (sqlite3.Error, OSError) as error:
                raise BrokerFileError(f"broker {self.path}: {_remedy(error)}") from error

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._locks is None:
            self._locks = OwnerLocks(self._owners_path)
        # SQLite would create the file with the umask's mode; its WAL takes the mode of the file. One that is there is
        # not opened: closing it again would drop this process's locks on it, SQLite's included.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self.path, BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        self._locks.enter_setup()  # turning WAL on fails at once, without a wait, while another process does
        try:
            connection.text_factory = _lenient_text
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            schema.upgrade(connection)
        except OperationalError as error:
            connection.close()
            raise BrokerFileError(f"broker {self.path}: {error}") from error
        except BaseException:
            connection.close()
            raise
        finally:
            self._locks.leave_setup()
        self._inodes = self._present()
        self._news.renew()
        return connection

    def _register(self, connection: sqlite3.Connection) -> int:
        if self._locks is None:
            raise BrokerFileError(f"broker {self.path}: it was closed meanwhile; connect again")
        connection.execute("BEGIN IMMEDIATE")
        try:
            cursor = connection.execute("INSERT INTO owners (pid) VALUES (?)", (os.getpid(),))
            owner = int(cursor.lastrowid or 0)
            # Locked before anybody can see it, so it is never taken for dead.
            self._locks.hold(owner)
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        return owner


def _lenient_text(raw: bytes) -> str:
    """A producer's broken UTF-8 must not fail the whole fetch; it fails its own message later."""
    return raw.decode("utf-8", "surrogateescape")


def _remedy(error: Exception) -> str:
    text = str(error)
    remedies: tuple[tuple[str, str], ...] = (
        ("locked", f"another process kept it locked for {BUSY_TIMEOUT_S:.0f} s; end that process or wait"),
        ("full", "no space left on its disk; free some, nothing that was accepted is lost"),
        ("not a database", "not a SQLite file; move it away, or give the broker another path"),
        ("malformed", "the file is damaged; move it away, queued executions can be submitted again"),
        ("readonly", "it cannot be written; check the owner and mode of file and folder"),
        ("unable to open", "it cannot be opened; check the owner and mode of file and folder"),
    )
    return next((f"{text}: {remedy}" for mark, remedy in remedies if mark in text), text)


_inherited: list[object] = []
_files: dict[Path, BrokerFile] = {}


def broker_file(path: Path) -> BrokerFile:
    """The one broker file of this process at `path`; two would drop each other's locks when one is closed."""
    return _files.setdefault(key := path.expanduser().resolve(), _files.get(key) or BrokerFile(key))
