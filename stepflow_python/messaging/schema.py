"""Tables of the embedded broker's file, and how a file comes to the version that this code knows.

`messages` is open to producers in any language: one INSERT is one message (see docs/producers.md), so its columns are
part of the contract and have defaults for all that a producer need not say.
"""

import contextlib
import sqlite3

from kombu.exceptions import OperationalError

APPLICATION_ID = 0x5F0B2026
"""Written into the file's header, so that the record's file is never taken for a broker."""

_NOW = "((julianday('now') - 2440587.5) * 86400.0)"

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        f"""CREATE TABLE IF NOT EXISTS messages (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            queue TEXT NOT NULL,
            priority INTEGER NOT NULL DEFAULT 0,
            content_type TEXT NOT NULL DEFAULT 'application/json',
            content_encoding TEXT NOT NULL DEFAULT 'utf-8',
            headers TEXT NOT NULL DEFAULT '{{}}',
            properties TEXT NOT NULL DEFAULT '{{}}',
            body NOT NULL,
            expires_at REAL,
            owner INTEGER,
            redelivered INTEGER NOT NULL DEFAULT 0,
            created_at REAL NOT NULL DEFAULT {_NOW}
        )""",
        "CREATE INDEX IF NOT EXISTS messages_ready ON messages (queue, priority DESC, id) WHERE owner IS NULL",
        "CREATE INDEX IF NOT EXISTS messages_owned ON messages (owner) WHERE owner IS NOT NULL",
        "CREATE INDEX IF NOT EXISTS messages_expiring ON messages (expires_at) WHERE expires_at IS NOT NULL",
        f"""CREATE TABLE IF NOT EXISTS dead (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            queue TEXT, priority INTEGER, content_type TEXT, content_encoding TEXT, headers TEXT, properties TEXT, body,
            created_at REAL,
            reason TEXT NOT NULL,
            died_at REAL NOT NULL DEFAULT {_NOW}
        )""",
        """CREATE TABLE IF NOT EXISTS queues (
            name TEXT PRIMARY KEY,
            owner INTEGER,
            message_ttl REAL,
            expires REAL,
            expires_at REAL
        ) WITHOUT ROWID""",
        """CREATE TABLE IF NOT EXISTS bindings (
            exchange TEXT NOT NULL,
            routing_key TEXT NOT NULL,
            pattern TEXT NOT NULL,
            queue TEXT NOT NULL,
            PRIMARY KEY (exchange, routing_key, pattern, queue)
        ) WITHOUT ROWID""",
        "CREATE INDEX IF NOT EXISTS bindings_queue ON bindings (queue)",
        f"""CREATE TABLE IF NOT EXISTS owners (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            pid INTEGER NOT NULL,
            started_at REAL NOT NULL DEFAULT {_NOW}
        )""",
    ),
)
"""The statements that lead from each version to the next; the file's version is its `user_version`."""

VERSION = len(MIGRATIONS)


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring a file to this version; does nothing, and takes no lock, when it is there.

    Raises:
        OperationalError: the file belongs to something else, or to a later version of this package.
        sqlite3.Error: it cannot be read or written.
    """
    if _version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statements in MIGRATIONS[_version(connection) :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # a full disk has rolled it back already
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != APPLICATION_ID:
        raise OperationalError("it is a database, but not a broker's; give the broker a file of its own")
    if version > VERSION:
        raise OperationalError(f"it has version {version}, this package knows up to {VERSION}; upgrade the package")
    return int(version)
