import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from kombu.exceptions import OperationalError
from support.brokers import rows

from stepflow_python.messaging import schema
from stepflow_python.messaging.broker_file import BrokerFile, BrokerFileError


def test_an_upgrade_is_made_once(tmp_path: Path) -> None:
    """A file that is at this version is not written again."""
    connection = sqlite3.connect(tmp_path / "broker.db", isolation_level=None)
    schema.upgrade(connection)
    before = connection.total_changes
    schema.upgrade(connection)
    assert connection.total_changes == before
    assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
    connection.close()


def test_a_later_version_is_refused(tmp_path: Path) -> None:
    """A file written by a later package is left alone, and the error says what to do."""
    path = tmp_path / "broker.db"
    BrokerFile(path).run("PRAGMA user_version = 99")
    with pytest.raises(BrokerFileError, match="upgrade the package"):
        BrokerFile(path).state()


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    """Our tables are never added to the record's file or anybody else's."""
    path = tmp_path / "record.db"
    rows(path, "CREATE TABLE executions (id)")
    with pytest.raises(OperationalError, match="not a broker's"):
        BrokerFile(path).state()
    assert rows(path, "SELECT name FROM sqlite_master") == [("executions",)]


def test_processes_that_start_together_all_succeed(tmp_path: Path) -> None:
    """Eight processes open a broker that is not there yet, at the same moment."""
    code = (
        "import sys; from pathlib import Path; from stepflow_python.messaging.broker_file import BrokerFile;"
        "sys.stdin.read(); BrokerFile(Path(sys.argv[1])).owner"
    )
    starters = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path / "broker.db"], stdin=subprocess.PIPE) for _ in range(8)
    ]
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.close()
    assert [starter.wait(60) for starter in starters] == [0] * 8
    assert rows(tmp_path / "broker.db", "SELECT count(*) FROM owners") == [(8,)]
