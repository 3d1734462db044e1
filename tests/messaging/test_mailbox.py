import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.brokers import rows

from stepflow_python.messaging import mailbox as module
from stepflow_python.messaging.broker_file import BrokerFile, broker_file
from stepflow_python.messaging.mailbox import Mailbox, Outgoing, QueueTerms


@pytest.fixture
def mailbox(tmp_path: Path) -> Mailbox:
    """A mailbox in a new file."""
    return Mailbox(broker_file(tmp_path / "broker.db"))


def message(body: str | bytes, *, queue: str = "q", priority: int = 0, expires_at: float | None = None) -> Outgoing:
    """A message to put."""
    return Outgoing(
        queue=queue,
        priority=priority,
        content_type="application/json",
        content_encoding="utf-8",
        headers="{}",
        properties="{}",
        body=body,
        expires_at=expires_at,
    )


def bodies(mailbox: Mailbox, queue: str = "q") -> list[object]:
    """All that waits, taken in order."""
    taken = []
    while row := mailbox.take(queue):
        taken.append(row.body)
    return taken


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(priorities=st.lists(st.integers(0, 9), max_size=12))
def test_higher_priorities_first_then_oldest(mailbox: Mailbox, priorities: list[int]) -> None:
    """Messages come by priority, equals in the order in which they were put."""
    for number, priority in enumerate(priorities):
        mailbox.put(message(str(number), priority=priority))
    expected = sorted(range(len(priorities)), key=lambda number: (-priorities[number], number))
    assert bodies(mailbox) == [str(number) for number in expected]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    queue=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    body=st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.binary()),
)
def test_any_queue_name_and_body_comes_back(mailbox: Mailbox, queue: str, body: str | bytes) -> None:
    """Text stays text and bytes stay bytes, NUL and quotes included."""
    mailbox.put(message(body, queue=queue))
    row = mailbox.claim(queue)
    assert row is not None
    assert (row.queue, row.body) == (queue, body)
    mailbox.delete(row.id)
    assert mailbox.size(queue) == 0


def test_a_claimed_message_is_nobody_elses(mailbox: Mailbox) -> None:
    """Neither a claim nor a purge reaches what is held; a release puts it back in front, marked."""
    mailbox.put(message("1"))
    mailbox.put(message("2"))
    first = mailbox.claim("q")
    assert first is not None
    assert mailbox.size("q") == 1
    mailbox.release([first.id])
    again = mailbox.claim("q")
    assert again is not None
    assert (again.body, again.redelivered) == ("1", 1)
    assert mailbox.purge("q") == 1
    assert mailbox.claim("q") is None


def test_a_message_that_another_took_over_is_not_deleted(mailbox: Mailbox, tmp_path: Path) -> None:
    """A late acknowledgement does not take the message from the process that has it now."""
    mailbox.put(message("1"))
    row = mailbox.claim("q")
    assert row is not None
    rows(tmp_path / "broker.db", "UPDATE messages SET owner = 999")
    mailbox.delete(row.id)
    assert rows(tmp_path / "broker.db", "SELECT owner FROM messages") == [(999,)]


def test_expired_messages_are_not_delivered(mailbox: Mailbox, tmp_path: Path) -> None:
    """Neither those with an end of their own nor those of a queue with a time to live; tidying removes them."""
    mailbox.declare("short", QueueTerms(message_ttl=-1.0))
    mailbox.put(message("late", expires_at=time.time() - 1))
    mailbox.put(message("later", queue="short", expires_at=time.time() + 60))
    mailbox.put(message("in time", expires_at=time.time() + 60))
    assert (bodies(mailbox), bodies(mailbox, "short")) == (["in time"], [])
    mailbox.tidy([])
    assert rows(tmp_path / "broker.db", "SELECT count(*) FROM messages") == [(0,)]


def test_a_queue_that_nobody_uses_expires(mailbox: Mailbox) -> None:
    """One that is consumed stays."""
    mailbox.declare("used", QueueTerms(expires=60))
    mailbox.declare("unused", QueueTerms(expires=-1))
    mailbox.put(message("1", queue="unused"))
    mailbox.tidy(["used"])
    assert (mailbox.knows("used"), mailbox.knows("unused"), mailbox.size("unused")) == (True, False, 0)


def test_the_dead_leave_their_messages_and_take_their_queues(mailbox: Mailbox, tmp_path: Path) -> None:
    """A dead process's messages are redelivered; the temporary queues that it declared are gone."""
    mailbox.put(message("1"))
    mailbox.put(message("reply", queue="theirs"))
    path = tmp_path / "broker.db"
    rows(path, "INSERT INTO owners (id, pid) VALUES (77, 1)")
    rows(path, "UPDATE messages SET owner = 77 WHERE queue = 'q'")
    rows(path, "INSERT INTO queues (name, owner) VALUES ('theirs', 77)")
    rows(path, "INSERT INTO bindings VALUES ('x', 'k', '', 'theirs')")
    mailbox.tidy([])
    row = mailbox.claim("q")
    assert row is not None
    assert row.redelivered == 1
    assert (mailbox.bindings("x"), mailbox.knows("theirs"), mailbox.size("theirs")) == ([], False, 0)
    assert rows(path, "SELECT count(*) FROM owners WHERE id = 77") == [(0,)]


def test_only_the_newest_dead_messages_are_kept(
    mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer of rubbish does not fill the disk."""
    monkeypatch.setattr(module, "KEPT_DEAD", 2)
    for number in range(4):
        mailbox.put(message(str(number)))
        row = mailbox.claim("q")
        assert row is not None
        mailbox.bury(row.id, "why")
    assert rows(tmp_path / "broker.db", "SELECT body, reason FROM dead") == [("2", "why"), ("3", "why")]


def test_dropping_a_queue_removes_its_bindings(tmp_path: Path) -> None:
    """What is bound in one process is seen, and removed, by another."""
    one, other = (Mailbox(BrokerFile(tmp_path / "broker.db")) for _ in range(2))
    one.bind(exchange="x", routing_key="k", pattern="", queue="q")
    one.bind(exchange="x", routing_key="k", pattern="", queue="r")
    assert sorted(other.bindings("x")) == [("k", "", "q"), ("k", "", "r")]
    other.unbind(exchange="x", routing_key="k", queue="r")
    other.drop("q")
    assert one.bindings("x") == []
