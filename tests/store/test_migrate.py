"""Migrations: equal to the models, both ways on data, by many at once, from a wheel."""

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from support.records import attempt, request, with_store

from stepflow_python.errors import DatabaseError
from stepflow_python.store.engines import writing_engine
from stepflow_python.store.migrate import check, downgrade, scripts_folder, upgrade
from stepflow_python.store.opening import Store
from stepflow_python.store.schema import HEAD, metadata
from stepflow_python.store.urls import place_of

ROOT = Path(__file__).resolve().parents[2]


def test_migrations_make_what_the_models_say(url: str) -> None:
    """The tables that the migrations made equal the models: columns, types, keys, indexes."""
    upgrade(url)
    engine = writing_engine(place_of(url))
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    engine.dispose()
    assert differences == []


def test_the_known_head_is_the_newest_migration() -> None:
    """What a start compares with, without loading the migrations, is their head."""
    assert ScriptDirectory(str(scripts_folder())).get_current_head() == HEAD


def test_up_down_up_on_data(url: str) -> None:
    """With rows in every table the schema goes down to nothing and up again, and records as before."""

    async def record(store: Store) -> None:
        await store.ledger.claim(request())
        await store.ledger.finish(attempt(request()))
        assert await store.history.get("one") is not None

    with_store(url, record)
    assert downgrade(url, "base").current is None
    assert check(url).behind
    assert not upgrade(url).behind
    with_store(url, record)


def test_rows_of_the_first_version_are_read(url: str) -> None:
    """What was recorded before the times of environments were is still there, without them."""
    with_store(url, lambda store: store.ledger.finish(attempt(request())))
    downgrade(url, "0001")
    upgrade(url)
    result = with_store(url, lambda store: store.history.result("one"))
    assert result is not None
    assert result.environment_id is not None
    assert result.environment_times == {}


def test_upgrading_keeps_rows(url: str) -> None:
    """An upgrade of what is current changes nothing."""
    with_store(url, lambda store: store.ledger.enqueue(request()))
    upgrade(url)
    record = with_store(url, lambda store: store.history.get("one"))
    assert record is not None


@pytest.mark.parametrize("turn", range(5))
def test_four_processes_start_at_once(tmp_path: Path, turn: int) -> None:
    """Four processes that open the same fresh file at once all succeed."""
    url = f"sqlite:///{tmp_path}/round-{turn}/record.db"
    code = f"import sys; from stepflow_python.store.migrate import upgrade; sys.stdin.read(1); upgrade({url!r})"
    processes = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"x")
        process.stdin.flush()
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert not check(url).behind


def test_several_start_at_once_on_a_server(scratch_database: str) -> None:
    """Three processes that upgrade the same empty server database at once all succeed."""
    downgrade(scratch_database, "base")
    code = f"from stepflow_python.store.migrate import upgrade; upgrade({scratch_database!r})"
    processes = [subprocess.Popen([sys.executable, "-W", "error", "-c", code]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0] * 3
    assert not check(scratch_database).behind


def test_a_new_file_is_private(tmp_path: Path) -> None:
    """The folder and the file are made for their user alone; asking for the state makes neither."""
    url = f"sqlite:///{tmp_path}/deep/er/record.db"
    assert check(url).current is None
    assert not (tmp_path / "deep").exists()
    upgrade(url)
    folder, file = tmp_path / "deep" / "er", tmp_path / "deep" / "er" / "record.db"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    journal = sqlite3.connect(file)
    assert journal.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    journal.close()


def test_a_schema_from_the_future_is_refused(url: str) -> None:
    """A database of a newer version is neither opened nor changed."""
    engine = writing_engine(place_of(url))
    try:
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        for attempt_to_use in (check, upgrade, lambda it: with_store(it, lambda store: store.history.get("one"))):
            with pytest.raises(DatabaseError, match="schema is ahead of this version"):
                attempt_to_use(url)
    finally:
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": HEAD})
        engine.dispose()


def test_an_unknown_revision_is_refused(sqlite_url: str) -> None:
    """Going back to a revision that there is not names the folder of those that there are."""
    with pytest.raises(DatabaseError, match="name a revision of"):
        downgrade(sqlite_url, "nowhere")


def test_rows_without_what_they_belong_to_stop_a_migration(sqlite_url: str) -> None:
    """A migration that would leave orphans is undone."""
    file = sqlite_url.removeprefix("sqlite:///")
    with sqlite3.connect(file) as connection:
        for table in ("execution_files", "deliveries", "live_output", "reusable_results"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("DROP TABLE python_executions")
        connection.execute(
            "INSERT INTO python_dependencies (environment_id, package_name, version, source, installed_at) "
            "VALUES ('gone', 'six', '1', 'pypi', '2026-01-01')"
        )
        connection.execute("DELETE FROM alembic_version")
        for table in ("executions", "tools", "python_modules", "extension_calls"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("ALTER TABLE python_dependencies RENAME TO keep")
        connection.execute("DROP TABLE python_environments")
    connection.close()
    with pytest.raises(DatabaseError, match="would leave 1 rows of keep without what they belong to"):
        upgrade(sqlite_url)
    assert check(sqlite_url).current is None


def test_the_wheel_brings_its_migrations(tmp_path: Path) -> None:
    """Built, installed and imported from elsewhere, the package finds the migrations inside itself and runs them."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    target = tmp_path / "installed"
    install = [Path(sys.executable).with_name("uv"), "pip", "install", "--quiet", "--offline", "--no-deps"]
    subprocess.run([*install, "--python", sys.executable, "--target", target, wheel], check=True)
    url = f"sqlite:///{tmp_path}/record.db"
    code = (
        "from stepflow_python.store.migrate import scripts_folder, upgrade\n"
        f"print(scripts_folder(), upgrade({url!r}).current)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(target)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [str(target / "stepflow_python" / "migrations"), HEAD]


def test_a_missing_database_is_named(scratch_database: str) -> None:
    """A database that the server does not have is an error that says so, with the password hidden."""
    with psycopg.connect(scratch_database) as connection:
        host = connection.info.host
    missing = f"postgresql://postgres:hunter2@{host}:5432/no_such_database"
    with pytest.raises(DatabaseError, match="no such database or user; create it first") as caught:
        check(missing)
    assert "hunter2" not in str(caught.value)
    assert "***" in str(caught.value)
