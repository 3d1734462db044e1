"""Every way in which a database can fail, and what is said then."""

import asyncio
import errno
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError
from support.records import request, with_store

from stepflow_python.errors import DatabaseError
from stepflow_python.store.failures import database_error, is_transient, translated
from stepflow_python.store.maintenance import prune
from stepflow_python.store.migrate import check, upgrade
from stepflow_python.store.urls import place_of

PLACE = place_of("sqlite:////data/record.db")


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """Garbage is named as such, and left as it was."""
    file = tmp_path / "record.db"
    garbage = b"this is no database, however long it is" * 100
    file.write_bytes(garbage)
    for use in (check, upgrade, lambda url: with_store(url, lambda store: store.history.get("one"))):
        with pytest.raises(DatabaseError, match="the file is not an SQLite database; name another one") as caught:
            use(f"sqlite:///{file}")
        assert str(file) in str(caught.value)
        assert caught.value.__cause__ is not None
    assert file.read_bytes() == garbage


@pytest.mark.parametrize("writable_folder", [True, False], ids=["file only", "folder too"])
def test_a_file_that_may_not_be_written(sqlite_url: str, tmp_path: Path, *, writable_folder: bool) -> None:
    """Another user, who may read the record but not write it, is told to make it writable."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    file.chmod(0o644)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to(tempfile.gettempdir()) and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)
    tmp_path.chmod(0o777 if writable_folder else 0o755)
    other = tmp_path / "warm.db"
    # Everything is loaded while it may still be read: the interpreter's own folder may be closed to others.
    code = f"""
        import asyncio, os
        from stepflow_python.errors import DatabaseError
        from stepflow_python.model.request import ExecutionRequest
        from stepflow_python.store.opening import open_store

        async def use(url):
            async with open_store(url) as store:
                await store.ledger.enqueue(ExecutionRequest(execution_id="one", code="1"))

        asyncio.run(use("sqlite:///{other}"))
        os.setuid(65534)
        try:
            asyncio.run(use({sqlite_url!r}))
        except DatabaseError as error:
            print(error.message)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True)
    assert str(file) in done.stdout
    assert "writable for this user" in done.stdout


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    """A path through a file is an error of the record, not of the operating system."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseError, match="file"):
        upgrade(f"sqlite:///{tmp_path}/file/record.db")


def test_missing_tables_name_the_remedy(sqlite_url: str) -> None:
    """A table that is not there is a schema that must be upgraded."""
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    connection.execute("DROP TABLE execution_files")
    connection.execute("DROP TABLE python_executions")
    connection.close()
    with pytest.raises(DatabaseError, match="run `stepflow db upgrade`"):
        with_store(sqlite_url, lambda store: store.history.get("one"))


def test_pruning_nothing_at_all_names_the_remedy(tmp_path: Path) -> None:
    """Pruning a file without tables says how to make them."""
    (tmp_path / "record.db").touch()
    with pytest.raises(DatabaseError, match="run `stepflow db upgrade`"):
        asyncio.run(prune(f"sqlite:///{tmp_path}/record.db", older_than=timedelta(0)))


def test_a_server_that_is_not_there() -> None:
    """A server that does not answer is named without its password, with what to check."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"postgresql://user:hunter2@127.0.0.1:{free.getsockname()[1]}/record"
        with pytest.raises(DatabaseError, match="the server cannot be reached; check that it runs") as caught:
            with_store(url, lambda store: store.ledger.enqueue(request()))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("database is locked", "kept it locked"),
        ("database or disk is full", "free some space"),
        ("attempt to write a readonly database", "writable"),
        ("unable to open database file", "its folder exists"),
        ("database disk image is malformed", "restore it from a copy"),
        ("disk I/O error", "the disk is full or failed"),
        ("no such table: executions", "stepflow db upgrade"),
        ("table tools has no column named x", "stepflow db upgrade"),
        ("string or blob too big", "larger than SQLite holds"),
        ("something new", "try again"),
    ],
)
def test_words_of_sqlite(words: str, remedy: str) -> None:
    """Each error of SQLite has its remedy, names the file, and repeats no values."""
    cause = OperationalError("INSERT ...", {"secret": "s3cret"}, sqlite3.OperationalError(words))
    message = str(database_error(cause, PLACE))
    assert words in message
    assert remedy in message
    assert "/data/record.db" in message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    ("state", "remedy"),
    [
        ("42P01", "stepflow db upgrade"),
        ("53100", "free some space"),
        ("53300", "max_connections"),
        ("25006", "name its primary"),
        ("42501", "grant"),
        ("28P01", "pg_hba.conf"),
        ("57P03", "starting"),
        ("40P01", "locked"),
    ],
)
def test_states_of_postgresql(state: str, remedy: str) -> None:
    """Each class of errors of PostgreSQL has its remedy."""

    class ServerError(Exception):
        sqlstate = state

    error = OperationalError("x", {}, ServerError("first line\nDETAIL: a secret"))
    message = str(database_error(error, place_of("postgresql://u:hunter2@h/d")))
    assert remedy in message
    assert "secret" not in message
    assert "hunter2" not in message
    assert is_transient(error) == (state == "40P01")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_errors_of_files(number: int) -> None:
    """Errors of the operating system come through the same door, with their cause."""
    with pytest.raises(DatabaseError, match=os.strerror(number)) as caught, translated(PLACE):
        raise OSError(number, os.strerror(number))
    assert isinstance(caught.value.__cause__, OSError)
