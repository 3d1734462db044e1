import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.brokers import rows

from stepflow_python.messaging import broker_file as module
from stepflow_python.messaging.broker_file import BrokerFile, BrokerFileError, broker_file


def test_file_and_folder_are_private(tmp_path: Path) -> None:
    """Messages hold tools' arguments: no other user may read them."""
    path = tmp_path / "data" / "broker.db"
    BrokerFile(path).run("INSERT INTO owners (pid) VALUES (1)")
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    """The error names the file and the remedy."""
    path = tmp_path / "broker.db"
    path.write_bytes(b"not SQLite, but long enough to be looked at" * 100)
    with pytest.raises(BrokerFileError, match=r"broker\.db.*not a SQLite file; move it away"):
        BrokerFile(path).state()


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """SQLite's own limit stands for the disk's; the error is one that Celery retries."""
    broker = BrokerFile(tmp_path / "broker.db")
    broker.run("PRAGMA max_page_count = 1")
    with pytest.raises(BrokerFileError, match="no space left"):
        broker.run("INSERT INTO messages (queue, body) VALUES ('q', zeroblob(1000000))")


def test_a_locked_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that does not let go is waited for, then told of."""
    monkeypatch.setattr(module, "BUSY_TIMEOUT_S", 0.05)
    one, other = BrokerFile(tmp_path / "broker.db"), BrokerFile(tmp_path / "broker.db")
    other.state()
    with one.transaction(), pytest.raises(BrokerFileError, match="another process kept it locked"):
        other.run("INSERT INTO owners (pid) VALUES (1)")


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    """What was written before the failure is undone, and the next transaction works."""
    broker = BrokerFile(tmp_path / "broker.db")
    with pytest.raises(BrokerFileError, match="bindings"), broker.transaction() as connection:
        connection.executemany("INSERT INTO owners (pid) VALUES (?)", [(1,), ()])
    assert broker.run("SELECT pid FROM owners") == []


def test_one_process_has_one_file(tmp_path: Path) -> None:
    """Two spellings of a path are the same broker."""
    (tmp_path / "link").symlink_to(tmp_path)
    assert broker_file(tmp_path / "broker.db") is broker_file(tmp_path / "link" / "broker.db")


def test_a_forked_child_opens_its_own(tmp_path: Path) -> None:
    """A child uses neither its parent's connection nor its number."""
    broker = BrokerFile(tmp_path / "broker.db")
    mine = broker.owner
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, str(broker.owner).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = int(os.read(reader, 20))
    assert theirs != mine
    assert broker.owner == mine
    assert broker.dead_owners() == [theirs]


def test_changes_are_seen(tmp_path: Path) -> None:
    """The state differs after a write by another process, and after an announcement in this one."""
    broker = BrokerFile(tmp_path / "broker.db")
    first = broker.state()
    rows(tmp_path / "broker.db", "INSERT INTO owners (pid) VALUES (1)")
    second = broker.state()
    broker.announce()
    assert len({first, second, broker.state()}) == 3


def test_an_announcement_ends_a_wait(tmp_path: Path) -> None:
    """A consumer that waits is woken by its own process's publisher."""
    broker = BrokerFile(tmp_path / "broker.db")
    broker.state()
    waiter = threading.Thread(target=broker.wait, args=(60.0,))
    waiter.start()
    broker.announce()
    waiter.join(30)
    assert not waiter.is_alive()


def test_a_write_of_another_process_ends_a_wait(tmp_path: Path) -> None:
    """It is heard, and seen by the next look but one."""
    broker = BrokerFile(tmp_path / "broker.db")
    first = broker.state()
    assert broker.hears
    assert broker.wait(0.0) is False
    script = "import sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None).execute(sys.argv[2])"
    change = "INSERT INTO owners (pid) VALUES (1)"
    writer = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "broker.db"), change])
    assert broker.wait(30.0) is True
    assert writer.wait(30) == 0
    assert broker.state() != first


def test_a_replaced_file_is_heard(tmp_path: Path) -> None:
    """Not the one that was there before."""
    broker = BrokerFile(tmp_path / "broker.db")
    broker.state()
    assert broker.hears
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(BrokerFileError, match="removed or replaced"):
        broker.check_in_place()
    broker.state()
    assert broker.hears
    broker.wait(0.0)
    BrokerFile(tmp_path / "broker.db").run("INSERT INTO owners (pid) VALUES (1)")
    assert broker.wait(30.0) is True


def test_a_removed_file_is_noticed(tmp_path: Path) -> None:
    """An open connection to a file without a name would serve nobody; the next use opens a new one."""
    broker = BrokerFile(tmp_path / "broker.db")
    assert broker.owner == 1
    broker.check_in_place()
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(BrokerFileError, match="removed or replaced"):
        broker.check_in_place()
    assert broker.owner == 1
    broker.check_in_place()
