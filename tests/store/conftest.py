"""Databases to test on: a file each, and one scratch database on a PostgreSQL server where one answers."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from support.services import postgresql_database

from stepflow_python.store.migrate import upgrade


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
    with postgresql_database() as made:
        yield made


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
