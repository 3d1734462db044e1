import json
from pathlib import Path
from typing import Any

import pytest
from amqp.exceptions import ChannelError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kombu import Consumer, Exchange, Message, Producer, Queue
from support.brokers import channel, connection, rows

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="*#"), min_size=1, max_size=20)


@pytest.fixture
def broker(tmp_path: Path) -> Path:
    """Where a broker may be."""
    return tmp_path / "broker.db"


def received(path: Path, queues: list[Queue], count: int) -> list[tuple[str, Any]]:
    """Queue and body of the next messages, acknowledged."""
    got: list[tuple[str, Any]] = []
    with connection(path) as opened:
        consumers = [Consumer(opened, [queue], callbacks=[_keeper(got, queue.name)]) for queue in queues]
        for consumer in consumers:
            consumer.consume()
        while len(got) < count:
            opened.drain_events(timeout=20)
    return got


def _keeper(got: list[tuple[str, Any]], name: str) -> Any:
    def keep(body: Any, message: Message) -> None:
        message.ack()
        got.append((name, body))

    return keep


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(key=NAMES, name=NAMES, body=st.dictionaries(st.text(), st.integers() | st.text(), max_size=3))
def test_direct_routing_of_any_name(broker: Path, key: str, name: str, body: dict[str, Any]) -> None:
    """A message reaches the queue that is bound by its key, with its body."""
    queue = Queue(name, Exchange("direct", "direct"), routing_key=key)
    with channel(broker) as made:
        bound = queue(made)
        bound.declare()
        Producer(made, exchange=queue.exchange).publish(body, routing_key=key)
        message = bound.get(no_ack=True)
        assert message.payload == body
        assert bound.get() is None
        bound.delete()


def test_bindings_reach_across_processes(broker: Path) -> None:
    """A publisher that declared no queue reaches those that others bound: topic by pattern, fanout all."""
    topic, fanout = Exchange("events", "topic"), Exchange("all", "fanout")
    queues = [Queue("tasks", topic, routing_key="task.#"), Queue("one", fanout), Queue("two", fanout)]
    with channel(broker) as consumer:
        for queue in queues:
            queue(consumer).declare()
    with channel(broker) as publisher:
        Producer(publisher, exchange=topic).publish("t", routing_key="task.sent.now")
        Producer(publisher, exchange=topic).publish("w", routing_key="worker.online")
        Producer(publisher, exchange=fanout).publish("f")
    assert sorted(received(broker, queues, 3)) == [("one", "f"), ("tasks", "t"), ("two", "f")]


def test_two_files_are_two_brokers(tmp_path: Path) -> None:
    """What is published to one is not seen by the other."""
    with channel(tmp_path / "a.db") as one, channel(tmp_path / "b.db") as other:
        Queue("q")(one).declare()
        Queue("q")(other).declare()
        Producer(one).publish("x", routing_key="q")
        assert Queue("q")(other).get() is None
        assert Queue("q")(one).get().payload == "x"


def test_a_closed_channel_gives_back_what_it_held(broker: Path) -> None:
    """Unacknowledged messages are redelivered, and say so; acknowledged ones are gone."""
    with channel(broker) as made:
        Queue("q")(made).declare()
        for body in "ab":
            Producer(made).publish(body, routing_key="q")
        Queue("q")(made).get().ack()
        Queue("q")(made).get()
    with channel(broker) as made:
        message = Queue("q")(made).get()
        assert (message.payload, message.delivery_info["redelivered"]) == ("b", True)


def test_a_rejected_message_is_put_aside_or_back(broker: Path) -> None:
    """Requeued it comes again, as another delivery; rejected it is kept for people to read."""
    with channel(broker) as made:
        Queue("q")(made).declare()
        Producer(made).publish("x", routing_key="q")
        first = Queue("q")(made).get()
        first.requeue()
        second = Queue("q")(made).get()
        assert first.delivery_tag != second.delivery_tag
        second.reject()
        assert Queue("q")(made).get() is None
    assert rows(broker, "SELECT queue, body, reason FROM dead") == [("q", b"x", "rejected by its consumer")]


