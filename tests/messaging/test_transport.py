import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu import Connection, Consumer, Queue
from support.brokers import connection, rows

from stepflow_python.messaging.mailbox import Mailbox, Row
from stepflow_python.messaging.transport import CLASS_PATH, broker_path, broker_url

PARTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1).filter(
    lambda part: part not in {".", ".."}
)


@given(parts=st.lists(PARTS, min_size=1, max_size=4))
def test_any_path_survives_its_url(parts: list[str]) -> None:
    """Blanks, percent signs and question marks included."""
    path = Path("/", *parts)
    assert broker_path(broker_url(path)) == path


@pytest.mark.parametrize("url", ["stepflow://", "stepflow:///", "stepflow://folder/broker.db"])
def test_a_url_without_a_file_is_refused(url: str) -> None:
    """The error shows how it is written."""
    with pytest.raises(ValueError, match="stepflow:///absolute/path"):
        Connection(url, transport=CLASS_PATH).connect()


def test_the_url_is_shown_as_it_is(tmp_path: Path) -> None:
    """Monitors print the broker's URL."""
    with connection(tmp_path / "broker.db") as opened:
        assert opened.as_uri() == broker_url(tmp_path / "broker.db")


def test_a_connection_that_was_closed_connects_again(tmp_path: Path) -> None:
    """Celery closes and reopens connections as it likes."""
    opened = connection(tmp_path / "broker.db")
    for _ in range(2):
        with opened.clone() as one, connection(tmp_path / "broker.db") as other:
            one.connect()
            other.connect()
            one.close()
            assert other.default_channel.queue_declare("q").queue == "q"


def test_a_wait_ends_when_its_time_is_up(tmp_path: Path) -> None:
    """Also while other programs keep the file changing."""
    path = tmp_path / "broker.db"
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            rows(path, "INSERT INTO owners (pid) VALUES (1)")

    with connection(path) as opened, Consumer(opened, [Queue("q")]):
        disturber = threading.Thread(target=disturb)
        disturber.start()
        try:
            with pytest.raises(TimeoutError):
                opened.drain_events(timeout=0.1)
        finally:
            stop.set()
            disturber.join()


def test_an_interrupted_wait_ends(tmp_path: Path) -> None:
    """A worker that is told to stop doesn't wait out its poll."""
    with connection(tmp_path / "broker.db") as opened, Consumer(opened, [Queue("q")]):
        opened.transport.interrupt()
        with pytest.raises(TimeoutError):
            opened.drain_events(timeout=600)


def test_a_message_taken_while_interrupted_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is told to stop in the middle of a look does not begin with what it finds."""
    path = tmp_path / "broker.db"
    claim, got = Mailbox.claim, []

    def told_meanwhile(mailbox: Mailbox, queue: str) -> Row | None:
        found = claim(mailbox, queue)
        opened.transport.interrupt()
        return found

    monkeypatch.setattr(Mailbox, "claim", told_meanwhile)
    with (
        connection(path) as opened,
        Consumer(opened, [Queue("q")], callbacks=[lambda body, _message: got.append(body)]),
    ):
        rows(path, "INSERT INTO messages (queue, body) VALUES ('q', '[1]')")
        with pytest.raises(TimeoutError):
            opened.drain_events(timeout=600)
        assert (got, rows(path, "SELECT body, owner FROM messages")) == ([], [("[1]", None)])


def test_a_row_from_another_program_is_delivered(tmp_path: Path) -> None:
    """One INSERT, nothing else, ends a consumer's wait."""
    path = tmp_path / "broker.db"
    got = []
    with (
        connection(path) as opened,
        Consumer(opened, [Queue("q")], callbacks=[lambda body, _message: got.append(body)]),
    ):
        producer = threading.Thread(target=rows, args=(path, "INSERT INTO messages (queue, body) VALUES ('q', '[1]')"))
        producer.start()
        opened.drain_events(timeout=20)
        producer.join()
    assert got == [[1]]


def test_a_removed_file_is_a_connection_error(tmp_path: Path) -> None:
    """Celery then connects again, which declares its queues in the new file."""
    path = tmp_path / "broker.db"
    with connection(path) as opened, Consumer(opened, [Queue("q")]):
        path.unlink()
        with pytest.raises(opened.connection_errors, match="removed or replaced"):
            opened.drain_events(timeout=20)
        opened.collect()
        assert opened.default_channel.queue_declare("q").queue == "q"
