"""Databases to test on: a file each, and one scratch database on a PostgreSQL server where one answers."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from stepflow_python.store.migrate import upgrade

SERVER = "postgresql://postgres@127.0.0.1:5432"


@pytest.fixture(scope="session")
def empty_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with all tables, to copy."""
    file = tmp_path_factory.mktemp("template") / "empty.db"
    upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite_url(empty_record: Path, tmp_path: Path) -> str:
    """A record of its own."""
    file = tmp_path / "record.db"
    shutil.copy(empty_record, file)
    return f"sqlite:///{file}"


@pytest.fixture(scope="session")
def scratch_database() -> Iterator[str]:
    """A database without tables on the server, dropped at the end."""
    try:
        server = psycopg.connect(f"{SERVER}/postgres", connect_timeout=3, autocommit=True)
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL server answers at 127.0.0.1:5432: {error}")
    name = f"stepflow_test_{uuid.uuid4().hex[:12]}"
    with server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield f"{SERVER}/{name}"
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def postgresql_url(scratch_database: str) -> str:
    """The record on the server, with all tables and nothing in them."""
    upgrade(scratch_database)
    with psycopg.connect(scratch_database) as connection:
        connection.execute("TRUNCATE tools, executions, python_environments CASCADE")
    return scratch_database


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """Each kind of database in turn."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found