def test_temporary_queues_go_with_their_consumer(broker: Path) -> None:
    """A mailbox for replies leaves nothing behind."""
    exchange = Exchange("replies", "direct")
    queue = Queue("reply", exchange, routing_key="me", auto_delete=True)
    with connection(broker) as opened, Consumer(opened, [queue]):
        assert rows(broker, "SELECT name FROM queues") == [("reply",)]
    assert rows(broker, "SELECT name FROM queues") == []
    assert rows(broker, "SELECT * FROM bindings") == []


def test_a_queue_is_deleted_only_when_told(broker: Path) -> None:
    """`if_empty` spares one with messages, `if_unused` one that is consumed here."""
    with connection(broker) as opened:
        made = opened.default_channel
        Queue("q")(made).declare()
        Producer(made).publish("x", routing_key="q")
        made.queue_delete("q", if_empty=True)
        with Consumer(opened, [Queue("q")]):
            made.queue_delete("q", if_unused=True)
            assert made.queue_declare("q", passive=True).message_count == 1
        made.queue_delete("q")
        with pytest.raises(ChannelError):
            made.queue_declare("q", passive=True)


def test_unbinding_ends_delivery(broker: Path) -> None:
    """Also for publishers that declared nothing."""
    queue = Queue("q", Exchange("x", "direct"), routing_key="k")
    with channel(broker) as made:
        queue(made).declare()
        queue(made).unbind_from(queue.exchange, "k")
    with channel(broker) as made:
        Producer(made, exchange=queue.exchange).publish("x", routing_key="k")
        assert Queue("q")(made).get() is None


@pytest.mark.parametrize("column", ["headers", "properties"])
def test_malformed_rows_are_put_aside(broker: Path, column: str) -> None:
    """The next message is delivered as if they were not there."""
    queue = Queue("q")
    with channel(broker) as made:
        queue(made).declare()
    statement = "INSERT INTO messages (queue, body, {}) VALUES ('q', '1', 'rubbish')"
    rows(broker, statement.format(column))
    rows(broker, "INSERT INTO messages (queue, body, headers) VALUES ('q', '2', CAST(x'ff' AS TEXT))")
    rows(broker, "INSERT INTO messages (queue, body) VALUES ('q', '3')")
    assert received(broker, [queue], 1) == [("q", 3)]
    reasons = rows(broker, "SELECT body, reason FROM dead")
    assert [body for body, _ in reasons] == ["1", "2"]
    assert reasons[0][1].startswith(f"{column} is not JSON")


def test_a_message_that_its_consumer_cannot_use_is_put_aside(broker: Path) -> None:
    """A consumer that trips over a message goes on with the next one."""
    got: list[Any] = []

    def consume(body: Any, message: Message) -> None:
        got.append(body["key"])
        message.ack()

    with connection(broker) as opened, Consumer(opened, [Queue("q")], callbacks=[consume]):
        for body in ([], {"key": 1}):
            opened.Producer().publish(body, routing_key="q")
        opened.drain_events(timeout=20)
        opened.drain_events(timeout=20)
    assert got == [1]
    ((body, reason),) = rows(broker, "SELECT body, reason FROM dead")
    assert json.loads(body) == []
    assert "TypeError" in reason
    assert rows(broker, "SELECT count(*) FROM messages") == [(0,)]


def test_prefetch_is_respected(broker: Path) -> None:
    """A consumer with one slot gets the second message after it acknowledged the first."""
    held: list[Message] = []
    with connection(broker) as opened:
        made = opened.default_channel
        made.basic_qos(0, 1, False)
        with Consumer(made, [Queue("q")], on_message=held.append):
            for body in "ab":
                opened.Producer().publish(body, routing_key="q")
            opened.drain_events(timeout=20)
            with pytest.raises(TimeoutError):
                opened.drain_events(timeout=0)
            held[0].ack()
            opened.drain_events(timeout=20)
    assert [message.payload for message in held] == ["a", "b"]
